//! One access record, and its JSON.
//!
//! Invariant: whatever bytes a client sends, a record is one line of valid JSON in UTF-8.

use std::io::Write;
use std::net::SocketAddr;

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
    pub request_id: &'a str,
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
    /// Why it failed, if it did.
    pub reason: Option<FailureReason>,
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
    /// From the first byte of the request to the end of its header, in µs.
    pub request_us: u64,
    /// To connect to the member, in µs; none where a connection was at hand.
    pub connect_us: Option<u64>,
    /// From the end of the request's header to the first byte of the response, in µs.
    pub first_byte_us: Option<u64>,
}

/// The text of the second of the last record: most records share it with the one before.
#[derive(Debug, Default)]
pub(super) struct SecondText {
    /// Seconds since the epoch, plus 1; 0 where there is none.
    of: u64,
    text: [u8; SECOND_TEXT_BYTES],
}

const SECOND_TEXT_BYTES: usize = "2026-01-01T00:00:00".len();

pub(super) struct RecordWriter<'a> {
    out: &'a mut Vec<u8>,
    second: &'a mut SecondText,
    numbers: itoa::Buffer,
}

impl<'a> RecordWriter<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>, second: &'a mut SecondText) -> Self {
        Self { out, second, numbers: itoa::Buffer::new() }
    }

    pub(super) fn write(&mut self, record: &AccessRecord<'_>) {
        self.raw(b"{\"time\":\"");
        self.time(record.time_ms);
        self.raw(b"\",\"virtual_server\":");
        self.text(record.virtual_server.as_bytes());
        self.raw(b",\"client\":\"");
        // Writing to a `Vec` can't fail.
        let _infallible = write!(self.out, "{}", record.client);
        self.raw(b"\"");
        self.optional_text(b",\"request_id\":", record.request_id.as_bytes());
        self.optional_text(b",\"method\":", record.method);
        self.optional_text(b",\"uri\":", record.uri);
        self.optional_text(b",\"host\":", record.host);
        self.optional_text(b",\"protocol\":", record.protocol.as_bytes());
        if record.status != 0 {
            self.number(b",\"status\":", u64::from(record.status));
        }
        if let Some(reason) = record.reason {
            self.optional_text(b",\"reason\":", reason.code().as_bytes());
        }
        self.optional_text(b",\"pool\":", record.pool.as_bytes());
        if let Some(member) = record.member {
            self.optional_text(b",\"member\":", member.as_bytes());
        }
        self.number(b",\"attempts\":", u64::from(record.attempts));
        self.number(b",\"received_bytes\":", record.received_bytes);
        self.number(b",\"sent_bytes\":", record.sent_bytes);
        self.number(b",\"total_us\":", record.total_us);
        self.number(b",\"request_us\":", record.request_us);
        if let Some(connect_us) = record.connect_us {
            self.number(b",\"connect_us\":", connect_us);
        }
        if let Some(first_byte_us) = record.first_byte_us {
            self.number(b",\"first_byte_us\":", first_byte_us);
        }
        self.raw(b"}\n");
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn number(&mut self, key: &[u8], value: u64) {
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
        for chunk in value.utf8_chunks() {
            self.escaped(chunk.valid().as_bytes());
            if !chunk.invalid().is_empty() {
                self.raw("\u{fffd}".as_bytes());
            }
        }
        self.raw(b"\"");
    }

    fn escaped(&mut self, mut valid: &[u8]) {
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
    fn time(&mut self, time_ms: u64) {
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
