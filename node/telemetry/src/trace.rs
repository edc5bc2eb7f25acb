//! W3C trace context (Level 1): `traceparent` is read strictly and written anew.
//!
//! Invariant: a context has a trace and a span that are not 0.

/// Length of a `traceparent` of version 00 (§3.2).
pub const TRACEPARENT_BYTES: usize = 55;
/// Where the span stands in it.
pub const SPAN_AT: usize = 36;

/// A place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: u128,
    /// The span that whatever comes next is part of.
    pub span_id: u64,
    /// Whether the trace is recorded.
    pub is_sampled: bool,
}

impl TraceContext {
    /// Reads a `traceparent` (§3.2); none where it is not valid, so that a trace is to begin anew and
    /// a `tracestate` means nothing (§3.3.1).
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, rest) = value.split_at_checked(TRACEPARENT_BYTES)?;
        let version = hex(&known[..2])?;
        // Version ff is none; 00 ends here; a later one may go on behind another dash (§3.2.2).
        if version == 0xff || !(rest.is_empty() || version != 0 && rest[0] == b'-') {
            return None;
        }
        if known[2] != b'-' || known[35] != b'-' || known[52] != b'-' {
            return None;
        }
        let trace_id = hex(&known[3..35]).filter(|id| *id != 0)?;
        let span_id = hex(&known[36..52]).filter(|id| *id != 0)?;
        let flags = hex(&known[53..])?;
        Some(Self { trace_id, span_id: span_id as u64, is_sampled: flags & 1 == 1 })
    }

    /// The value of a `traceparent`, in version 00.
    pub fn to_bytes(self) -> [u8; TRACEPARENT_BYTES] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        put_hex(&mut text[3..35], self.trace_id);
        put_hex(&mut text[36..52], self.span_id.into());
        if self.is_sampled {
            text[54] = b'1';
        }
        text
    }
}

/// Writes the last digits of `value`, in lower case, as many as fit.
pub fn put_hex(out: &mut [u8], value: u128) {
    let mut rest = value;
    for byte in out.iter_mut().rev() {
        *byte = b"0123456789abcdef"[(rest & 0xf) as usize];
        rest >>= 4;
    }
}

/// Digits in lower case only (§3.2.2), at most 32.
fn hex(text: &[u8]) -> Option<u128> {
    text.iter().try_fold(0_u128, |value, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u128::from(digit))
    })
}

/// Text of a UUID.
pub const UUID_BYTES: usize = 36;

/// A UUID of version 7 (RFC 9562 §5.7): the time in ms since the Unix epoch, and 74 random bits.
pub fn uuid7(unix_ms: u64, random: [u64; 2]) -> u128 {
    let time = u128::from(unix_ms & 0xffff_ffff_ffff) << 80;
    let (a, b) = (u128::from(random[0] & 0xfff), u128::from(random[1] >> 2));
    time | 0x7 << 76 | a << 64 | 0b10 << 62 | b
}

/// The usual text of a UUID.
pub fn uuid_text(id: u128) -> [u8; UUID_BYTES] {
    let mut text = [b'-'; UUID_BYTES];
    for (start, end, shift) in [(0, 8, 96), (9, 13, 80), (14, 18, 64), (19, 23, 48), (24, 36, 0)] {
        put_hex(&mut text[start..end], id >> shift);
    }
    text
}

#[cfg(test)]
mod tests;
