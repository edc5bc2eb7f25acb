//! The log and the vote: openraft's log storage over a [`Backend`].
//!
//! ```text
//! tree   key                          value (in the envelope of `codec`)
//! log    index, u64 BE │ part, u16 BE  1 byte "last part" │ a part of the entry's JSON
//! meta   "purged", "committed"        JSON of a log id
//! vote   "vote"                       JSON of the vote
//! ```
//!
//! Invariant: the log has no hole, and starts right after `purged`.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{AnyError, OptionalSend, RaftLogReader};
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::tail::Tail;
use super::backend::{Backend, Batch, Change, Tree};
use super::sled_backend::VALUE_MAX_BYTES;
use super::writer::Writer;
use super::{StorageError, codec};
use crate::raft::{self, Entry, LogId, StorageIOError, TypeConfig, Vote};

mod tail;

/// Bytes of an entry in one value.
const PART_BYTES: usize = VALUE_MAX_BYTES - codec::OVERHEAD_BYTES - 1;
/// Bytes of entries read for one message to a follower; one entry is read whatever its size.
const READ_MAX_BYTES: usize = 1024 * 1024;
/// Keys removed in one batch.
const REMOVE_MAX_COUNT: usize = 1_024;

const PURGED: &[u8] = b"purged";
const COMMITTED: &[u8] = b"committed";
const VOTE: &[u8] = b"vote";

/// The log of one node. Clones share it.
#[derive(Clone)]
pub(crate) struct LogStore {
    backend: Arc<dyn Backend>,
    writer: Writer,
    tail: Arc<Mutex<Tail>>,
}

/// What [`verify`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) purged: Option<LogId>,
    pub(crate) last: Option<LogId>,
    pub(crate) vote: Option<Vote>,
}

/// Goes over everything that is stored, and finishes a purge that was interrupted.
///
/// # Errors
/// Where a value is damaged or missing.
pub(crate) fn verify(backend: &dyn Backend) -> Result<Found, StorageError> {
    let purged: Option<LogId> = read_json(backend, Tree::Meta, PURGED)?;
    let _: Option<LogId> = read_json(backend, Tree::Meta, COMMITTED)?;
    let vote = read_json(backend, Tree::Vote, VOTE)?;
    if let Some(purged) = purged {
        for batch in removals(backend, 0..=purged.index, false)? {
            backend.write(batch)?;
        }
        backend.flush()?;
    }
    let mut last = purged;
    visit_entries(backend, 0, &mut |entry, _| {
        if let Some(previous) = last
            && entry.log_id.index != previous.index + 1
        {
            return Err(StorageError::corrupt(format!(
                "the log goes from {} to {}",
                previous.index, entry.log_id.index
            )));
        }
        last = Some(entry.log_id);
        Ok(true)
    })?;
    Ok(Found { purged, last, vote })
}

