use proptest::prelude::*;

use super::super::head::{HeadScanner, Scan};
use super::*;

type Found = (Vec<(Vec<u8>, Vec<u8>)>, Vec<Vec<u8>>);

/// The head at the front of it, if there is one.
fn head_of(bytes: &[u8]) -> Option<&[u8]> {
    match HeadScanner::default().advance(bytes) {
        Ok(Scan::Complete { length, .. }) => Some(&bytes[..length]),
        _ => None,
    }
}

fn fields_of(head: &[u8], at: usize) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut fields = Vec::new();
    field_lines(head, at, &mut fields).ok()?;
    let owned = |field: &Field| (field.name_of(head).to_vec(), field.value.of_head(head).to_vec());
    Some(fields.iter().map(owned).collect())
}

fn our_request(head: &[u8]) -> Option<Found> {
    let line = request_line(head).ok()?;
    // A target that is no text is refused when it is looked at: see `resolve_target`.
    std::str::from_utf8(line.target.of_head(head)).ok()?;
    let parts =
        [line.method.of_head(head), line.target.of_head(head), &[u8::from(!line.is_http_10)]];
    Some((fields_of(head, line.end)?, parts.map(<[u8]>::to_vec).to_vec()))
}

fn our_response(head: &[u8]) -> Option<Found> {
    let line = status_line(head).ok()?;
    let status = line.status.to_string();
    assert!(line.status_text.of_head(head).starts_with(status.as_bytes()) || line.status < 100);
    let parts = [status.as_bytes(), &[u8::from(!line.is_http_10)]];
    Some((fields_of(head, line.end)?, parts.map(<[u8]>::to_vec).to_vec()))
}

fn owned(headers: &[httparse::Header<'_>]) -> Vec<(Vec<u8>, Vec<u8>)> {
    headers.iter().map(|it| (it.name.as_bytes().to_vec(), it.value.to_vec())).collect()
}

fn their_request(head: &[u8]) -> Option<Found> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let status = request.parse(head).ok()?;
    assert_eq!(status, httparse::Status::Complete(head.len()));
    let (method, target) = (request.method?.as_bytes(), request.path?.as_bytes());
    let parts = [method, target, &[request.version?]].map(<[u8]>::to_vec).to_vec();
    Some((owned(request.headers), parts))
}

fn their_response(head: &[u8]) -> Option<Found> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let status = response.parse(head).ok()?;
    assert_eq!(status, httparse::Status::Complete(head.len()));
    let parts = vec![response.code?.to_string().into_bytes(), vec![response.version?]];
    Some((owned(response.headers), parts))
}

/// Heads that are nearly right: lines out of parts that go together or don't.
fn heads(start_line: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => any::<u8>(),
        1 => Just(b'\r'), 1 => Just(b' '), 1 => Just(b'\t'), 1 => Just(b':'), 1 => Just(0x7f),
    ];
    let wild = (0usize..400, proptest::collection::vec(byte, 0..3));
    let field = "[A-Za-z0-9!#$%&'*+.^_`|~-]{0,20}[ \t]{0,1}:[ \t]{0,3}[ -~\u{80}-\u{ff}\t]{0,40}";
    let line = prop_oneof![4 => field, 1 => "[ -~\t\r]{0,30}"];
    let lines = proptest::collection::vec(line, 0..8);
    (start_line, lines, proptest::collection::vec(wild, 0..3)).prop_map(|(start, lines, wild)| {
        let mut head = format!("{start}\r\n{}\r\n\r\n", lines.join("\r\n")).into_bytes();
        for (at, bytes) in wild {
            let at = at % head.len();
            let end = (at + bytes.len()).min(head.len());
            head.splice(at..end, bytes);
        }
        head
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn requests_are_taken_apart_as_by_httparse(
        bytes in heads("(GET|POST|[A-Z!a-z]{0,8})( | |  |\t)(/[!-~]{0,30}|\\*|[ -~]{0,9})( |  )HTTP/[12]\\.[01] {0,1}"),
    ) {
        if let Some(head) = head_of(&bytes) {
            prop_assert_eq!(our_request(head), their_request(head));
        }
    }

    #[test]
    fn responses_are_taken_apart_as_by_httparse(
        bytes in heads("HTTP/[12]\\.[01]( |  )[0-9]{2,4}(| |  |:)[ -~\u{80}-\u{ff}\t]{0,30}"),
    ) {
        if let Some(head) = head_of(&bytes) {
            prop_assert_eq!(our_response(head), their_response(head));
        }
    }

    #[test]
    fn the_first_lf_is_found_wherever_it_is(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..200) {
        bytes.iter_mut().take(at).filter(|byte| **byte == b'\n').for_each(|byte| *byte = 0x0b);
        prop_assert_eq!(line_feed(&bytes), bytes.iter().position(|byte| *byte == b'\n'));
    }
}

#[test]
fn each_byte_is_allowed_where_the_grammar_has_it() {
    for byte in 0..=u8::MAX {
        let with = |before: &[u8], after: &[u8]| [before, &[byte], after].concat();
        for (before, after) in [
            (&b"GET / HTTP/1.1\r\nna"[..], &b"me: value\r\n\r\n"[..]),
            (b"GET / HTTP/1.1\r\nname: a val", b"ue of some length\r\n\r\n"),
            (b"GET / HTTP/1.1\r\nname: v", b"\r\n\r\n"),
            (b"GET / HTTP/1.1\r\nname:", b"v\r\n\r\n"),
            (b"G", b"T / HTTP/1.1\r\n\r\n"),
            (b"GET /", b" HTTP/1.1\r\n\r\n"),
            (b"GET / HTTP/1.1", b"\r\n\r\n"),
        ] {
            let bytes = with(before, after);
            if let Some(head) = head_of(&bytes) {
                assert_eq!(our_request(head), their_request(head), "{}", head.escape_ascii());
            }
        }
        let bytes = with(b"HTTP/1.1 200 O", b"K\r\n\r\n");
        if let Some(head) = head_of(&bytes) {
            assert_eq!(our_response(head), their_response(head), "{byte:#x}");
        }
    }
}
