//! One access record, and its JSON.
//!
//! Invariant: whatever bytes a client sends, a record is one line of valid JSON in UTF-8.

use std::io::Write;
use std::net::SocketAddr;

use crate::phase::{Phase, Phases};
use crate::reason::FailureReason;

/// One request, or one TCP connection.
#[derive(Clone, Copy, Debug)]
pub struct AccessRecord<'a> {
    /// When it began, in ms since the Unix epoch.
    pub time_ms: u64,
    /// The virtual server.
    pub virtual_server: &'a str,
    /// The client's address and port.
    pub client: SocketAddr,
    /// Identifies the request across logs; empty where there is none.
    pub request_id: &'a [u8],
    /// The trace that it belongs to, if it is recorded; else 0.
    pub trace_id: u128,
    /// The version of TLS that the client spoke, as `1.3`; empty without TLS.
    pub tls_version: &'static str,
    /// The method; empty for TCP.
    pub method: &'a [u8],
    /// The request target as it came; empty for TCP.
    pub uri: &'a [u8],
    /// The `Host` header; empty where there is none.
    pub host: &'a [u8],
    /// What the client speaks: `http/1.0`, `http/1.1` or `http/2`; empty for TCP, and where that is
    /// not known.
    pub protocol: &'a str,
    /// The response's status; 0 where there was none.
    pub status: u16,
    /// The status of a call of gRPC, if one was told.
    pub grpc_status: Option<u8>,
    /// Why it failed, if it did.
    pub reason: Option<FailureReason>,
    /// The last rule of the virtual server's policies that matched; empty where none did.
    pub rule: &'a str,
    /// The pool and the member that served it, if one was chosen.
    pub pool: &'a str,
    /// See `pool`.
    pub member: Option<&'a str>,
    /// How many members were tried.
    pub attempts: u32,
    /// Bytes received from the client.
    pub received_bytes: u64,
    /// Bytes sent to the client.
    pub sent_bytes: u64,
    /// From the first byte of the request to the last of the response, in µs.
    pub total_us: u64,
    /// Its phases.
    pub phases: Phases,
    /// Fields of the request, where asked for.
    pub request_headers: HeaderValues<'a>,
    /// Fields of the response, where asked for.
    pub response_headers: HeaderValues<'a>,
}

impl<'a> AccessRecord<'a> {
    /// A record of something that `client` did at `virtual_server`, of which nothing else is known.
    pub fn new(time_ms: u64, virtual_server: &'a str, client: SocketAddr) -> Self {
        Self {
            time_ms,
            virtual_server,
            client,
            request_id: b"",
            trace_id: 0,
            protocol: "",
            tls_version: "",
            method: b"",
            uri: b"",
            host: b"",
            status: 0,
            grpc_status: None,
            reason: None,
            rule: "",
            pool: "",
            member: None,
            attempts: 0,
            received_bytes: 0,
            sent_bytes: 0,
            total_us: 0,
            phases: Phases::default(),
            request_headers: HeaderValues::default(),
            response_headers: HeaderValues::default(),
        }
    }

    /// Whether the request failed: for a reason, or, as far as the client can see, with a status of
    /// 500 or more.
    pub fn has_failed(&self) -> bool {
        self.reason.is_some() || self.status >= 500
    }
}

/// Longest value of a header field that is kept, in bytes; of longer ones, the beginning is.
pub const HEADER_VALUE_MAX_BYTES: usize = 1_024;

/// Values of header fields, in the order in which they were asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeaderValues<'a> {
    /// The fields that were asked for.
    pub names: &'a [String],
    /// What [`keep`](Self::keep) wrote, once for each of them.
    pub values: &'a [u8],
}

impl<'a> HeaderValues<'a> {
    /// Appends the next field's value to `out`, if it has one.
    pub fn keep(out: &mut Vec<u8>, value: Option<&[u8]>) {
        // 0 means that there is none.
        let value = value.map(|value| &value[..value.len().min(HEADER_VALUE_MAX_BYTES)]);
        let length = value.map_or(0, |value| value.len() as u16 + 1);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(value.unwrap_or_default());
    }

    /// The same fields with other values.
    pub(crate) fn with_values(self, values: &'a [u8]) -> Self {
        Self { values, ..self }
    }

    /// The names, with the values of those that have one.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> {
        let mut rest = self.values;
        self.names.iter().map_while(move |name| {
            let (length, after) = rest.split_first_chunk()?;
            let length = usize::from(u16::from_le_bytes(*length));
            let (value, after) = after.split_at_checked(length.saturating_sub(1))?;
            rest = after;
            Some((name.as_str(), (length > 0).then_some(value)))
        })
    }

    /// The value of one field; case does not matter.
    pub fn value_of(self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).and_then(|(_, value)| value)
    }
}

/// The text of the second of the last record: most records share it with the one before.
#[derive(Debug, Default)]
pub(crate) struct SecondText {
    /// Seconds since the epoch, plus 1; 0 where there is none.
    of: u64,
    text: [u8; SECOND_TEXT_BYTES],
}

const SECOND_TEXT_BYTES: usize = "2026-01-01T00:00:00".len();

pub(crate) struct RecordWriter<'a> {
    pub(super) out: &'a mut Vec<u8>,
    second: &'a mut SecondText,
    numbers: itoa::Buffer,
}

