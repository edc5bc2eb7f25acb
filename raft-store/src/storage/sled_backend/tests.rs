use tempfile::TempDir;

use super::*;

fn insert(backend: &SledBackend, key: &str, value: &str) {
    let change = Change::Insert(key.as_bytes().to_vec(), value.as_bytes().to_vec());
    backend.write(Batch { tree: Tree::Meta, changes: vec![change] }).unwrap();
}

#[test]
fn leftovers_of_a_killed_process_do_not_stop_it_from_opening() {
    let directory = TempDir::new().unwrap();
    let backend = SledBackend::open(directory.path()).unwrap();
    insert(&backend, "k", "v");
    backend.flush().unwrap();
    drop(backend);
    let leftovers = ["snap.FFFFFFFFFFFFFFFF.generating", "snap.FFFFFFFFFFFFFFFE.in___motion"];
    for leftover in leftovers {
        fs::write(directory.path().join(leftover), b"half").unwrap();
    }
    let backend = SledBackend::open(directory.path()).unwrap();
    assert_eq!(backend.get(Tree::Meta, b"k").unwrap().as_deref(), Some(&b"v"[..]));
    for leftover in leftovers {
        assert!(!directory.path().join(leftover).exists());
    }
}

#[test]
fn trees_are_apart_and_scans_are_in_order() {
    let directory = TempDir::new().unwrap();
    let backend = SledBackend::open(directory.path()).unwrap();
    let changes = [3_u64, 1, 2].map(|n| Change::Insert(n.to_be_bytes().to_vec(), vec![1]));
    backend.write(Batch { tree: Tree::Log, changes: changes.to_vec() }).unwrap();
    insert(&backend, "k", "v");
    let mut seen = Vec::new();
    let from = 2_u64.to_be_bytes();
    let mut visit = |key: &[u8], _: &[u8]| {
        seen.push(u64::from_be_bytes(key.try_into().unwrap()));
        Ok(true)
    };
    backend.scan(Tree::Log, &from, &mut visit).unwrap();
    assert_eq!(seen, [2, 3]);
    assert_eq!(backend.last(Tree::Log).unwrap().unwrap().0, 3_u64.to_be_bytes());
    assert_eq!(backend.last(Tree::Vote).unwrap(), None);
}

#[test]
fn database_in_use_is_not_called_damaged() {
    let directory = TempDir::new().unwrap();
    let _open = SledBackend::open(directory.path()).unwrap();
    let error = SledBackend::open(directory.path()).err().unwrap();
    assert!(matches!(error, StorageError::Io { .. }), "{error}");
}
