//! The body of a request, read as HTTP/1.1.
//!
//! Invariant: a body with a length is read to its last byte only once the client has ended the stream
//! there (RFC 9113 §8.1.1): a member never gets a whole request whose end was a lie.

use std::io::{self, Write as _};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use tokio::io::ReadBuf;

use super::super::request::{BodyFraming, write_trailer};
use super::malformed;

/// What is left of a body.
pub(super) struct Upload {
    body: RecvStream,
    framing: BodyFraming,
    /// Framing of ours, in front of `piece`, that was not read yet.
    edge: Vec<u8>,
    edge_read: usize,
    /// Content that was not read yet.
    piece: Bytes,
    /// Whether the client's last byte, and its trailer section, have come.
    has_ended: bool,
}

impl Upload {
    pub(super) fn new(body: RecvStream, framing: BodyFraming) -> Self {
        let has_ended = false;
        Self { body, framing, edge: Vec::new(), edge_read: 0, piece: Bytes::new(), has_ended }
    }

    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        loop {
            self.read_edge(buf);
            let is_held = self.is_held();
            if !is_held {
                self.read_piece(buf)?;
            }
            let is_drained =
                self.edge_read == self.edge.len() && (self.piece.is_empty() || is_held);
            if buf.remaining() == 0 || (self.has_ended && is_drained) {
                return Poll::Ready(Ok(()));
            }
            if !is_drained {
                continue;
            }
            match self.poll_next(cx, is_held) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if buf.filled().len() > before => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Whether the piece would complete the body while the client has not said that it ends.
    fn is_held(&self) -> bool {
        let length = self.piece.len() as u64;
        matches!(self.framing, BodyFraming::Exact(left) if left == length && length > 0)
            && !self.has_ended
            && !self.body.is_end_stream()
    }

    fn read_edge(&mut self, buf: &mut ReadBuf<'_>) {
        let count = (self.edge.len() - self.edge_read).min(buf.remaining());
        buf.put_slice(&self.edge[self.edge_read..self.edge_read + count]);
        self.edge_read += count;
        if self.edge_read == self.edge.len() {
            self.edge.clear();
            self.edge_read = 0;
        }
    }

    fn read_piece(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        let count = self.piece.len().min(buf.remaining());
        if count == 0 {
            return Ok(());
        }
        buf.put_slice(&self.piece.split_to(count));
        // What is read is on its way to the member: the client may send as much again.
        self.body.flow_control().release_capacity(count).map_err(failed)?;
        match &mut self.framing {
            BodyFraming::Exact(left) => *left -= count as u64,
            BodyFraming::Chunked if self.piece.is_empty() => self.edge.extend_from_slice(b"\r\n"),
            BodyFraming::Chunked | BodyFraming::Raw => {}
        }
        Ok(())
    }

    /// Waits for more content, or the end; `is_held`: for the end alone.
    fn poll_next(&mut self, cx: &mut Context<'_>, is_held: bool) -> Poll<io::Result<()>> {
        match ready!(self.body.poll_data(cx)) {
            Some(Ok(piece)) if piece.is_empty() => Poll::Ready(Ok(())),
            Some(Ok(piece)) => {
                let is_surplus = matches!(self.framing,
                    BodyFraming::Exact(left) if is_held || piece.len() as u64 > left);
                if is_surplus {
                    return Poll::Ready(Err(malformed("more content than announced")));
                }
                if self.framing == BodyFraming::Chunked {
                    // Writing to a `Vec` can't fail.
                    let _infallible = write!(self.edge, "{:x}\r\n", piece.len());
                }
                self.piece = piece;
                Poll::Ready(Ok(()))
            }
            Some(Err(error)) => Poll::Ready(Err(failed(error))),
            None => {
                let trailers = ready!(self.body.poll_trailers(cx)).map_err(failed)?;
                Poll::Ready(self.end(trailers.as_ref()))
            }
        }
    }

    fn end(&mut self, trailers: Option<&http::HeaderMap>) -> io::Result<()> {
        self.has_ended = true;
        match self.framing {
            BodyFraming::Exact(left) if left > self.piece.len() as u64 => {
                return Err(malformed("less content than announced"));
            }
            BodyFraming::Chunked => {
                self.edge.extend_from_slice(b"0\r\n");
                if let Some(trailers) = trailers {
                    let written = write_trailer(&mut self.edge, trailers);
                    written.map_err(|_| malformed("a trailer that frames the message"))?;
                }
                self.edge.extend_from_slice(b"\r\n");
            }
            BodyFraming::Exact(_) | BodyFraming::Raw => {}
        }
        Ok(())
    }
}

/// A stream that was broken off: by us because it was malformed, or by the client.
fn failed(error: h2::Error) -> io::Error {
    if error.is_library() && error.is_reset() {
        return malformed("the stream is malformed");
    }
    error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into())
}
