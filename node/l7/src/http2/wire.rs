//! The bytes under an HTTP/2 connection: what frames pass, and that they leave together.
//!
//! The protocol flushes after nearly every frame; here frames wait until the connection has done all
//! it can ([`Wire::poll_flush_all`]), so that the answers of many streams cost one system call.
//!
//! Invariant: at most one buffer of output waits; what is larger goes straight to the stream.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use ballast_telemetry::FailureReason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::watch::FrameWatch;
use crate::buffer::{BUFFER_BYTES, Buffer};
use crate::peer::Stream;
use crate::worker::HttpWorker;

/// Most pieces of output that are written in one call: our own buffer, and what the protocol gives.
const SLICE_MAX_COUNT: usize = 8;

/// A connection's stream, shared by the protocol and the connection that drives it.
pub(super) struct Wire<S>(Rc<RefCell<Inner<S>>>);

struct Inner<S> {
    stream: S,
    /// Came before the protocol was known.
    input: Buffer,
    output: Buffer,
    watch: FrameWatch,
    worker: Rc<HttpWorker>,
    /// Bytes that the stream has taken.
    sent_bytes: u64,
    /// Whether the stream may hold some of them back until it is flushed (TLS).
    needs_flush: bool,
}

impl<S> Clone for Wire<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S: Stream> Wire<S> {
    pub(super) fn new(stream: S, input: Buffer, watch: FrameWatch, worker: Rc<HttpWorker>) -> Self {
        let output = Buffer::default();
        let inner =
            Inner { stream, input, output, watch, worker, sent_bytes: 0, needs_flush: false };
        Self(Rc::new(RefCell::new(inner)))
    }

    /// Sends everything that waits.
    pub(super) fn poll_flush_all(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.0.borrow_mut();
        ready!(inner.poll_drain(cx))?;
        if inner.needs_flush {
            ready!(Pin::new(&mut inner.stream).poll_flush(cx))?;
            inner.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads and throws away, until the end or `left` bytes are reached.
    pub(super) fn poll_discard(&self, cx: &mut Context<'_>, left: &mut usize) -> Poll<()> {
        let Inner { stream, input, worker, .. } = &mut *self.0.borrow_mut();
        input.clear();
        input.acquire(&worker.buffers);
        loop {
            let mut space = ReadBuf::new(input.space());
            match ready!(Pin::new(&mut *stream).poll_read(cx, &mut space)) {
                Ok(()) if !space.filled().is_empty() && space.filled().len() <= *left => {
                    *left -= space.filled().len();
                }
                _ => return Poll::Ready(()),
            }
        }
    }

    /// Has the connection reset when it is dropped.
    pub(super) fn reset_on_drop(&self) {
        self.0.borrow().stream.reset_on_drop();
    }

    /// Whether output waits for the client.
    pub(super) fn has_output(&self) -> bool {
        !self.0.borrow().output.is_empty()
    }

    /// Bytes that the stream has taken.
    pub(super) fn sent_bytes(&self) -> u64 {
        self.0.borrow().sent_bytes
    }

    pub(super) fn violation(&self) -> Option<FailureReason> {
        self.0.borrow().watch.violation()
    }

    pub(super) fn flood(&self) -> FailureReason {
        self.0.borrow().watch.flood()
    }

    pub(super) fn header_since_ms(&self) -> Option<u64> {
        self.0.borrow().watch.header_since_ms()
    }

    pub(super) fn opened_count(&self) -> u64 {
        self.0.borrow().watch.opened_count()
    }

    pub(super) fn refused_count(&self) -> u64 {
        self.0.borrow().watch.refused_count()
    }

    pub(super) fn last_header_count(&self) -> u64 {
        self.0.borrow().watch.last_header_count()
    }
}

impl<S: Stream> Inner<S> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, self.output.data()))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.consume(count);
            self.sent_bytes += count as u64;
            self.needs_flush = true;
        }
        self.output.release(&self.worker.buffers);
        Poll::Ready(Ok(()))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let now_ms = self.worker.context.clock.coarse_ms();
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        let free = if self.output.is_empty() { BUFFER_BYTES } else { self.output.free() };
        if total <= free {
            self.output.acquire(&self.worker.buffers);
            for buf in bufs {
                self.output.push(buf);
                self.watch.goes(buf, now_ms);
            }
            return Poll::Ready(Ok(total));
        }
        loop {
            let waiting = self.output.len();
            let mut slices = [IoSlice::new(&[]); SLICE_MAX_COUNT];
            slices[0] = IoSlice::new(self.output.data());
            let mut slice_count = 1;
            for buf in bufs.iter().take(SLICE_MAX_COUNT - 1) {
                slices[slice_count] = IoSlice::new(buf);
                slice_count += 1;
            }
            let from = usize::from(waiting == 0);
            let stream = Pin::new(&mut self.stream);
            let count = ready!(stream.poll_write_vectored(cx, &slices[from..slice_count]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent_bytes += count as u64;
            self.needs_flush = true;
            self.output.consume(count.min(waiting));
            self.output.release(&self.worker.buffers);
            let written = count.saturating_sub(waiting);
            if written == 0 {
                continue;
            }
            let mut left = written;
            for buf in bufs {
                let taken = left.min(buf.len());
                self.watch.goes(&buf[..taken], now_ms);
                left -= taken;
            }
            return Poll::Ready(Ok(written));
        }
    }
}

impl<S: Stream> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let inner = &mut *self.0.borrow_mut();
        if inner.watch.violation().is_some() {
            // Nothing more of it is wanted; who drives the connection looks after each poll.
            return Poll::Pending;
        }
        let before = buf.filled().len();
        if inner.input.is_empty() {
            ready!(Pin::new(&mut inner.stream).poll_read(cx, buf))?;
        } else {
            let count = inner.input.len().min(buf.remaining());
            buf.put_slice(&inner.input.data()[..count]);
            inner.input.consume(count);
            inner.input.release(&inner.worker.buffers);
        }
        let now_ms = inner.worker.context.clock.coarse_ms();
        inner.watch.came(&buf.filled()[before..], now_ms);
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> AsyncWrite for Wire<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_write(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // More than fit are left for the next call.
        let bufs = &bufs[..bufs.len().min(SLICE_MAX_COUNT - 1)];
        self.0.borrow_mut().poll_write(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // See `poll_flush_all`.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.0.borrow_mut();
        ready!(inner.poll_drain(cx))?;
        Pin::new(&mut inner.stream).poll_shutdown(cx)
    }
}
