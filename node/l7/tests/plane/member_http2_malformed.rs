//! Answers of members that HTTP/2 has not, or that would be something else in HTTP/1.1: no client gets
//! them, and none gets the rest of another's (RFC 9113 §8.1.1, §8.2, §8.3, §10.3).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ballast_model::MemberProtocol;
use ballast_telemetry::FailureReason as R;

use crate::harness::*;
use crate::http2_client::{frame, literals};

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PUSH_PROMISE: u8 = 0x5;
const CONTINUATION: u8 = 0x9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// What a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Got {
    /// 502: nothing of it was passed on.
    Refused,
    /// A response that breaks off; or 502, where that was seen before any of it was passed on.
    Cut,
    /// That status and that content.
    Whole(u16, &'static str),
}

/// A frame on the request's stream: its type, its flags and what it holds.
type Frame = (u8, u8, Vec<u8>);

fn headers(flags: u8, fields: &[(&str, &str)]) -> Frame {
    (HEADERS, flags | END_HEADERS, literals(fields))
}

fn data(flags: u8, content: &str) -> Frame {
    (DATA, flags, content.as_bytes().to_vec())
}

/// A response without content.
fn alone(fields: &[(&str, &str)]) -> Vec<Frame> {
    vec![headers(END_STREAM, fields)]
}

/// A good head with one field more.
fn with(name: &str, value: &str) -> Vec<Frame> {
    alone(&[(":status", "200"), (name, value)])
}

/// A good response behind an interim one with one field more.
fn hinted(name: &str, value: &str) -> Vec<Frame> {
    let hint = headers(0, &[(":status", "103"), (name, value)]);
    vec![hint, headers(END_STREAM, &[(":status", "200")])]
}

/// A response with content of which so much is announced.
fn long(length: &str, content: &str) -> Vec<Frame> {
    let fields = [(":status", "200"), ("content-length", length)];
    vec![headers(0, &fields), data(END_STREAM, content)]
}

fn trailed(flags: u8, fields: &[(&str, &str)]) -> Vec<Frame> {
    vec![headers(0, &[(":status", "200")]), data(0, "abc"), headers(flags, fields)]
}

const SMUGGLED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";

fn cases() -> Vec<(&'static str, Vec<Frame>, Got)> {
    use Got::{Cut, Refused, Whole};
    let mut cases = fields();
    cases.extend(lengths());
    cases.extend([
        // Pseudo-header fields (§8.3.2).
        ("no status", alone(&[("x-a", "b")]), Refused),
        ("two statuses", alone(&[(":status", "200"), (":status", "404")]), Refused),
        ("a late status", alone(&[("x-a", "b"), (":status", "200")]), Refused),
        ("a status with letters", alone(&[(":status", "2OO")]), Refused),
        ("a status of four digits", alone(&[(":status", "0200")]), Refused),
        ("a signed status", alone(&[(":status", "+20")]), Refused),
        ("a status beyond all classes", alone(&[(":status", "1000")]), Refused),
        ("a status that clients take for 5xx", alone(&[(":status", "600")]), Whole(600, "")),
        ("a line in the status", alone(&[(":status", "200\r\nx: y")]), Refused),
        ("101", alone(&[(":status", "101")]), Refused),
        // Order (§8.1).
        ("content before a head", vec![data(0, SMUGGLED)], Refused),
        ("an interim response that is the last", alone(&[(":status", "103")]), Refused),
        ("trailers", trailed(END_STREAM, &[("x-a", "b")]), Whole(200, "abc")),
        ("trailers that don't end the stream", trailed(0, &[("x-a", "b")]), Cut),
        ("a space behind a value of trailers", trailed(END_STREAM, &[("x-a", "b ")]), Cut),
        ("a line in trailers", trailed(END_STREAM, &[("x-a", "b\r\nx-c: d")]), Cut),
        (
            "a length in trailers",
            trailed(END_STREAM, &[("content-length", "9")]),
            Whole(200, "abc"),
        ),
        // What nobody asked for.
        ("a push", vec![(PUSH_PROMISE, END_HEADERS, vec![0, 0, 0, 2])], Refused),
        (
            "a head without end",
            std::iter::once((HEADERS, 0, literals(&[(":status", "200")])))
                .chain((0..2_000).map(|_| (CONTINUATION, 0, Vec::new())))
                .collect(),
            Refused,
        ),
        (
            "a stream that is broken off",
            vec![headers(0, &[(":status", "200")]), data(0, "abc"), (RST_STREAM, 0, vec![0; 4])],
            Cut,
        ),
    ]);
    cases
}

fn fields() -> Vec<(&'static str, Vec<Frame>, Got)> {
    use Got::{Refused, Whole};
    vec![
        ("a good response", with("x-a", "b"), Whole(200, "")),
        ("an upper-case name", with("X-A", "b"), Refused),
        ("a colon in a name", with("x-a:b", "c"), Refused),
        ("a space in a name", with("x a", "c"), Refused),
        ("CR in a name", with("x\ra", "c"), Refused),
        ("LF in a name", with("x\na", "c"), Refused),
        ("NUL in a name", with("x\0a", "c"), Refused),
        ("a line in a name", with("x: y\r\nset-cookie", "c"), Refused),
        ("an empty name", with("", "c"), Refused),
        ("CR LF in a value", with("x-a", "b\r\nset-cookie: c=d"), Refused),
        ("LF in a value", with("x-a", "b\nc"), Refused),
        ("CR in a value", with("x-a", "b\rc"), Refused),
        ("NUL in a value", with("x-a", "b\0c"), Refused),
        ("a space before a value", with("x-a", " b"), Refused),
        ("a space behind a value", with("x-a", "b "), Refused),
        ("a tab behind a value of a hint", hinted("x-a", "b\t"), Refused),
        ("connection", with("connection", "close"), Refused),
        ("keep-alive", with("keep-alive", "timeout=1"), Refused),
        ("proxy-connection", with("proxy-connection", "close"), Refused),
        ("transfer-encoding", with("transfer-encoding", "chunked"), Refused),
        ("upgrade", with("upgrade", "h2c"), Refused),
    ]
}

