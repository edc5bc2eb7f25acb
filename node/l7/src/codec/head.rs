//! What requests and responses have in common: the end of a head, and its fields.
//!
//! Invariant: every line of a head that [`HeadScanner`] found complete ends in CRLF, and only the
//! last is empty.

use super::syntax;

/// A fault of syntax that requests and responses share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// A line ends in LF alone. RFC 9112 §2.2 lets a recipient take it for an end of line; peers
    /// that do not would see another message.
    #[error("a line ends in a bare LF")]
    BareLf,
    /// More fields than allowed.
    #[error("more header fields than {max_count}")]
    TooManyFields {
        /// The limit.
        max_count: usize,
    },
    /// The head is longer than allowed.
    #[error("the header is longer than {max_bytes} bytes")]
    TooLong {
        /// The limit.
        max_bytes: usize,
    },
    /// A field line that does not begin with a name and a colon: line folding, an empty name, a space
    /// before the colon.
    #[error("malformed field name")]
    FieldName,
    /// A field's value with control characters.
    #[error("malformed field value")]
    FieldValue,
    /// The start line lacks a part, or has one that the grammar has not.
    #[error("malformed start line")]
    StartLine,
    /// Neither HTTP/1.1 nor HTTP/1.0.
    #[error("a version of HTTP that is not served")]
    Version,
}

/// Finds the end of a head in bytes that arrive piece by piece, reading each byte once.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadScanner {
    scanned_bytes: usize,
    line_start: usize,
    line_count: usize,
}

/// What a scan found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// The head's end is not there yet.
    Partial,
    /// The head is complete.
    Complete {
        /// Its length, the empty line included.
        length: usize,
        /// Lines between the start line and the empty line.
        field_count: usize,
    },
    /// An empty line stands where a start line should; a server should skip it (RFC 9112 §2.2).
    EmptyLine,
}

impl HeadScanner {
    /// Whether the end of the start line has not been seen yet.
    pub fn is_in_start_line(&self) -> bool {
        self.line_count == 0
    }

    /// Looks at `input`, which starts with what it has seen before.
    ///
    /// # Errors
    /// A line ends in a bare LF.
    pub fn advance(&mut self, input: &[u8]) -> Result<Scan, HeadError> {
        while let Some(found) = syntax::line_feed(&input[self.scanned_bytes..]) {
            let lf = self.scanned_bytes + found;
            if lf == self.line_start || input[lf - 1] != b'\r' {
                return Err(HeadError::BareLf);
            }
            let is_empty = lf - self.line_start == 1;
            self.scanned_bytes = lf + 1;
            self.line_start = lf + 1;
            if is_empty && self.line_count == 0 {
                return Ok(Scan::EmptyLine);
            }
            if is_empty {
                return Ok(Scan::Complete { length: lf + 1, field_count: self.line_count - 1 });
            }
            self.line_count += 1;
        }
        self.scanned_bytes = input.len();
        Ok(Scan::Partial)
    }
}

/// A part of a head, as offsets into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Offsets `start..end`; heads are shorter than 4 GiB by limit.
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    /// Where `part`, a slice of `head`, stands in it.
    pub(super) fn of(head: &[u8], part: &[u8]) -> Self {
        let start = part.as_ptr().addr() - head.as_ptr().addr();
        Self::new(start, start + part.len())
    }

    /// The bytes.
    pub fn of_head(self, head: &[u8]) -> &[u8] {
        &head[self.start as usize..self.end as usize]
    }

    /// Offset of the first byte.
    pub fn start(self) -> usize {
        self.start as usize
    }

    /// Offset after the last byte.
    pub fn end(self) -> usize {
        self.end as usize
    }
}

/// A field line of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Which field, where it means something to a proxy.
    pub name: FieldName,
    /// Its line, without CRLF.
    pub line: Span,
    /// Length of the name as it stands at the line's start.
    name_bytes: u32,
    /// Its value, without surrounding white space.
    pub value: Span,
}

impl Field {
    /// A field whose line begins with a name of so many bytes.
    pub(super) fn new(name: FieldName, line: Span, name_bytes: usize, value: Span) -> Self {
        Self { name, line, name_bytes: name_bytes as u32, value }
    }

    /// Offset after the line's CRLF.
    pub fn end(&self) -> usize {
        self.line.end() + 2
    }

    /// Whether its name is so long, in bytes.
    pub(super) fn has_name_of(&self, bytes: u32) -> bool {
        self.name_bytes == bytes
    }

    /// The name as it came.
    pub fn name_of<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        &head[self.line.start()..self.line.start() + self.name_bytes as usize]
    }
}

