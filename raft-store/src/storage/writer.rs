//! The one thread that writes: everything that is durable goes through it, in order.
//!
//! ```text
//! append ─┐            ┌─ write a, write b, write c ─ flush once ─ tell a, b, c ─┐
//! vote ───┼─► queue ──►│                                                        │◄─ next group
//! purge ──┘            └────────────────────────────────────────────────────────┘
//! ```
//!
//! Invariant: requests take effect in the order in which they were queued, and after a failure
//! nothing is written any more: a disk that has refused to sync once can't be trusted later.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::backend::{Backend, Batch, Change, Tree};
use super::sled_backend::sync_directory;
use super::{StorageError, codec};

/// Requests that wait for the thread. openraft sends the next only when it can go on.
const QUEUE_MAX_COUNT: usize = 256;
/// Requests that share one flush.
const GROUP_MAX_COUNT: usize = 64;
const SEQUENCE_KEY: &[u8] = b"flush-sequence";

type Reply = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Something to write.
struct Request {
    batches: Vec<Batch>,
    /// Told as soon as reads see it.
    written: Option<oneshot::Sender<()>>,
    /// Told as soon as it is durable. None: it may become so with the next request that must.
    flushed: Option<Reply>,
}

/// Queues writes for the thread. Cloning is cheap; the thread ends when the last clone is gone.
#[derive(Clone)]
pub(crate) struct Writer {
    requests: mpsc::Sender<Request>,
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(
        backend: Arc<dyn Backend>,
        sequence: Sequence,
    ) -> Result<(Self, thread::JoinHandle<()>), StorageError> {
        let (requests, queue) = mpsc::channel(QUEUE_MAX_COUNT);
        let thread = thread::Builder::new()
            .name("raft-store-write".to_owned())
            .spawn(move || run(backend.as_ref(), sequence, queue))
            .map_err(|e| StorageError::io("start the writing thread", e))?;
        Ok((Self { requests }, thread))
    }

    /// Writes and returns when that is durable.
    pub(crate) async fn write_durably(&self, batches: Vec<Batch>) -> io::Result<()> {
        let (tell, told) = oneshot::channel();
        let flushed: Reply = Box::new(move |result| {
            // Nobody is left to tell where the caller was cancelled.
            let _ = tell.send(result);
        });
        self.send(Request { batches, written: None, flushed: Some(flushed) }).await?;
        told.await.map_err(|_| stopped())?
    }

    /// Writes and returns when reads see it; calls `flushed` when it is durable.
    pub(crate) async fn write_then(
        &self,
        batches: Vec<Batch>,
        flushed: impl FnOnce(io::Result<()>) + Send + 'static,
    ) -> io::Result<()> {
        let (tell, told) = oneshot::channel();
        let request = Request { batches, written: Some(tell), flushed: Some(Box::new(flushed)) };
        self.send(request).await?;
        // On failure `flushed` has been told why.
        told.await.map_err(|_| stopped())
    }

    /// Writes without waiting for durability.
    pub(crate) async fn write_lazily(&self, batches: Vec<Batch>) -> io::Result<()> {
        let (tell, told) = oneshot::channel();
        self.send(Request { batches, written: Some(tell), flushed: None }).await?;
        told.await.map_err(|_| stopped())
    }

    async fn send(&self, request: Request) -> io::Result<()> {
        self.requests.send(request).await.map_err(|_| stopped())
    }
}

fn stopped() -> io::Error {
    io::Error::other("the store's writing thread has stopped")
}

fn run(backend: &dyn Backend, mut sequence: Sequence, mut queue: mpsc::Receiver<Request>) {
    while let Some(first) = queue.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP_MAX_COUNT {
            let Ok(next) = queue.try_recv() else { break };
            group.push(next);
        }
        if let Err(error) = write_group(backend, &mut sequence, &mut group) {
            tracing::error!(%error, "the store can't be written any more");
            let error = io::Error::from(error);
            let told = group.into_iter().filter_map(|request| request.flushed);
            told.for_each(|tell| tell(Err(io::Error::new(error.kind(), error.to_string()))));
            queue.close();
            while let Some(request) = queue.blocking_recv() {
                if let Some(tell) = request.flushed {
                    tell(Err(stopped()));
                }
            }
            return;
        }
        group.into_iter().filter_map(|request| request.flushed).for_each(|tell| tell(Ok(())));
    }
    if let Err(error) = sequence.advance(backend) {
        tracing::error!(%error, "the store's last writes may not be durable");
    }
}

fn write_group(
    backend: &dyn Backend,
    sequence: &mut Sequence,
    group: &mut [Request],
) -> Result<(), StorageError> {
    for request in group.iter_mut() {
        for batch in request.batches.drain(..) {
            backend.write(batch)?;
        }
        if let Some(tell) = request.written.take() {
            let _ = tell.send(());
        }
    }
    if group.iter().any(|request| request.flushed.is_some()) {
        sequence.advance(backend)?;
    }
    Ok(())
}

/// Counts flushes inside the database and beside it.
///
/// A database that lost its tail may open as if nothing had happened: it goes back to the newest
/// state that it finds whole. The count beside it, written after each flush, then is ahead of the
/// one inside. It needs no sync of its own: after a loss of power it may lag, and then shows less,
/// but never shows damage where there is none.
pub(crate) struct Sequence {
    beside: File,
    next: u64,
}

impl Sequence {
    /// Compares both counts.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] where the database has lost what it had flushed.
    pub(crate) fn open(backend: &dyn Backend, path: &Path) -> Result<Self, StorageError> {
        let failed = |e| StorageError::io(format!("open {}", path.display()), e);
        let beside = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        let outside = read_beside(&beside).map_err(failed)?;
        let inside = match backend.get(Tree::Meta, SEQUENCE_KEY)? {
            None => 0,
            Some(value) => decode(&value)?,
        };
        if outside > inside {
            return Err(StorageError::corrupt(format!(
                "it went back to its flush {inside}, but has confirmed flush {outside}: \
                 acknowledged writes are lost"
            )));
        }
        let mut sequence = Self { beside, next: inside + 1 };
        sequence.advance(backend)?;
        sequence.beside.sync_all().map_err(failed)?;
        if let Some(directory) = path.parent() {
            sync_directory(directory)?;
        }
        Ok(sequence)
    }

    /// Flushes everything written so far.
    fn advance(&mut self, backend: &dyn Backend) -> Result<(), StorageError> {
        let value = codec::encode(SEQUENCE_KEY, &self.next.to_be_bytes());
        let changes = vec![Change::Insert(SEQUENCE_KEY.to_vec(), value.clone())];
        backend.write(Batch { tree: Tree::Meta, changes })?;
        backend.flush()?;
        self.beside
            .write_all_at(&value, 0)
            .map_err(|e| StorageError::io("write the flush sequence", e))?;
        self.next += 1;
        Ok(())
    }
}

fn read_beside(file: &File) -> io::Result<u64> {
    let mut value = [0; codec::OVERHEAD_BYTES + size_of::<u64>()];
    match file.read_exact_at(&mut value, 0) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
        other => other?,
    }
    Ok(decode(&value).unwrap_or_else(|error| {
        // Torn by a loss of power: it says nothing about the database.
        tracing::warn!(%error, "the flush sequence beside the store can't be read; starting anew");
        0
    }))
}

fn decode(value: &[u8]) -> Result<u64, StorageError> {
    let body = codec::decode(SEQUENCE_KEY, value)?;
    let count =
        body.try_into().map_err(|_| StorageError::corrupt("a flush sequence is cut off"))?;
    Ok(u64::from_be_bytes(count))
}

#[cfg(test)]
mod tests;
