//! Heads and trailers between HTTP/1.1 and HTTP/2 (RFC 9113 §8).
//!
//! Invariant: what goes out as HTTP/1.1 has one meaning: one framing, written here, and no field that
//! could be taken for one. `http` allows no CR, LF or NUL in names and values.

use std::io::Write as _;

use h2::ext::Protocol;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, Version};

use crate::codec::framing::{BodyLength, FramingFields};
use crate::codec::head::{HeadScanner, Scan};
use crate::codec::trailer;
use crate::http2::{Accept, accept_of};

/// What is looked at of a head in one go where it comes in pieces, in bytes.
const HEAD_STEP_BYTES: usize = 16 * 1024;

/// A request head of ours that HTTP/2 has no way to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request can't be said in HTTP/2: {0}")]
pub(crate) struct Unsendable(&'static str);

/// A response that is malformed (RFC 9113 §8.1.1) in a way that only shows here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the response is malformed: {0}")]
pub(crate) struct Malformed(&'static str);

/// A request as HTTP/2 says it.
#[derive(Debug)]
pub(crate) struct RequestParts {
    pub(crate) request: Request<()>,
    pub(crate) body: BodyLength,
    pub(crate) is_head: bool,
    /// Of a WebSocket: what HTTP/1.1 has a member answer.
    pub(crate) accept: Option<Accept>,
}

/// Moves what belongs to a head from `input` to `bytes`, which has what came of it before; how much that
/// is, and whether the head is complete. None where it is no head. Content behind it, which may be large,
/// stays where it is.
pub(crate) fn take_head(
    bytes: &mut Vec<u8>,
    scanner: &mut HeadScanner,
    input: &[u8],
) -> Option<(usize, bool)> {
    let held = bytes.len();
    let input = if held == 0 { input } else { &input[..input.len().min(HEAD_STEP_BYTES)] };
    if held > 0 {
        bytes.extend_from_slice(input);
    }
    let (length, is_complete) = match scanner.advance(if held > 0 { bytes } else { input }) {
        Ok(Scan::Complete { length, .. }) => (length, true),
        Ok(Scan::Partial) => (held + input.len(), false),
        Ok(Scan::EmptyLine) | Err(_) => return None,
    };
    if held > 0 {
        bytes.truncate(length);
    } else {
        bytes.extend_from_slice(&input[..length]);
    }
    Some((length - held, is_complete))
}

/// Reads a head that this node wrote for a member. `is_tunnel`: it asks for a WebSocket, which HTTP/2
/// says by a CONNECT with that protocol, and without the handshake's key (RFC 8441 §5).
pub(crate) fn read_request(
    head: &[u8],
    is_tls: bool,
    is_tunnel: bool,
) -> Result<RequestParts, Unsendable> {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.trim_suffix_cr());
    let mut start = lines.next().unwrap_or_default().split(|byte| *byte == b' ');
    let method = start.next().and_then(|method| Method::from_bytes(method).ok());
    let method = method.ok_or(Unsendable("its method"))?;
    let target = start.next().and_then(|target| PathAndQuery::try_from(target).ok());
    let target = target.ok_or(Unsendable("its target"))?;
    let mut fields = HeaderMap::new();
    let mut framing = FramingFields::default();
    let (mut authority, mut accept) = (None, None);
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = read_field(line).ok_or(Unsendable("a field"))?;
        if name == HOST {
            authority = Authority::try_from(value.as_bytes()).ok();
            continue;
        }
        if is_tunnel && name == SEC_WEBSOCKET_KEY {
            accept = Some(accept_of(value.as_bytes()));
            continue;
        }
        if name == TRANSFER_ENCODING {
            framing.transfer_encoding(value.as_bytes()).map_err(|_| Unsendable("its framing"))?;
            continue;
        }
        if name == CONTENT_LENGTH {
            framing.content_length(value.as_bytes()).map_err(|_| Unsendable("its framing"))?;
        }
        if name == TE {
            // What we write there is `trailers`, the one that HTTP/2 allows (§8.2.2).
            fields.insert(TE, HeaderValue::from_static("trailers"));
        } else if !concerns_the_connection(&name) {
            fields.append(name, value);
        }
    }
    let body = framing.length(false).map_err(|_| Unsendable("its framing"))?;
    let is_head = method == Method::HEAD;
    let mut request = Request::new(());
    *request.method_mut() = method;
    if is_tunnel {
        accept.ok_or(Unsendable("its WebSocket key"))?;
        *request.method_mut() = Method::CONNECT;
        request.extensions_mut().insert(Protocol::from_static("websocket"));
    }
    *request.uri_mut() = uri(is_tls, authority.ok_or(Unsendable("its host"))?, target)?;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = fields;
    Ok(RequestParts { request, body: body.unwrap_or(BodyLength::None), is_head, accept })
}

fn uri(is_tls: bool, authority: Authority, target: PathAndQuery) -> Result<Uri, Unsendable> {
    let scheme = if is_tls { Scheme::HTTPS } else { Scheme::HTTP };
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Some(authority);
    parts.path_and_query = Some(target);
    Uri::from_parts(parts).map_err(|_| Unsendable("its target"))
}

/// Reads the lines of a trailer section.
pub(crate) fn read_trailers(section: &[u8]) -> HeaderMap {
    let lines = trailer::passed_on(section).map(|line| line.trim_suffix_lf().trim_suffix_cr());
    let mut fields = HeaderMap::new();
    for (name, value) in lines.filter_map(read_field) {
        fields.append(name, value);
    }
    fields
}

fn read_field(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
    Some((name, value))
}

