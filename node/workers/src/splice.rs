//! Moves bytes from one TCP connection to another without copying them: splice(2), through a pipe.
//!
//! ```text
//!  from ──splice──► pipe ──splice──► to           pages change hands, bytes stay where they are
//! ```
//!
//! Worth its pipe where much is to be moved: each turn costs two calls, whatever it moves, where a
//! buffer would cost two calls and two copies for each of its fillings.
//!
//! Invariant: a pipe that goes back to the pool is empty.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Least that is worth a pipe, in bytes.
pub const SPLICE_MIN_BYTES: u64 = 64 * 1024;
/// What a pipe is asked to hold, in bytes; the kernel may let it hold less.
const PIPE_BYTES: usize = 256 * 1024;
/// What is moved before other connections have their turn, in bytes.
const TURN_BYTES: u64 = 512 * 1024;
/// Most pipes of a worker; each is two descriptors.
const PIPE_MAX_COUNT: u32 = 512;
/// Most pipes that a worker keeps for later.
const IDLE_MAX_COUNT: usize = 64;

/// The pipes of one worker.
#[derive(Debug, Default)]
pub struct PipePool {
    idle: RefCell<Vec<Pipe>>,
    open_count: Rc<Cell<u32>>,
}

impl PipePool {
    /// A pipe; none where there are too many, or the kernel gives none.
    pub fn take(&self) -> Option<Pipe> {
        if let Some(pipe) = self.idle.borrow_mut().pop() {
            return Some(pipe);
        }
        if self.open_count.get() >= PIPE_MAX_COUNT {
            return None;
        }
        let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).ok()?;
        // A smaller one does as well, only slower.
        let _smaller = fcntl_setpipe_size(&write, PIPE_BYTES);
        self.open_count.set(self.open_count.get() + 1);
        let open_count = Rc::clone(&self.open_count);
        Some(Pipe { read, write, held_bytes: 0, is_turn_over: false, open_count })
    }

    /// Takes a pipe back. One that still holds something is closed.
    pub fn give(&self, pipe: Pipe) {
        let mut idle = self.idle.borrow_mut();
        if pipe.is_empty() && idle.len() < IDLE_MAX_COUNT {
            idle.push(pipe);
        }
    }
}

/// Which side failed.
#[derive(Debug)]
pub enum SpliceError {
    /// The one that is read from.
    Read(io::Error),
    /// The one that is written to.
    Write(io::Error),
}

/// How a transfer came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spliced {
    /// All that was asked for has been written.
    All,
    /// The source ended before; all that came from it has been written.
    SourceEnded,
}

/// Bytes that moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SplicedBytes {
    /// Taken from the source.
    pub read: u64,
    /// Written to the other side.
    pub written: u64,
}

/// A pipe, and what is in it.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    held_bytes: usize,
    /// Whether it stopped for the sake of others, and not for want of bytes.
    is_turn_over: bool,
    open_count: Rc<Cell<u32>>,
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.open_count.set(self.open_count.get().saturating_sub(1));
    }
}

impl Pipe {
    /// Whether everything that was read has been written.
    pub fn is_empty(&self) -> bool {
        self.held_bytes == 0
    }

    /// Whether it waits for the source, with nothing on its way.
    pub fn is_idle(&self) -> bool {
        self.is_empty() && !self.is_turn_over
    }

    /// Moves up to `left_bytes` more from one to the other, besides what the pipe holds, and adds what
    /// moved to `moved`. Ready when that has been written, or the source has ended.
    ///
    /// # Errors
    /// One of them failed.
    pub fn poll_move(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        to: &TcpStream,
        left_bytes: u64,
        moved: &mut SplicedBytes,
    ) -> Poll<Result<Spliced, SpliceError>> {
        let mut turn_bytes = 0;
        loop {
            while self.held_bytes > 0 {
                let written = ready!(self.poll_drain(cx, to)).map_err(SpliceError::Write)?;
                self.held_bytes -= written.min(self.held_bytes);
                moved.written += written as u64;
            }
            let left_bytes = left_bytes.saturating_sub(moved.read);
            if left_bytes == 0 {
                return Poll::Ready(Ok(Spliced::All));
            }
            self.is_turn_over = turn_bytes >= TURN_BYTES;
            if self.is_turn_over {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let read = ready!(self.poll_fill(cx, from, left_bytes)).map_err(SpliceError::Read)?;
            if read == 0 {
                return Poll::Ready(Ok(Spliced::SourceEnded));
            }
            self.held_bytes = read;
            moved.read += read as u64;
            turn_bytes += read as u64;
        }
    }

    /// Only while the pipe is empty: a full one would answer as an empty socket does.
    fn poll_fill(
        &self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        left_bytes: u64,
    ) -> Poll<io::Result<usize>> {
        let count = usize::try_from(left_bytes).map_or(PIPE_BYTES, |left| left.min(PIPE_BYTES));
        loop {
            ready!(from.poll_read_ready(cx))?;
            let filled = from.try_io(Interest::READABLE, || {
                Ok(splice(from, None, &self.write, None, count, flags())?)
            });
            if !is_blocked(&filled) {
                return Poll::Ready(filled);
            }
        }
    }

    fn poll_drain(&self, cx: &mut Context<'_>, to: &TcpStream) -> Poll<io::Result<usize>> {
        loop {
            ready!(to.poll_write_ready(cx))?;
            let drained = to.try_io(Interest::WRITABLE, || {
                Ok(splice(&self.read, None, to, None, self.held_bytes, flags())?)
            });
            match drained {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                drained if !is_blocked(&drained) => return Poll::Ready(drained),
                _ => {}
            }
        }
    }
}

fn flags() -> SpliceFlags {
    SpliceFlags::MOVE | SpliceFlags::NONBLOCK
}

fn is_blocked(result: &io::Result<usize>) -> bool {
    let again = [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted];
    matches!(result, Err(error) if again.contains(&error.kind()))
}

#[cfg(test)]
mod tests;
