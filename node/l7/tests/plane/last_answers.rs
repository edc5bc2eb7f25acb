//! The last answer of a connection: that it is told to be the last one, and that the client gets it.

use std::time::{Duration, Instant};

use ballast_telemetry::FailureReason;
use tokio::io::AsyncWriteExt;

use crate::harness::*;

/// As browsers and most libraries do it: the whole request first, then the answer.
#[tokio::test]
async fn a_client_that_sends_all_of_a_body_too_large_gets_its_413() {
    let origin = Origin::echo().await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.body_max_bytes = Some(1_000);
    })
    .await;
    let length = 24 * 1024 * 1024;
    let mut client = site.connect().await;
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")).await;
    let piece = vec![b'x'; 1024 * 1024];
    for _ in 0..length / piece.len() {
        client.send(&piece).await;
    }
    let answer = client.message().await.expect("an answer");
    assert_eq!((answer.status(), answer.field("connection")), (413, Some("close")));
    site.failed(FailureReason::BodyTooLarge, 1).await;
    drop(client);
    site.has_open(0).await;
}

#[tokio::test]
async fn a_client_that_falls_silent_after_its_last_answer_is_not_waited_for_long() {
    let origin = Origin::echo().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    let begin = Instant::now();
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a b\r\n\r\n").await.status(), 400);
    site.has_open(0).await;
    let took = begin.elapsed();
    assert!((Duration::from_secs(4)..Duration::from_secs(8)).contains(&took), "{took:?}");
    client.stream.shutdown().await.ok();
}

/// RFC 9112 §9.6.
#[tokio::test]
async fn an_answer_that_does_not_wait_for_the_body_says_that_the_connection_ends() {
    for (status, keeps_alive) in [("200 OK", true), ("302 Found", false), ("404 Not Found", false)]
    {
        let origin = Origin::start(move |_, mut io| async move {
            io.head().await;
            io.send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")).await;
            io.rest().await;
        })
        .await;
        let site = Site::start(&[origin.address]).await;
        let mut client = site.connect().await;
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf").await;
        let answer = client.message().await.expect("an answer");
        assert_eq!(answer.field("connection").is_none(), keeps_alive, "{status}: {}", answer.head);
        assert!(client.rest().await.is_empty());
    }
}
