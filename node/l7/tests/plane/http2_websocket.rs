//! WebSockets over HTTP/2 (RFC 8441) to members that know them over HTTP/1.1.

use ballast_telemetry::FailureReason;
use ballast_workers::QUIESCE_MAX;
use base64::Engine as _;
use bytes::Bytes;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{Request, Response};

use crate::harness::*;
use crate::http2_client::*;

/// Whatever `Sec-WebSocket-Accept` must be for this head's key (RFC 6455 §4.2.2).
fn accept(head: &str) -> String {
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("sec-websocket-key").then_some(value)
    });
    let text = format!("{}258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key.expect("a key"));
    let sha1 = &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;
    let digest = aws_lc_rs::digest::digest(sha1, text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(digest)
}

fn switch(accept: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    )
}

/// Asks for a WebSocket, once the server has said that it may.
async fn open(
    client: &mut Client,
    protocol: &'static str,
) -> (Result<Response<RecvStream>, h2::Error>, SendStream<Bytes>) {
    until(|| client.send.is_extended_connect_protocol_enabled()).await;
    let request = Request::connect("http://site/chat")
        .extension(Protocol::from_static(protocol))
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat")
        .body(())
        .unwrap();
    let (response, stream) = client.begin(request, false).await;
    (soon(response).await, stream)
}

async fn read(body: &mut RecvStream) -> Option<Bytes> {
    let piece = soon(body.data()).await?.expect("an open stream");
    body.flow_control().release_capacity(piece.len()).unwrap();
    Some(piece)
}

#[tokio::test]
async fn a_websocket_over_http_2_reaches_a_member_over_http_1() {
    let origin = Origin::start(|_, mut io| async move {
        let head = io.head().await.unwrap();
        assert!(head.starts_with("GET /chat HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("Connection: upgrade\r\nUpgrade: websocket\r\n"), "{head}");
        assert!(head.contains("sec-websocket-version: 13\r\n"), "{head}");
        io.send(format!("{}first", switch(&accept(&head)))).await;
        let bytes = io.exactly(4).await;
        io.send(bytes).await;
        // The client ends its half; ours goes on for a word.
        assert!(io.rest().await.is_empty());
        io.send("last").await;
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = Client::connect(&site).await;
    let (response, mut send) = open(&mut client, "websocket").await;
    let (parts, mut body) = response.unwrap().into_parts();
    assert_eq!(parts.status, 200);
    assert_eq!(parts.headers.get("sec-websocket-protocol").unwrap(), "chat");
    for name in ["upgrade", "connection", "sec-websocket-accept"] {
        assert!(!parts.headers.contains_key(name), "{name}");
    }
    assert_eq!(read(&mut body).await.unwrap(), "first");
    send.send_data(Bytes::from_static(b"ping"), false).unwrap();
    assert_eq!(read(&mut body).await.unwrap(), "ping");
    // Other streams go on beside it.
    drop(client.begin(get("/"), true).await);
    send.send_data(Bytes::new(), true).unwrap();
    assert_eq!(read(&mut body).await.unwrap(), "last");
    while let Some(rest) = read(&mut body).await {
        assert!(rest.is_empty());
    }
    until(|| site.totals().responses[0] == 1).await;
}

#[tokio::test]
async fn a_websocket_does_not_hold_up_a_move_of_its_address_and_outlasts_it() {
    let origin = Origin::start(|_, mut io| async move {
        let head = io.head().await.unwrap();
        if !head.contains("upgrade") {
            io.send(ok("")).await;
            return;
        }
        io.send(switch(&accept(&head))).await;
        let bytes = io.exactly(4).await;
        io.send(bytes).await;
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let (mut talking, mut idle) = (Client::connect(&site).await, Client::connect(&site).await);
    assert_eq!(idle.get("/").await.status, 200);
    let (response, mut send) = open(&mut talking, "websocket").await;
    let mut body = response.unwrap().into_body();
    // Both are asked to go; who has nothing under way does so.
    let address = site.address.ip();
    let left_count = soon(site.plane.quiesce(&[address], QUIESCE_MAX)).await;
    assert_eq!(left_count, 0);
    soon(idle.connection).await.unwrap().expect("an orderly end");
    send.send_data(Bytes::from_static(b"ping"), true).unwrap();
    assert_eq!(read(&mut body).await.unwrap(), "ping");
    while read(&mut body).await.is_some() {}
    soon(talking.connection).await.unwrap().expect("an orderly end");
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn a_member_that_has_not_understood_the_key_is_not_believed() {
    let origin = Origin::start(|_, mut io| async move {
        io.head().await.unwrap();
        io.send(switch("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")).await;
        io.rest().await;
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = Client::connect(&site).await;
    let (response, _send) = open(&mut client, "websocket").await;
    assert_eq!(response.unwrap().status(), 502);
    site.failed(FailureReason::UpstreamProtocol, 1).await;
}

#[tokio::test]
async fn a_member_that_refuses_is_heard() {
    let origin =
        Origin::answering(|_| "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_owned())
            .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = Client::connect(&site).await;
    let (response, _send) = open(&mut client, "websocket").await;
    assert_eq!(response.unwrap().status(), 403);
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn a_page_in_place_of_a_websocket_is_not_taken_for_one() {
    let origin = Origin::answering(|_| ok("a page")).await;
    let site = Site::start(&[origin.address]).await;
    let mut client = Client::connect(&site).await;
    let (response, _send) = open(&mut client, "websocket").await;
    assert_eq!(response.unwrap().status(), 502);
    site.failed(FailureReason::UpstreamProtocol, 1).await;
}

#[tokio::test]
async fn other_protocols_are_not_passed_on() {
    let origin = Origin::echo().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = Client::connect(&site).await;
    let (response, _send) = open(&mut client, "connect-udp").await;
    assert_eq!(response.unwrap().status(), 501);
    site.failed(FailureReason::MethodNotAllowed, 1).await;
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn a_client_that_breaks_off_ends_the_member_s_side() {
    let (ended, mut has_ended) = tokio::sync::watch::channel(false);
    let ended = std::sync::Arc::new(ended);
    let origin = Origin::start(move |_, mut io| {
        let ended = std::sync::Arc::clone(&ended);
        async move {
            let head = io.head().await.unwrap();
            io.send(switch(&accept(&head))).await;
            io.rest().await;
            ended.send_replace(true);
        }
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = Client::connect(&site).await;
    let (response, mut send) = open(&mut client, "websocket").await;
    assert_eq!(response.unwrap().status(), 200);
    send.send_reset(h2::Reason::CANCEL);
    soon(has_ended.wait_for(|ended| *ended)).await.unwrap();
    site.failed(FailureReason::ClientClosed, 1).await;
}
