use openraft::CommittedLeaderId;
use tempfile::TempDir;

use super::*;
use crate::raft::LogId;

fn meta(index: u64) -> SnapshotMeta {
    SnapshotMeta {
        last_log_id: Some(LogId::new(CommittedLeaderId::new(1, 1), index)),
        snapshot_id: index.to_string(),
        ..SnapshotMeta::default()
    }
}

fn newest(files: &SnapshotFiles) -> u64 {
    files.read().unwrap().unwrap().meta.last_log_id.unwrap().index
}

#[test]
fn older_snapshot_that_is_done_late_does_not_displace_a_newer_one() {
    let directory = TempDir::new().unwrap();
    let files = SnapshotFiles::open(directory.path().join("snapshots")).unwrap();
    files.write(&meta(10), b"ten").unwrap();
    files.write(&meta(30), b"thirty").unwrap();
    files.write(&meta(20), b"twenty").unwrap();
    assert_eq!(newest(&files), 30);
    assert_eq!(files.list("").unwrap().len(), 1);
}

#[test]
fn reading_while_snapshots_replace_each_other_always_finds_one() {
    let directory = TempDir::new().unwrap();
    let files = SnapshotFiles::open(directory.path().join("snapshots")).unwrap();
    files.write(&meta(1), b"1").unwrap();
    std::thread::scope(|scope| {
        for offset in 0..2 {
            let files = files.clone();
            scope.spawn(move || {
                for index in 1..20 {
                    files.write(&meta(2 * index + offset), b"state").unwrap();
                }
            });
        }
        let mut last = 0;
        while last < 39 {
            let index = newest(&files);
            assert!(index >= last);
            last = index;
        }
    });
    assert_eq!(files.list("").unwrap().len(), 1);
}
