//! HTTP/1.1: heads, and bodies in chunks (RFC 9112).

use ballast_l7::codec::chunked::ChunkedDecoder;
use ballast_l7::codec::framing::BodyLength;
use ballast_l7::codec::head::{Field, HeadScanner, Scan};
use ballast_l7::codec::request::{Method, RequestHead, RequestLimits};
use ballast_l7::codec::response::ResponseHead;

use crate::cut_at;

const LIMITS: RequestLimits =
    RequestLimits { header_max_count: 100, uri_max_bytes: 8_192, body_max_bytes: u64::MAX };

/// The head at the front of `input`, which is the same however it arrives.
fn found(input: &[u8], cut: usize) -> Option<(usize, usize)> {
    let whole = HeadScanner::default().advance(input);
    let mut scanner = HeadScanner::default();
    let pieces = match scanner.advance(&input[..cut]) {
        Ok(Scan::Partial) => scanner.advance(input),
        decided => decided,
    };
    assert_eq!(format!("{whole:?}"), format!("{pieces:?}"), "a cut changed what was found");
    match whole {
        Ok(Scan::Complete { length, field_count }) => Some((length, field_count)),
        _ => None,
    }
}

/// What a request's head says, read naively: lines, and the names and values of fields.
fn lines(head: &[u8]) -> Vec<(Vec<u8>, &[u8])> {
    let head = head.strip_suffix(b"\r\n\r\n").unwrap_or(head);
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end());
    lines.next();
    let field = |line: &'_ [u8]| line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
    lines
        .map(|line| {
            let colon = field(line);
            let value = line.get(colon + 1..).unwrap_or_default();
            (line[..colon].to_ascii_lowercase(), value.trim_ascii())
        })
        .collect()
}

/// A request's head: what is accepted is what nobody could understand in another way.
///
/// # Panics
/// It was accepted and should not have been.
pub fn head(data: &[u8]) {
    let Some((cut, input)) = cut_at(data) else { return };
    let Some((length, field_count)) = found(input, cut) else { return };
    let head = &input[..length];
    let mut fields = Vec::new();
    let Ok(parsed) = RequestHead::parse(head, field_count, &LIMITS, &mut fields) else { return };
    assert_eq!(parsed.length, length);
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut headers);
    assert_eq!(request.parse(head), Ok(httparse::Status::Complete(length)));
    assert_same(head, &fields, request.headers);
    let text = &head[..length - 4];
    let controls = |byte: &u8| matches!(byte, 0..=8 | 11 | 12 | 14..=31 | 127);
    assert!(!text.iter().any(controls), "control characters");
    assert_eq!(count(text, b"\r"), count(text, b"\r\n"), "a bare CR");
    let lines = lines(head);
    for (name, _) in &lines {
        assert!(!name.is_empty(), "a field without a name");
        assert!(!name.iter().any(u8::is_ascii_whitespace), "a blank in a field's name");
    }
    let of = |name: &'static str| {
        lines.iter().filter(move |(other, _)| other == name.as_bytes()).map(|(_, value)| *value)
    };
    let lengths: Vec<&[u8]> = of("content-length").collect();
    let is_chunked = of("transfer-encoding").next().is_some();
    assert!(of("host").count() <= 1, "two hosts");
    assert!(parsed.is_http_10 || of("host").count() == 1, "no host");
    match parsed.body {
        BodyLength::Chunked => {
            assert!(is_chunked && lengths.is_empty() && !parsed.is_http_10);
            assert_eq!(of("transfer-encoding").count(), 1);
            assert!(of("transfer-encoding").all(|coding| coding.eq_ignore_ascii_case(b"chunked")));
        }
        BodyLength::Exact(length) => {
            assert!(!is_chunked && lengths.len() == 1, "{lengths:?}");
            assert!(lengths[0].iter().all(u8::is_ascii_digit));
            assert_eq!(
                std::str::from_utf8(lengths[0]).ok().and_then(|t| t.parse().ok()),
                Some(length)
            );
        }
        BodyLength::None => {
            let is_nothing = |value: &&[u8]| value.iter().all(|digit| *digit == b'0');
            assert!(!is_chunked && lengths.iter().all(is_nothing), "{lengths:?}");
        }
        BodyLength::UntilClose => panic!("a request can't last until its connection ends"),
    }
}

