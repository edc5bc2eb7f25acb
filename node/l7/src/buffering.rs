//! Memory for messages that are held here instead of keeping a member busy, and who holds how much.
//!
//! Invariant: every byte that is held is leased, from its connection and from its worker; a lease that
//! goes gives back what it has. Virtual servers that hold nothing touch nothing here.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use crate::buffer::{BUFFER_BYTES, Buffer, BufferPool};
use crate::connection::Session;
use crate::peer::{Peer, Stream};

/// What all connections of a worker may hold together unless told otherwise, in bytes.
pub(crate) const WORKER_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Room in a buffer below which the next one is begun: that of a chunk's framing and some content.
const ROOM_MIN_BYTES: usize = 256;

/// What is held on all workers, and what became of messages that were.
#[derive(Debug, Default)]
pub struct BufferingTotals {
    held_bytes: AtomicU64,
    whole_requests: AtomicU64,
    large_requests: AtomicU64,
    early_releases: AtomicU64,
    refused: AtomicU64,
}

impl BufferingTotals {
    /// What is held now, in bytes.
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Relaxed)
    }

    /// Requests that were taken whole before a member was chosen.
    pub fn whole_requests(&self) -> u64 {
        self.whole_requests.load(Relaxed)
    }

    /// Requests that turned out to be larger than may be held, and were passed on as they came.
    pub fn large_requests(&self) -> u64 {
        self.large_requests.load(Relaxed)
    }

    /// Responses whose member was free before their client had them.
    pub fn early_releases(&self) -> u64 {
        self.early_releases.load(Relaxed)
    }

    /// Messages that were passed on as they came because their connection, or their worker, held as much
    /// as it may.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }
}

/// What the connections of one worker hold together.
#[derive(Debug)]
pub(crate) struct Budget {
    held_bytes: Cell<usize>,
    max_bytes: usize,
    totals: Arc<BufferingTotals>,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(WORKER_MAX_BYTES, Arc::default())
    }
}

impl Budget {
    pub(crate) fn new(max_bytes: usize, totals: Arc<BufferingTotals>) -> Self {
        Self { held_bytes: Cell::new(0), max_bytes, totals }
    }

    pub(crate) fn count_whole_request(&self) {
        self.totals.whole_requests.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_large_request(&self) {
        self.totals.large_requests.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_early_release(&self) {
        self.totals.early_releases.fetch_add(1, Relaxed);
    }
}

/// What one message holds.
#[derive(Debug)]
pub(crate) struct Lease<'a> {
    session: &'a Session,
    held_bytes: usize,
    was_refused: bool,
}

impl<'a> Lease<'a> {
    pub(crate) fn new(session: &'a Session) -> Self {
        Self { session, held_bytes: 0, was_refused: false }
    }

    /// Whether so many bytes more may be held; they are from now on.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let (budget, connection) = (&self.session.worker.budget, self.session.held_bytes());
        let connection_max_bytes = self.session.server.http.buffering.connection_max_bytes;
        let (of_worker, of_connection) =
            (budget.held_bytes.get() + bytes, connection.get() + bytes);
        if of_worker > budget.max_bytes || of_connection > connection_max_bytes as usize {
            if !self.was_refused {
                self.was_refused = true;
                budget.totals.refused.fetch_add(1, Relaxed);
            }
            return false;
        }
        budget.held_bytes.set(of_worker);
        connection.set(of_connection);
        budget.totals.held_bytes.fetch_add(bytes as u64, Relaxed);
        self.held_bytes += bytes;
        true
    }

    /// Whether more was asked for than there was.
    pub(crate) fn was_refused(&self) -> bool {
        self.was_refused
    }

    /// Gives back so many bytes of those that are held.
    fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.held_bytes);
        let (budget, connection) = (&self.session.worker.budget, self.session.held_bytes());
        budget.held_bytes.set(budget.held_bytes.get() - bytes);
        connection.set(connection.get() - bytes);
        budget.totals.held_bytes.fetch_sub(bytes as u64, Relaxed);
        self.held_bytes -= bytes;
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.shrink(self.held_bytes);
    }
}

/// What a client has not taken yet of a response, behind what stands in its output.
#[derive(Debug)]
pub(crate) struct Backlog<'a> {
    lease: Lease<'a>,
    pieces: VecDeque<Buffer>,
    /// Buffers that there may be at once.
    max_count: usize,
    /// Whether there was no room when it was last asked for.
    is_full: bool,
}

impl<'a> Backlog<'a> {
    pub(crate) fn new(session: &'a Session, max_bytes: u32) -> Self {
        let max_count = (max_bytes as usize).div_ceil(BUFFER_BYTES);
        Self { lease: Lease::new(session), pieces: VecDeque::new(), max_count, is_full: false }
    }

    /// Whether it has taken all that it may: the member waits for the client.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Where what comes next is put; none where it holds as much as it may.
    pub(crate) fn space(&mut self, buffers: &BufferPool) -> Option<&mut Buffer> {
        let has_room = self.pieces.back().is_some_and(|piece| piece.free() >= ROOM_MIN_BYTES);
        if !has_room {
            self.is_full = self.pieces.len() >= self.max_count || !self.lease.grow(BUFFER_BYTES);
            if self.is_full {
                return None;
            }
            let mut piece = Buffer::default();
            piece.acquire(buffers);
            self.pieces.push_back(piece);
        }
        self.pieces.back_mut()
    }

    /// What is sent last of all that is held, if anything is.
    pub(crate) fn last(&mut self) -> Option<&mut Buffer> {
        self.pieces.back_mut()
    }

    /// Sends what stands in the output, and what is held behind it.
    pub(crate) fn poll_flush<S: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Peer<S>,
        buffers: &BufferPool,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(to.poll_flush(cx))?;
            let Some(piece) = self.pieces.pop_front() else { return Poll::Ready(Ok(())) };
            to.output.release(buffers);
            to.output = piece;
            self.is_full = false;
            self.lease.shrink(BUFFER_BYTES);
        }
    }
}
