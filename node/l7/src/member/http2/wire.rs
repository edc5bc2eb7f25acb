//! The connection below HTTP/2.
//!
//! Invariant: whatever the member sends is counted before it is looked at.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Vitals;
use crate::member::MemberStream;

/// A connection that notes that something came.
#[derive(Debug)]
pub(super) struct Wire {
    stream: MemberStream,
    vitals: Rc<Vitals>,
    first: FirstFrame,
}

/// How much of the first frame has come: the SETTINGS of the member (RFC 9113 §3.4).
#[derive(Debug, Default)]
struct FirstFrame {
    seen_bytes: usize,
    payload_bytes: usize,
}

/// RFC 9113 §4.1: the header of a frame, which begins with the length of what follows it.
const FRAME_HEADER_BYTES: usize = 9;
const FRAME_LENGTH_BYTES: usize = 3;

impl FirstFrame {
    /// Whether it is whole with those bytes.
    fn see(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes.iter().take(FRAME_LENGTH_BYTES.saturating_sub(self.seen_bytes)) {
            self.payload_bytes = self.payload_bytes << 8 | usize::from(*byte);
        }
        self.seen_bytes += bytes.len();
        self.seen_bytes >= FRAME_HEADER_BYTES + self.payload_bytes
    }
}

impl Wire {
    pub(super) fn new(stream: MemberStream, vitals: Rc<Vitals>) -> Self {
        Self { stream, vitals, first: FirstFrame::default() }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = space.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, space));
        let came = &space.filled()[before..];
        if !came.is_empty() {
            self.vitals.read();
            if !self.vitals.is_settings_read.get() && self.first.see(came) {
                self.vitals.is_settings_read.set(true);
            }
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