/// Fields that mean something to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the field of that name")]
pub enum FieldName {
    Connection,
    ContentLength,
    Cookie,
    Date,
    Expect,
    Forwarded,
    Host,
    Http2Settings,
    KeepAlive,
    Other,
    ProxyConnection,
    Te,
    Traceparent,
    Tracestate,
    Trailer,
    TransferEncoding,
    Upgrade,
    XForwardedFor,
    XForwardedHost,
    XForwardedPort,
    XForwardedProto,
    XRequestId,
}

impl FieldName {
    /// Which field `name`, a token (RFC 9110 §5.6.2), is; case does not matter.
    pub fn identify(name: &[u8]) -> Self {
        // By length first: most fields are none of these, and leave after one comparison, of a
        // length that is known when this is compiled.
        match name.len() {
            2 => Self::Te.if_same(name, b"te"),
            4 if name[0] | 0x20 == b'd' => Self::Date.if_same(name, b"date"),
            4 => Self::Host.if_same(name, b"host"),
            6 if name[0] | 0x20 == b'c' => Self::Cookie.if_same(name, b"cookie"),
            6 => Self::Expect.if_same(name, b"expect"),
            7 if name[0] | 0x20 == b'u' => Self::Upgrade.if_same(name, b"upgrade"),
            7 => Self::Trailer.if_same(name, b"trailer"),
            9 => Self::Forwarded.if_same(name, b"forwarded"),
            10 if name[0] | 0x20 == b'c' => Self::Connection.if_same(name, b"connection"),
            10 if name[0] | 0x20 == b't' => Self::Tracestate.if_same(name, b"tracestate"),
            10 => Self::KeepAlive.if_same(name, b"keep-alive"),
            11 => Self::Traceparent.if_same(name, b"traceparent"),
            12 => Self::XRequestId.if_same(name, b"x-request-id"),
            14 if name[0] | 0x20 == b'h' => Self::Http2Settings.if_same(name, b"http2-settings"),
            14 => Self::ContentLength.if_same(name, b"content-length"),
            15 => Self::XForwardedFor.if_same(name, b"x-forwarded-for"),
            16 if name[0] | 0x20 == b'p' => {
                Self::ProxyConnection.if_same(name, b"proxy-connection")
            }
            16 if name[12] | 0x20 == b'h' => {
                Self::XForwardedHost.if_same(name, b"x-forwarded-host")
            }
            16 => Self::XForwardedPort.if_same(name, b"x-forwarded-port"),
            17 if name[0] | 0x20 == b't' => {
                Self::TransferEncoding.if_same(name, b"transfer-encoding")
            }
            17 => Self::XForwardedProto.if_same(name, b"x-forwarded-proto"),
            _ => Self::Other,
        }
    }

    /// Which field applications take `name` for that see no difference between `-` and `_`, where that is
    /// another than what it is.
    pub fn identify_alias(name: &[u8]) -> Option<Self> {
        // No longer than the longest that is known.
        let mut dashed = [0; 17];
        let dashed = dashed.get_mut(..name.len())?;
        dashed.copy_from_slice(name);
        let mut is_other = false;
        for byte in &mut *dashed {
            if *byte == b'_' {
                (*byte, is_other) = (b'-', true);
            }
        }
        is_other.then(|| Self::identify(dashed))
    }

    /// This one if `name` is `text`, which is in lower case.
    fn if_same<const N: usize>(self, name: &[u8], text: &[u8; N]) -> Self {
        let Ok(name) = <&[u8; N]>::try_from(name) else { return Self::Other };
        // All bytes at once. In a token only letters become those of `text` by that bit.
        let difference =
            name.iter().zip(text).fold(0, |all, (name, text)| all | ((name | 0x20) ^ text));
        if difference == 0 { self } else { Self::Other }
    }
}

/// Whether applications take both names for the same: case does not matter to them, and to many `_` is
/// `-` (RFC 3875 §4.1.18).
pub fn is_same_to_applications(one: &[u8], other: &[u8]) -> bool {
    let folded = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    one.len() == other.len() && one.iter().map(folded).eq(other.iter().map(folded))
}

/// What a `Connection` field says (RFC 9110 §7.6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// `close`.
    pub close: bool,
    /// `keep-alive`.
    pub keep_alive: bool,
    /// `upgrade`.
    pub upgrade: bool,
    /// It names other fields, which belong to this connection alone.
    pub nominates: bool,
}

impl ConnectionOptions {
    /// Adds what one more `Connection` field says.
    pub fn add(&mut self, value: &[u8]) {
        for option in list(value) {
            match option.len() {
                5 if option.eq_ignore_ascii_case(b"close") => self.close = true,
                10 if option.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                7 if option.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
                _ => self.nominates = true,
            }
        }
    }
}

/// The elements of a comma-separated list without quoted strings.
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests;
