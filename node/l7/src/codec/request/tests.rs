use proptest::prelude::*;

use super::super::head::{HeadScanner, Scan};
use super::*;

const LIMITS: RequestLimits =
    RequestLimits { header_max_count: 64, uri_max_bytes: 1_000, body_max_bytes: 1_000_000 };

fn parse_bytes(bytes: &[u8]) -> Result<RequestHead, RequestError> {
    match HeadScanner::default().advance(bytes)? {
        Scan::Complete { length, field_count } => {
            RequestHead::parse(&bytes[..length], field_count, &LIMITS, &mut Vec::new())
        }
        Scan::Partial | Scan::EmptyLine => Err(HeadError::StartLine.into()),
    }
}

fn parse(text: &str) -> Result<RequestHead, RequestError> {
    parse_bytes(text.as_bytes())
}

/// A request with those field lines besides `Host`.
fn with_fields(fields: &str) -> Result<RequestHead, RequestError> {
    parse(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"))
}

fn is_syntax(result: Result<RequestHead, RequestError>) -> bool {
    use HeadError::{FieldName, FieldValue, StartLine, Version};
    matches!(result, Err(RequestError::Head(FieldName | FieldValue | StartLine | Version)))
}

#[test]
fn an_ordinary_request_is_understood() {
    let text = "GET /a?b=c HTTP/1.1\r\nHost: example.com:8080\r\nAccept: */*\r\n\r\n";
    let head = parse(text).unwrap();
    assert_eq!(head.method, Method::Get);
    assert_eq!(head.target.of_head(text.as_bytes()), b"/a?b=c");
    assert_eq!(head.host.unwrap().of_head(text.as_bytes()), b"example.com:8080");
    assert_eq!(head.body, BodyLength::None);
    assert!(head.keeps_alive() && head.upgrade.is_none() && !head.expects_continue);
}

#[test]
fn fields_can_be_found_again_in_the_head() {
    let text = b"GET / HTTP/1.1\r\nHost:  a \r\nX-One:\r\nX-Two: \t b\t\r\n\r\n";
    let mut fields = Vec::new();
    RequestHead::parse(text, 3, &LIMITS, &mut fields).unwrap();
    let seen: Vec<_> = fields.iter().map(|f| (f.name_of(text), f.value.of_head(text))).collect();
    assert_eq!(seen, [(&b"Host"[..], &b"a"[..]), (b"X-One", b""), (b"X-Two", b"b")]);
    let lines: Vec<_> = fields.iter().map(|f| f.line.of_head(text)).collect();
    assert_eq!(lines, [&b"Host:  a "[..], b"X-One:", b"X-Two: \t b\t"]);
    assert_eq!(fields[2].end(), text.len() - 2);
}

#[test]
fn malformed_heads_are_refused() {
    let malformed = [
        "GET /\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        "G\u{e9}T / HTTP/1.1\r\nHost: a\r\n\r\n",
        " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \x0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX\0Y: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX(Y): a\r\n\r\n",
        "GET / HTTP/1.1\rHost: a\r\n\r\n",
    ];
    for text in malformed {
        assert!(is_syntax(parse(text)), "{text:?}: {:?}", parse(text));
    }
}

#[test]
fn smuggling_vectors_are_refused() {
    use FramingError as F;
    let vectors = [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", F::BothLengths),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", F::BothLengths),
        ("Content-Length: 5\r\nContent-Length: 5", F::RepeatedContentLength),
        ("Content-Length: 5\r\ncontent-length: 6", F::RepeatedContentLength),
        ("Content-Length: 5, 5", F::RepeatedContentLength),
        ("Content-Length: +5", F::InvalidContentLength),
        ("Content-Length: -5", F::InvalidContentLength),
        ("Content-Length: 5 5", F::InvalidContentLength),
        ("Content-Length: 0x5", F::InvalidContentLength),
        ("Content-Length:", F::InvalidContentLength),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", F::InvalidTransferEncoding),
        ("Transfer-Encoding: chunked, identity", F::InvalidTransferEncoding),
        ("Transfer-Encoding: identity", F::InvalidTransferEncoding),
        ("Transfer-Encoding: xchunked", F::InvalidTransferEncoding),
        ("Transfer-Encoding:", F::InvalidTransferEncoding),
        ("Transfer-Encoding: gzip, chunked", F::UnknownTransferCoding),
    ];
    for (fields, error) in vectors {
        assert_eq!(with_fields(fields).err(), Some(RequestError::Framing(error)), "{fields:?}");
    }
    for fields in [
        "Transfer-Encoding : chunked",
        "Content-Length : 5",
        "X: y\r\n Transfer-Encoding: chunked",
        "Transfer-Encoding: \x0bchunked",
    ] {
        assert!(is_syntax(with_fields(fields)), "{fields:?}");
    }
    let http_10 = parse("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(http_10.err(), Some(RequestError::Framing(F::TransferEncodingInHttp10)));
}

#[test]
fn host_must_be_there_once_and_be_a_host() {
    let host = |fields: &str| parse(&format!("GET / HTTP/1.1\r\n{fields}\r\n")).err();
    assert_eq!(host(""), Some(RequestError::HostCount));
    assert_eq!(host("Host: a\r\nHost: a\r\n"), Some(RequestError::HostCount));
    for invalid in [
        "",
        "a b",
        "a/b",
        "a@b",
        "a,b/",
        "a:b",
        "a:123456",
        "[::1",
        "::1",
        "a\\b",
        "a?b",
        "a#b",
        "é",
        "a:65536",
        "a:99999",
        "a:+1",
        "[::zz]",
        "[a%2fb]",
        "[a]",
        "[]",
        "[v1.a]",
        "[1.2.3.4]",
        "[fe80::1%25eth0]",
        "[1:2:3:4:5:6:7:8:9]",
        "[::1]a",
        "[::1]:65536",
    ] {
        let found = host(&format!("Host: {invalid}\r\n"));
        assert_eq!(found, Some(RequestError::InvalidHost), "{invalid:?}");
    }
    for valid in [
        "a",
        "a:80",
        "a:",
        "[::1]",
        "[::1]:80",
        "a_b.example",
        "192.0.2.1:1",
        "a:65535",
        "a:00080",
        "[2001:DB8::192.0.2.1]:65535",
    ] {
        assert_eq!(host(&format!("Host: {valid}\r\n")), None, "{valid:?}");
    }
    assert!(parse("GET / HTTP/1.0\r\n\r\n").unwrap().host.is_none());
}

#[test]
fn an_absolute_target_is_reduced_to_its_path() {
    let text = "GET http://Example.com/x?y HTTP/1.1\r\nHost: example.com\r\n\r\n";
    let head = parse(text).unwrap();
    assert_eq!(head.target.of_head(text.as_bytes()), b"/x?y");
    assert_eq!(head.host.unwrap().of_head(text.as_bytes()), b"Example.com");
    let bare = "GET https://example.com HTTP/1.0\r\n\r\n";
    assert_eq!(parse(bare).unwrap().target.of_head(bare.as_bytes()), b"");
    let other = parse("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n").err();
    assert_eq!(other, Some(RequestError::HostMismatch));
}

#[test]
fn targets_of_no_known_form_are_refused() {
    for target in [
        "a",
        "*",
        "http://",
        "http://u@a/",
        "ftp://a/",
        "http://a?b",
        "/a#b",
        "//\u{e9}",
        "http:/a",
    ] {
        let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(parse(&text).err(), Some(RequestError::InvalidTarget), "{target:?}");
    }
    assert!(parse("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").is_ok());
    assert_eq!(
        parse("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n").err(),
        Some(RequestError::Connect)
    );
}

#[test]
fn limits_hold_at_the_limit_and_not_beyond() {
    let fields = |count: usize| with_fields(&vec!["X: y"; count - 1].join("\r\n"));
    assert!(fields(LIMITS.header_max_count).is_ok());
    let error = RequestError::Head(HeadError::TooManyFields { max_count: 64 });
    assert_eq!(fields(LIMITS.header_max_count + 1).err(), Some(error));
    assert_eq!(error.status(), 431);

    let uri = |bytes: usize| {
        parse(&format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(bytes - 1)))
    };
    assert!(uri(LIMITS.uri_max_bytes).is_ok());
    assert_eq!(uri(LIMITS.uri_max_bytes + 1).unwrap_err().status(), 414);

    let body = |bytes: u64| with_fields(&format!("Content-Length: {bytes}"));
    assert!(body(LIMITS.body_max_bytes).is_ok());
    assert_eq!(body(LIMITS.body_max_bytes + 1).unwrap_err().status(), 413);
}

