//! The grammar of heads, byte by byte (RFC 9112 §3 to §5): start lines and field lines.
//!
//! Every request and response goes through here, so bytes are looked at eight at a time where the
//! grammar allows.
//!
//! Invariant: what is taken here `httparse` takes too, and finds the same parts in it; tests and a
//! fuzz target compare.

use memchr::memchr;

use super::head::{Field, FieldName, HeadError, Span};

/// `1` in each byte, and `0x80`.
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x80 * ONES;

/// Words looked at one by one for the end of a line; longer lines are left to `memchr`, which is
/// faster once it runs.
const SHORT_LINE_WORDS: usize = 6;

/// Whether a byte may stand in a token (RFC 9110 §5.6.2).
static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(
            byte as u8,
            b'!' | b'#'..=b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'0'..=b'9'
                | b'A'..=b'Z'
                | b'^'..=b'z'
                | b'|'
                | b'~'
        );
        byte += 1;
    }
    table
};

/// The parts of a request line.
pub(super) struct RequestLine {
    pub(super) method: Span,
    pub(super) target: Span,
    pub(super) is_http_10: bool,
    /// Where the next line begins.
    pub(super) end: usize,
}

/// The parts of a status line.
pub(super) struct StatusLine {
    pub(super) status: u16,
    /// Status code and reason phrase.
    pub(super) status_text: Span,
    pub(super) is_http_10: bool,
    /// Where the next line begins.
    pub(super) end: usize,
}

/// `method SP request-target SP HTTP-version CRLF` (RFC 9112 §3). Of the target only that it holds
/// neither white space nor control characters.
pub(super) fn request_line(head: &[u8]) -> Result<RequestLine, HeadError> {
    let method_end = token_end(head, 0);
    if method_end == 0 || head.get(method_end) != Some(&b' ') {
        return Err(HeadError::StartLine);
    }
    let target_start = method_end + 1;
    let target_bytes =
        head[target_start..].iter().take_while(|byte| !matches!(byte, 0..=b' ' | 0x7f)).count();
    let target_end = target_start + target_bytes;
    if target_bytes == 0 || head.get(target_end) != Some(&b' ') {
        return Err(HeadError::StartLine);
    }
    let (is_http_10, version_end) = version(head, target_end + 1)?;
    if head.get(version_end..version_end + 2) != Some(b"\r\n") {
        return Err(HeadError::StartLine);
    }
    Ok(RequestLine {
        method: Span::new(0, method_end),
        target: Span::new(target_start, target_end),
        is_http_10,
        end: version_end + 2,
    })
}

/// `HTTP-version SP status-code [SP reason-phrase] CRLF` (RFC 9112 §4; many servers leave the second
/// space out).
pub(super) fn status_line(head: &[u8]) -> Result<StatusLine, HeadError> {
    let (is_http_10, version_end) = version(head, 0)?;
    let text_start = version_end + 1;
    let Some([b' ', hundreds, tens, ones]) = head[version_end..].first_chunk() else {
        return Err(HeadError::StartLine);
    };
    let digits = [hundreds, tens, ones];
    if !digits.iter().all(|digit| digit.is_ascii_digit()) {
        return Err(HeadError::StartLine);
    }
    let status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(**digit - b'0'));
    let code_end = text_start + 3;
    if !matches!(head.get(code_end), Some(b' ' | b'\r')) {
        return Err(HeadError::StartLine);
    }
    let text_end = line_end(head, code_end).ok_or(HeadError::StartLine)?;
    let status_text = Span::new(text_start, text_end);
    Ok(StatusLine { status, status_text, is_http_10, end: text_end + 2 })
}

/// Whether it is HTTP/1.0, rather than 1.1, that is named there, and where that ends.
fn version(head: &[u8], at: usize) -> Result<(bool, usize), HeadError> {
    match head.get(at..at + 8) {
        Some(b"HTTP/1.1") => Ok((false, at + 8)),
        Some(b"HTTP/1.0") => Ok((true, at + 8)),
        Some(_) => Err(HeadError::Version),
        None => Err(HeadError::StartLine),
    }
}

/// `field-name ":" OWS field-value OWS CRLF` (RFC 9112 §5), again and again from `at` to the empty
/// line at the end of `head`; without line folding (§5.2).
pub(super) fn field_lines(
    head: &[u8],
    mut at: usize,
    fields: &mut Vec<Field>,
) -> Result<(), HeadError> {
    fields.clear();
    let end = head.len().saturating_sub(2);
    while at < end {
        let name_end = token_end(head, at);
        if name_end == at || head.get(name_end) != Some(&b':') {
            return Err(HeadError::FieldName);
        }
        let line_end = line_end(head, name_end + 1).ok_or(HeadError::FieldValue)?;
        let value = trimmed(head, name_end + 1, line_end);
        let name = FieldName::identify(&head[at..name_end]);
        fields.push(Field::new(name, Span::new(at, line_end), name_end - at, value));
        at = line_end + 2;
    }
    Ok(())
}

/// Where the token that begins `at` ends.
fn token_end(head: &[u8], at: usize) -> usize {
    let count = head[at..].iter().take_while(|byte| TOKEN[usize::from(**byte)]).count();
    at + count
}

/// Where the CRLF is that ends the line; none where something stands before it that neither a field's
/// value nor a reason phrase may hold.
fn line_end(head: &[u8], at: usize) -> Option<usize> {
    let mut end = control(head, at);
    while head.get(end) == Some(&b'\t') {
        end = control(head, end + 1);
    }
    (head.get(end..end + 2) == Some(b"\r\n")).then_some(end)
}

/// Without the white space around it.
fn trimmed(head: &[u8], mut start: usize, mut end: usize) -> Span {
    while start < end && matches!(head[start], b' ' | b'\t') {
        start += 1;
    }
    while start < end && matches!(head[end - 1], b' ' | b'\t') {
        end -= 1;
    }
    Span::new(start, end)
}

/// Where the first control character at or behind `at` is (RFC 5234 appendix B.1, `CTL`).
fn control(head: &[u8], mut at: usize) -> usize {
    while let Some(bytes) = head.get(at..).and_then(<[u8]>::first_chunk) {
        let word = u64::from_le_bytes(*bytes);
        // The lowest byte that is marked is one that is meant; those above it may be by carry.
        let low = word.wrapping_sub(0x20 * ONES) & !word & HIGHS;
        let found = low | zeros(word ^ (0x7f * ONES));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = head.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| !byte.is_ascii_control()).count()
}

/// Marks the bytes that are zero; reliable for the lowest.
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

/// Where the first LF is.
pub(super) fn line_feed(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    for _ in 0..SHORT_LINE_WORDS {
        let Some(chunk) = bytes[at..].first_chunk() else { break };
        let found = zeros(u64::from_le_bytes(*chunk) ^ (u64::from(b'\n') * ONES));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    memchr(b'\n', &bytes[at..]).map(|found| at + found)
}

#[cfg(test)]
mod tests;
