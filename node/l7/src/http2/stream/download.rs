//! A response of HTTP/1.1, as an exchange writes it, sent as HTTP/2.
//!
//! Invariant: the stream ends where the response's framing says that it ends, and nowhere else.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::super::request::{Accept, Written};
use super::{Piece, malformed};
use crate::buffer::BUFFER_BYTES;
use crate::codec::framing::{BodyDecoder, BodyLength, FramingFields};
use crate::codec::head::{HeadScanner, Scan};
use crate::worker::HttpWorker;

/// A response on its way.
pub(super) struct Download {
    worker: Rc<HttpWorker>,
    state: State,
    is_head: bool,
    /// Of a CONNECT with a protocol: what the member must answer.
    accept: Option<Accept>,
    last_headers: Rc<Cell<u64>>,
}

enum State {
    /// A head comes next.
    Head(SendResponse<Piece>),
    /// A body, or what is left of it.
    Body { send: SendStream<Piece>, decoder: BodyDecoder, data_left: usize },
    /// The bytes of a tunnel.
    Raw(SendStream<Piece>),
    /// The response is whole.
    Done,
}

/// What a head says.
struct Head {
    status: StatusCode,
    fields: HeaderMap,
    framing: FramingFields,
    accept: Option<HeaderValue>,
}

impl Download {
    pub(super) fn new(
        worker: Rc<HttpWorker>,
        respond: SendResponse<Piece>,
        written: &Written,
        last_headers: Rc<Cell<u64>>,
    ) -> Self {
        let Written { is_head, accept, .. } = *written;
        Self { worker, state: State::Head(respond), is_head, accept, last_headers }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    pub(super) fn reset(&mut self, reason: Reason) {
        match &mut self.state {
            State::Head(respond) => respond.send_reset(reason),
            State::Body { send, .. } | State::Raw(send) => send.send_reset(reason),
            State::Done => {}
        }
    }

    /// Ready when the client has broken the stream off.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let reset = match &mut self.state {
            State::Head(respond) => respond.poll_reset(cx),
            State::Body { send, .. } | State::Raw(send) => send.poll_reset(cx),
            State::Done => return Poll::Pending,
        };
        reset.map(|_| ())
    }

    /// Takes what the client's window has room for; heads as a whole.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut taken = 0;
        while taken < bytes.len() {
            let rest = &bytes[taken..];
            match self.poll_write_part(cx, rest) {
                Poll::Ready(Ok(0)) => break,
                Poll::Ready(Ok(count)) => taken += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if taken > 0 => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(taken))
    }

    /// Ends a tunnel's direction to the client.
    pub(super) fn end(&mut self) -> io::Result<()> {
        if let State::Raw(send) = &mut self.state {
            send.send_data(Piece::of(&self.worker, b""), true).map_err(failed)?;
            self.state = State::Done;
        }
        Ok(())
    }

    fn poll_write_part(&mut self, cx: &mut Context<'_>, rest: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.state {
            State::Head(_) => Poll::Ready(self.write_head(rest)),
            State::Raw(send) => {
                let count = ready!(poll_room(cx, send, rest.len()))?;
                send.send_data(Piece::of(&self.worker, &rest[..count]), false).map_err(failed)?;
                Poll::Ready(Ok(count))
            }
            State::Body { send, decoder, data_left } => {
                let mut skipped = 0;
                if *data_left == 0 {
                    let part = decoder.next(rest).map_err(|_| malformed("broken chunks"))?;
                    skipped = part.skip_bytes;
                    *data_left = part.data_bytes;
                    if *data_left == 0 && decoder.is_done() {
                        self.end_body()?;
                        return Poll::Ready(Ok(skipped));
                    }
                }
                let wanted = (*data_left).min(rest.len() - skipped);
                if wanted == 0 {
                    return Poll::Ready(Ok(skipped));
                }
                let count = match poll_room(cx, send, wanted) {
                    Poll::Ready(count) => count?,
                    Poll::Pending if skipped > 0 => return Poll::Ready(Ok(skipped)),
                    Poll::Pending => return Poll::Pending,
                };
                *data_left -= count;
                let is_end = *data_left == 0 && matches!(decoder, BodyDecoder::Exact(0));
                let piece = Piece::of(&self.worker, &rest[skipped..skipped + count]);
                send.send_data(piece, is_end).map_err(failed)?;
                if is_end {
                    self.state = State::Done;
                }
                Poll::Ready(Ok(skipped + count))
            }
            State::Done => Poll::Ready(Err(malformed("more than the response"))),
        }
    }

    /// Ends a body in chunks.
    fn end_body(&mut self) -> io::Result<()> {
        let State::Body { send, decoder, .. } = &mut self.state else { return Ok(()) };
        let trailer = read_trailer(decoder.trailer())?;
        match trailer {
            Some(trailer) => {
                self.last_headers.set(self.last_headers.get() + 1);
                send.send_trailers(trailer).map_err(failed)?;
            }
            None => send.send_data(Piece::of(&self.worker, b""), true).map_err(failed)?,
        }
        self.state = State::Done;
        Ok(())
    }

    /// Sends the head at the front of `bytes`; its length.
    fn write_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let State::Head(respond) = &mut self.state else { return Ok(0) };
        let scan = HeadScanner::default().advance(bytes);
        let Ok(Scan::Complete { length, field_count }) = scan else {
            return Err(malformed("a head in pieces"));
        };
        let mut head = read_head(&bytes[..length], field_count)?;
        if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS {
            respond.send_informational(respond_with(head.status, head.fields)).map_err(failed)?;
            return Ok(length);
        }
        if let Some(accept) = &self.accept {
            match head.status {
                // RFC 8441 §5: what HTTP/1.1 calls switching is success here.
                StatusCode::SWITCHING_PROTOCOLS => {
                    let given = head.accept.as_ref().map(HeaderValue::as_bytes);
                    if given.is_some_and(|given| given != accept) || given.is_none() {
                        return Err(malformed("a WebSocket that the member has not agreed to"));
                    }
                    let response = respond_with(StatusCode::OK, head.fields);
                    let send = respond.send_response(response, false).map_err(failed)?;
                    self.state = State::Raw(send);
                    return Ok(length);
                }
                // It would be taken for a tunnel.
                status if status.is_success() => {
                    return Err(malformed("an answer that is no tunnel"));
                }
                _ => {}
            }
        } else if let Some(accept) = head.accept.take() {
            head.fields.append(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        let length_told = head.framing.length(false).map_err(|_| malformed("two lengths"))?;
        let has_none = self.is_head
            || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || length_told.is_some_and(BodyLength::is_empty);
        let body = length_told.unwrap_or(BodyLength::UntilClose);
        let response = respond_with(head.status, head.fields);
        let send = respond.send_response(response, has_none).map_err(failed)?;
        self.state = if has_none {
            self.last_headers.set(self.last_headers.get() + 1);
            State::Done
        } else {
            State::Body { send, decoder: BodyDecoder::new(body), data_left: 0 }
        };
        Ok(length)
    }
}

