//! One request to a member by HTTP/2, as a stream of bytes that speaks HTTP/1.1.
//!
//! ```text
//!  write ─► head ─► HEADERS      read ◄─ head ◄── HEADERS
//!           body ─► DATA                 body ◄── DATA
//!        trailers ─► HEADERS          trailers ◄── HEADERS
//! ```
//! Bytes are taken only as the member's window allows, and the member may send only as much as was read.
//!
//! Invariant: a body whose length is known is read to its last byte only once the member has ended the
//! stream there; what ends otherwise is an error.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::ReadBuf;

use super::head::{
    Malformed, RequestParts, ResponseFraming, Unsendable, read_request, read_trailers, take_head,
    write_chunk_size, write_interim, write_last_chunk, write_response, write_switch,
};
use super::{Connection, StreamGuard};
use crate::codec::framing::{BodyDecoder, BodyPart};
use crate::codec::head::HeadScanner;
use crate::http2::Accept;

/// What is sent in one go at most, in bytes.
const SEND_MAX_BYTES: usize = 16 * 1024;

/// A request and its response.
pub(crate) struct Http2Stream {
    upload: Upload,
    download: Download,
    is_head: bool,
    /// Whether it is for a WebSocket.
    is_tunnel: bool,
    /// What the answer to that holds in HTTP/1.1.
    accept: Option<Accept>,
    /// What comes next of the response, ready to be read.
    edge: Vec<u8>,
    edge_read: usize,
    guard: StreamGuard,
}

/// How far the request is.
enum Upload {
    Head {
        send: SendRequest<Bytes>,
        bytes: Vec<u8>,
        scanner: HeadScanner,
    },
    Body {
        send: SendStream<Bytes>,
        decoder: BodyDecoder,
    },
    /// The bytes of a tunnel.
    Raw(SendStream<Bytes>),
    Ended,
    Failed,
}

/// How far the response is.
enum Download {
    /// The request's head is not sent.
    Unasked,
    Head(ResponseFuture),
    Body {
        recv: RecvStream,
        framing: ResponseFraming,
        piece: Bytes,
        has_ended: bool,
    },
    Trailers(RecvStream),
    /// There is no content; its head waits for the member to end the stream, as what comes otherwise is
    /// an error.
    Empty {
        recv: RecvStream,
        head: Vec<u8>,
    },
    Done,
    Failed(Option<io::Error>),
}

/// What an error of a stream means beyond that the connection has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The member has not looked at the request (RFC 9113 §8.7).
    Unprocessed,
    /// The member ended this stream and no other.
    Reset,
    /// The member sent what HTTP/2 has not.
    Protocol,
    /// HTTP/2 has no way to say the request.
    Unsendable,
}

impl Fault {
    /// The fault in an error of a stream; none where it is one of the connection below.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        let inner = error.get_ref()?;
        if inner.is::<Unsendable>() {
            return Some(Self::Unsendable);
        }
        if inner.is::<Malformed>() {
            return Some(Self::Protocol);
        }
        let error: &h2::Error = inner.downcast_ref()?;
        if error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM) {
            return Some(Self::Unprocessed);
        }
        match (error.is_remote(), error.is_reset(), error.is_go_away()) {
            // Streams that a `GOAWAY` does not leave out go on (§6.8): those that hear of it are not
            // among what the member has looked at.
            (true, _, true) => Some(Self::Unprocessed),
            (true, true, _) => Some(Self::Reset),
            (false, true, _) | (false, _, true) => Some(Self::Protocol),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Http2Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Http2Stream")
    }
}

impl Http2Stream {
    pub(super) fn new(connection: Rc<Connection>) -> Self {
        let send = connection.send.clone();
        Self {
            upload: Upload::Head { send, bytes: Vec::new(), scanner: HeadScanner::default() },
            download: Download::Unasked,
            is_head: false,
            is_tunnel: false,
            accept: None,
            edge: Vec::new(),
            edge_read: 0,
            guard: StreamGuard::new(connection),
        }
    }

    /// The same for a WebSocket.
    pub(super) fn tunneling(self) -> Self {
        Self { is_tunnel: true, ..self }
    }

    /// The same for a WebSocket, where the member has said that it can.
    pub(crate) async fn into_tunnel(self) -> Option<Self> {
        let can_tunnel = self.guard.connection.can_tunnel().await;
        can_tunnel.then(|| self.tunneling())
    }

    /// Ends the tunnel's direction to the member (RFC 8441 §5: by `END_STREAM`).
    pub(crate) fn end(&mut self) -> io::Result<()> {
        if let Upload::Raw(send) = &mut self.upload {
            send.send_data(Bytes::new(), true).map_err(io::Error::other)?;
            self.upload = Upload::Ended;
        }
        Ok(())
    }

