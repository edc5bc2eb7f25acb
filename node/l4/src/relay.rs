//! Both directions of a connection.
//!
//! ```text
//!             read 0 bytes              all written, FIN sent
//!   Moving ──────────────────► Ending ─────────────────────────► Done
//!     │            write fails     │
//!     └────────────────────────────┴──────────────────────────► Broken (the other goes on)
//! ```
//!
//! What comes in bulk is spliced, the rest goes through a buffer.
//!
//! Invariant: bytes leave in the order in which they came, and a FIN only after all of them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ballast_telemetry::FailureReason;
use ballast_workers::splice::{Pipe, SpliceError, SplicedBytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::buffer::{BUFFER_BYTES, Buffer, BufferPool};

/// The two connections, and the two directions between them.
#[derive(Debug)]
pub(crate) struct Relay {
    client: TcpStream,
    member: TcpStream,
    up: Direction,
    down: Direction,
}

/// Bytes that moved in one poll.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    /// Bytes that came from the client.
    pub(crate) received_bytes: u64,
    /// Bytes that went to the client.
    pub(crate) sent_bytes: u64,
    /// Whether anything moved at all.
    pub(crate) any: bool,
}

impl Relay {
    /// `preface` goes to the member before anything that comes from the client.
    pub(crate) fn new(client: TcpStream, member: TcpStream, preface: Vec<u8>) -> Self {
        let up = Direction { buffer: Buffer::of(preface), ..Direction::default() };
        Self { client, member, up, down: Direction::default() }
    }

    /// Moves what it can, and adds it to `moved`. Ready when the connection has ended.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &BufferPool,
        moved: &mut Moved,
    ) -> Poll<Result<(), FailureReason>> {
        let Self { client, member, up, down } = self;
        let (up_read, up_written) = (up.read_bytes, up.written_bytes);
        let (down_read, down_written) = (down.read_bytes, down.written_bytes);
        // What is reset can't be written to either: reading has the last word.
        let up_end = up.poll(cx, client, member, buffers);
        let down_end = down.poll(cx, member, client, buffers);
        moved.received_bytes += up.read_bytes - up_read;
        moved.sent_bytes += down.written_bytes - down_written;
        moved.any |= (up_read, up_written) != (up.read_bytes, up.written_bytes)
            || (down_read, down_written) != (down.read_bytes, down.written_bytes);
        match (up_end, down_end) {
            (Poll::Ready(Err(Broken::Read)), _) => Poll::Ready(Err(FailureReason::ClientClosed)),
            (_, Poll::Ready(Err(Broken::Read))) => {
                Poll::Ready(Err(FailureReason::UpstreamClosedEarly))
            }
            (Poll::Pending, _) | (_, Poll::Pending) => Poll::Pending,
            (Poll::Ready(Err(Broken::Write)), _) => {
                Poll::Ready(Err(FailureReason::UpstreamClosedEarly))
            }
            (_, Poll::Ready(Err(Broken::Write))) => Poll::Ready(Err(FailureReason::ClientClosed)),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
        }
    }

    /// Whether all that the member sent has gone to the client, its FIN included.
    fn has_answered(&self) -> bool {
        self.down.state == State::Done
    }

    /// Whether all that the client sent has gone to the member, its FIN included.
    fn has_asked(&self) -> bool {
        self.up.state == State::Done
    }

    /// Closes both connections. A side that has not got its proper end is reset.
    pub(crate) fn close(mut self, buffers: &BufferPool) {
        if !self.has_answered() {
            reset(&self.client);
        }
        if !self.has_asked() {
            reset(&self.member);
        }
        self.up.buffer.release(buffers);
        self.down.buffer.release(buffers);
    }
}

/// Has the connection reset when it is dropped.
pub(crate) fn reset(stream: &TcpStream) {
    // A connection that is gone already needs no reset.
    let _gone = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
}

