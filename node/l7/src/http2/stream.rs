//! One stream of HTTP/2 as a stream of bytes that speaks HTTP/1.1: what an exchange reads from it is
//! a request, what it writes to it becomes the response.
//!
//! ```text
//!  HEADERS ──► request head (written by who accepts the stream)
//!  DATA    ──► Upload   ──► content, or chunks with the trailer section ──► poll_read
//!  HEADERS ◄── Download ◄── response head, content or chunks            ◄── poll_write
//!  DATA
//! ```
//! Invariant: a window is opened again only for what was read here, and nothing is taken from a
//! writer that the client's window has no room for: memory is bounded by the windows and one buffer.

mod download;
mod upload;

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use ballast_telemetry::FailureReason;
use bytes::Buf;
use h2::{Reason, RecvStream, server::SendResponse};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::download::Download;
use self::upload::Upload;
use super::request::Written;
use crate::peer::Stream;
use crate::worker::HttpWorker;

/// A stream of HTTP/2 that looks like a connection with one request.
pub(crate) struct H2Stream {
    upload: Upload,
    download: Download,
    reset: Cell<Option<Reason>>,
}

impl H2Stream {
    /// `last_headers` counts the HEADERS that end a stream.
    pub(super) fn new(
        worker: Rc<HttpWorker>,
        body: RecvStream,
        respond: SendResponse<Piece>,
        written: &Written,
        last_headers: Rc<Cell<u64>>,
    ) -> Self {
        Self {
            upload: Upload::new(body, written.framing),
            download: Download::new(worker, respond, written, last_headers),
            reset: Cell::new(None),
        }
    }

    /// Notes that the exchange is over: a response that is not whole is broken off.
    pub(super) fn finish(&self) {
        if !self.download.is_done() {
            self.reset.set(Some(Reason::INTERNAL_ERROR));
        }
    }
}

impl Drop for H2Stream {
    fn drop(&mut self) {
        if let Some(reason) = self.reset.get() {
            self.download.reset(reason);
        }
    }
}

impl Stream for H2Stream {
    fn reset_on_drop(&self) {
        if self.reset.get().is_none() {
            self.reset.set(Some(Reason::INTERNAL_ERROR));
        }
    }

    fn blame(&self, reason: FailureReason) {
        self.reset.set(Some(match reason {
            FailureReason::BadRequestFraming => Reason::PROTOCOL_ERROR,
            FailureReason::ClientTooSlow
            | FailureReason::ClientWriteTimeout
            | FailureReason::DeadlineExceeded => Reason::CANCEL,
            _ => Reason::INTERNAL_ERROR,
        }));
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.download.poll_gone(cx)
    }
}

impl AsyncRead for H2Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.upload.poll_read(cx, buf)
    }
}

impl AsyncWrite for H2Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.download.poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection sends what its streams have when all of them had their turn.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.download.end())
    }
}

/// What a peer did that HTTP/2 does not allow; an exchange tells it from a connection that failed.
fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Content on its way out, in storage of the worker's.
pub(super) struct Piece {
    storage: Box<[u8]>,
    start: usize,
    end: usize,
    worker: Rc<HttpWorker>,
}

impl Piece {
    /// The first bytes of `content`, as many as fit.
    fn of(worker: &Rc<HttpWorker>, content: &[u8]) -> Self {
        let mut storage = if content.is_empty() { Box::default() } else { worker.buffers.take() };
        let end = content.len().min(storage.len());
        storage[..end].copy_from_slice(&content[..end]);
        Self { storage, start: 0, end, worker: Rc::clone(worker) }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.worker.buffers.give(std::mem::take(&mut self.storage));
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.end - self.start
    }

    fn chunk(&self) -> &[u8] {
        &self.storage[self.start..self.end]
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.remaining(), "advanced beyond the end");
        self.start += count;
    }
}