    /// Takes bytes of the request.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        input: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.upload {
            Upload::Head { .. } => self.poll_write_head(cx, input),
            Upload::Body { .. } => self.poll_write_body(cx, input),
            Upload::Raw(send) => match poll_capacity(send, cx, input.len()) {
                Poll::Ready(Ok(capacity)) => {
                    let count = input.len().min(capacity);
                    let sent = send.send_data(Bytes::copy_from_slice(&input[..count]), false);
                    Poll::Ready(sent.map(|()| count).map_err(io::Error::other))
                }
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            },
            Upload::Ended | Upload::Failed => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        };
        if let Poll::Ready(Err(_)) = &written {
            self.upload = Upload::Failed;
        }
        written
    }

    fn poll_write_head(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Poll<io::Result<usize>> {
        let Upload::Head { send, bytes, scanner } = &mut self.upload else {
            return Poll::Ready(Ok(0));
        };
        let started = match ready!(send.poll_ready(cx)) {
            Err(error) => Err(io::Error::other(error)),
            Ok(()) => match take_head(bytes, scanner, input) {
                Some((count, false)) => return Poll::Ready(Ok(count)),
                Some((count, true)) => self.start().map(|()| count),
                None => Err(io::ErrorKind::InvalidInput.into()),
            },
        };
        Poll::Ready(started.map_err(|error| {
            // Whoever reads is told why.
            self.download = Download::Failed(Some(error));
            io::ErrorKind::BrokenPipe.into()
        }))
    }

    /// Sends the head that is complete now.
    fn start(&mut self) -> io::Result<()> {
        let Upload::Head { send, bytes, .. } = &mut self.upload else { return Ok(()) };
        let RequestParts { request, body, is_head, accept } =
            read_request(bytes, self.guard.connection.is_tls, self.is_tunnel)
                .map_err(io::Error::other)?;
        let is_empty = body.is_empty() && !self.is_tunnel;
        let (response, body_send) =
            send.send_request(request, is_empty).map_err(io::Error::other)?;
        self.guard.asked();
        (self.is_head, self.accept) = (is_head, accept);
        self.download = Download::Head(response);
        self.upload = if is_empty {
            Upload::Ended
        } else if self.is_tunnel {
            Upload::Raw(body_send)
        } else {
            Upload::Body { send: body_send, decoder: BodyDecoder::new(body) }
        };
        Ok(())
    }

    fn poll_write_body(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Poll<io::Result<usize>> {
        let Upload::Body { send, decoder } = &mut self.upload else { return Poll::Ready(Ok(0)) };
        let invalid = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let mut ahead = decoder.clone();
        let mut part = ahead.next(input).map_err(invalid)?;
        if part.data_bytes > 0 {
            let capacity = match poll_capacity(send, cx, part.data_bytes) {
                Poll::Ready(capacity) => capacity?,
                // The framing in front of it needs no window.
                Poll::Pending if part.skip_bytes > 0 => 0,
                Poll::Pending => return Poll::Pending,
            };
            if part.data_bytes > capacity {
                ahead.clone_from(decoder);
                part = ahead.next(&input[..part.skip_bytes + capacity]).map_err(invalid)?;
            }
        }
        *decoder = ahead;
        let BodyPart { skip_bytes, data_bytes } = part;
        let data = Bytes::copy_from_slice(&input[skip_bytes..skip_bytes + data_bytes]);
        let is_done = decoder.is_done();
        let trailers = if is_done { read_trailers(decoder.trailer()) } else { Default::default() };
        if !data.is_empty() || (is_done && trailers.is_empty()) {
            send.send_data(data, is_done && trailers.is_empty()).map_err(io::Error::other)?;
        }
        if !trailers.is_empty() {
            send.send_trailers(trailers).map_err(io::Error::other)?;
        }
        if is_done {
            self.upload = Upload::Ended;
        }
        Poll::Ready(Ok(skip_bytes + data_bytes))
    }

    /// Gives bytes of the response.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = space.filled().len();
        loop {
            self.read_edge(space);
            let is_moved = self.read_piece(space)?;
            if space.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if is_moved || self.edge_read < self.edge.len() {
                continue;
            }
            if space.filled().len() > before && matches!(self.download, Download::Failed(_)) {
                // Who reads next is told why.
                return Poll::Ready(Ok(()));
            }
            match self.poll_next(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => return Poll::Ready(Ok(())),
                // What came in front of it is read first.
                _ if space.filled().len() > before => return Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn read_edge(&mut self, space: &mut ReadBuf<'_>) {
        let rest = &self.edge[self.edge_read..];
        let count = rest.len().min(space.remaining());
        space.put_slice(&rest[..count]);
        self.edge_read += count;
        if self.edge_read == self.edge.len() {
            self.edge.clear();
            self.edge_read = 0;
        }
    }

    /// Gives content that came; whether there was any.
    fn read_piece(&mut self, space: &mut ReadBuf<'_>) -> io::Result<bool> {
        let Download::Body { recv, framing, piece, has_ended } = &mut self.download else {
            return Ok(false);
        };
        let is_held = matches!(framing, ResponseFraming::Exact(left)
            if *left <= piece.len() as u64 && !*has_ended);
        let count = piece.len().min(space.remaining());
        if count == 0 || is_held || self.edge_read < self.edge.len() {
            return Ok(false);
        }
        space.put_slice(&piece[..count]);
        piece.advance(count);
        recv.flow_control().release_capacity(count).map_err(io::Error::other)?;
        if let ResponseFraming::Exact(left) = framing {
            *left = left.saturating_sub(count as u64);
        }
        if piece.is_empty() && *framing == ResponseFraming::Chunked {
            self.edge.extend_from_slice(b"\r\n");
        }
        Ok(true)
    }

    /// Takes in what comes next; false at the end of the response.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        match &mut self.download {
            // Whoever writes is woken, and reads then.
            Download::Unasked => Poll::Pending,
            Download::Head(response) => {
                if let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
                    let interim = interim.map_err(io::Error::other)?;
                    let written = write_interim(&mut self.edge, &interim);
                    return self.unless_malformed(written.err());
                }
                let response = ready!(Pin::new(response).poll(cx)).map_err(io::Error::other)?;
                self.guard.answered();
                let (parts, recv) = response.into_parts();
                let head = http::Response::from_parts(parts, ());
                let has_ended = recv.is_end_stream();
                let written = match &self.accept {
                    Some(accept) if head.status().is_success() => {
                        write_switch(&mut self.edge, &head, accept).map(|()| ResponseFraming::Raw)
                    }
                    Some(_) => {
                        // Not a tunnel, then: nothing more goes to the member, which may have
                        // ended that direction itself.
                        let _ended = self.end();
                        write_response(&mut self.edge, &head, false, has_ended)
                    }
                    None => write_response(&mut self.edge, &head, self.is_head, has_ended),
                };
                self.download = match written {
                    Ok(ResponseFraming::Empty) => {
                        Download::Empty { recv, head: std::mem::take(&mut self.edge) }
                    }
                    Ok(framing) => Download::Body { recv, framing, piece: Bytes::new(), has_ended },
                    Err(error) => return self.unless_malformed(Some(error)),
                };
                Poll::Ready(Ok(true))
            }
            Download::Body { .. } => self.poll_body(cx),
            Download::Empty { recv, head } => {
                match ready!(recv.poll_data(cx)) {
                    Some(Ok(data)) if data.is_empty() => {}
                    // h2 holds content against its length, and does not let it come to that.
                    Some(Ok(_)) => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                    Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                    None => {
                        self.edge = std::mem::take(head);
                        self.download = Download::Done;
                    }
                }
                Poll::Ready(Ok(true))
            }
            Download::Trailers(recv) => {
                let trailers = ready!(recv.poll_trailers(cx)).map_err(io::Error::other)?;
                self.download = Download::Done;
                let written = write_last_chunk(&mut self.edge, trailers.as_ref());
                self.unless_malformed(written.err())
            }
            Download::Done => Poll::Ready(Ok(false)),
            Download::Failed(error) => {
                let error = error.take();
                Poll::Ready(Err(error.unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())))
            }
        }
    }

    /// Nothing of what is malformed is read: an error in its place.
    fn unless_malformed(&mut self, error: Option<Malformed>) -> Poll<io::Result<bool>> {
        if let Some(error) = error {
            self.edge.clear();
            self.edge_read = 0;
            self.download = Download::Failed(Some(io::Error::other(error)));
        }
        Poll::Ready(Ok(true))
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let Download::Body { recv, framing, piece, has_ended } = &mut self.download else {
            return Poll::Ready(Ok(false));
        };
        if *framing == ResponseFraming::None || (*has_ended && piece.is_empty()) {
            self.download = Download::Done;
            return Poll::Ready(Ok(false));
        }
        match ready!(recv.poll_data(cx)) {
            Some(Err(error)) => Poll::Ready(Err(io::Error::other(error))),
            Some(Ok(data)) if data.is_empty() => {
                *has_ended = recv.is_end_stream() && *framing != ResponseFraming::Chunked;
                Poll::Ready(Ok(true))
            }
            Some(Ok(data)) => {
                if !piece.is_empty() {
                    // More than was said; h2 does not let it come to that.
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                if *framing == ResponseFraming::Chunked {
                    write_chunk_size(&mut self.edge, data.len());
                } else {
                    *has_ended = recv.is_end_stream();
                }
                *piece = data;
                Poll::Ready(Ok(true))
            }
            None => {
                match framing {
                    ResponseFraming::Exact(left) if *left > piece.len() as u64 => {
                        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                    ResponseFraming::Chunked => {
                        if let Download::Body { recv, .. } =
                            std::mem::replace(&mut self.download, Download::Done)
                        {
                            self.download = Download::Trailers(recv);
                        }
                    }
                    _ => *has_ended = true,
                }
                Poll::Ready(Ok(true))
            }
        }
    }
}

/// How much may be sent, at least 1.
fn poll_capacity(
    send: &mut SendStream<Bytes>,
    cx: &mut Context<'_>,
    wanted_bytes: usize,
) -> Poll<io::Result<usize>> {
    send.reserve_capacity(wanted_bytes.min(SEND_MAX_BYTES));
    loop {
        let capacity = send.capacity();
        if capacity > 0 {
            return Poll::Ready(Ok(capacity));
        }
        match ready!(send.poll_capacity(cx)) {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}