#[derive(Debug, Default)]
struct Direction {
    buffer: Buffer,
    /// In the buffer's place while much is to be moved.
    pipe: Option<Pipe>,
    /// Whether the last read filled the buffer.
    has_much: bool,
    state: State,
    read_bytes: u64,
    written_bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Moving,
    Ending,
    Done,
    Broken(Broken),
}

/// Which side broke a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// The one that is read from: it is gone for both directions.
    Read,
    /// The one that is written to: what it sent before may still be there to be read.
    Write,
}

impl Direction {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut TcpStream,
        to: &mut TcpStream,
        buffers: &BufferPool,
    ) -> Poll<Result<(), Broken>> {
        let end = match self.state {
            State::Done => return Poll::Ready(Ok(())),
            State::Broken(broken) => return Poll::Ready(Err(broken)),
            State::Moving | State::Ending => ready!(self.poll_moving(cx, from, to, buffers)),
        };
        self.buffer.release(buffers);
        self.state = match end {
            Ok(()) => State::Done,
            Err(broken) => State::Broken(broken),
        };
        Poll::Ready(end)
    }

    /// Ends in `Pending` by itself: a task that keeps finding work is stopped by the runtime's
    /// budget, so that one busy connection does not hold up the others.
    fn poll_moving(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut TcpStream,
        to: &mut TcpStream,
        buffers: &BufferPool,
    ) -> Poll<Result<(), Broken>> {
        loop {
            while !self.buffer.is_empty() {
                match ready!(Pin::new(&mut *to).poll_write(cx, self.buffer.data())) {
                    Ok(count) if count > 0 => {
                        self.buffer.consume(count);
                        self.written_bytes += count as u64;
                    }
                    Ok(_) | Err(_) => return Poll::Ready(Err(Broken::Write)),
                }
            }
            if self.state == State::Ending {
                let sent = ready!(Pin::new(&mut *to).poll_shutdown(cx));
                return Poll::Ready(sent.or_else(is_over).map_err(|_| Broken::Write));
            }
            if self.pipe.is_none() && std::mem::take(&mut self.has_much) {
                self.pipe = buffers.pipes.take();
                self.buffer.release(buffers);
            }
            if self.pipe.is_some() {
                match ready!(self.poll_splice(cx, from, to, buffers)) {
                    Ok(()) => {
                        self.state = State::Ending;
                        continue;
                    }
                    Err(SpliceError::Read(_)) => return Poll::Ready(Err(Broken::Read)),
                    Err(SpliceError::Write(_)) => return Poll::Ready(Err(Broken::Write)),
                }
            }
            let mut space = ReadBuf::new(self.buffer.space(buffers));
            let read = Pin::new(&mut *from).poll_read(cx, &mut space);
            let count = space.filled().len();
            match read {
                Poll::Pending => {
                    self.buffer.release(buffers);
                    return Poll::Pending;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Read)),
                Poll::Ready(Ok(())) if count == 0 => self.state = State::Ending,
                Poll::Ready(Ok(())) => {
                    self.has_much = count == BUFFER_BYTES;
                    self.buffer.filled(count);
                    self.read_bytes += count as u64;
                }
            }
        }
    }
}

impl Direction {
    /// Moves bytes through the pipe until the source ends; the pipe is given back once it is idle.
    fn poll_splice(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        to: &TcpStream,
        buffers: &BufferPool,
    ) -> Poll<Result<(), SpliceError>> {
        let Some(mut pipe) = self.pipe.take() else { return Poll::Ready(Ok(())) };
        let mut moved = SplicedBytes::default();
        let end = pipe.poll_move(cx, from, to, u64::MAX, &mut moved);
        self.read_bytes += moved.read;
        self.written_bytes += moved.written;
        if end.is_ready() || pipe.is_idle() {
            buffers.pipes.give(pipe);
        } else {
            self.pipe = Some(pipe);
        }
        end.map_ok(|_| ())
    }
}

/// A peer that has ended both ways already needs no FIN.
fn is_over(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotConnected { Ok(()) } else { Err(error) }
}
