use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tempfile::TempDir;

use super::super::backend::{Pair, Visit};
use super::*;

/// A database in memory that counts its flushes, waits where told to, and fails where told to.
#[derive(Default)]
struct Memory {
    values: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
    flushes: AtomicU64,
    fails: AtomicBool,
    gate: Mutex<()>,
}

impl Backend for Memory {
    fn get(&self, _: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.values.lock().unwrap().get(key).cloned())
    }

    fn scan(&self, _: Tree, _: &[u8], _: &mut Visit<'_>) -> Result<(), StorageError> {
        Ok(())
    }

    fn last(&self, _: Tree) -> Result<Option<Pair>, StorageError> {
        Ok(None)
    }

    fn write(&self, batch: Batch) -> Result<(), StorageError> {
        for change in batch.changes {
            if let Change::Insert(key, value) = change {
                self.values.lock().unwrap().insert(key, value);
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), StorageError> {
        let _open = self.gate.lock().unwrap();
        if self.fails.load(Ordering::SeqCst) {
            return Err(StorageError::io("flush", io::Error::other("the disk is gone")));
        }
        self.flushes.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

fn put(key: u8) -> Vec<Batch> {
    vec![Batch { tree: Tree::Log, changes: vec![Change::Insert(vec![key], vec![key])] }]
}

fn start(directory: &TempDir, memory: &Arc<Memory>) -> (Writer, thread::JoinHandle<()>) {
    let backend: Arc<dyn Backend> = Arc::clone(memory) as _;
    let sequence = Sequence::open(backend.as_ref(), &directory.path().join("sequence")).unwrap();
    Writer::start(backend, sequence).unwrap()
}

async fn yield_until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
#[expect(clippy::await_holding_lock, reason = "that is what holds the flush up")]
async fn writes_that_wait_share_one_flush() {
    let (directory, memory) = (TempDir::new().unwrap(), Arc::new(Memory::default()));
    let (writer, _thread) = start(&directory, &memory);
    let before = memory.flushes.load(Ordering::SeqCst);
    let write = |key: u8| {
        let writer = writer.clone();
        tokio::spawn(async move { writer.write_durably(put(key)).await })
    };
    let mut waiting = Vec::new();
    {
        // While the flush of the first is held up, the others queue.
        let _gate = memory.gate.lock().unwrap();
        waiting.push(write(0));
        yield_until(|| memory.get(Tree::Log, &[0]).unwrap().is_some()).await;
        waiting.extend((1..20).map(write));
        yield_until(|| writer.requests.capacity() == QUEUE_MAX_COUNT - 19).await;
    }
    for write in waiting {
        write.await.unwrap().unwrap();
    }
    assert_eq!(memory.flushes.load(Ordering::SeqCst) - before, 2);
}

#[tokio::test]
#[expect(clippy::await_holding_lock, reason = "that is what holds the flush up")]
async fn write_is_seen_before_it_is_durable() {
    let (directory, memory) = (TempDir::new().unwrap(), Arc::new(Memory::default()));
    let (writer, _thread) = start(&directory, &memory);
    let (tell, told) = oneshot::channel();
    let gate = memory.gate.lock().unwrap();
    writer.write_then(put(1), |result| tell.send(result.is_ok()).unwrap()).await.unwrap();
    assert!(memory.get(Tree::Log, &[1]).unwrap().is_some());
    drop(gate);
    assert!(told.await.unwrap());
}

#[tokio::test]
async fn nothing_is_acknowledged_after_a_failed_flush() {
    let (directory, memory) = (TempDir::new().unwrap(), Arc::new(Memory::default()));
    let (writer, _thread) = start(&directory, &memory);
    writer.write_durably(put(1)).await.unwrap();
    memory.fails.store(true, Ordering::SeqCst);
    writer.write_durably(put(2)).await.unwrap_err();
    // The disk seems fine again, but what it took meanwhile may be gone.
    memory.fails.store(false, Ordering::SeqCst);
    writer.write_durably(put(3)).await.unwrap_err();
    assert!(memory.get(Tree::Log, &[3]).unwrap().is_none());
}

#[tokio::test]
async fn database_that_went_back_is_noticed() {
    let (directory, memory) = (TempDir::new().unwrap(), Arc::new(Memory::default()));
    let (writer, thread) = start(&directory, &memory);
    let earlier = memory.values.lock().unwrap().clone();
    writer.write_durably(put(1)).await.unwrap();
    drop(writer);
    thread.join().unwrap();
    *memory.values.lock().unwrap() = earlier;
    let reopened = Sequence::open(memory.as_ref(), &directory.path().join("sequence"));
    assert!(matches!(reopened, Err(StorageError::Corrupt(_))));
}

#[test]
fn torn_count_beside_the_database_is_no_damage_of_the_database() {
    let (directory, memory) = (TempDir::new().unwrap(), Memory::default());
    let path = directory.path().join("sequence");
    drop(Sequence::open(&memory, &path).unwrap());
    std::fs::write(&path, [7; 13]).unwrap();
    Sequence::open(&memory, &path).unwrap();
}
