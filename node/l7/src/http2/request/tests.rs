use http::Request;

use super::*;

fn written(request: http::request::Builder, is_end: bool) -> Result<(String, Written), Malformed> {
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let mut output = Buffer::default();
    let written = write_head(&mut output, parts, is_end, [7; 16])?;
    assert_eq!(written.length, output.len());
    Ok((String::from_utf8(output.data().to_vec()).unwrap(), written))
}

#[test]
fn a_head_holds_what_the_request_said_and_one_length() {
    let request = Request::builder().uri("https://a.test/x?y").header("x-a", "b c");
    let (text, head) = written(request, true).unwrap();
    assert_eq!(text, "GET /x?y HTTP/1.1\r\nhost: a.test\r\nx-a: b c\r\n\r\n");
    assert_eq!((head.field_count, head.framing), (2, BodyFraming::Exact(0)));
    let request = Request::post("https://a.test/").header("content-length", "12");
    let (text, head) = written(request, false).unwrap();
    assert!(text.ends_with("content-length: 12\r\n\r\n"));
    assert_eq!(head.framing, BodyFraming::Exact(12));
    let (text, head) = written(Request::post("https://a.test/"), false).unwrap();
    assert!(text.ends_with("transfer-encoding: chunked\r\n\r\n"));
    assert_eq!(head.framing, BodyFraming::Chunked);
}

#[test]
fn cookies_become_one_field() {
    let request = Request::get("http://a/").header("cookie", "a=1").header("cookie", "b=2; c=3");
    let (text, head) = written(request, true).unwrap();
    assert!(text.contains("\r\ncookie: a=1; b=2; c=3\r\n"), "{text}");
    assert_eq!(head.field_count, 2);
}

#[test]
fn what_says_two_things_or_none_is_malformed() {
    let base = || Request::get("http://a/");
    for request in [
        base().header("host", "b"),
        base().header("host", "a").header("host", "a"),
        base().header("connection", "close"),
        base().header("keep-alive", "1"),
        base().header("proxy-connection", "close"),
        base().header("transfer-encoding", "chunked"),
        base().header("upgrade", "websocket"),
        base().header("te", "gzip"),
        base().header("te", "trailers, gzip"),
        base().header("content-length", "+1"),
        base().header("content-length", "1, 1"),
        base().header("content-length", "1").header("content-length", "1"),
        base().header("x-a", " b"),
        base().header("x-a", "b\t"),
        Request::get("ftp://a/"),
        Request::get("/without-a-host"),
        Request::get("http://a").method("OPTIONS").uri("a"),
    ] {
        let request = request.body(()).unwrap();
        let text = format!("{request:?}");
        let (parts, ()) = request.into_parts();
        let refused = write_head(&mut Buffer::default(), parts, true, [0; 16]);
        assert_eq!(refused.map(|_| ()), Err(Malformed), "{text}");
    }
    assert!(written(base().header("host", "A"), true).is_ok(), "hosts are alike in any case");
}

#[test]
fn a_connect_with_a_protocol_becomes_an_upgrade() {
    let protocol = Protocol::from_static("websocket");
    let request = || Request::connect("http://a/chat").extension(protocol.clone());
    let (text, head) = written(request().header("sec-websocket-version", "13"), false).unwrap();
    assert!(text.starts_with("GET /chat HTTP/1.1\r\nhost: a\r\n"), "{text}");
    assert!(text.contains("\r\nupgrade: websocket\r\n"), "{text}");
    assert!(text.contains("\r\nsec-websocket-key: BwcHBwcHBwcHBwcHBwcHBw==\r\n"), "{text}");
    assert_eq!(head.framing, BodyFraming::Raw);
    assert_eq!(head.accept, Some(accept_of(b"BwcHBwcHBwcHBwcHBwcHBw==")));
    assert!(written(request().header("sec-websocket-key", "x"), false).is_err());
    assert!(written(request().header("content-length", "0"), false).is_err());
}

#[test]
fn the_accept_value_is_that_of_the_rfc() {
    // RFC 6455 §1.3.
    assert_eq!(&accept_of(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn trailers_that_frame_a_message_are_malformed() {
    let mut output = Vec::new();
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    assert_eq!(write_trailer(&mut output, &trailers), Ok(()));
    assert_eq!(output, b"grpc-status: 0\r\n");
    for name in ["content-length", "host", "te", "trailer", "transfer-encoding", "upgrade"] {
        let mut trailers = http::HeaderMap::new();
        trailers.insert(name, HeaderValue::from_static("1"));
        assert_eq!(write_trailer(&mut output, &trailers), Err(Malformed), "{name}");
    }
}
