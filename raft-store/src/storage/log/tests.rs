use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use openraft::StoredMembership;
use openraft::storage::{RaftLogStorageExt, RaftStateMachine};
use openraft::testing::{StoreBuilder, Suite};
use tempfile::TempDir;

use super::*;
use crate::raft::EncodedCommand;
use crate::storage::machine::StateMachine;
use crate::storage::sled_backend::SledBackend;
use crate::storage::snapshot_file::SnapshotFiles;
use crate::storage::writer::Sequence;
use crate::storage::{SEQUENCE_FILE, STORE_DIR};

mod killed;

fn open_log(state_dir: &Path) -> (LogStore, std::thread::JoinHandle<()>) {
    let backend: Arc<dyn Backend> =
        Arc::new(SledBackend::open(&state_dir.join(STORE_DIR)).unwrap());
    let sequence = Sequence::open(backend.as_ref(), &state_dir.join(SEQUENCE_FILE)).unwrap();
    let (writer, thread) = Writer::start(Arc::clone(&backend), sequence).unwrap();
    (LogStore::new(backend, writer), thread)
}

fn open_machine(state_dir: &Path) -> StateMachine {
    StateMachine::open(SnapshotFiles::open(state_dir.join("snapshots")).unwrap()).unwrap()
}

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(openraft::CommittedLeaderId::new(term, 1), index)
}

fn entry(index: u64, bytes: usize) -> Entry {
    let text = format!("\"{}\"", "x".repeat(bytes));
    let command: EncodedCommand = serde_json::from_str(&text).unwrap();
    Entry { log_id: log_id(1, index), payload: openraft::EntryPayload::Normal(command) }
}

struct Plain;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Plain {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), raft::StorageError> {
        let directory = TempDir::new().unwrap();
        let log = open_log(directory.path()).0;
        let machine = open_machine(directory.path());
        Ok((directory, log, machine))
    }
}

#[test]
fn openraft_suite_passes() {
    Suite::test_all(Plain).unwrap();
}

/// The log over a database that is closed and opened again before every operation.
struct Reopening {
    directory: std::path::PathBuf,
    open: Option<(LogStore, std::thread::JoinHandle<()>)>,
    reopened: Arc<AtomicU64>,
}

impl Reopening {
    async fn reopen(&mut self) -> &mut LogStore {
        if let Some((log, thread)) = self.open.take() {
            drop(log);
            tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap();
            self.reopened.fetch_add(1, Ordering::Relaxed);
        }
        let directory = self.directory.clone();
        let opened = tokio::task::spawn_blocking(move || open_log(&directory)).await.unwrap();
        &mut self.open.insert(opened).0
    }
}

/// Reads through a store of its own would hold the database open.
struct ReopeningReader(Arc<tokio::sync::Mutex<Reopening>>);

#[derive(Clone)]
struct ReopeningLog(Arc<tokio::sync::Mutex<Reopening>>);

impl RaftLogReader<TypeConfig> for ReopeningReader {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, raft::StorageError> {
        self.0.lock().await.reopen().await.try_get_log_entries(range).await
    }
}

impl RaftLogReader<TypeConfig> for ReopeningLog {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, raft::StorageError> {
        self.0.lock().await.reopen().await.try_get_log_entries(range).await
    }
}

impl RaftLogStorage<TypeConfig> for ReopeningLog {
    type LogReader = ReopeningReader;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, raft::StorageError> {
        self.0.lock().await.reopen().await.get_log_state().await
    }

