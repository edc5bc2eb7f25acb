//! Requests of HTTP/2 that would be something else in HTTP/1.1: refused, and nothing reaches a member
//! (RFC 9113 §8.1.1, §8.2, §8.3, §10.3).

use ballast_telemetry::FailureReason;

use crate::harness::*;
use crate::http2_client::*;

/// What a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// The stream is broken off with PROTOCOL_ERROR.
    Reset,
    /// A response with that status.
    Status(&'static str),
    /// The connection is ended.
    GoAway,
}

type Fields<'a> = Vec<(&'a str, &'a str)>;

/// A GET with these fields besides, or instead of those of the same name.
fn with<'a>(fields: &[(&'a str, &'a str)]) -> Fields<'a> {
    let mut all: Fields<'a> = GET.to_vec();
    for (name, value) in fields {
        match all.iter_mut().find(|(known, _)| known == name) {
            Some(known) => known.1 = value,
            None => all.push((name, value)),
        }
    }
    all
}

fn without(name: &str) -> Fields<'static> {
    GET.into_iter().filter(|(known, _)| *known != name).collect()
}

fn cases() -> Vec<(&'static str, Fields<'static>, Told)> {
    use Told::{GoAway, Reset, Status};
    let twice = |name: &'static str, value: &'static str| {
        let mut fields = with(&[]);
        fields.insert(0, (name, value));
        fields
    };
    let late = |fields: Fields<'static>| {
        let mut fields = fields;
        let moved = fields.remove(3);
        fields.extend([("x-a", "b"), moved]);
        fields
    };
    vec![
        // Names (RFC 9113 §8.2.1). What no field can be called is a fault of the compression's too.
        ("an upper-case name", with(&[("X-A", "b")]), GoAway),
        ("a colon in a name", with(&[("x-a:b", "c")]), GoAway),
        ("a space in a name", with(&[("x a", "c")]), GoAway),
        ("CR in a name", with(&[("x\ra", "c")]), GoAway),
        ("LF in a name", with(&[("x\na", "c")]), GoAway),
        ("NUL in a name", with(&[("x\0a", "c")]), GoAway),
        ("a line in a name", with(&[("x: y\r\nz", "c")]), GoAway),
        ("an empty name", with(&[("", "c")]), GoAway),
        // Values.
        ("CR LF in a value", with(&[("x-a", "b\r\nx-c: d")]), GoAway),
        ("LF in a value", with(&[("x-a", "b\nc")]), GoAway),
        ("CR in a value", with(&[("x-a", "b\rc")]), GoAway),
        ("NUL in a value", with(&[("x-a", "b\0c")]), GoAway),
        ("a space before a value", with(&[("x-a", " b")]), Reset),
        ("a space behind a value", with(&[("x-a", "b ")]), Reset),
        // Pseudo-header fields (§8.3).
        ("no method", without(":method"), Reset),
        ("no scheme", without(":scheme"), Reset),
        ("no path", without(":path"), Reset),
        ("no authority and no host", without(":authority"), Reset),
        ("an empty path", with(&[(":path", "")]), Reset),
        ("a path without a slash", with(&[(":path", "admin")]), Reset),
        ("a URL for a path", with(&[(":path", "http://other/x")]), Reset),
        ("an asterisk that is no OPTIONS", with(&[(":path", "*")]), Reset),
        ("a space in the path", with(&[(":path", "/a HTTP/1.1")]), Reset),
        ("a line in the path", with(&[(":path", "/ HTTP/1.1\r\nx: y\r\n\r\nGET /b")]), Reset),
        ("a line in the method", with(&[(":method", "GET / HTTP/1.1\r\nx: y\r\n\r\nGET")]), GoAway),
        ("a space in the method", with(&[(":method", "GET /x")]), GoAway),
        ("a line in the authority", with(&[(":authority", "site\r\nx: y")]), Reset),
        ("another scheme", with(&[(":scheme", "ftp")]), Reset),
        ("a line in the scheme", with(&[(":scheme", "http\r\nx: y")]), Reset),
        ("two methods", twice(":method", "POST"), Reset),
        ("two paths", twice(":path", "/b"), Reset),
        ("two authorities", twice(":authority", "other"), Reset),
        ("a late pseudo-header field", late(with(&[])), Reset),
        ("a status", with(&[(":status", "200")]), Reset),
        ("an unknown pseudo-header field", with(&[(":unknown", "x")]), GoAway),
        ("a protocol without CONNECT", with(&[(":protocol", "websocket")]), Reset),
        // Who is meant (§8.3.1).
        ("a host that is not the authority", with(&[("host", "other")]), Reset),
        ("user information", with(&[(":authority", "user@site")]), Status("400")),
        ("a path in the authority", with(&[(":authority", "site/x")]), Reset),
        // Fields of a connection (§8.2.2).
        ("connection", with(&[("connection", "close")]), Reset),
        ("keep-alive", with(&[("keep-alive", "1")]), Reset),
        ("proxy-connection", with(&[("proxy-connection", "close")]), Reset),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")]), Reset),
        ("upgrade", with(&[("upgrade", "websocket")]), Reset),
        ("te other than trailers", with(&[("te", "gzip")]), Reset),
        // Lengths (§8.1.1).
        ("a length and no content", with(&[("content-length", "5")]), Reset),
        ("a signed length", with(&[("content-length", "+0")]), Reset),
        ("a list of lengths", with(&[("content-length", "0, 0")]), Reset),
        ("an expectation that we have not", with(&[("expect", "x")]), Status("417")),
        ("CONNECT", vec![(":method", "CONNECT"), (":authority", "site:443")], Status("501")),
    ]
}

