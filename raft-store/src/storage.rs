//! What a node keeps on disk: the log, the vote, snapshots.
//!
//! ```text
//! openraft ── LogStore ── WriteThread ── Backend (sled)      <state>/store/db, …
//!          └─ StateMachine ── SnapshotFile                   <state>/store/snapshots/
//! ```
//!
//! Invariant: whoever is told that something is stored can rely on it after a loss of power. Every
//! value carries a version and a checksum, and [`open`] goes over all of them before anything is
//! used; what does not hold is never guessed at, see [`quarantine`].

pub(crate) mod backend;
pub(crate) mod codec;
pub(crate) mod log;
pub(crate) mod machine;
pub(crate) mod quarantine;
pub(crate) mod sled_backend;
pub(crate) mod snapshot_file;
pub(crate) mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use self::backend::Backend;
use self::log::LogStore;
use self::machine::StateMachine;
use self::sled_backend::SledBackend;
use self::snapshot_file::SnapshotFiles;
use self::writer::{Sequence, Writer};

/// The database and the snapshots.
pub(crate) const STORE_DIR: &str = "store";
/// The count of flushes beside the database, see [`Sequence`].
pub(crate) const SEQUENCE_FILE: &str = "store-sequence";

/// Why what is stored can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// It is damaged: it must not be used again.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// It is fine as far as one can tell, but can't be read or written now.
    #[error("the store can't be used now: {what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A newer version wrote it.
    #[error("the store was written by a newer version: {0}")]
    Newer(String),
}

impl StorageError {
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt(what.into())
    }
}

impl From<StorageError> for io::Error {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Io { source, .. } => source,
            other => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}

/// Everything that is stored, checked and ready.
pub(crate) struct Opened {
    pub(crate) log: LogStore,
    pub(crate) machine: StateMachine,
    /// Ends when the last clone of `log` is gone; the database is closed then.
    pub(crate) writer_thread: JoinHandle<()>,
}

/// Opens what is stored in `state_dir` and checks all of it. Blocks.
///
/// # Errors
/// [`StorageError::Corrupt`] where something is damaged or has been lost.
pub(crate) fn open(state_dir: &Path) -> Result<Opened, StorageError> {
    let directory = state_dir.join(STORE_DIR);
    let backend = Arc::new(SledBackend::open(&directory)?);
    open_with(backend, &state_dir.join(SEQUENCE_FILE), directory.join("snapshots"))
}

/// The same over any database.
pub(crate) fn open_with(
    backend: Arc<dyn Backend>,
    sequence: &Path,
    snapshots: PathBuf,
) -> Result<Opened, StorageError> {
    let sequence = Sequence::open(backend.as_ref(), sequence)?;
    let found = log::verify(backend.as_ref())?;
    let machine = StateMachine::open(SnapshotFiles::open(snapshots)?)?;
    machine.check_against(&found)?;
    let (writer, writer_thread) = Writer::start(Arc::clone(&backend), sequence)?;
    Ok(Opened { log: LogStore::new(backend, writer), machine, writer_thread })
}
