//! WebSockets to members that are spoken to by HTTP/2: as streams (RFC 8441), or over HTTP/1.1.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ballast_model::{MemberProtocol, MemberWebSockets};
use ballast_telemetry::FailureReason as R;
use bytes::Bytes;
use h2::ext::Protocol;
use h2::server::Builder;
use http::{Method, Request, Response};
use tokio::io::AsyncWriteExt;

use crate::harness::*;
use crate::http2_client::{Client, read_body, send_all};
use crate::http2_origin;

/// The example of RFC 6455 §1.3.
const UPGRADE: &str = "GET /chat?a=b HTTP/1.1\r\nHost: site\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Protocol: chat\r\n\r\n";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn builder(announces: bool) -> Builder {
    let mut builder = Builder::new();
    if announces {
        builder.enable_connect_protocol();
    }
    builder
}

/// Takes WebSockets as streams: says `first`, sends back what comes until the client ends, then says
/// `last` and ends too.
async fn chat() -> Origin {
    http2_origin::start(None, builder(true), |_, (request, mut respond)| async move {
        if request.method() == Method::GET {
            return http2_origin::answer(respond, Response::new(()), b"plain", None).await;
        }
        assert_eq!(request.method(), Method::CONNECT);
        let protocol = request.extensions().get::<Protocol>().expect("a protocol");
        assert_eq!(protocol.as_str(), "websocket");
        let uri = request.uri();
        assert_eq!((uri.path(), uri.query()), ("/chat", Some("a=b")));
        assert_eq!((uri.authority().unwrap().as_str(), uri.scheme_str()), ("site", Some("http")));
        for gone in ["upgrade", "connection", "sec-websocket-key"] {
            assert!(!request.headers().contains_key(gone), "{gone}");
        }
        assert_eq!(request.headers()["sec-websocket-version"], "13");
        assert_eq!(request.headers()["sec-websocket-protocol"], "chat");
        let head = Response::builder().header("sec-websocket-protocol", "chat").body(()).unwrap();
        let mut send = respond.send_response(head, false).unwrap();
        send.send_data(Bytes::from_static(b"first"), false).unwrap();
        let mut body = request.into_body();
        while let Some(Ok(data)) = body.data().await {
            body.flow_control().release_capacity(data.len()).unwrap();
            if data.starts_with(b"stop") {
                return send.send_reset(h2::Reason::CANCEL);
            }
            send_all(&mut send, data, false).await.unwrap();
        }
        send.send_data(Bytes::from_static(b"last"), true).unwrap();
    })
    .await
}

async fn site(origin: &Origin, websockets: MemberWebSockets) -> Site {
    Site::start_with(&[origin.address], |_, pool| {
        pool.protocol = MemberProtocol::Http2;
        pool.http2.websockets = websockets;
    })
    .await
}

async fn upgraded(site: &Site) -> Io {
    let mut client = site.connect().await;
    client.send(UPGRADE).await;
    let head = client.head().await.expect("a head");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let lower = head.to_lowercase();
    assert!(lower.contains("upgrade: websocket\r\n") && lower.contains("connection: upgrade\r\n"));
    assert!(head.contains(ACCEPT) && lower.contains("sec-websocket-protocol: chat\r\n"), "{head}");
    client
}

fn content(count: usize) -> Vec<u8> {
    (0..count).map(|at| b'a' + (at % 26) as u8).collect()
}

#[tokio::test]
async fn a_websocket_over_http_1_becomes_a_stream_and_goes_both_ways() {
    let origin = chat().await;
    for websockets in [MemberWebSockets::Auto, MemberWebSockets::Http2] {
        let site = site(&origin, websockets).await;
        let before = origin.connections();
        let mut client = upgraded(&site).await;
        assert_eq!(client.exactly(5).await, b"first");
        // More than any window.
        let much = content(1_000_000);
        let (mut read, mut write) = client.stream.split();
        let sent = much.clone();
        let mut back = vec![0; much.len()];
        let echo = async {
            tokio::io::AsyncReadExt::read_exact(&mut read, &mut back).await.unwrap();
        };
        let (sent, ()) = soon(futures_util::future::join(write.write_all(&sent), echo)).await;
        sent.unwrap();
        assert!(back == much);
        // The client ends its half; the member's goes on for a word.
        client.stream.shutdown().await.unwrap();
        assert_eq!(client.rest().await, b"last");
        site.served(1).await;
        assert_eq!(site.totals().failures_total(), 0);
        assert_eq!(origin.connections() - before, 1);
    }
}

#[tokio::test]
async fn websockets_and_requests_share_a_connection() {
    let origin = chat().await;
    let site = site(&origin, MemberWebSockets::Auto).await;
    let mut open = Vec::new();
    for _ in 0..8 {
        let mut client = upgraded(&site).await;
        assert_eq!(client.exactly(5).await, b"first");
        assert_eq!(site.connect().await.get("/").await.text(), "plain");
        open.push(client);
    }
    // One for each worker.
    assert!(origin.connections() <= 2, "{}", origin.connections());
    for mut client in open {
        client.send("ping").await;
        assert_eq!(client.exactly(4).await, b"ping");
    }
}