fn lengths() -> Vec<(&'static str, Vec<Frame>, Got)> {
    use Got::{Cut, Refused, Whole};
    let of = |status: &str, content: &str| {
        vec![headers(0, &[(":status", status)]), data(END_STREAM, content)]
    };
    let nothing = headers(0, &[(":status", "200"), ("content-length", "0")]);
    let nothing_trailed = vec![nothing, headers(END_STREAM, &[("x-sum", "1")])];
    let twice = [(":status", "200"), ("content-length", "3"), ("content-length", "4")];
    vec![
        ("the right length", long("3", "abc"), Whole(200, "abc")),
        ("less than was said", long("4", "abc"), Cut),
        ("more than was said", long("2", "abc"), Cut),
        ("nothing of what was said", with("content-length", "4"), Refused),
        ("two lengths", vec![headers(0, &twice), data(END_STREAM, "abc")], Refused),
        ("a signed length", long("+3", "abc"), Refused),
        ("an empty length", long("", "abc"), Refused),
        ("content where none was said", long("0", SMUGGLED), Refused),
        ("an end that comes late", long("0", ""), Whole(200, "")),
        ("trailers of nothing", nothing_trailed, Whole(200, "")),
        ("content of 204", of("204", SMUGGLED), Whole(204, "")),
        ("content of 304", of("304", SMUGGLED), Whole(304, "")),
    ]
}

/// An origin that answers each request with the frames of the case that is on.
async fn origin(current: Arc<AtomicUsize>) -> Origin {
    Origin::start(move |_, mut io| {
        let current = Arc::clone(&current);
        async move {
            if io.exactly_or_end(24).await.is_none() {
                return;
            }
            let mut output = frame(SETTINGS, 0, 0, b"");
            while io.try_send(&output).await.is_ok() {
                let Some(head) = io.exactly_or_end(9).await else { return };
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                if io.exactly_or_end(length).await.is_none() {
                    return;
                }
                output = match (head[3], head[4] & 0x1) {
                    (SETTINGS, 0) => frame(SETTINGS, 0x1, 0, b""),
                    (HEADERS, _) => {
                        let (_, frames, _) = cases().swap_remove(current.load(Ordering::SeqCst));
                        let frames = frames.iter();
                        frames
                            .flat_map(|(kind, flags, of)| frame(*kind, *flags, stream, of))
                            .collect()
                    }
                    _ => Vec::new(),
                };
            }
        }
    })
    .await
}

/// What comes of a request on a connection of its own.
async fn ask(site: &Site) -> Option<Got> {
    let mut client = site.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    let all = client.rest().await;
    let text = String::from_utf8(all).unwrap();
    assert!(!text.contains("smuggled"), "{text}");
    let Some((head, body)) =
        text.split_once("\r\n\r\n").filter(|(head, _)| !head.contains(" 103 "))
    else {
        return text.contains("\r\n\r\nHTTP/1.1 502 ").then_some(Got::Refused);
    };
    let field = |name: &str| {
        head.lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix(name).map(str::to_owned))
    };
    assert_eq!((field("x-c:"), field("set-cookie:")), (None, None), "{text}");
    let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
    if status == 502 {
        return Some(Got::Refused);
    }
    let is_whole = match field("content-length: ") {
        _ if matches!(status, 204 | 304) => body.is_empty(),
        Some(length) => length.parse() == Ok(body.len()),
        None => body.contains("0\r\n"),
    };
    let content = if body.contains("abc") { "abc" } else { "" };
    Some(if is_whole { Got::Whole(status, content) } else { Got::Cut })
}

#[tokio::test]
async fn malformed_responses_reach_no_client() {
    let current = Arc::new(AtomicUsize::new(0));
    let origin = origin(Arc::clone(&current)).await;
    let site = Site::start_with(&[origin.address], |_, pool| {
        pool.protocol = MemberProtocol::Http2;
    })
    .await;
    let mut failed_count = 0;
    for (n, (what, _, expected)) in cases().into_iter().enumerate() {
        current.store(n, Ordering::SeqCst);
        let got = ask(&site).await.unwrap_or_else(|| panic!("{what}: no answer"));
        let is_expected = got == expected || (expected, got) == (Got::Cut, Got::Refused);
        assert!(is_expected, "{what}: {got:?}");
        failed_count += u64::from(!matches!(expected, Got::Whole(..)));
        site.failures(failed_count).await;
        assert_eq!(site.totals().failures_total(), failed_count, "{what}: one failure");
        // The next client is served, on whichever connection.
        current.store(0, Ordering::SeqCst);
        assert_eq!(ask(&site).await, Some(Got::Whole(200, "")), "after {what}");
    }
    let broken_off = 1;
    assert_eq!(site.totals().failures_for(R::UpstreamClosedEarly), broken_off);
    assert_eq!(site.totals().failures_for(R::UpstreamProtocol), failed_count - broken_off);
}