/// How the end of a response's body is told in HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseFraming {
    /// There is no body.
    None,
    /// There is none, as was said, but the member has not ended the stream yet.
    Empty,
    /// By `Content-Length`; so many bytes are left.
    Exact(u64),
    /// By chunks.
    Chunked,
    /// Not at all: it is a tunnel.
    Raw,
}

/// Writes the head of a final response. `has_ended`: nothing follows it.
pub(crate) fn write_response(
    output: &mut Vec<u8>,
    head: &Response<()>,
    is_head: bool,
    has_ended: bool,
) -> Result<ResponseFraming, Malformed> {
    let length = content_length(head.headers())?;
    let status = head.status();
    write_status(output, status);
    write_fields(output, head.headers())?;
    let has_none =
        is_head || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    let is_trailed = !has_none && !has_ended && trailer::is_likely(head.headers());
    if let Some(length) = length
        && status != StatusCode::NO_CONTENT
        && !is_trailed
    {
        write_length(output, length);
    }
    let framing = match length.filter(|_| !is_trailed) {
        _ if has_none => ResponseFraming::None,
        Some(0) if has_ended => ResponseFraming::None,
        Some(0) => ResponseFraming::Empty,
        Some(length) => ResponseFraming::Exact(length),
        None if has_ended => {
            write_length(output, 0);
            ResponseFraming::None
        }
        None => {
            output.extend_from_slice(b"transfer-encoding: chunked\r\n");
            ResponseFraming::Chunked
        }
    };
    output.extend_from_slice(b"\r\n");
    Ok(framing)
}

/// Writes the head by which HTTP/1.1 says that a WebSocket has begun, for a response that says so in
/// HTTP/2 by a status of success (RFC 8441 §5).
pub(crate) fn write_switch(
    output: &mut Vec<u8>,
    head: &Response<()>,
    accept: &Accept,
) -> Result<(), Malformed> {
    write_status(output, StatusCode::SWITCHING_PROTOCOLS);
    let mut fields = head.headers().clone();
    fields.remove(SEC_WEBSOCKET_ACCEPT);
    write_fields(output, &fields)?;
    output.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
    output.extend_from_slice(b"sec-websocket-accept: ");
    output.extend_from_slice(accept);
    output.extend_from_slice(b"\r\n\r\n");
    Ok(())
}

/// Writes an interim response (1xx).
pub(crate) fn write_interim(output: &mut Vec<u8>, head: &Response<()>) -> Result<(), Malformed> {
    // §8.6: it would be taken for the beginning of a tunnel.
    if head.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Malformed("a change of protocol"));
    }
    write_status(output, head.status());
    write_fields(output, head.headers())?;
    output.extend_from_slice(b"\r\n");
    Ok(())
}

/// Writes the last chunk and a trailer section.
pub(crate) fn write_last_chunk(
    output: &mut Vec<u8>,
    trailers: Option<&HeaderMap>,
) -> Result<(), Malformed> {
    output.extend_from_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        write_fields(output, trailers)?;
    }
    output.extend_from_slice(b"\r\n");
    Ok(())
}

/// Writes what stands in front of a chunk of so many bytes.
pub(crate) fn write_chunk_size(output: &mut Vec<u8>, bytes: usize) {
    // Writing to a vector never fails.
    let _ = write!(output, "{bytes:x}\r\n");
}

fn write_status(output: &mut Vec<u8>, status: StatusCode) {
    output.extend_from_slice(b"HTTP/1.1 ");
    output.extend_from_slice(status.as_str().as_bytes());
    output.push(b' ');
    output.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    output.extend_from_slice(b"\r\n");
}

fn write_fields(output: &mut Vec<u8>, fields: &HeaderMap) -> Result<(), Malformed> {
    for (name, value) in fields {
        if *name == CONTENT_LENGTH || concerns_the_connection(name) {
            continue;
        }
        // §8.2.1.
        if matches!(value.as_bytes(), [b' ' | b'\t', ..] | [.., b' ' | b'\t']) {
            return Err(Malformed("a value begins or ends with a space"));
        }
        output.extend_from_slice(name.as_str().as_bytes());
        output.extend_from_slice(b": ");
        output.extend_from_slice(value.as_bytes());
        output.extend_from_slice(b"\r\n");
    }
    Ok(())
}

fn write_length(output: &mut Vec<u8>, length: u64) {
    // Writing to a vector never fails.
    let _ = write!(output, "content-length: {length}\r\n");
}

/// The one length that is said, if any is; the body is held against it below us.
fn content_length(fields: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let malformed = |_| Malformed("its length");
    let mut framing = FramingFields::default();
    for value in fields.get_all(CONTENT_LENGTH) {
        framing.content_length(value.as_bytes()).map_err(malformed)?;
    }
    match framing.length(false).map_err(malformed)? {
        Some(BodyLength::Exact(length)) => Ok(Some(length)),
        _ => Ok(None),
    }
}

/// Fields that HTTP/2 has not (§8.2.2).
fn concerns_the_connection(name: &HeaderName) -> bool {
    *name == CONNECTION
        || *name == TRANSFER_ENCODING
        || *name == UPGRADE
        || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings")
}

/// Ends of lines.
trait Line {
    fn trim_suffix_cr(&self) -> &[u8];
    fn trim_suffix_lf(&self) -> &[u8];
}

impl Line for [u8] {
    fn trim_suffix_cr(&self) -> &[u8] {
        self.strip_suffix(b"\r").unwrap_or(self)
    }

    fn trim_suffix_lf(&self) -> &[u8] {
        self.strip_suffix(b"\n").unwrap_or(self)
    }
}

#[cfg(test)]
mod tests;