#[test]
fn a_websocket_is_asked_for_by_get_with_upgrade_nominated() {
    let upgrade = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade";
    let get =
        |fields: &str| parse(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n")).unwrap();
    assert!(get(upgrade).upgrade.is_some());
    assert!(get("Upgrade: websocket\r\nX: y").upgrade.is_none());
    assert!(get("Upgrade: websocket, h2c\r\nConnection: upgrade").upgrade.is_none());
    let twice = "Upgrade: websocket\r\nUpgrade: websocket\r\nConnection: upgrade";
    assert!(get(twice).upgrade.is_none());
    assert!(get(&format!("{upgrade}\r\nContent-Length: 1")).upgrade.is_none());
    assert!(with_fields(upgrade).unwrap().upgrade.is_none());
}

#[test]
fn the_connection_is_kept_as_the_version_and_the_client_say() {
    let keeps = |text: &str| parse(text).unwrap().keeps_alive();
    assert!(keeps("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert!(!keeps("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
    assert!(keeps("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
}

#[test]
fn an_unknown_expectation_is_refused() {
    assert!(with_fields("Expect: 100-Continue").unwrap().expects_continue);
    assert_eq!(with_fields("Expect: tea").unwrap_err().status(), 417);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse_bytes(&bytes);
    }

    #[test]
    fn almost_valid_requests_never_panic(
        text in "(GET|POST|OPTIONS) [!-~]{0,20} HTTP/1\\.[01]\r\n([A-Za-z-]{1,17}: ?[ -~]{0,20}\r\n){0,6}\r\n",
    ) {
        if let Ok(head) = parse(&text) {
            prop_assert!(head.length == text.len());
            prop_assert!(head.is_http_10 || head.host.is_some());
        }
    }
}