/// How much may be sent now, of `wanted`; waits where it is nothing.
fn poll_room(
    cx: &mut Context<'_>,
    send: &mut SendStream<Piece>,
    wanted: usize,
) -> Poll<io::Result<usize>> {
    let wanted = wanted.min(BUFFER_BYTES);
    send.reserve_capacity(wanted);
    loop {
        let room = send.capacity().min(wanted);
        if room > 0 {
            return Poll::Ready(Ok(room));
        }
        match ready!(send.poll_capacity(cx)) {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Poll::Ready(Err(failed(error))),
            None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

fn respond_with(status: StatusCode, fields: HeaderMap) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    response
}

/// Understands a head that an exchange has written, without what concerns HTTP/1.1 alone.
fn read_head(bytes: &[u8], field_count: usize) -> io::Result<Head> {
    // One copy of all; values are parts of it.
    let bytes = Bytes::copy_from_slice(bytes);
    let mut lines = Lines { bytes: &bytes, at: 0 };
    let status = lines.next().and_then(|line| bytes.get(line.start + 9..line.start + 12));
    let status = status.and_then(|code| StatusCode::from_bytes(code).ok());
    let mut head = Head {
        status: status.ok_or_else(|| malformed("no status"))?,
        fields: HeaderMap::with_capacity(field_count),
        framing: FramingFields::default(),
        accept: None,
    };
    for line in lines {
        if line.is_empty() {
            break;
        }
        let (name, value) = read_field(&bytes, line)?;
        let framing = match name {
            header::CONTENT_LENGTH => head.framing.content_length(value.as_bytes()),
            header::TRANSFER_ENCODING => head.framing.transfer_encoding(value.as_bytes()),
            _ => Ok(()),
        };
        framing.map_err(|_| malformed("no length"))?;
        match name {
            // RFC 9113 §8.2.2.
            header::CONNECTION | header::TRANSFER_ENCODING | header::UPGRADE => {}
            header::SEC_WEBSOCKET_ACCEPT => head.accept = Some(value),
            _ if is_connection_specific(&name) => {}
            _ => {
                head.fields.append(name, value);
            }
        }
    }
    Ok(head)
}

/// The lines of a trailer section, if there are any.
fn read_trailer(section: &[u8]) -> io::Result<Option<HeaderMap>> {
    if section.is_empty() {
        return Ok(None);
    }
    let bytes = Bytes::copy_from_slice(section);
    let mut fields = HeaderMap::new();
    for line in (Lines { bytes: &bytes, at: 0 }) {
        let (name, value) = read_field(&bytes, line)?;
        fields.append(name, value);
    }
    Ok(Some(fields))
}

fn is_connection_specific(name: &HeaderName) -> bool {
    matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

fn read_field(
    bytes: &Bytes,
    line: std::ops::Range<usize>,
) -> io::Result<(HeaderName, HeaderValue)> {
    let text = &bytes[line.clone()];
    let colon = memchr::memchr(b':', text).ok_or_else(|| malformed("a line without a colon"))?;
    let name = HeaderName::from_bytes(&text[..colon]).map_err(|_| malformed("no name"))?;
    let value = text[colon + 1..].trim_ascii();
    let value = HeaderValue::from_maybe_shared(bytes.slice_ref(value));
    Ok((name, value.map_err(|_| malformed("no value"))?))
}

/// The lines of a head, without their CRLF.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Iterator for Lines<'_> {
    type Item = std::ops::Range<usize>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at;
        let length = memchr::memchr(b'\n', &self.bytes[start..])?;
        self.at = start + length + 1;
        Some(start..start + length.saturating_sub(1))
    }
}

/// A stream that the client has broken off, or a connection that has ended.
fn failed(error: h2::Error) -> io::Error {
    error.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())
}
