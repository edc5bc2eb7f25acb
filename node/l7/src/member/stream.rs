//! A connection to a member, plain or by TLS, or a stream on one of HTTP/2.
//!
//! Which it is, is one branch of each operation: no call through a pointer, nothing allocated for a
//! plain one.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::member::Http2Stream;
use crate::peer::Stream;

/// A connection to a member.
#[derive(Debug)]
pub(crate) enum MemberStream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// For one request.
    Http2(Box<Http2Stream>),
}

impl MemberStream {
    /// Whether an idle connection can be used: the member has neither closed it, nor sent anything
    /// that nobody asked for. Tells without a system call where the reactor has noted no event.
    pub(crate) fn is_alive(&mut self) -> bool {
        match self {
            Self::Plain(stream) => {
                matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            Self::Tls(stream) => {
                // Records that hold no content, such as session tickets, are taken in on the way.
                let mut byte = [0];
                let mut space = ReadBuf::new(&mut byte);
                let mut cx = Context::from_waker(Waker::noop());
                Pin::new(stream).poll_read(&mut cx, &mut space).is_pending()
            }
            Self::Http2(_) => false,
        }
    }

    /// Closes an idle connection; by TLS the member is told so, if that can be done at once
    /// (RFC 8446 §6.1).
    pub(crate) fn close(mut self) {
        if let Self::Tls(stream) = &mut self {
            let mut cx = Context::from_waker(Waker::noop());
            // A member that is gone, or does not read, needs no farewell.
            let _ = Pin::new(stream).poll_shutdown(&mut cx);
        }
    }
}

impl Stream for MemberStream {
    fn tcp(&mut self) -> Option<&TcpStream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Tls(_) | Self::Http2(_) => None,
        }
    }

    fn reset_on_drop(&self) {
        match self {
            Self::Plain(stream) => stream.reset_on_drop(),
            Self::Tls(stream) => stream.get_ref().0.reset_on_drop(),
            // What is not over is reset in any case.
            Self::Http2(_) => {}
        }
    }
}

impl AsyncRead for MemberStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, space),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, space),
            Self::Http2(stream) => stream.poll_read(cx, space),
        }
    }
}

impl AsyncWrite for MemberStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Http2(stream) => stream.poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Http2(stream) => {
                let first = slices.iter().find(|slice| !slice.is_empty());
                stream.poll_write(cx, first.map_or(&[], |slice| slice))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            // The connection's task sees to it.
            Self::Http2(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Http2(stream) => Poll::Ready(stream.end()),
        }
    }
}