    async fn get_log_reader(&mut self) -> ReopeningReader {
        ReopeningReader(Arc::clone(&self.0))
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), raft::StorageError> {
        self.0.lock().await.reopen().await.save_vote(vote).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, raft::StorageError> {
        self.0.lock().await.reopen().await.read_vote().await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), raft::StorageError> {
        self.0.lock().await.reopen().await.save_committed(committed).await
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, raft::StorageError> {
        self.0.lock().await.reopen().await.read_committed().await
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<TypeConfig>,
    ) -> Result<(), raft::StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.0.lock().await.reopen().await.append(entries, callback).await
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), raft::StorageError> {
        self.0.lock().await.reopen().await.truncate(log_id).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), raft::StorageError> {
        self.0.lock().await.reopen().await.purge(log_id).await
    }
}

struct Reopened(Arc<AtomicU64>);

impl StoreBuilder<TypeConfig, ReopeningLog, StateMachine, TempDir> for Reopened {
    async fn build(&self) -> Result<(TempDir, ReopeningLog, StateMachine), raft::StorageError> {
        let directory = TempDir::new().unwrap();
        let log = Reopening {
            directory: directory.path().to_owned(),
            open: None,
            reopened: Arc::clone(&self.0),
        };
        let machine = open_machine(directory.path());
        Ok((directory, ReopeningLog(Arc::new(tokio::sync::Mutex::new(log))), machine))
    }
}

#[test]
fn openraft_suite_passes_with_the_database_reopened_before_every_operation() {
    let reopened = Arc::new(AtomicU64::new(0));
    Suite::test_all(Reopened(Arc::clone(&reopened))).unwrap();
    assert!(reopened.load(Ordering::Relaxed) > 100);
}

#[tokio::test]
async fn large_entries_survive_a_restart_and_leave_no_file_of_their_own() {
    let directory = TempDir::new().unwrap();
    let (mut log, thread) = open_log(directory.path());
    let entries: Vec<_> =
        [10, PART_BYTES, 3 * 1024 * 1024, 0].iter().zip(0..).map(|(n, i)| entry(i, *n)).collect();
    log.blocking_append(entries.clone()).await.unwrap();
    let blobs = directory.path().join(STORE_DIR).join("blobs");
    assert_eq!(std::fs::read_dir(&blobs).unwrap().count(), 0, "sled does not sync those");
    drop(log);
    thread.join().unwrap();
    let backend = SledBackend::open(&directory.path().join(STORE_DIR)).unwrap();
    assert_eq!(verify(&backend).unwrap().last, Some(log_id(1, 3)));
    let read = read_entries(&backend, 0, 10, usize::MAX).unwrap();
    let texts = |entries: &[Entry]| serde_json::to_string(entries).unwrap();
    assert_eq!(texts(&read), texts(&entries));
}

#[tokio::test]
async fn message_to_a_follower_is_bounded_but_never_empty() {
    let directory = TempDir::new().unwrap();
    let (mut log, _thread) = open_log(directory.path());
    let entries = (0..40).map(|index| entry(index, 100 * 1024));
    log.blocking_append(entries.collect::<Vec<_>>()).await.unwrap();
    log.blocking_append([entry(40, 2 * READ_MAX_BYTES)]).await.unwrap();
    // From memory and from disk alike.
    for mut log in [log.clone(), LogStore { tail: Arc::default(), ..log }] {
        let some = log.limited_get_log_entries(30, 41).await.unwrap();
        assert!((2..11).contains(&some.len()), "{} entries", some.len());
        let one = log.limited_get_log_entries(40, 41).await.unwrap();
        assert_eq!(one.len(), 1);
        let all = log.try_get_log_entries(0..=40).await.unwrap();
        assert_eq!(all.len(), 41);
    }
}

#[tokio::test]
async fn interrupted_purge_is_finished_when_opened() {
    let directory = TempDir::new().unwrap();
    let (mut log, thread) = open_log(directory.path());
    log.blocking_append((0..10).map(|index| entry(index, 10)).collect::<Vec<_>>()).await.unwrap();
    // The first half of a purge: what the log starts after is stored, the entries are still there.
    log.writer
        .write_durably(vec![put_json(Tree::Meta, PURGED, &log_id(1, 4)).unwrap()])
        .await
        .unwrap();
    drop(log);
    thread.join().unwrap();
    let backend = SledBackend::open(&directory.path().join(STORE_DIR)).unwrap();
    let found = verify(&backend).unwrap();
    assert_eq!((found.purged, found.last), (Some(log_id(1, 4)), Some(log_id(1, 9))));
    let first = read_entries(&backend, 0, 100, usize::MAX).unwrap()[0].log_id;
    assert_eq!(first, log_id(1, 5));
}

/// A change to what is stored, made behind the store's back.
fn tampered(tamper: impl Fn(&dyn Backend)) -> StorageError {
    let directory = TempDir::new().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut log, thread) = open_log(directory.path());
    runtime.block_on(async {
        let entries = (0..10).map(|index| entry(index, 20_000));
        log.blocking_append(entries.collect::<Vec<_>>()).await.unwrap();
        log.save_vote(&Vote::new(3, 1)).await.unwrap();
    });
    drop((log, runtime));
    thread.join().unwrap();
    let backend = SledBackend::open(&directory.path().join(STORE_DIR)).unwrap();
    verify(&backend).expect("it is fine before");
    tamper(&backend);
    verify(&backend).expect_err("the damage is not noticed")
}

fn rewrite(backend: &dyn Backend, tree: Tree, key: &[u8], change: impl Fn(&mut Vec<u8>)) {
    let mut value = backend.get(tree, key).unwrap().unwrap();
    change(&mut value);
    let changes = vec![Change::Insert(key.to_vec(), value)];
    backend.write(Batch { tree, changes }).unwrap();
}

#[test]
fn flipped_bit_in_an_entry_is_noticed() {
    let error = tampered(|b| rewrite(b, Tree::Log, &part_key(4, 1), |value| value[100] ^= 1));
    assert!(matches!(&error, StorageError::Corrupt(why) if why.contains("checksum")), "{error}");
}

#[test]
fn flipped_bit_in_the_vote_is_noticed() {
    let error = tampered(|b| rewrite(b, Tree::Vote, VOTE, |value| value[7] ^= 1));
    assert!(matches!(error, StorageError::Corrupt(_)), "{error}");
}

#[test]
fn missing_entry_is_noticed() {
    let remove = |b: &dyn Backend, parts: &[u16]| {
        let changes = parts.iter().map(|p| Change::Remove(part_key(4, *p).to_vec())).collect();
        b.write(Batch { tree: Tree::Log, changes }).unwrap();
    };
    for parts in [&[0, 1][..], &[0], &[1]] {
        let error = tampered(|b| remove(b, parts));
        assert!(matches!(error, StorageError::Corrupt(_)), "{error}");
    }
}

#[test]
fn entry_in_anothers_place_is_noticed() {
    let error = tampered(|b| {
        let value = b.get(Tree::Log, &part_key(4, 0)).unwrap().unwrap();
        rewrite(b, Tree::Log, &part_key(5, 0), |other| other.clone_from(&value));
    });
    assert!(matches!(error, StorageError::Corrupt(_)), "{error}");
}

#[tokio::test]
async fn machine_starts_from_its_snapshot() {
    let directory = TempDir::new().unwrap();
    let mut machine = open_machine(directory.path());
    let blank = Entry { log_id: log_id(2, 7), payload: openraft::EntryPayload::Blank };
    machine.apply([blank]).await.unwrap();
    let mut builder = machine.get_snapshot_builder().await;
    let built = openraft::RaftSnapshotBuilder::build_snapshot(&mut builder).await.unwrap();
    let mut again = open_machine(directory.path());
    assert_eq!(
        again.applied_state().await.unwrap(),
        (Some(log_id(2, 7)), StoredMembership::default())
    );
    assert_eq!(again.get_current_snapshot().await.unwrap().unwrap().meta, built.meta);
}
