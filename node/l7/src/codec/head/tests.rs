use proptest::prelude::*;

use super::*;

fn scan(text: &str) -> Result<Scan, HeadError> {
    HeadScanner::default().advance(text.as_bytes())
}

#[test]
fn a_head_ends_at_its_empty_line() {
    assert_eq!(
        scan("GET / HTTP/1.1\r\nHost: a\r\n\r\nrest"),
        Ok(Scan::Complete { length: 27, field_count: 1 })
    );
    assert_eq!(scan("GET / HTTP/1.1\r\nHost: a\r\n"), Ok(Scan::Partial));
    assert_eq!(scan("\r\nGET"), Ok(Scan::EmptyLine));
}

#[test]
fn a_bare_lf_is_refused_as_soon_as_it_is_seen() {
    for text in ["\n", "GET / HTTP/1.1\n", "GET / HTTP/1.1\r\nA: b\n", "GET / HTTP/1.1\r\n\n"] {
        assert_eq!(scan(text), Err(HeadError::BareLf), "{text:?}");
    }
}

proptest! {
    #[test]
    fn cutting_the_input_changes_nothing(
        text in "(GET / HTTP/1\\.1)?(\r\n|[a-z:\n\r]){0,40}(\r\n\r\n)?[a-z]{0,5}",
        cuts in proptest::collection::vec(0usize..80, 0..6),
    ) {
        let whole = scan(&text);
        let mut scanner = HeadScanner::default();
        let mut ends: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        ends.push(text.len());
        ends.sort_unstable();
        let mut piecewise = Ok(Scan::Partial);
        for end in ends {
            piecewise = scanner.advance(&text.as_bytes()[..end]);
            if piecewise != Ok(Scan::Partial) {
                break;
            }
        }
        prop_assert_eq!(piecewise, whole);
    }
}

#[test]
fn fields_are_identified_whatever_their_case() {
    let known = [
        ("Connection", FieldName::Connection),
        ("content-LENGTH", FieldName::ContentLength),
        ("COOKIE", FieldName::Cookie),
        ("DATE", FieldName::Date),
        ("expect", FieldName::Expect),
        ("Host", FieldName::Host),
        ("HTTP2-Settings", FieldName::Http2Settings),
        ("keep-alive", FieldName::KeepAlive),
        ("Proxy-Connection", FieldName::ProxyConnection),
        ("TE", FieldName::Te),
        ("TraceParent", FieldName::Traceparent),
        ("tracestate", FieldName::Tracestate),
        ("trailer", FieldName::Trailer),
        ("Transfer-Encoding", FieldName::TransferEncoding),
        ("UpGrade", FieldName::Upgrade),
        ("X-Forwarded-For", FieldName::XForwardedFor),
        ("X-Forwarded-Host", FieldName::XForwardedHost),
        ("X-Forwarded-Port", FieldName::XForwardedPort),
        ("X-Forwarded-Proto", FieldName::XForwardedProto),
        ("X-Request-Id", FieldName::XRequestId),
    ];
    for (name, field) in known {
        assert_eq!(FieldName::identify(name.as_bytes()), field, "{name}");
    }
    for name in [
        "x",
        "hosts",
        "hast",
        "content_length",
        "x-forwarded-part",
        "cccccc",
        "uuuuuuu",
        "tttttttttt",
    ] {
        assert_eq!(FieldName::identify(name.as_bytes()), FieldName::Other, "{name}");
    }
}

#[test]
fn connection_options_are_a_list() {
    let mut options = ConnectionOptions::default();
    options.add(b"Keep-Alive, ,UPGRADE");
    assert!(options.keep_alive && options.upgrade && !options.close && !options.nominates);
    options.add(b" close,x-internal ");
    assert!(options.close && options.nominates);
}
