//! Request heads: request line, host, framing, what they ask of the connection (RFC 9112 §3).
//!
//! Invariant: a [`RequestHead`] has exactly one meaning: one host, one body length, a target in
//! origin or asterisk form.

use std::net::Ipv6Addr;

use memchr::memchr;

use super::framing::{BodyLength, FramingError, FramingFields, decimal};
use super::head::{ConnectionOptions, Field, FieldName, HeadError, Span, list};
use super::syntax;

/// Length of `content-type`, of `grpc-timeout` and of `max-forwards`.
const LONG_NAME_BYTES: u32 = 12;

/// A request's method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the method of that name")]
pub enum Method {
    Connect,
    Delete,
    Get,
    Head,
    Options,
    Other,
    Post,
    Put,
    Trace,
}

impl Method {
    fn new(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"POST" => Self::Post,
            b"HEAD" => Self::Head,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }

    /// Whether doing it twice is as doing it once (RFC 9110 §9.2.2), so that it may be sent again.
    pub fn is_idempotent(self) -> bool {
        !matches!(self, Self::Connect | Self::Other | Self::Post)
    }
}

/// Bounds on a request head.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Most fields.
    pub header_max_count: usize,
    /// Longest target, in bytes.
    pub uri_max_bytes: usize,
    /// Largest body, in bytes.
    pub body_max_bytes: u64,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Its syntax, or the size of its head.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// Where its body ends is not certain.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// Its target is too long.
    #[error("the target is longer than {max_bytes} bytes")]
    UriTooLong {
        /// The limit.
        max_bytes: usize,
    },
    /// Its target has none of the forms of RFC 9112 §3.2, or holds what a target can't hold.
    #[error("invalid request target")]
    InvalidTarget,
    /// HTTP/1.1 without `Host`, or with several.
    #[error("not exactly one Host field")]
    HostCount,
    /// `Host` is no host.
    #[error("invalid Host")]
    InvalidHost,
    /// The target names another host than `Host`.
    #[error("the target's authority is not that of Host")]
    HostMismatch,
    /// Its body is larger than allowed.
    #[error("the body is larger than {max_bytes} bytes")]
    BodyTooLarge {
        /// The limit.
        max_bytes: u64,
    },
    /// `CONNECT`: this is no forward proxy.
    #[error("CONNECT is not served")]
    Connect,
    /// `Expect` asks for something other than `100-continue`.
    #[error("an expectation other than 100-continue")]
    Expectation,
}

impl RequestError {
    /// The status code that says so to the client.
    pub fn status(self) -> u16 {
        match self {
            Self::Head(HeadError::TooManyFields { .. } | HeadError::TooLong { .. }) => 431,
            Self::UriTooLong { .. } => 414,
            Self::BodyTooLarge { .. } => 413,
            Self::Expectation => 417,
            Self::Connect | Self::Framing(FramingError::UnknownTransferCoding) => 501,
            _ => 400,
        }
    }
}

/// A request head that was understood; spans are offsets into its bytes.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead {
    /// Its method.
    pub method: Method,
    /// The method as it came.
    pub method_name: Span,
    /// Path and query, or `*`. Empty: `/`.
    pub target: Span,
    /// The host, with the port if one was given; none in HTTP/1.0 only.
    pub host: Option<Span>,
    /// Whether the client speaks HTTP/1.0.
    pub is_http_10: bool,
    /// Its length, the empty line included.
    pub length: usize,
    /// How long its body is.
    pub body: BodyLength,
    /// What `Connection` says.
    pub connection: ConnectionOptions,
    /// The protocol that it asks to change to (RFC 9110 §7.8), where that is one alone; a WebSocket as
    /// RFC 6455 §4.1 has it.
    pub upgrade: Option<Span>,
    /// Whether it waits for `100 Continue`.
    pub expects_continue: bool,
    /// Whether the client understands trailer fields (RFC 9110 §10.1.4).
    pub takes_trailers: bool,
    /// Whether it is a call of gRPC, whose client wants answers in its own form.
    pub is_grpc: bool,
    /// How long the client of a call of gRPC waits for its end (`grpc-timeout`), in ms.
    pub grpc_timeout_ms: Option<u64>,
    /// Of `OPTIONS` and `TRACE`: how often the request may be passed on yet (`Max-Forwards`, RFC 9110
    /// §7.6.2), where that is said.
    pub max_forwards: Option<u64>,
}

