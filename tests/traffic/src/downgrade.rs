//! Requests of HTTP/2 that would be something else, or more than one, in HTTP/1.1: RFC 9113 §8.1.1,
//! §8.2, §8.3 and §10.3, and Kettle (2021), "HTTP/2: The Sequel is Always Worse".
//!
//! In all of them, whatever could be taken for a second request asks for `/smuggled`.

use crate::http2::Field;
use crate::requests::Expect;

/// A second request, where it is taken for one.
const SECOND: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// A request of HTTP/2.
#[derive(Clone, Debug)]
pub struct Downgrade {
    /// Unique; the path of the request is `/h-NAME`.
    pub name: &'static str,
    /// What the proxy must do with it.
    pub expect: Expect,
    /// What it changes in a plain GET: fields to replace, or to add; an empty value of a pseudo-header
    /// field leaves it out.
    changes: Vec<(&'static str, String)>,
    /// Its content, a frame each.
    pub content: Vec<&'static str>,
    /// Its trailer section.
    pub trailers: Vec<Field>,
}

impl Downgrade {
    /// What the origin must be asked for, if anything.
    pub fn path(&self) -> String {
        format!("/h-{}", self.name)
    }

    /// Its fields, pseudo-header fields first.
    pub fn fields(&self) -> Vec<Field> {
        let mut fields: Vec<Field> = vec![
            (":method", if self.content.is_empty() { "GET" } else { "POST" }.to_owned()),
            (":scheme", "http".to_owned()),
            (":authority", "a".to_owned()),
            (":path", self.path()),
        ];
        for (name, value) in &self.changes {
            let value = value.replace("{path}", &self.path());
            match fields.iter().position(|(known, _)| known == name && name.starts_with(':')) {
                Some(place) if value.is_empty() => drop(fields.remove(place)),
                Some(place) => fields[place].1 = value,
                None => fields.push((name, value)),
            }
        }
        fields
    }
}

fn refused(name: &'static str, field: &'static str, value: impl Into<String>) -> Downgrade {
    let changes = vec![(field, value.into())];
    Downgrade { name, expect: Expect::Refused, changes, content: Vec::new(), trailers: Vec::new() }
}

fn passed(name: &'static str, field: &'static str, value: impl Into<String>) -> Downgrade {
    Downgrade { expect: Expect::Passed, ..refused(name, field, value) }
}

/// All of them.
pub fn vectors() -> Vec<Downgrade> {
    let mut all = heads();
    all.extend(contents());
    all
}

fn heads() -> Vec<Downgrade> {
    vec![
        // A second request in a value, a name, or what the request line is made of.
        refused("crlf-in-value", "x-a", format!("b\r\n\r\n{SECOND}")),
        refused("lf-in-value", "x-a", format!("b\n\n{SECOND}")),
        refused("cr-in-value", "x-a", "b\rTransfer-Encoding: chunked"),
        refused("nul-in-value", "x-a", "b\0c"),
        refused("crlf-in-name", "x-a: b\r\n\r\nGET /smuggled HTTP/1.1\r\nx-b", "c"),
        refused("colon-in-name", "transfer-encoding: chunked\r\nx", "c"),
        refused("colon-only-in-name", "transfer-encoding:chunked", "c"),
        refused("space-in-name", "x a", "b"),
        refused("upper-case-name", "Transfer-Encoding", "chunked"),
        refused("crlf-in-path", ":path", format!("{{path}} HTTP/1.1\r\nHost: a\r\n\r\n{SECOND}")),
        refused("space-in-path", ":path", "{path} HTTP/1.1"),
        refused("lf-in-path", ":path", "{path}\nx: y"),
        refused("no-slash-in-path", ":path", "smuggled"),
        refused("url-in-path", ":path", "http://a/smuggled"),
        refused("crlf-in-method", ":method", format!("GET / HTTP/1.1\r\nHost: a\r\n\r\n{SECOND}")),
        refused("space-in-method", ":method", "GET /smuggled HTTP/1.1"),
        refused("crlf-in-authority", ":authority", format!("a\r\n\r\n{SECOND}")),
        refused("user-in-authority", ":authority", "b@a"),
        refused("slash-in-authority", ":authority", "a/smuggled"),
        refused("crlf-in-scheme", ":scheme", "http\r\nx: y"),
        refused("odd-scheme", ":scheme", "http://a/smuggled?"),
        refused("another-host", "host", "b"),
        refused("status", ":status", "200"),
        // Left out.
        refused("no-method", ":method", ""),
        refused("no-path", ":path", ""),
        refused("no-scheme", ":scheme", ""),
        // Fields that belong to a connection.
        refused("transfer-encoding", "transfer-encoding", "chunked"),
        refused("connection", "connection", "transfer-encoding"),
        refused("keep-alive", "keep-alive", "timeout=5"),
        refused("proxy-connection", "proxy-connection", "keep-alive"),
        refused("upgrade", "upgrade", "h2c"),
        refused("te", "te", "chunked"),
        // What has one meaning only.
        passed("te-trailers", "te", "trailers"),
        passed("escaped-crlf", ":path", "{path}?a=%0d%0a%0d%0aGET%20/x%20HTTP/1.1"),
        passed("odd-query", ":path", "{path}?a=b&c==;d=/../e"),
        passed("port-in-authority", ":authority", "a:8080"),
        passed("upper-case-authority", ":authority", "A.Example"),
        passed("same-host", "host", "a"),
        passed("cookies", "cookie", "a=b"),
        passed("a-request-in-a-value", "x-a", "GET /x HTTP/1.1"),
        passed("length-of-nothing", "content-length", "0"),
        passed("expect", "expect", "100-continue"),
    ]
}

fn contents() -> Vec<Downgrade> {
    let with = |downgrade: Downgrade, content: &[&'static str]| Downgrade {
        content: content.to_vec(),
        ..downgrade
    };
    let trailers = |field: &'static str, value: &str| vec![(field, value.to_owned())];
    vec![
        // Lengths that are not those of the content.
        with(refused("cl-zero", "content-length", "0"), &[SECOND]),
        with(refused("cl-short", "content-length", "3"), &["abc", SECOND]),
        with(refused("cl-long", "content-length", "999"), &[SECOND]),
        with(refused("cl-signed", "content-length", "+3"), &["abc"]),
        with(refused("cl-list", "content-length", "3, 3"), &["abc"]),
        with(refused("cl-spaced", "content-length", " 3"), &["abc"]),
        with(refused("cl-crlf", "content-length", "3\r\nTransfer-Encoding: chunked"), &["abc"]),
        with(refused("te-and-content", "transfer-encoding", "chunked"), &["0\r\n\r\n", SECOND]),
        // Content is content, whatever it looks like.
        with(passed("content-like-a-request", "x-a", "b"), &[SECOND]),
        with(passed("content-like-chunks", "x-a", "b"), &["0\r\n\r\n", SECOND]),
        with(passed("content-of-that-length", "content-length", "3"), &["a", "bc"]),
        with(passed("empty-pieces", "x-a", "b"), &["", SECOND, ""]),
        // Trailer sections.
        Downgrade {
            trailers: trailers("x-sum", "1"),
            ..with(passed("trailers", "x-a", "b"), &["abc"])
        },
        Downgrade {
            trailers: trailers("x-sum", "1\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"),
            ..with(refused("crlf-in-trailers", "x-a", "b"), &["abc"])
        },
        Downgrade {
            trailers: trailers("connection", "close"),
            ..with(refused("connection-in-trailers", "x-a", "b"), &["abc"])
        },
        Downgrade {
            trailers: trailers("transfer-encoding", "chunked"),
            ..with(refused("te-in-trailers", "x-a", "b"), &["abc"])
        },
    ]
}
