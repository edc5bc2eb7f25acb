//! WebSocket upgrades.

use std::sync::{Arc, Mutex};

use ballast_model::AdminState;
use ballast_telemetry::FailureReason;
use tokio::io::AsyncWriteExt;

use crate::harness::*;

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Agrees to the upgrade, then sends back what comes.
async fn chat() -> Origin {
    Origin::start(|_, mut io| async move {
        let head = io.head().await.unwrap();
        assert!(head.contains("Connection: upgrade\r\nUpgrade: websocket\r\n"), "{head}");
        io.send(format!("{SWITCH}first")).await;
        loop {
            let bytes = io.exactly(4).await;
            if bytes == b"stop" {
                return;
            }
            io.send(bytes).await;
        }
    })
    .await
}

#[tokio::test]
async fn an_upgraded_connection_carries_bytes_both_ways() {
    let origin = chat().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    client.send(UPGRADE).await;
    let head = client.head().await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("Connection: upgrade\r\n"));
    assert!(head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert_eq!(client.exactly(5).await, b"first");
    for word in ["ping", "pong"] {
        client.send(word).await;
        assert_eq!(client.exactly(4).await, word.as_bytes());
    }
    client.send("stop").await;
    assert!(client.rest().await.is_empty());
    drop(client);
    site.has_open(0).await;
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn other_protocols_pass_where_they_are_allowed() {
    let ask = "POST /attach HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: TCP\r\n\r\n";
    let origin = Origin::start(|_, mut io| async move {
        let head = io.head().await.unwrap();
        if !head.contains("Connection: upgrade\r\nUpgrade: TCP\r\n") {
            assert!(!head.to_lowercase().contains("upgrade"), "{head}");
            return io.send(ok("plain")).await;
        }
        io.send("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n").await;
        let word = io.exactly(4).await;
        io.send(word).await;
    })
    .await;
    let mut site = Site::start(&[origin.address]).await;
    assert_eq!(site.connect().await.ask(ask).await.text(), "plain");
    site.server.http.upgrades = vec!["websocket".to_owned(), "tcp".to_owned()];
    site.apply().await;
    let mut client = site.connect().await;
    client.send(ask).await;
    let head = client.head().await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("Upgrade: tcp\r\n"), "{head}");
    client.send("ping").await;
    assert_eq!(client.exactly(4).await, b"ping");
    assert!(client.rest().await.is_empty());
}

#[tokio::test]
async fn a_websocket_passes_only_where_it_is_allowed() {
    let origin = Origin::echo().await;
    let site = Site::start_with(&[origin.address], |server, _| server.http.upgrades.clear()).await;
    let answer = site.connect().await.ask(UPGRADE).await;
    assert_eq!(answer.status(), 200);
    assert!(!answer.text().to_lowercase().contains("upgrade:"), "{}", answer.text());
}

#[tokio::test]
async fn one_side_may_end_before_the_other() {
    let origin = Origin::start(|_, mut io| async move {
        io.head().await.unwrap();
        io.send(SWITCH).await;
        let all = io.rest().await;
        io.send(format!("{} bytes", all.len())).await;
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    client.send(UPGRADE).await;
    client.head().await.unwrap();
    client.send("0123456789").await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.rest().await, b"10 bytes");
}

#[tokio::test]
async fn bytes_behind_the_request_wait_for_the_members_consent() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (heads, consent) = (Arc::clone(&seen), tokio::sync::watch::channel(false));
    let origin = Origin::start(move |_, mut io| {
        let (heads, mut wait) = (Arc::clone(&heads), consent.1.clone());
        let _keep = consent.0.clone();
        async move {
            while let Some(head) = io.head().await {
                heads.lock().unwrap().push(head);
                // Long enough for anything behind the head to arrive, were it forwarded.
                let more =
                    tokio::time::timeout(std::time::Duration::from_millis(200), wait.changed());
                let _ = more.await;
                io.send(ok("no upgrade here")).await;
            }
        }
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    let smuggled = "GET /next HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n";
    client.send(format!("{UPGRADE}{smuggled}")).await;
    assert_eq!(client.message().await.unwrap().text(), "no upgrade here");
    assert_eq!(client.message().await.unwrap().text(), "no upgrade here");
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    // The second was looked at as a request of its own, with our fields in it.
    assert!(seen[1].starts_with("GET /next") && seen[1].contains("X-Forwarded-For: 127.0.0.1"));
}

#[tokio::test]
async fn other_upgrades_are_not_asked_for() {
    let origin = Origin::echo().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    let request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\
        Connection: Upgrade, HTTP2-Settings\r\n\r\n";
    let echoed = client.ask(request).await.text().to_lowercase();
    assert!(!echoed.contains("h2c") && !echoed.contains("http2-settings"));
}

#[tokio::test]
async fn a_silent_tunnel_is_ended() {
    let origin = chat().await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.tunnel_idle_timeout_ms = 100;
    })
    .await;
    let mut client = site.connect().await;
    client.send(UPGRADE).await;
    client.head().await.unwrap();
    client.rest().await;
    site.failed(FailureReason::IdleTimeout, 1).await;
}

#[tokio::test]
async fn a_member_forced_offline_loses_its_tunnels() {
    let origin = chat().await;
    let mut site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    client.send(UPGRADE).await;
    client.head().await.unwrap();
    assert_eq!(client.exactly(5).await, b"first");
    site.pool.members[0].admin_state = AdminState::Disabled;
    site.apply().await;
    client.send("ping").await;
    assert_eq!(client.exactly(4).await, b"ping", "a disabled member keeps what it has");
    site.pool.members[0].admin_state = AdminState::ForcedOffline;
    site.apply().await;
    assert!(client.rest().await.is_empty());
    site.failed(FailureReason::MemberOffline, 1).await;
}
