//! Snapshots on disk: the newest one, in a file of its own.
//!
//! ```text
//! snapshots/00000000000000001234.snapshot      (the envelope of `codec`, key "snapshot")
//!   u32 LE length of meta │ meta, JSON │ data, JSON {"format","version","state"}
//! ```
//!
//! Invariant: a file under its final name is whole and synced; the one before is removed only then,
//! and a newer one never gives way to an older. One is made while another arrives from the leader:
//! they take turns.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ballast_model::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::sled_backend::{create_private_dir, sync_directory};
use super::{StorageError, codec};
use crate::keys::random_id;
use crate::raft::SnapshotMeta;

const KEY: &[u8] = b"snapshot";
const SUFFIX: &str = ".snapshot";
const UNFINISHED_SUFFIX: &str = ".unfinished";

/// What the data says it is.
const FORMAT: &str = "ballast-state";
/// The version of the data that is written now.
const VERSION: u32 = 1;
/// `MIGRATIONS[i]` makes the state of version `i + 2` from that of version `i + 1`.
const MIGRATIONS: [fn(Value) -> Value; VERSION as usize - 1] = [];

/// Where snapshots are. Clones share the turn.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotFiles {
    directory: PathBuf,
    turn: Arc<Mutex<()>>,
}

/// A snapshot: what it covers, and the state as JSON.
pub(crate) struct Stored {
    pub(crate) meta: SnapshotMeta,
    pub(crate) data: Vec<u8>,
}

#[derive(Serialize)]
struct DataOut<'a> {
    format: &'a str,
    version: u32,
    state: &'a State,
}

#[derive(Deserialize)]
struct DataIn {
    format: String,
    version: u32,
    state: Box<RawValue>,
}

/// The state as a snapshot's data.
pub(crate) fn encode_state(state: &State) -> Result<Vec<u8>, StorageError> {
    serde_json::to_vec(&DataOut { format: FORMAT, version: VERSION, state })
        .map_err(|e| StorageError::corrupt(format!("the state can't be written: {e}")))
}

/// The state that a snapshot's data holds, migrated from older versions.
pub(crate) fn decode_state(data: &[u8]) -> Result<State, StorageError> {
    let unreadable = |e| StorageError::corrupt(format!("the snapshot can't be read: {e}"));
    let data: DataIn = serde_json::from_slice(data).map_err(unreadable)?;
    if data.format != FORMAT {
        return Err(StorageError::corrupt(format!("the snapshot is a {:?}", data.format)));
    }
    if data.version > VERSION {
        return Err(StorageError::Newer(format!("the snapshot has version {}", data.version)));
    }
    if data.version == VERSION {
        return serde_json::from_str(data.state.get()).map_err(unreadable);
    }
    let mut state: Value = serde_json::from_str(data.state.get()).map_err(unreadable)?;
    for migrate in &MIGRATIONS[data.version.saturating_sub(1) as usize..] {
        state = migrate(state);
    }
    serde_json::from_value(state).map_err(unreadable)
}

impl SnapshotFiles {
    /// Uses `directory`, making it where it is missing.
    pub(crate) fn open(directory: PathBuf) -> Result<Self, StorageError> {
        create_private_dir(&directory)?;
        let files = Self { directory, turn: Arc::default() };
        for path in files.list(UNFINISHED_SUFFIX)? {
            remove(&path)?;
        }
        Ok(files)
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest snapshot.
    pub(crate) fn read(&self) -> Result<Option<Stored>, StorageError> {
        let _turn = self.turn();
        let Some(path) = self.list(SUFFIX)?.pop() else { return Ok(None) };
        let bytes =
            fs::read(&path).map_err(|e| StorageError::io(format!("read {}", path.display()), e))?;
        let body = codec::decode(KEY, &bytes).map_err(|e| match e {
            StorageError::Corrupt(why) => {
                StorageError::corrupt(format!("{}: {why}", path.display()))
            }
            other => other,
        })?;
        let cut_off = || StorageError::corrupt(format!("{} is cut off", path.display()));
        let (length, rest) = body.split_first_chunk::<4>().ok_or_else(cut_off)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (meta, data) = rest.split_at_checked(length).ok_or_else(cut_off)?;
        let meta = serde_json::from_slice(meta)
            .map_err(|e| StorageError::corrupt(format!("{} can't be read: {e}", path.display())))?;
        Ok(Some(Stored { meta, data: data.to_vec() }))
    }

    /// Keeps this snapshot instead of any older one; nothing changes where a newer one is there.
    pub(crate) fn write(&self, meta: &SnapshotMeta, data: &[u8]) -> Result<(), StorageError> {
        let index = meta.last_log_id.map_or(0, |id| id.index);
        let path = self.directory.join(format!("{index:020}{SUFFIX}"));
        let unfinished =
            self.directory.join(format!("{index:020}-{}{UNFINISHED_SUFFIX}", random_id()));
        let meta = serde_json::to_vec(meta)
            .map_err(|e| StorageError::corrupt(format!("the snapshot can't be written: {e}")))?;
        let mut body = Vec::with_capacity(4 + meta.len() + data.len());
        body.extend_from_slice(&u32::try_from(meta.len()).unwrap_or(u32::MAX).to_le_bytes());
        body.extend_from_slice(&meta);
        body.extend_from_slice(data);
        let _turn = self.turn();
        let present = self.list(SUFFIX)?;
        // Names sort as the numbers in them do.
        if present.last().is_some_and(|newest| *newest > path) {
            return Ok(());
        }
        write_synced(&unfinished, &codec::encode(KEY, &body))
            .and_then(|()| fs::rename(&unfinished, &path))
            .map_err(|e| StorageError::io(format!("write {}", path.display()), e))?;
        sync_directory(&self.directory)?;
        for older in present.iter().filter(|present| **present < path) {
            remove(older)?;
        }
        Ok(())
    }

    /// Files with that suffix, oldest first.
    fn list(&self, suffix: &str) -> Result<Vec<PathBuf>, StorageError> {
        let failed = |e| StorageError::io(format!("list {}", self.directory.display()), e);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.to_string_lossy().ends_with(suffix) {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn remove(path: &Path) -> Result<(), StorageError> {
    fs::remove_file(path).map_err(|e| StorageError::io(format!("remove {}", path.display()), e))
}

#[cfg(test)]
mod tests;
