//! A request of HTTP/2 written as the head of an HTTP/1.1 request (RFC 9113 §8.3, RFC 9112 §3).
//!
//! What reaches a member goes through the same checks as a request that came in HTTP/1.1, so only
//! what is lost in writing is checked here.
//!
//! Invariant: nothing is written that a line of HTTP/1.1 can't hold, or that says two things; whatever
//! RFC 9113 calls malformed is refused, never repaired.

use h2::ext::Protocol;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, header};

use crate::buffer::Buffer;
use crate::codec::trailer;

/// A request that is malformed (RFC 9113 §8.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// How a request's body comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFraming {
    /// With `Content-Length`.
    Exact(u64),
    /// Without: it becomes chunks.
    Chunked,
    /// As the bytes of a tunnel (RFC 8441).
    Raw,
}

/// A head that was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) length: usize,
    pub(super) field_count: usize,
    pub(super) framing: BodyFraming,
    pub(super) is_head: bool,
    /// Of a CONNECT with a protocol: what the member's answer must hold.
    pub(super) accept: Option<Accept>,
    /// Of a CONNECT with a protocol: whether it is one that is not passed on.
    pub(super) is_unknown_protocol: bool,
}

/// `Sec-WebSocket-Accept` (RFC 6455 §4.2.2).
pub(crate) type Accept = [u8; 28];

/// Writes the head of the request; `is_end` where it has no body. `nonce` becomes the key of a
/// WebSocket.
pub(super) fn write_head(
    output: &mut Buffer,
    parts: Parts,
    is_end: bool,
    nonce: [u8; 16],
) -> Result<Written, Malformed> {
    let Parts { method, uri, headers, extensions, .. } = parts;
    let start = output.len();
    let protocol = extensions.get::<Protocol>();
    let uri = uri.into_parts();
    let target = match (&uri.path_and_query, &uri.authority) {
        (Some(path), _) => path.as_str().as_bytes(),
        // Refused by whoever reads the head: this is no forward proxy.
        (None, Some(authority)) if method == Method::CONNECT => authority.as_str().as_bytes(),
        (None, _) => return Err(Malformed),
    };
    let is_tunnel = protocol.is_some();
    let is_asterisk = method == Method::OPTIONS && target == b"*";
    if !(target.starts_with(b"/") || is_asterisk || (method == Method::CONNECT && !is_tunnel)) {
        return Err(Malformed);
    }
    let is_known_scheme = |scheme: &http::uri::Scheme| matches!(scheme.as_str(), "http" | "https");
    if !uri.scheme.as_ref().is_none_or(is_known_scheme) {
        return Err(Malformed);
    }
    let mut writer = Writer { output, field_count: 0 };
    let name = if is_tunnel { "GET" } else { method.as_str() };
    writer.line(&[name.as_bytes(), b" ", target, b" HTTP/1.1"]);
    writer.host(uri.authority.as_ref().map(|it| it.as_str().as_bytes()), &headers)?;
    let is_trailed = !is_end && !is_tunnel && trailer::is_likely(&headers);
    let length = writer.fields(&headers, is_tunnel, is_trailed)?;
    let mut accept = None;
    let is_unknown_protocol =
        protocol.is_some_and(|it| !it.as_str().eq_ignore_ascii_case("websocket"));
    let framing = if let Some(protocol) = protocol {
        if length.is_some() {
            return Err(Malformed);
        }
        accept = Some(writer.upgrade(protocol, nonce)?);
        BodyFraming::Raw
    } else if let Some(length) = length.filter(|_| !is_trailed) {
        BodyFraming::Exact(length)
    } else if is_end {
        // Said by who sends it, wherever content is usual (RFC 9110 §8.6).
        if matches!(method, Method::POST | Method::PUT | Method::PATCH) {
            writer.field(b"content-length", b"0");
        }
        BodyFraming::Exact(0)
    } else {
        writer.field(b"transfer-encoding", b"chunked");
        BodyFraming::Chunked
    };
    let field_count = writer.field_count;
    output.push(b"\r\n");
    let length = output.len() - start;
    let is_head = method == Method::HEAD;
    Ok(Written { length, field_count, framing, is_head, accept, is_unknown_protocol })
}

struct Writer<'a> {
    output: &'a mut Buffer,
    field_count: usize,
}