impl RequestHead {
    /// Understands `head`, which ends in an empty line and holds `field_count` field lines; notes
    /// its fields in `fields`.
    ///
    /// # Errors
    /// It is refused.
    pub fn parse(
        head: &[u8],
        field_count: usize,
        limits: &RequestLimits,
        fields: &mut Vec<Field>,
    ) -> Result<Self, RequestError> {
        if field_count > limits.header_max_count {
            let max_count = limits.header_max_count;
            return Err(HeadError::TooManyFields { max_count }.into());
        }
        let line = syntax::request_line(head)?;
        syntax::field_lines(head, line.end, fields)?;
        let method = Method::new(line.method.of_head(head));
        if line.target.of_head(head).len() > limits.uri_max_bytes {
            return Err(RequestError::UriTooLong { max_bytes: limits.uri_max_bytes });
        }
        if method == Method::Connect {
            return Err(RequestError::Connect);
        }
        let facts = Facts::collect(head, fields, line.is_http_10)?;
        let body = facts.framing.length(line.is_http_10)?.unwrap_or(BodyLength::None);
        if let BodyLength::Exact(length) = body
            && length > limits.body_max_bytes
        {
            return Err(RequestError::BodyTooLarge { max_bytes: limits.body_max_bytes });
        }
        let (target, host) = resolve_target(head, method, line.target, facts.host)?;
        let may_upgrade = facts.connection.upgrade && !line.is_http_10 && body.is_empty();
        let upgrade = facts.upgrade.filter(|upgrade| {
            let name = upgrade.of_head(head);
            let is_websocket = name.eq_ignore_ascii_case(b"websocket");
            let is_one = facts.upgrade_count == 1 && !name.is_empty() && !name.contains(&b',');
            may_upgrade && is_one && (!is_websocket || method == Method::Get)
        });
        Ok(Self {
            method,
            method_name: line.method,
            target,
            host,
            is_http_10: line.is_http_10,
            length: head.len(),
            body,
            connection: facts.connection,
            upgrade,
            expects_continue: facts.expects_continue && !line.is_http_10,
            takes_trailers: facts.takes_trailers && !line.is_http_10,
            is_grpc: facts.is_grpc,
            grpc_timeout_ms: facts.grpc_timeout_ms.filter(|_| facts.is_grpc),
            max_forwards: facts
                .max_forwards
                .filter(|_| matches!(method, Method::Options | Method::Trace)),
        })
    }

    /// Whether the client wants the connection kept (RFC 9112 §9.3).
    pub fn keeps_alive(&self) -> bool {
        let wanted = !self.is_http_10 || self.connection.keep_alive;
        wanted && !self.connection.close
    }
}

/// What the fields say that matters here.
#[derive(Default)]
struct Facts {
    framing: FramingFields,
    connection: ConnectionOptions,
    host: Option<Span>,
    upgrade: Option<Span>,
    upgrade_count: usize,
    expects_continue: bool,
    takes_trailers: bool,
    is_grpc: bool,
    grpc_timeout_ms: Option<u64>,
    max_forwards: Option<u64>,
}

impl Facts {
    fn collect(head: &[u8], fields: &[Field], is_http_10: bool) -> Result<Self, RequestError> {
        let mut facts = Self::default();
        for field in fields {
            let value = field.value.of_head(head);
            match field.name {
                FieldName::Host if facts.host.is_some() => return Err(RequestError::HostCount),
                FieldName::Host if !is_host(value) => return Err(RequestError::InvalidHost),
                FieldName::Host => facts.host = Some(field.value),
                FieldName::ContentLength => facts.framing.content_length(value)?,
                FieldName::TransferEncoding => facts.framing.transfer_encoding(value)?,
                FieldName::Connection => facts.connection.add(value),
                FieldName::Upgrade => {
                    facts.upgrade = Some(field.value);
                    facts.upgrade_count += 1;
                }
                FieldName::Te => {
                    let mut codings = list(value);
                    facts.takes_trailers |= codings.any(|it| it.eq_ignore_ascii_case(b"trailers"));
                }
                FieldName::Expect if value.eq_ignore_ascii_case(b"100-continue") => {
                    facts.expects_continue = true;
                }
                FieldName::Expect if !is_http_10 => return Err(RequestError::Expectation),
                FieldName::Other if field.has_name_of(LONG_NAME_BYTES) => {
                    facts.note_other(field.name_of(head), value);
                }
                _ => {}
            }
        }
        if facts.host.is_none() && !is_http_10 {
            return Err(RequestError::HostCount);
        }
        Ok(facts)
    }
}

