//! sled 0.34 as a [`Backend`], with what it lacks made good here.
//!
//! - Its flush ends in `sync_file_range`, which orders neither the file's size nor the disk's own
//!   cache; [`Backend::flush`] therefore adds an `fdatasync` of the same file.
//! - Values too large for a page go to files of their own that are never synced; pages are large
//!   and values small enough here ([`VALUE_MAX_BYTES`]) that this does not happen.
//! - A `snap.*.generating` left by a killed process is taken for a snapshot and stops it from
//!   opening; such leftovers are removed before.
//! - It may panic on damaged files; that is caught and taken for the damage that it is.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::StorageError;
use super::backend::{Backend, Batch, Change, Pair, Tree, Visit};

/// Size of sled's segments. A page above a quarter of that would leave the log for an unsynced file
/// of its own, and a page holds up to 20 values.
const SEGMENT_BYTES: usize = 2 * 1024 * 1024;
/// The largest value that may be written.
pub(crate) const VALUE_MAX_BYTES: usize = 16 * 1024;
const CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// How long to wait for a process that is just ending to let go of the files.
const LOCK_WAIT: Duration = Duration::from_secs(3);
const LOCK_RETRY: Duration = Duration::from_millis(50);

/// sled's data file, and its directory of values too large for a page.
const DATA_FILE: &str = "db";
const LEFTOVER_SUFFIXES: [&str; 2] = [".generating", ".in___motion"];

/// An open sled database.
pub(crate) struct SledBackend {
    log: sled::Tree,
    meta: sled::Tree,
    vote: sled::Tree,
    db: sled::Db,
    data_file: File,
}

impl SledBackend {
    /// Opens the database in `directory`, or makes it. Blocks.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] where sled finds damage, [`StorageError::Io`] where the files are
    /// in use or the disk refuses.
    pub(crate) fn open(directory: &Path) -> Result<Self, StorageError> {
        create_private_dir(directory)?;
        remove_leftovers(directory)?;
        let db = open_db(directory)?;
        let open_tree = |name: &str| guarded("open a tree", || db.open_tree(name));
        let (log, meta, vote) = (open_tree("log")?, open_tree("meta")?, open_tree("vote")?);
        let path = directory.join(DATA_FILE);
        let data_file = File::options()
            .write(true)
            .open(&path)
            .map_err(|e| StorageError::io(format!("open {}", path.display()), e))?;
        let backend = Self { log, meta, vote, db, data_file };
        backend.flush()?;
        sync_directory(directory)?;
        Ok(backend)
    }

    fn tree(&self, tree: Tree) -> &sled::Tree {
        match tree {
            Tree::Log => &self.log,
            Tree::Meta => &self.meta,
            Tree::Vote => &self.vote,
        }
    }
}

impl Backend for SledBackend {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        guarded("read a value", || Ok(self.tree(tree).get(key)?.map(|value| value.to_vec())))
    }

    fn scan(&self, tree: Tree, from: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError> {
        let mut pairs = self.tree(tree).range(from..);
        while let Some((key, value)) = guarded("read the log", || pairs.next().transpose())? {
            if !visit(&key, &value)? {
                break;
            }
        }
        Ok(())
    }

    fn last(&self, tree: Tree) -> Result<Option<Pair>, StorageError> {
        guarded("read the end of the log", || {
            Ok(self.tree(tree).last()?.map(|(key, value)| (key.to_vec(), value.to_vec())))
        })
    }

    fn write(&self, batch: Batch) -> Result<(), StorageError> {
        let mut changes = sled::Batch::default();
        for change in batch.changes {
            match change {
                Change::Insert(key, value) => {
                    debug_assert!(value.len() <= VALUE_MAX_BYTES);
                    changes.insert(key, value);
                }
                Change::Remove(key) => changes.remove(key),
            }
        }
        guarded("write", || self.tree(batch.tree).apply_batch(changes))
    }

    fn flush(&self) -> Result<(), StorageError> {
        guarded("flush", || self.db.flush())?;
        self.data_file.sync_data().map_err(|e| StorageError::io("sync the data file", e))
    }
}

fn open_db(directory: &Path) -> Result<sled::Db, StorageError> {
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        let opened = guarded("open the database", || {
            sled::Config::new()
                .path(directory)
                .segment_size(SEGMENT_BYTES)
                .cache_capacity(CACHE_BYTES)
                .flush_every_ms(None)
                .open()
        });
        match opened {
            Err(StorageError::Io { source, .. })
                if is_lock_failure(&source) && Instant::now() < deadline =>
            {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "sled offers no way to wait for its lock, and this thread may block"
                )]
                std::thread::sleep(LOCK_RETRY);
            }
            other => return other,
        }
    }
}

/// sled reports a held lock as an error without a kind.
fn is_lock_failure(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Other && error.to_string().contains("could not acquire lock")
}

fn remove_leftovers(directory: &Path) -> Result<(), StorageError> {
    let failed = |e| StorageError::io(format!("list {}", directory.display()), e);
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path: PathBuf = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("snap.") && LEFTOVER_SUFFIXES.iter().any(|s| name.ends_with(s)) {
            tracing::info!(file = name, "removing what an interrupted start left behind");
            fs::remove_file(&path)
                .map_err(|e| StorageError::io(format!("remove {}", path.display()), e))?;
        }
    }
    Ok(())
}

/// Makes a directory that only its owner may enter.
pub(crate) fn create_private_dir(directory: &Path) -> Result<(), StorageError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|e| StorageError::io(format!("make {}", directory.display()), e))
}

/// Makes names that were created, renamed or removed in `directory` durable.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), StorageError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|e| StorageError::io(format!("sync {}", directory.display()), e))
}

/// Runs a call into sled; a panic of it is damage.
fn guarded<T>(what: &str, call: impl FnOnce() -> sled::Result<T>) -> Result<T, StorageError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(classify(what, error)),
        Err(_panic) => Err(StorageError::corrupt(format!("sled panicked when asked to {what}"))),
    }
}

fn classify(what: &str, error: sled::Error) -> StorageError {
    match error {
        sled::Error::Io(source)
            if !matches!(
                source.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData
            ) =>
        {
            StorageError::io(what, source)
        }
        other => StorageError::corrupt(format!("sled can't {what}: {other}")),
    }
}

#[cfg(test)]
mod tests;
