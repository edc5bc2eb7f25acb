use proptest::prelude::*;

use super::super::head::{HeadScanner, Scan};
use super::*;

fn parse_bytes(bytes: &[u8], method: Method) -> Result<ResponseHead, ResponseError> {
    match HeadScanner::default().advance(bytes)? {
        Scan::Complete { length, field_count } => {
            ResponseHead::parse(&bytes[..length], field_count, method, false, &mut Vec::new())
        }
        Scan::Partial | Scan::EmptyLine => Err(HeadError::StartLine.into()),
    }
}

fn parse(text: &str) -> Result<ResponseHead, ResponseError> {
    parse_bytes(text.as_bytes(), Method::Get)
}

#[test]
fn the_body_is_as_long_as_rfc_9112_says() {
    let body = |text: &str, method| parse_bytes(text.as_bytes(), method).unwrap().body;
    let get = |text: &str| body(text, Method::Get);
    assert_eq!(get("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), BodyLength::Exact(5));
    assert_eq!(get("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), BodyLength::Chunked);
    assert_eq!(get("HTTP/1.1 200 OK\r\n\r\n"), BodyLength::UntilClose);
    assert_eq!(get("HTTP/1.1 204 No Content\r\n\r\n"), BodyLength::None);
    assert_eq!(get("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"), BodyLength::None);
    assert_eq!(get("HTTP/1.1 100 Continue\r\n\r\n"), BodyLength::None);
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(body(head, Method::Head), BodyLength::None);
    let kept = parse_bytes(head.as_bytes(), Method::Head).unwrap().content_length;
    assert_eq!(kept, Some(5), "a client may ask for the length alone");
}

#[test]
fn ambiguous_or_malformed_responses_are_refused() {
    let refused = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n",
        "HTTP/1.1 200 OK\nX: y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 1000 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
    ];
    for text in refused {
        assert!(parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn the_status_line_is_kept_as_it_came() {
    for (text, status_text) in [
        ("HTTP/1.1 200 OK\r\n\r\n", "200 OK"),
        ("HTTP/1.0 404 Not  Found\r\nA: b\r\n\r\n", "404 Not  Found"),
        ("HTTP/1.1 200\r\n\r\n", "200"),
        ("HTTP/1.1 200 \r\n\r\n", "200 "),
    ] {
        let head = parse(text).unwrap();
        assert_eq!(head.status_text.of_head(text.as_bytes()), status_text.as_bytes());
    }
}

/// RFC 9110 §15: a client takes them for 5xx.
#[test]
fn a_status_beyond_599_is_read_as_it_is() {
    for status in [600, 999] {
        let head = parse(&format!("HTTP/1.1 {status} Odd\r\nContent-Length: 2\r\n\r\n")).unwrap();
        assert_eq!((head.status, head.body), (status, BodyLength::Exact(2)));
    }
}

/// What follows a head that says that there is a body where there can be none is no answer.
#[test]
fn a_connection_is_not_kept_after_an_answer_that_may_not_end_with_its_head() {
    let keeps = |text: &str, method| parse_bytes(text.as_bytes(), method).unwrap().keeps_alive();
    for (head, method, is_kept) in [
        ("204 No Content\r\nTransfer-Encoding: chunked", Method::Get, false),
        ("204 No Content\r\nContent-Length: 5", Method::Get, false),
        ("204 No Content\r\nContent-Length: 0", Method::Get, true),
        ("304 Not Modified\r\nTransfer-Encoding: chunked", Method::Get, false),
        ("304 Not Modified\r\nContent-Length: 5", Method::Get, true),
        ("200 OK\r\nTransfer-Encoding: chunked", Method::Head, true),
        ("200 OK\r\nContent-Length: 5", Method::Head, true),
        ("204 No Content\r\nTransfer-Encoding: chunked", Method::Head, true),
    ] {
        let text = format!("HTTP/1.1 {head}\r\n\r\n");
        assert_eq!(keeps(&text, method), is_kept, "{method:?} {head}");
    }
}

#[test]
fn the_connection_is_kept_as_the_member_says() {
    let keeps = |text: &str| parse(text).unwrap().keeps_alive();
    assert!(keeps("HTTP/1.1 204 No Content\r\n\r\n"));
    assert!(!keeps("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"));
    assert!(!keeps("HTTP/1.1 200 OK\r\n\r\n"), "the end of the body is the end of the connection");
    assert!(!keeps("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"));
    assert!(keeps("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"));
}

#[test]
fn the_number_of_fields_is_limited() {
    let with = |count| parse(&format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(count)));
    assert!(with(HEADER_MAX_COUNT).is_ok());
    assert!(with(HEADER_MAX_COUNT + 1).is_err());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse_bytes(&bytes, Method::Get);
    }

    #[test]
    fn almost_valid_responses_never_panic(
        text in "HTTP/1\\.[01] [0-9]{3}[ -~]{0,10}\r\n([A-Za-z-]{1,17}: ?[ -~]{0,20}\r\n){0,6}\r\n",
    ) {
        let _ = parse(&text);
    }
}