#[tokio::test]
async fn a_websocket_over_http_2_becomes_a_stream_too() {
    let origin = chat().await;
    let site = site(&origin, MemberWebSockets::Auto).await;
    let mut client = Client::connect(&site).await;
    until(|| client.send.is_extended_connect_protocol_enabled()).await;
    let request = Request::connect("http://site/chat?a=b")
        .extension(Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat")
        .body(())
        .unwrap();
    let (response, mut send) = client.begin(request, false).await;
    let response = soon(response).await.expect("a response");
    assert_eq!(response.status(), 200);
    for name in ["upgrade", "connection", "sec-websocket-accept"] {
        assert!(!response.headers().contains_key(name), "{name}");
    }
    let mut body = response.into_body();
    let much = Bytes::from(content(300_000));
    let (sent, came) =
        futures_util::future::join(send_all(&mut send, much.clone(), true), read_body(&mut body))
            .await;
    sent.unwrap();
    let expected = [b"first", &much[..], b"last"].concat();
    assert!(came.unwrap() == expected);
    site.served(1).await;
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn a_member_that_resets_the_stream_ends_the_websocket() {
    let origin = chat().await;
    let site = site(&origin, MemberWebSockets::Auto).await;
    let mut client = upgraded(&site).await;
    assert_eq!(client.exactly(5).await, b"first");
    client.send("stop").await;
    assert!(client.rest().await.is_empty());
    site.failed(R::UpstreamClosedEarly, 1).await;
    // The connection goes on.
    assert_eq!(site.connect().await.get("/").await.text(), "plain");
}

#[tokio::test]
async fn a_client_that_resets_has_the_stream_reset() {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ended);
    let origin = http2_origin::start(None, builder(true), move |_, (request, mut respond)| {
        let ended = Arc::clone(&count);
        async move {
            let mut send = respond.send_response(Response::new(()), false).unwrap();
            let reason = std::future::poll_fn(|cx| send.poll_reset(cx)).await.unwrap();
            assert_eq!(reason, h2::Reason::CANCEL);
            ended.fetch_add(1, Ordering::SeqCst);
            drop(request);
        }
    })
    .await;
    let site = site(&origin, MemberWebSockets::Auto).await;
    let mut client = site.connect().await;
    client.send(UPGRADE).await;
    assert!(client.head().await.unwrap().starts_with("HTTP/1.1 101 "));
    client.stream.set_zero_linger().unwrap();
    drop(client);
    until(|| ended.load(Ordering::SeqCst) == 1).await;
    site.failed(R::ClientClosed, 1).await;
}

#[tokio::test]
async fn a_member_that_refuses_the_websocket_has_its_answer_passed_on() {
    let origin = http2_origin::start(None, builder(true), |_, (_, respond)| async move {
        let head = Response::builder().status(403).body(()).unwrap();
        http2_origin::answer(respond, head, b"not here", None).await;
    })
    .await;
    let site = site(&origin, MemberWebSockets::Auto).await;
    let mut client = site.connect().await;
    let answer = client.ask(UPGRADE).await;
    assert_eq!((answer.status(), answer.text().as_str()), (403, "not here"));
    // The connection is still one of HTTP/1.1.
    assert_eq!(client.get("/").await.status(), 403);
    assert_eq!(site.totals().failures_total(), 0);
}

/// Speaks HTTP/2 without extended CONNECT to who begins so, and HTTP/1.1 to others.
async fn both() -> Origin {
    Origin::start(|_, io: Io| async move {
        let mut first = [0; 3];
        while io.stream.peek(&mut first).await.unwrap() < 3 {}
        if &first != b"PRI" {
            let mut io = io;
            let head = io.head().await.unwrap();
            assert!(head.starts_with("GET /chat?a=b HTTP/1.1\r\n"), "{head}");
            let fields = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: chat\r\n";
            io.send(format!(
                "HTTP/1.1 101 Switching Protocols\r\n{fields}Sec-WebSocket-Accept: {ACCEPT}\r\n\r\nold"
            ))
            .await;
            io.rest().await;
            return;
        }
        let mut connection = builder(false).handshake::<_, Bytes>(io.stream).await.unwrap();
        while let Some(Ok((request, respond))) = connection.accept().await {
            assert_eq!(request.method(), Method::GET);
            tokio::spawn(http2_origin::answer(respond, Response::new(()), b"plain", None));
        }
    })
    .await
}

#[tokio::test]
async fn a_member_that_does_not_announce_it_gets_http_1_where_that_is_allowed() {
    let origin = both().await;
    for websockets in [MemberWebSockets::Auto, MemberWebSockets::Http1] {
        let site = site(&origin, websockets).await;
        let mut client = upgraded(&site).await;
        assert_eq!(client.exactly(3).await, b"old");
        assert_eq!(site.connect().await.get("/").await.text(), "plain");
    }
}

#[tokio::test]
async fn a_member_that_does_not_announce_it_is_not_asked_where_http_1_is_not_allowed() {
    let origin = both().await;
    let site = site(&origin, MemberWebSockets::Http2).await;
    let mut client = site.connect().await;
    let answer = client.ask(UPGRADE).await;
    assert_eq!(answer.status(), 502);
    assert!(answer.text().contains("upstream_no_extended_connect"), "{}", answer.text());
    site.failed(R::UpstreamNoExtendedConnect, 1).await;
    // It is not held against the member, and says so beside it.
    let pools = site.plane.pools();
    let status = pools.borrow().get("origin").unwrap().statuses(0).next().unwrap();
    assert_eq!(status.failures_total, 0);
    assert!(status.last_error.unwrap().text.contains("RFC 8441"));
}

#[tokio::test]
async fn a_member_that_never_says_what_it_can_is_waited_for_as_long_as_connecting_may_take() {
    let origin = Origin::start(|_, mut io: Io| async move {
        io.rest().await;
    })
    .await;
    let mut site = site(&origin, MemberWebSockets::Http2).await;
    site.pool.connect_timeout_ms = 200;
    site.apply().await;
    assert_eq!(site.connect().await.ask(UPGRADE).await.status(), 504);
    site.failed(R::ConnectTimeout, 1).await;
}