#[tokio::test]
async fn malformed_requests_reach_no_member() {
    let origin = Origin::echo().await;
    let site = Site::start(&[origin.address]).await;
    for (n, (what, fields, told)) in cases().into_iter().enumerate() {
        let mut raw = Raw::connect(&site).await;
        raw.headers(1, 0x1, &fields).await;
        let answer = loop {
            let frame = raw.next().await.unwrap_or_else(|| panic!("{what}: the connection ended"));
            match frame.kind {
                0x1 => break Told::Status(status_of(&frame.payload)),
                0x3 if frame.code() == Some(1) => break Told::Reset,
                0x7 if frame.code() != Some(0) => break Told::GoAway,
                0x3 | 0x7 => panic!("{what}: {frame:?}"),
                _ => {}
            }
        };
        assert_eq!(answer, told, "{what}");
        site.failures(n as u64 + 1).await;
        assert_eq!(site.totals().failures_total(), n as u64 + 1, "{what}: one failure");
    }
    assert_eq!(origin.connections(), 0);
}

/// Of a block that is a status which no table holds, or 400.
fn status_of(block: &[u8]) -> &'static str {
    // RFC 7541 Appendix A: 400 is entry 12; the others are literals, which we write without
    // Huffman's code here.
    if block.first() == Some(&0x8c) {
        return "400";
    }
    let known = ["417", "501"];
    // Digits in Huffman's code are 5 or 6 bits: `4` 011010, `1` 00001, `7` 011101; `5` 011011, `0`
    // 00000, `1` 00001.
    let coded: [&[u8]; 2] = [&[0b0110_1000, 0b0010_1110, 0b1111_1111], &[0b0110_1100, 0b0000_0001]];
    for (status, coded) in known.iter().zip(coded) {
        let first = coded[0];
        if block.get(2) == Some(&first) {
            return status;
        }
    }
    "another"
}

/// Sends HEADERS and then those DATA frames; what the client is told.
async fn upload(site: &Site, fields: &[(&str, &str)], data: &[(&[u8], bool)]) -> Option<u32> {
    let mut raw = Raw::connect(site).await;
    let mut post = with(fields);
    post[0].1 = "POST";
    raw.headers(1, 0, &post).await;
    for (content, is_end) in data {
        raw.send(0x0, u8::from(*is_end), 1, content).await;
    }
    loop {
        let frame = raw.next().await?;
        if frame.kind == 0x3 {
            return frame.code();
        }
        assert_ne!(frame.kind, 0x1, "a response");
    }
}

#[tokio::test]
async fn content_that_is_not_as_long_as_announced_is_no_request() {
    // Counts whole requests.
    let (whole, requests) = tokio::sync::watch::channel(0);
    let whole = std::sync::Arc::new(whole);
    let origin = Origin::start(move |_, mut io| {
        let whole = std::sync::Arc::clone(&whole);
        async move {
            while let Some(head) = io.head().await {
                let length = head.to_lowercase().contains("content-length: 5").then_some(5);
                if io.exactly_or_end(length.unwrap_or(0)).await.is_none() {
                    return;
                }
                whole.send_modify(|count| *count += 1);
                io.send(ok("")).await;
            }
        }
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let cases: [&[(&[u8], bool)]; 5] = [
        &[(b"1234", true)],
        &[(b"123456", true)],
        &[(b"12345", false), (b"6", true)],
        &[(b"123", false), (b"456", true)],
        &[(b"", true)],
    ];
    for (n, data) in cases.into_iter().enumerate() {
        assert_eq!(upload(&site, &[("content-length", "5")], data).await, Some(1), "{data:?}");
        site.failures(n as u64 + 1).await;
        assert_eq!(site.totals().failures_total(), n as u64 + 1, "{data:?}");
    }
    assert_eq!(*requests.borrow(), 0, "a member got a whole request");
    let totals = site.totals();
    assert_eq!(totals.failures_for(FailureReason::BadRequestFraming), 5, "{totals:?}");
    // What is as long as announced is served, wherever its end is told.
    let mut client = Client::connect(&site).await;
    let mut upload = request(http::Method::POST, "/");
    upload.headers_mut().insert("content-length", http::HeaderValue::from_static("5"));
    let (response, mut stream) = client.begin(upload, false).await;
    stream.send_data(bytes::Bytes::from_static(b"12345"), false).unwrap();
    tokio::task::yield_now().await;
    stream.send_data(bytes::Bytes::new(), true).unwrap();
    assert_eq!(read(response).await.unwrap().status, 200);
    assert_eq!(*requests.borrow(), 1);
}

#[tokio::test]
async fn trailers_that_say_where_a_message_ends_are_malformed() {
    let origin = Origin::start(|_, mut io| async move {
        io.head().await;
        let rest = io.rest().await;
        assert!(!rest.ends_with(b"0\r\n\r\n"), "a member got a whole request");
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let names = ["content-length", "transfer-encoding", "host", "connection", "te", "upgrade"];
    for (n, name) in names.iter().enumerate() {
        let mut raw = Raw::connect(&site).await;
        let mut post = GET;
        post[0].1 = "POST";
        raw.headers(1, 0, &post).await;
        raw.send(0x0, 0, 1, b"content").await;
        raw.headers(1, 0x1, &[(*name, "1")]).await;
        loop {
            let told = raw.next().await.unwrap_or_else(|| panic!("{name}: the connection ended"));
            match told.kind {
                0x1 => {
                    assert_eq!(status_of(&told.payload), "400", "{name}");
                    break;
                }
                0x3 => {
                    assert_eq!(told.code(), Some(1), "{name}");
                    break;
                }
                _ => {}
            }
        }
        site.failures(n as u64 + 1).await;
        let totals = site.totals();
        assert_eq!(totals.failures_for(FailureReason::BadRequestFraming), n as u64 + 1, "{name}");
    }
}
