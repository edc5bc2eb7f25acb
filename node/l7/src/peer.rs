//! One side of an exchange: a stream, what came from it and what is to be sent to it.
//!
//! Invariant: bytes leave `output` only by being written to the stream, in order.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ballast_telemetry::FailureReason;
use ballast_workers::ClientStream;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::buffer::{Buffer, BufferPool};

/// A stream of bytes both ways.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// Has the connection reset when it is dropped, so that its end can't be taken for that of a
    /// message.
    fn reset_on_drop(&self);

    /// Tells why a response that has begun is broken off, where the client can be told.
    fn blame(&self, _reason: FailureReason) {}

    /// Ready when the other side has given up what is under way, where it can say so without ending
    /// the connection. Asked whenever there is nothing else to do.
    fn poll_gone(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// The connection, where what is read and written is what goes over it.
    fn tcp(&mut self) -> Option<&TcpStream> {
        None
    }

    /// Whether dropping the stream tells the other side, after all that was written, that nothing more
    /// comes.
    fn ends_by_drop(&self) -> bool {
        false
    }

    /// Notes that the connection is ended once what is written next has been taken, so that both can be
    /// sent at once.
    fn end_follows(&mut self) {}

    /// Whether the other side has closed or reset the connection, whatever is still to be read; asked
    /// now and then while nothing is read. Streams of which this can't be told are never gone.
    fn has_left(&self) -> bool {
        false
    }

    /// Ready when the other side may have closed or reset the connection, or has sent something that was
    /// not read: [`has_left`](Self::has_left) tells. Takes the place of who waits to read.
    fn poll_left(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// Whether the connection is at its end both ways, so that no answer can get through: the other
    /// side has reset it, say. One that has only said that it sends no more may still want its answer.
    fn is_cut_off(&self) -> bool {
        false
    }
}

impl Stream for TcpStream {
    fn tcp(&mut self) -> Option<&TcpStream> {
        Some(self)
    }

    fn reset_on_drop(&self) {
        // A connection that is gone already needs no reset.
        let _gone = self.set_zero_linger();
    }

    fn ends_by_drop(&self) -> bool {
        true
    }

    fn has_left(&self) -> bool {
        has_left(self)
    }

    fn is_cut_off(&self) -> bool {
        is_cut_off(self)
    }
}

fn has_left(socket: &impl AsFd) -> bool {
    is_any(socket, PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
}

fn is_cut_off(socket: &impl AsFd) -> bool {
    is_any(socket, PollFlags::HUP | PollFlags::ERR)
}

/// Whether any of that is true of the socket (poll(2)).
fn is_any(socket: &impl AsFd, flags: PollFlags) -> bool {
    let mut polled = [PollFd::new(socket, flags)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut polled, Some(&now)), Ok(count) if count > 0)
}

impl Stream for ClientStream {
    fn tcp(&mut self) -> Option<&TcpStream> {
        self.registered().ok().map(|stream| &*stream)
    }

    fn reset_on_drop(&self) {
        Self::reset_on_drop(self);
    }

    fn ends_by_drop(&self) -> bool {
        true
    }

    fn end_follows(&mut self) {
        Self::end_follows(self);
    }

    fn has_left(&self) -> bool {
        self.socket().is_none_or(|socket| has_left(&socket))
    }

    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.registered() {
            Ok(stream) => stream.poll_read_ready(cx).map(|_| ()),
            Err(_) => Poll::Ready(()),
        }
    }

    fn is_cut_off(&self) -> bool {
        self.socket().is_none_or(|socket| is_cut_off(&socket))
    }
}

impl<S: Stream> Stream for Box<TlsStream<S>> {
    fn reset_on_drop(&self) {
        self.get_ref().0.reset_on_drop();
    }

    fn end_follows(&mut self) {
        self.get_mut().0.end_follows();
    }

    fn has_left(&self) -> bool {
        self.get_ref().0.has_left()
    }

    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.get_mut().0.poll_left(cx)
    }

    fn is_cut_off(&self) -> bool {
        self.get_ref().0.is_cut_off()
    }
}

#[cfg(test)]
impl Stream for tokio::io::DuplexStream {
    fn reset_on_drop(&self) {}
}

/// Why a request ends because of its client, if it does: it is gone, or it has closed its side and that
/// is taken for the same.
pub(crate) fn why_left<S: Stream>(client: &S, ends_by_half_close: bool) -> Option<FailureReason> {
    if client.is_cut_off() {
        return Some(FailureReason::ClientClosed);
    }
    (ends_by_half_close && client.has_left()).then_some(FailureReason::ClientAbort)
}

/// How it is learnt that a client has left while nothing is read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// By a look now and then: most are answered before the first.
    Looking,
    /// The reactor tells.
    Listening,
    /// By looks alone: the client has sent something, of which the reactor would tell again and again.
    Deaf,
}

impl Watch {
    /// For a request that has just begun to wait.
    pub(crate) fn new(ends_by_half_close: bool) -> Self {
        if ends_by_half_close { Self::Listening } else { Self::Looking }
    }

    /// Ready when it is time for a look besides those by time.
    pub(crate) fn poll_look<S: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<()> {
        if *self != Self::Listening {
            return Poll::Pending;
        }
        ready!(stream.poll_left(cx));
        *self = Self::Deaf;
        Poll::Ready(())
    }

    /// Notes a look by time: who has waited that long may as well listen. Whether that begins now.
    pub(crate) fn looked(&mut self) -> bool {
        let begins = *self == Self::Looking;
        if begins {
            *self = Self::Listening;
        }
        begins
    }
}

/// A client or a member.
#[derive(Debug)]
pub(crate) struct Peer<S> {
    pub(crate) stream: S,
    /// Came and is not used yet.
    pub(crate) input: Buffer,
    /// To be sent.
    pub(crate) output: Buffer,
    /// Bytes that the stream has taken.
    pub(crate) sent_bytes: u64,
}

impl<S: Stream> Peer<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, input: Buffer::default(), output: Buffer::default(), sent_bytes: 0 }
    }

    /// Reads once behind what `input` holds, which must have room; 0 bytes are the end. While
    /// nothing comes, an empty `input` does not keep its storage.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &BufferPool,
    ) -> Poll<io::Result<usize>> {
        self.input.acquire(buffers);
        let mut space = ReadBuf::new(self.input.space());
        debug_assert!(space.remaining() > 0);
        match Pin::new(&mut self.stream).poll_read(cx, &mut space) {
            Poll::Ready(Ok(())) => {
                let count = space.filled().len();
                self.input.filled(count);
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.input.release(buffers);
                Poll::Pending
            }
        }
    }

    /// Sends everything that `output` holds.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, self.output.data()))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.consume(count);
            self.sent_bytes += count as u64;
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Where in all that is sent the next byte put into `output` will stand.
    pub(crate) fn output_end(&self) -> u64 {
        self.sent_bytes + self.output.len() as u64
    }
}