impl Writer<'_> {
    fn line(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.output.push(part);
        }
        self.output.push(b"\r\n");
    }

    fn field(&mut self, name: &[u8], value: &[u8]) {
        self.line(&[name, b": ", value]);
        self.field_count += 1;
    }

    /// RFC 9113 §8.3.1: `Host` from `:authority`; where both are there they must agree.
    fn host(
        &mut self,
        authority: Option<&[u8]>,
        headers: &http::HeaderMap,
    ) -> Result<(), Malformed> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = hosts.next().map(HeaderValue::as_bytes);
        if hosts.next().is_some() {
            return Err(Malformed);
        }
        match (authority, host) {
            (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
                Err(Malformed)
            }
            (Some(host), _) | (None, Some(host)) => {
                self.field(b"host", host);
                Ok(())
            }
            (None, None) => Err(Malformed),
        }
    }

    /// Writes the fields, but for the host; what `content-length` says. Where the message `is_trailed`
    /// its length is not told: it goes in chunks, and is held against it all the same, below us.
    fn fields(
        &mut self,
        headers: &http::HeaderMap,
        is_tunnel: bool,
        is_trailed: bool,
    ) -> Result<Option<u64>, Malformed> {
        let mut length = None;
        for (name, value) in headers {
            let value = value.as_bytes();
            // RFC 9113 §8.2.1.
            if matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t']) {
                return Err(Malformed);
            }
            match field_kind(name) {
                FieldKind::Plain => self.field(name.as_str().as_bytes(), value),
                FieldKind::Host | FieldKind::Cookie => {}
                FieldKind::ConnectionSpecific => return Err(Malformed),
                FieldKind::Te if value != b"trailers" => return Err(Malformed),
                FieldKind::Te => self.field(b"te", value),
                FieldKind::ContentLength => {
                    if length.is_some() {
                        return Err(Malformed);
                    }
                    length = Some(decimal(value).ok_or(Malformed)?);
                    if !is_trailed {
                        self.field(b"content-length", value);
                    }
                }
                // Ours to choose.
                FieldKind::WebSocketKey if is_tunnel => return Err(Malformed),
                FieldKind::WebSocketKey => self.field(name.as_str().as_bytes(), value),
            }
        }
        self.cookies(headers);
        Ok(length)
    }

    /// RFC 9113 §8.2.3: cookies may come one by one, and go on as one field.
    fn cookies(&mut self, headers: &http::HeaderMap) {
        let mut cookies = headers.get_all(header::COOKIE).iter();
        let Some(first) = cookies.next() else { return };
        self.output.push(b"cookie: ");
        self.output.push(first.as_bytes());
        for cookie in cookies {
            self.output.push(b"; ");
            self.output.push(cookie.as_bytes());
        }
        self.output.push(b"\r\n");
        self.field_count += 1;
    }

    /// RFC 8441 §5: the upgrade that HTTP/1.1 has instead of a CONNECT with a protocol.
    fn upgrade(&mut self, protocol: &Protocol, nonce: [u8; 16]) -> Result<Accept, Malformed> {
        let protocol = protocol.as_str().as_bytes();
        if protocol.is_empty() || !protocol.iter().all(|byte| is_token(*byte)) {
            return Err(Malformed);
        }
        let mut key = [0; 24];
        encode_base64(&nonce, &mut key);
        self.field(b"connection", b"upgrade");
        self.field(b"upgrade", protocol);
        if protocol.eq_ignore_ascii_case(b"websocket") {
            self.field(b"sec-websocket-key", &key);
        }
        Ok(accept_of(&key))
    }
}

enum FieldKind {
    Plain,
    Host,
    Cookie,
    Te,
    ContentLength,
    ConnectionSpecific,
    WebSocketKey,
}

fn field_kind(name: &HeaderName) -> FieldKind {
    match name.as_str().len() {
        2 if name == header::TE => FieldKind::Te,
        4 if name == header::HOST => FieldKind::Host,
        6 if name == header::COOKIE => FieldKind::Cookie,
        7 if name == header::UPGRADE => FieldKind::ConnectionSpecific,
        10 if name == header::CONNECTION || name == "keep-alive" => FieldKind::ConnectionSpecific,
        14 if name == header::CONTENT_LENGTH => FieldKind::ContentLength,
        16 if name == "proxy-connection" => FieldKind::ConnectionSpecific,
        17 if name == header::TRANSFER_ENCODING => FieldKind::ConnectionSpecific,
        17 if name == header::SEC_WEBSOCKET_KEY => FieldKind::WebSocketKey,
        _ => FieldKind::Plain,
    }
}

/// Writes the lines of a trailer section, each with its CRLF. None may say what a trailer must not.
pub(super) fn write_trailer(
    output: &mut Vec<u8>,
    trailers: &http::HeaderMap,
) -> Result<(), Malformed> {
    for (name, value) in trailers {
        let value = value.as_bytes();
        let is_padded = matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t']);
        if is_padded || trailer::frames_a_message(name.as_str().as_bytes()) {
            return Err(Malformed);
        }
        output.extend_from_slice(name.as_str().as_bytes());
        output.extend_from_slice(b": ");
        output.extend_from_slice(value);
        output.extend_from_slice(b"\r\n");
    }
    Ok(())
}

/// The accept value for a key (RFC 6455 §1.3).
pub(crate) fn accept_of(key: &[u8]) -> Accept {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let mut accept = [0; 28];
    encode_base64(context.finish().as_ref(), &mut accept);
    accept
}

/// `output` has room for exactly that much.
fn encode_base64(bytes: &[u8], output: &mut [u8]) {
    use base64::Engine as _;
    let written = base64::engine::general_purpose::STANDARD.encode_slice(bytes, output);
    debug_assert!(written.is_ok());
}

/// RFC 9110 §8.6: digits alone.
fn decimal(value: &[u8]) -> Option<u64> {
    let is_plain = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    let number = |number: u64, digit: &u8| number * 10 + u64::from(digit - b'0');
    is_plain.then(|| value.iter().fold(0, number))
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&byte)
}

#[cfg(test)]
mod tests;
