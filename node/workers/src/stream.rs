//! A client's connection, of which the reactor learns only when there is something to wait for.
//!
//! Who sends its request at once and closes after the answer is served without the reactor, which
//! saves two calls of epoll_ctl(2) and events that nobody waits for. The end of the connection goes out
//! in one segment with the last of an answer, where it is known that it follows: see
//! [`ClientStream::end_follows`].
//!
//! Invariant: `Pending` is answered only by a stream that the reactor knows.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// Transfers without the reactor. It also sees to it that a task which always finds work lets others
/// have their turn (tokio's "coop" budget).
const UNREGISTERED_MAX_COUNT: u32 = 16;

/// See the module.
#[derive(Debug)]
pub struct ClientStream {
    state: State,
    end_follows: bool,
}

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
        Self { state: State::Fresh(stream, UNREGISTERED_MAX_COUNT), end_follows: false }
    }

    /// Notes that the connection is ended as soon as what is written next has been taken: what does not
    /// fill a segment waits for that (`MSG_MORE`, send(2)), so that the other side gets both at once.
    pub fn end_follows(&mut self) {
        self.end_follows = true;
    }

    /// The stream as the reactor knows it.
    ///
    /// # Errors
    /// The reactor can't have it: it is lost.
    pub fn registered(&mut self) -> io::Result<&mut TcpStream> {
        if let State::Fresh(..) = self.state
            && let State::Fresh(stream, _) = std::mem::replace(&mut self.state, State::Lost)
        {
            self.state = State::Registered(TcpStream::from_std(stream)?);
        }
        match &mut self.state {
            State::Registered(stream) => Ok(stream),
            State::Fresh(..) | State::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The stream as the reactor knows it, where it does.
    pub fn as_registered(&self) -> Option<&TcpStream> {
        match &self.state {
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
        match self.state {
            State::Registered(stream) => Ok(stream),
            State::Fresh(..) | State::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The socket; none once it is lost.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        match &self.state {
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
        let State::Fresh(stream, left_count) = &mut self.state else { return None };
        *left_count = left_count.checked_sub(1)?;
        match transfer(&mut &*stream) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            // The other side's signals are none of ours: asked again.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => None,
            done => Some(done),
        }
    }

    /// Writes what is followed by the end alone.
    fn poll_write_last(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(written) = self.attempt(|stream| send_more(stream.as_fd(), slices)) {
            return Poll::Ready(written);
        }
        let stream = self.registered()?;
        loop {
            ready!(stream.poll_write_ready(cx))?;
            match stream.try_io(Interest::WRITABLE, || send_more(stream.as_fd(), slices)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
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
        if self.end_follows {
            return self.poll_write_last(cx, &[IoSlice::new(bytes)]);
        }
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
        if self.end_follows {
            return self.poll_write_last(cx, slices);
        }
        match self.attempt(|stream| stream.write_vectored(slices)) {
            Some(written) => Poll::Ready(written),
            None => self.poll_registered(|stream| stream.poll_write_vectored(cx, slices)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// TCP holds nothing back, but for what the end follows.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Fresh(stream, _) => Poll::Ready(stream.shutdown(std::net::Shutdown::Write)),
            State::Registered(stream) => {
                ready!(Pin::new(stream).poll_shutdown(cx))?;
                Poll::Ready(Ok(()))
            }
            State::Lost => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

fn send_more(socket: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
    Ok(sendmsg(socket, slices, &mut SendAncillaryBuffer::default(), flags)?)
}

#[cfg(test)]
mod tests;