impl Facts {
    /// Notes what concerns gRPC or the number of hops, if the field does.
    fn note_other(&mut self, name: &[u8], value: &[u8]) {
        if name.eq_ignore_ascii_case(b"content-type") {
            self.is_grpc = value.starts_with(b"application/grpc");
        } else if name.eq_ignore_ascii_case(b"grpc-timeout") {
            self.grpc_timeout_ms = grpc_timeout_ms(value);
        } else if name.eq_ignore_ascii_case(b"max-forwards") {
            // Of several the least: it is for ending loops.
            let number = decimal(value).unwrap_or(u64::MAX);
            self.max_forwards = Some(self.max_forwards.map_or(number, |other| other.min(number)));
        }
    }
}

/// Up to 8 digits and a unit (gRPC over HTTP/2, "Timeout"), in ms, rounded up; none where it is no
/// timeout.
fn grpc_timeout_ms(value: &[u8]) -> Option<u64> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(number * 3_600_000),
        b'M' => Some(number * 60_000),
        b'S' => Some(number * 1_000),
        b'm' => Some(number),
        b'u' => Some(number.div_ceil(1_000)),
        b'n' => Some(number.div_ceil(1_000_000)),
        _ => None,
    }
}

/// Reduces the target to origin or asterisk form (RFC 9112 §3.2), and says which host is meant.
fn resolve_target(
    head: &[u8],
    method: Method,
    target: Span,
    host: Option<Span>,
) -> Result<(Span, Option<Span>), RequestError> {
    let text = target.of_head(head);
    let is_clean = text.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#');
    if !is_clean {
        return Err(RequestError::InvalidTarget);
    }
    match text {
        [b'/', ..] => Ok((target, host)),
        b"*" if method == Method::Options => Ok((target, host)),
        _ => {
            let scheme_bytes = absolute_scheme_bytes(text).ok_or(RequestError::InvalidTarget)?;
            let rest = &text[scheme_bytes..];
            let authority_bytes =
                rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
            // A query without a path would need a "/" put in front of it; nobody sends that.
            if rest.get(authority_bytes) == Some(&b'?') {
                return Err(RequestError::InvalidTarget);
            }
            let (authority, path) = rest.split_at(authority_bytes);
            if !is_host(authority) {
                return Err(RequestError::InvalidTarget);
            }
            // RFC 9112 §3.2.2 has a proxy replace Host by the authority; where they differ, somebody
            // in front of us may have decided by the one and a member would by the other.
            let differs = |host: Span| !host.of_head(head).eq_ignore_ascii_case(authority);
            if host.is_some_and(differs) {
                return Err(RequestError::HostMismatch);
            }
            Ok((Span::of(head, path), Some(Span::of(head, authority))))
        }
    }
}

/// Length of `http://` or `https://` at the start.
fn absolute_scheme_bytes(target: &[u8]) -> Option<usize> {
    let starts = |scheme: &[u8]| {
        target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    [&b"http://"[..], b"https://"].iter().find(|scheme| starts(scheme)).map(|scheme| scheme.len())
}

/// Whether a byte may stand in a registered name (RFC 3986 §3.2.2: unreserved, sub-delims, `%`).
static HOST: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(
            byte as u8,
            b'0'..=b'9'
                | b'A'..=b'Z'
                | b'a'..=b'z'
                | b'-'
                | b'.'
                | b'_'
                | b'~'
                | b'%'
                | b'!'
                | b'$'
                | b'&'..=b','
                | b';'
                | b'='
        );
        byte += 1;
    }
    table
};

/// RFC 3986 §3.2: a host and perhaps a port, without user information. Of literals those of IPv6 alone:
/// of others there are none (`IPvFuture`), and zones mean nothing to other hosts (RFC 6874 §1).
fn is_host(value: &[u8]) -> bool {
    if let [b'[', rest @ ..] = value {
        let Some(end) = memchr(b']', rest) else { return false };
        return is_ipv6(&rest[..end]) && is_port(&rest[end + 1..]);
    }
    let (host, port) = value.split_at(memchr(b':', value).unwrap_or(value.len()));
    !host.is_empty() && host.iter().all(|byte| HOST[usize::from(*byte)]) && is_port(port)
}

fn is_ipv6(text: &[u8]) -> bool {
    str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// Whether that may stand behind a host: nothing, or a port, of which the digits may be missing (RFC 3986
/// §3.2.3).
fn is_port(text: &[u8]) -> bool {
    match text {
        [] | [b':'] => true,
        [b':', digits @ ..] => {
            digits.len() <= 5 && decimal(digits).is_some_and(|port| port <= u64::from(u16::MAX))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