impl<'a> RecordWriter<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>, second: &'a mut SecondText) -> Self {
        Self { out, second, numbers: itoa::Buffer::new() }
    }

    /// The record as JSON, without the end of the line.
    pub(crate) fn json(&mut self, record: &AccessRecord<'_>) {
        self.raw(b"{\"time\":\"");
        self.time(record.time_ms);
        self.raw(b"\",\"virtual_server\":");
        self.text(record.virtual_server.as_bytes());
        self.raw(b",\"client\":\"");
        // Writing to a `Vec` can't fail.
        let _infallible = write!(self.out, "{}", record.client);
        self.raw(b"\"");
        self.optional_text(b",\"request_id\":", record.request_id);
        if record.trace_id != 0 {
            let _infallible = write!(self.out, ",\"trace_id\":\"{:032x}\"", record.trace_id);
        }
        self.optional_text(b",\"tls_version\":", record.tls_version.as_bytes());
        self.optional_text(b",\"method\":", record.method);
        self.optional_text(b",\"uri\":", record.uri);
        self.optional_text(b",\"host\":", record.host);
        self.optional_text(b",\"protocol\":", record.protocol.as_bytes());
        if record.status != 0 {
            self.number(b",\"status\":", u64::from(record.status));
        }
        if let Some(status) = record.grpc_status {
            self.number(b",\"grpc_status\":", status.into());
        }
        if let Some(reason) = record.reason {
            self.optional_text(b",\"reason\":", reason.code().as_bytes());
        }
        self.optional_text(b",\"rule\":", record.rule.as_bytes());
        self.optional_text(b",\"pool\":", record.pool.as_bytes());
        if let Some(member) = record.member {
            self.optional_text(b",\"member\":", member.as_bytes());
        }
        self.number(b",\"attempts\":", u64::from(record.attempts));
        self.number(b",\"received_bytes\":", record.received_bytes);
        self.number(b",\"sent_bytes\":", record.sent_bytes);
        self.number(b",\"total_us\":", record.total_us);
        for phase in Phase::ALL {
            if let Some(us) = record.phases.us(*phase) {
                self.raw(b",\"");
                self.raw(phase.as_str().as_bytes());
                self.number(b"_us\":", us);
            }
        }
        self.headers(b",\"request_headers\":{", record.request_headers);
        self.headers(b",\"response_headers\":{", record.response_headers);
        self.raw(b"}");
    }

    fn headers(&mut self, key: &[u8], headers: HeaderValues<'_>) {
        let mut separator = key;
        for (name, value) in headers.iter() {
            if let Some(value) = value {
                self.raw(separator);
                self.text(name.as_bytes());
                self.raw(b":");
                self.text(value);
                separator = b",";
            }
        }
        if separator == b"," {
            self.raw(b"}");
        }
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub(super) fn number(&mut self, key: &[u8], value: u64) {
        self.raw(key);
        self.out.extend_from_slice(self.numbers.format(value).as_bytes());
    }

    fn optional_text(&mut self, key: &[u8], value: &[u8]) {
        if !value.is_empty() {
            self.raw(key);
            self.text(value);
        }
    }

    /// A JSON string (RFC 8259 §7). Bytes that are no UTF-8 become U+FFFD.
    fn text(&mut self, value: &[u8]) {
        self.raw(b"\"");
        self.string(value);
        self.raw(b"\"");
    }

    /// What stands between the quotes of a JSON string.
    pub(super) fn string(&mut self, value: &[u8]) {
        for chunk in value.utf8_chunks() {
            self.escaped(chunk.valid().as_bytes());
            if !chunk.invalid().is_empty() {
                self.raw("\u{fffd}".as_bytes());
            }
        }
    }

    pub(super) fn escaped(&mut self, mut valid: &[u8]) {
        let needs_escape = |byte: &u8| matches!(byte, b'"' | b'\\' | 0x7f) || *byte < 0x20;
        while let Some(at) = valid.iter().position(needs_escape) {
            self.raw(&valid[..at]);
            match valid[at] {
                b'"' => self.raw(b"\\\""),
                b'\\' => self.raw(b"\\\\"),
                control => {
                    const DIGITS: &[u8; 16] = b"0123456789abcdef";
                    self.raw(b"\\u00");
                    self.out.push(DIGITS[usize::from(control >> 4)]);
                    self.out.push(DIGITS[usize::from(control & 0xf)]);
                }
            }
            valid = &valid[at + 1..];
        }
        self.raw(valid);
    }

    /// RFC 3339, in UTC, with milliseconds.
    pub(super) fn time(&mut self, time_ms: u64) {
        let seconds = time_ms / 1_000;
        if self.second.of != seconds + 1 {
            self.second.of = seconds + 1;
            self.second.text = second_text(seconds);
        }
        self.out.extend_from_slice(&self.second.text);
        let ms = time_ms % 1_000;
        let digit = |value: u64| b'0' + (value % 10) as u8;
        self.raw(&[b'.', digit(ms / 100), digit(ms / 10), digit(ms), b'Z']);
    }
}

fn second_text(seconds: u64) -> [u8; SECOND_TEXT_BYTES] {
    let (year, month, day) = civil_date(seconds / 86_400);
    let of_day = seconds % 86_400;
    let mut text = *b"0000-00-00T00:00:00";
    let mut put = |at: usize, digits: usize, mut value: u64| {
        for place in (at..at + digits).rev() {
            text[place] = b'0' + (value % 10) as u8;
            value /= 10;
        }
    };
    put(0, 4, year);
    put(5, 2, month);
    put(8, 2, day);
    put(11, 2, of_day / 3_600);
    put(14, 2, of_day / 60 % 60);
    put(17, 2, of_day % 60);
    text
}

/// Year, month and day of a day counted from 1970-01-01 (Hinnant, "chrono-compatible low-level date
/// algorithms").
fn civil_date(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}