/// The fields are those that httparse finds.
fn assert_same(head: &[u8], fields: &[Field], headers: &[httparse::Header<'_>]) {
    let ours = fields.iter().map(|field| (field.name_of(head), field.value.of_head(head)));
    assert!(ours.eq(headers.iter().map(|header| (header.name.as_bytes(), header.value))));
}

fn count(text: &[u8], needle: &[u8]) -> usize {
    text.windows(needle.len()).filter(|window| *window == needle).count()
}

/// A response's head; the first byte tells the request's method, too.
pub fn response(data: &[u8]) {
    let Some((cut, input)) = cut_at(data) else { return };
    let Some((length, field_count)) = found(input, cut) else { return };
    let method = match data[0] % 3 {
        0 => Method::Get,
        1 => Method::Head,
        _ => Method::Other,
    };
    let mut fields = Vec::new();
    let asked_for_upgrade = data[0] & 0x80 != 0;
    let parsed =
        ResponseHead::parse(&input[..length], field_count, method, asked_for_upgrade, &mut fields);
    let Ok(parsed) = parsed else { return };
    let mut headers = vec![httparse::EMPTY_HEADER; field_count];
    let mut response = httparse::Response::new(&mut headers);
    assert_eq!(response.parse(&input[..length]), Ok(httparse::Status::Complete(length)));
    assert_eq!(response.code, Some(parsed.status));
    assert_same(&input[..length], &fields, response.headers);
    if parsed.is_interim() {
        assert_eq!(parsed.body, BodyLength::None);
    }
}

/// What a body in chunks decodes to: content, and how much of the input it took; none where it is
/// broken. The pieces that are consumed are shown as they would be by a connection.
fn decoded(pieces: [&[u8]; 2]) -> Option<(Vec<u8>, usize, bool)> {
    let mut decoder = ChunkedDecoder::default();
    let (mut content, mut used) = (Vec::new(), 0);
    let mut input = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        while !decoder.is_done() {
            let part = decoder.next(&input).ok()?;
            let end = part.skip_bytes + part.data_bytes;
            assert!(end <= input.len(), "more was taken than there is");
            content.extend_from_slice(&input[part.skip_bytes..end]);
            input.drain(..end);
            used += end;
            if part.data_bytes == 0 {
                break;
            }
        }
    }
    Some((content, used, decoder.is_done()))
}

/// A body in chunks: however it is cut, and as a naive reader has it.
///
/// # Panics
/// They differ.
pub fn chunks(data: &[u8]) {
    let Some((cut, input)) = cut_at(data) else { return };
    let whole = decoded([input, b""]);
    let pieces = decoded([&input[..cut], &input[cut..]]);
    match (&whole, &pieces) {
        (Some(whole), Some(pieces)) => assert_eq!(whole, pieces, "a cut changed the content"),
        // Broken is broken; only how much content went out before may differ.
        (None, None) => {}
        _ => panic!("a cut decides whether it is broken"),
    }
    if let Some((content, _, true)) = whole {
        assert_eq!(Some(content), naive(input), "a plain reading has other content");
    }
}

/// RFC 9112 §7.1, for a body that has been accepted: sizes are hexadecimal, what follows a `;` is passed over.
fn naive(mut input: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let end = input.windows(2).position(|two| two == b"\r\n")?;
        let line = input[..end].split(|byte| *byte == b';').next()?;
        let size = usize::from_str_radix(std::str::from_utf8(line).ok()?.trim_end(), 16).ok()?;
        input = &input[end + 2..];
        if size == 0 {
            return Some(content);
        }
        content.extend_from_slice(input.get(..size)?);
        input = input.get(size..)?.strip_prefix(b"\r\n")?;
    }
}