impl LogStore {
    pub(crate) fn new(backend: Arc<dyn Backend>, writer: Writer) -> Self {
        Self { backend, writer, tail: Arc::default() }
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Entries of `range`, as many as fit `max_bytes`, but at least one where there is one.
    async fn read(
        &self,
        start: u64,
        end: u64,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, raft::StorageError> {
        if let Some(entries) = self.tail().read(start, end, max_bytes) {
            return Ok(entries);
        }
        let backend = Arc::clone(&self.backend);
        blocking(move || read_entries(backend.as_ref(), start, end, max_bytes))
            .await
            .map_err(|e| StorageIOError::read_logs(AnyError::new(&e)).into())
    }

    /// Runs `read` where it may wait for the disk.
    async fn with_backend<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Backend) -> Result<T, StorageError> + Send + 'static,
    ) -> io::Result<T> {
        let backend = Arc::clone(&self.backend);
        blocking(move || read(backend.as_ref())).await
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, raft::StorageError> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.read(start, end, usize::MAX).await
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, raft::StorageError> {
        self.read(start, end, READ_MAX_BYTES).await
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, raft::StorageError> {
        let (purged, last) = self
            .with_backend(|backend| {
                let purged: Option<LogId> = read_json(backend, Tree::Meta, PURGED)?;
                Ok((purged, last_log_id(backend)?.or(purged)))
            })
            .await
            .map_err(|e| StorageIOError::read_logs(AnyError::new(&e)))?;
        Ok(LogState { last_purged_log_id: purged, last_log_id: last })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), raft::StorageError> {
        let batch = put_json(Tree::Vote, VOTE, vote);
        let saved = async { self.writer.write_durably(vec![batch?]).await }.await;
        saved.map_err(|e| StorageIOError::write_vote(AnyError::new(&e)).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, raft::StorageError> {
        self.with_backend(|backend| read_json(backend, Tree::Vote, VOTE))
            .await
            .map_err(|e| StorageIOError::read_vote(AnyError::new(&e)).into())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), raft::StorageError> {
        // It spares work after a restart and nothing depends on it, so it waits for the next flush.
        let batch = put_json(Tree::Meta, COMMITTED, &committed);
        let saved = async { self.writer.write_lazily(vec![batch?]).await }.await;
        saved.map_err(|e| StorageIOError::write(AnyError::new(&e)).into())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, raft::StorageError> {
        let read = self
            .with_backend(|backend| read_json::<Option<LogId>>(backend, Tree::Meta, COMMITTED))
            .await;
        read.map(Option::flatten).map_err(|e| StorageIOError::read(AnyError::new(&e)).into())
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
        let entries: Vec<_> = entries.into_iter().collect();
        let batches = encode_entries(&entries);
        let appended = async {
            self.writer.write_then(vec![batches?], |done| callback.log_io_completed(done)).await
        };
        appended.await.map_err(|e| StorageIOError::write_logs(AnyError::new(&e)))?;
        self.tail().append(entries);
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), raft::StorageError> {
        self.tail().truncate(log_id.index);
        let truncated = async {
            let batches = self
                .with_backend(move |backend| removals(backend, log_id.index..=u64::MAX, true))
                .await?;
            self.writer.write_durably(batches).await
        };
        truncated.await.map_err(|e| StorageIOError::write_logs(AnyError::new(&e)).into())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), raft::StorageError> {
        self.tail().purge(log_id.index);
        let purged = async {
            // First what the log starts after, then the entries: cut off in between, `verify`
            // finishes the job.
            let mut batches = vec![put_json(Tree::Meta, PURGED, &log_id)?];
            let removals = self
                .with_backend(move |backend| removals(backend, 0..=log_id.index, false))
                .await?;
            batches.extend(removals);
            self.writer.write_durably(batches).await
        };
        purged.await.map_err(|e| StorageIOError::write_logs(AnyError::new(&e)).into())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(io::Error::from),
        Err(error) => Err(io::Error::other(error)),
    }
}

fn read_json<T: DeserializeOwned>(
    backend: &dyn Backend,
    tree: Tree,
    key: &[u8],
) -> Result<Option<T>, StorageError> {
    let Some(value) = backend.get(tree, key)? else { return Ok(None) };
    let body = codec::decode(key, &value)?;
    serde_json::from_slice(body).map(Some).map_err(|e| {
        StorageError::corrupt(format!("the value under {} can't be read: {e}", key.escape_ascii()))
    })
}

fn put_json(tree: Tree, key: &[u8], value: &impl Serialize) -> io::Result<Batch> {
    let body = serde_json::to_vec(value)?;
    Ok(Batch { tree, changes: vec![Change::Insert(key.to_vec(), codec::encode(key, &body))] })
}

fn encode_entries(entries: &[Entry]) -> io::Result<Batch> {
    let mut changes = Vec::with_capacity(entries.len());
    for entry in entries {
        let json = serde_json::to_vec(entry)?;
        let parts = json.len().div_ceil(PART_BYTES);
        for (part, chunk) in json.chunks(PART_BYTES).enumerate() {
            let number = u16::try_from(part)
                .map_err(|_| io::Error::other("an entry is too large to be stored"))?;
            let key = part_key(entry.log_id.index, number);
            let mut body = Vec::with_capacity(1 + chunk.len());
            body.push(u8::from(part + 1 == parts));
            body.extend_from_slice(chunk);
            changes.push(Change::Insert(key.to_vec(), codec::encode(&key, &body)));
        }
    }
    Ok(Batch { tree: Tree::Log, changes })
}

fn part_key(index: u64, part: u16) -> [u8; 10] {
    let mut key = [0; 10];
    key[..8].copy_from_slice(&index.to_be_bytes());
    key[8..].copy_from_slice(&part.to_be_bytes());
    key
}

fn split_key(key: &[u8]) -> Result<(u64, u16), StorageError> {
    let damaged = || StorageError::corrupt(format!("the log has a key {}", key.escape_ascii()));
    let (index, part) = key.split_first_chunk::<8>().ok_or_else(damaged)?;
    let part = part.try_into().map_err(|_| damaged())?;
    Ok((u64::from_be_bytes(*index), u16::from_be_bytes(part)))
}

/// Calls `visit` with each entry from `start` on and its size, until it returns false.
fn visit_entries(
    backend: &dyn Backend,
    start: u64,
    visit: &mut dyn FnMut(Entry, usize) -> Result<bool, StorageError>,
) -> Result<(), StorageError> {
    let mut json = Vec::new();
    let mut expected: Option<(u64, u16)> = None;
    backend.scan(Tree::Log, &part_key(start, 0), &mut |key, value| {
        let (index, part) = split_key(key)?;
        if (index, part) != expected.unwrap_or((index, 0)) {
            return Err(StorageError::corrupt(format!("entry {index} of the log is incomplete")));
        }
        let body = codec::decode(key, value)?;
        let Some((&is_last, chunk)) = body.split_first() else {
            return Err(StorageError::corrupt(format!("entry {index} of the log is empty")));
        };
        json.extend_from_slice(chunk);
        if is_last == 0 {
            expected = Some((index, part.saturating_add(1)));
            return Ok(true);
        }
        expected = None;
        let entry: Entry = serde_json::from_slice(&json).map_err(|e| {
            StorageError::corrupt(format!("entry {index} of the log can't be read: {e}"))
        })?;
        if entry.log_id.index != index {
            return Err(StorageError::corrupt(format!("entry {index} of the log is another's")));
        }
        let size = std::mem::take(&mut json).len();
        visit(entry, size)
    })?;
    match expected {
        Some((index, _)) if !json.is_empty() => {
            Err(StorageError::corrupt(format!("entry {index} of the log is cut off")))
        }
        _ => Ok(()),
    }
}

fn read_entries(
    backend: &dyn Backend,
    start: u64,
    end: u64,
    max_bytes: usize,
) -> Result<Vec<Entry>, StorageError> {
    let mut entries = Vec::new();
    let mut total_bytes = 0_usize;
    if start >= end {
        return Ok(entries);
    }
    visit_entries(backend, start, &mut |entry, bytes| {
        total_bytes = total_bytes.saturating_add(bytes);
        let index = entry.log_id.index;
        if index >= end || (!entries.is_empty() && total_bytes > max_bytes) {
            return Ok(false);
        }
        entries.push(entry);
        Ok(index + 1 < end && total_bytes < max_bytes)
    })?;
    Ok(entries)
}

fn last_log_id(backend: &dyn Backend) -> Result<Option<LogId>, StorageError> {
    let Some((key, _)) = backend.last(Tree::Log)? else { return Ok(None) };
    let (index, _) = split_key(&key)?;
    let last = read_entries(backend, index, index + 1, usize::MAX)?;
    Ok(last.first().map(|entry| entry.log_id))
}

/// Batches that remove the entries of `range`; from the end where `backwards`, so that no hole is
/// left where only some of them take effect.
fn removals(
    backend: &dyn Backend,
    range: std::ops::RangeInclusive<u64>,
    backwards: bool,
) -> Result<Vec<Batch>, StorageError> {
    let mut keys = Vec::new();
    backend.scan(Tree::Log, &part_key(*range.start(), 0), &mut |key, _| {
        let within = split_key(key)?.0 <= *range.end();
        if within {
            keys.push(key.to_vec());
        }
        Ok(within)
    })?;
    if backwards {
        keys.reverse();
    }
    Ok(keys
        .chunks(REMOVE_MAX_COUNT)
        .map(|keys| Batch {
            tree: Tree::Log,
            changes: keys.iter().cloned().map(Change::Remove).collect(),
        })
        .collect())
}

#[cfg(test)]
mod tests;
