use super::*;

fn read(head: &str) -> Result<RequestParts, Unsendable> {
    read_request(head.as_bytes(), true, false)
}

#[test]
fn a_request_head_becomes_pseudo_fields_and_fields() {
    let parts = read(
        "POST /a?b HTTP/1.1\r\nHost: a.test:8443\r\nX-Odd: \u{e4}\r\nContent-Length: 3\r\n\
         Cookie: a=1\r\nCookie: b=2\r\nConnection: te\r\nTE: trailers\r\n\r\n",
    )
    .unwrap();
    let request = parts.request;
    assert_eq!(request.method(), Method::POST);
    assert_eq!(request.uri(), "https://a.test:8443/a?b");
    assert_eq!((parts.body, parts.is_head), (BodyLength::Exact(3), false));
    assert_eq!(request.headers()[TE], "trailers");
    assert_eq!(request.headers()[CONTENT_LENGTH], "3");
    assert_eq!(request.headers().get_all("cookie").iter().count(), 2);
    assert!(!request.headers().contains_key(CONNECTION) && !request.headers().contains_key(HOST));
}

#[test]
fn chunks_are_a_matter_of_the_connection() {
    let parts = read("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    assert_eq!(parts.body, BodyLength::Chunked);
    assert!(parts.request.headers().is_empty());
}

#[test]
fn an_asterisk_is_a_target() {
    let parts = read("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(parts.request.uri().path(), "*");
}

#[test]
fn what_http2_cannot_say_is_said_so() {
    let fault = |head: &str| read(head).unwrap_err().0;
    assert_eq!(fault("GET /<a> HTTP/1.1\r\nHost: a\r\n\r\n"), "its target");
    assert_eq!(fault("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), "its host");
    assert_eq!(fault("GET / HTTP/1.1\r\n\r\n"), "its host");
}

fn write(
    status: u16,
    fields: &[(&str, &str)],
    is_head: bool,
    has_ended: bool,
) -> (String, ResponseFraming) {
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    let mut output = Vec::new();
    let framing =
        write_response(&mut output, &response.body(()).unwrap(), is_head, has_ended).unwrap();
    (String::from_utf8(output).unwrap(), framing)
}

#[test]
fn the_framing_of_a_response_is_written_here_and_once() {
    let smuggled = [("transfer-encoding", "chunked"), ("connection", "close"), ("x", "y")];
    let (head, framing) = write(200, &smuggled, false, false);
    assert_eq!(head, "HTTP/1.1 200 OK\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(framing, ResponseFraming::Chunked);
    let (head, framing) = write(200, &[("content-length", "5")], false, false);
    assert_eq!(head, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
    assert_eq!(framing, ResponseFraming::Exact(5));
    let (head, framing) = write(200, &[("grpc-status", "5")], false, true);
    assert_eq!(head, "HTTP/1.1 200 OK\r\ngrpc-status: 5\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(framing, ResponseFraming::None);
}

#[test]
fn responses_without_a_body_have_none() {
    for (status, is_head) in [(204, false), (304, false), (200, true)] {
        assert_eq!(write(status, &[], is_head, true).1, ResponseFraming::None);
    }
    let (head, framing) = write(200, &[("content-length", "9")], true, true);
    assert!(head.contains("content-length: 9\r\n"), "a HEAD may say how long it would be");
    assert_eq!(framing, ResponseFraming::None);
    assert!(!write(204, &[("content-length", "0")], false, true).0.contains("content-length"));
}

#[test]
fn trailers_pass_but_for_those_that_may_not_be_there() {
    let fields = read_trailers(b"Grpc-Status: 0\r\nContent-Length: 7\r\nx: y\r\n");
    assert_eq!(fields.len(), 2);
    let mut output = Vec::new();
    write_last_chunk(&mut output, Some(&fields)).unwrap();
    assert_eq!(output, b"0\r\ngrpc-status: 0\r\nx: y\r\n\r\n");
}

#[test]
fn a_websocket_is_a_connect_with_that_protocol_and_without_its_key() {
    let head = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let parts = read_request(head.as_bytes(), true, true).unwrap();
    assert_eq!(parts.request.method(), Method::CONNECT);
    assert_eq!(parts.request.uri(), "https://a/chat");
    let protocol = parts.request.extensions().get::<Protocol>().map(Protocol::as_str);
    assert_eq!(protocol, Some("websocket"));
    assert_eq!(parts.request.headers().len(), 1, "{:?}", parts.request.headers());
    let accept = parts.accept.unwrap();
    assert_eq!(&accept, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");

    let mut switch = Vec::new();
    let response = Response::builder().header("sec-websocket-accept", "no").body(()).unwrap();
    write_switch(&mut switch, &response, &accept).unwrap();
    let expected = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
        upgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    assert_eq!(String::from_utf8(switch).unwrap(), expected);

    let interim = Response::builder().status(101).body(()).unwrap();
    assert!(write_interim(&mut Vec::new(), &interim).is_err());

    let keyless = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert!(read_request(keyless.as_bytes(), true, true).is_err());
}

#[test]
fn of_a_request_that_was_held_whole_only_the_head_is_copied() {
    let head = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
    let whole = [&head[..], &vec![b'x'; 1_000_000]].concat();
    for first in [0, 1, head.len() - 1] {
        let (mut bytes, mut scanner) = (Vec::new(), HeadScanner::default());
        let mut at = 0;
        if first > 0 {
            assert_eq!(take_head(&mut bytes, &mut scanner, &whole[..first]), Some((first, false)));
            at = first;
        }
        assert_eq!(
            take_head(&mut bytes, &mut scanner, &whole[at..]),
            Some((head.len() - first, true))
        );
        assert_eq!(bytes, head);
        assert!(bytes.capacity() < 64 * 1024, "{}", bytes.capacity());
    }
    let long = [b"GET / HTTP/1.1\r\nX: ", &vec![b'x'; 50_000][..], b"\r\n\r\n"].concat();
    let (mut bytes, mut scanner) = (Vec::new(), HeadScanner::default());
    assert_eq!(take_head(&mut bytes, &mut scanner, &long[..30_000]), Some((30_000, false)));
    let mut at = 30_000;
    while let Some((count, false)) = take_head(&mut bytes, &mut scanner, &long[at..]) {
        at += count;
    }
    assert_eq!(bytes, long);
    let mut scanner = HeadScanner::default();
    assert_eq!(take_head(&mut Vec::new(), &mut scanner, b"GET / HTTP/1.1\n"), None);
}
