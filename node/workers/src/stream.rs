//! A client's connection, of which the reactor learns only when there is something to wait for.
//!
//! Who sends its request at once and closes after the answer is served without the reactor, which
//! saves two calls of epoll_ctl(2) and events that nobody waits for.
//!
//! Invariant: `Pending` is answered only by a stream that the reactor knows.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Transfers without the reactor. It also sees to it that a task which always finds work lets others
/// have their turn (tokio's "coop" budget).
const UNREGISTERED_MAX_COUNT: u32 = 16;

/// See the module.
#[derive(Debug)]
pub struct ClientStream(State);

#[derive(Debug)]
enum State {
    /// As it was accepted; with the transfers that are left.
    Fresh(std::net::TcpStream, u32),
    Registered(TcpStream),
    /// The reactor did not take it.
    Lost,
}

impl ClientStream {
    /// A connection as it was accepted; it must be non-blocking.
    pub fn new(stream: std::net::TcpStream) -> Self {
        Self(State::Fresh(stream, UNREGISTERED_MAX_COUNT))
    }

    /// The stream as the reactor knows it.
    ///
    /// # Errors
    /// The reactor can't have it: it is lost.
    pub fn registered(&mut self) -> io::Result<&mut TcpStream> {
        if let State::Fresh(..) = self.0
            && let State::Fresh(stream, _) = std::mem::replace(&mut self.0, State::Lost)
        {
            self.0 = State::Registered(TcpStream::from_std(stream)?);
        }
        match &mut self.0 {
            State::Registered(stream) => Ok(stream),
            State::Fresh(..) | State::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The stream as the reactor knows it, where it does.
    pub fn as_registered(&self) -> Option<&TcpStream> {
        match &self.0 {
            State::Registered(stream) => Some(stream),
            State::Fresh(..) | State::Lost => None,
        }
    }

    /// The same by value.
    ///
    /// # Errors
    /// The reactor can't have it: it is lost.
    pub fn into_registered(mut self) -> io::Result<TcpStream> {
        self.registered()?;
        match self.0 {
            State::Registered(stream) => Ok(stream),
            State::Fresh(..) | State::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The socket; none once it is lost.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            State::Fresh(stream, _) => Some(stream.as_fd()),
            State::Registered(stream) => Some(stream.as_fd()),
            State::Lost => None,
        }
    }

    /// Has the connection reset when it is dropped.
    pub fn reset_on_drop(&self) {
        if let Some(socket) = self.socket() {
            // A connection that is gone already needs no reset.
            let _gone =
                rustix::net::sockopt::set_socket_linger(socket, Some(std::time::Duration::ZERO));
        }
    }

    /// Tries without the reactor; none where that has to be asked.
    fn attempt<T>(
        &mut self,
        transfer: impl FnOnce(&mut &std::net::TcpStream) -> io::Result<T>,
    ) -> Option<io::Result<T>> {
        let State::Fresh(stream, left_count) = &mut self.0 else { return None };
        *left_count = left_count.checked_sub(1)?;
        match transfer(&mut &*stream) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            // The other side's signals are none of ours: asked again.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => None,
            done => Some(done),
        }
    }

    fn poll_registered<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        poll(Pin::new(self.registered()?))
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.attempt(|stream| stream.read(buffer.initialize_unfilled())) {
            Some(read) => {
                buffer.advance(read?);
                Poll::Ready(Ok(()))
            }
            None => self.poll_registered(|stream| stream.poll_read(cx, buffer)),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.attempt(|stream| stream.write(bytes)) {
            Some(written) => Poll::Ready(written),
            None => self.poll_registered(|stream| stream.poll_write(cx, bytes)),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.attempt(|stream| stream.write_vectored(slices)) {
            Some(written) => Poll::Ready(written),
            None => self.poll_registered(|stream| stream.poll_write_vectored(cx, slices)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// TCP holds nothing back.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            State::Fresh(stream, _) => Poll::Ready(stream.shutdown(std::net::Shutdown::Write)),
            State::Registered(stream) => {
                ready!(Pin::new(stream).poll_shutdown(cx))?;
                Poll::Ready(Ok(()))
            }
            State::Lost => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

#[cfg(test)]
mod tests;
