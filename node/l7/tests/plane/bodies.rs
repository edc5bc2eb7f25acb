//! Bodies: both framings, both ways, at the same time.

use std::time::Duration;

use ballast_telemetry::FailureReason;
use tokio::io::AsyncWriteExt;

use crate::harness::*;

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 7 % 251) as u8).collect()
}

/// Answers with the body of the request, in the framing of the request.
async fn mirror() -> Origin {
    Origin::start(|_, mut io| async move {
        while let Some(request) = io.message().await {
            if request.field("transfer-encoding").is_some() {
                io.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
                for chunk in request.body.chunks(10_007) {
                    io.send(format!("{:x}\r\n", chunk.len())).await;
                    io.send(chunk).await;
                    io.send("\r\n").await;
                }
                io.send("0\r\n\r\n").await;
            } else {
                let length = request.body.len();
                io.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")).await;
                io.send(&request.body).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn large_bodies_go_through_in_both_framings() {
    let origin = mirror().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    for length in [0, 1, 16_000, 16_384, 100_000, 3_000_000] {
        let body = pattern(length);
        client
            .send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"))
            .await;
        client.send(&body).await;
        assert!(client.message().await.unwrap().body == body, "{length} bytes");

        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        for chunk in body.chunks(9_999) {
            client.send(format!("{:x};ext=1\r\n", chunk.len())).await;
            client.send(chunk).await;
            client.send("\r\n").await;
        }
        client.send("0\r\nX-Sum: 1\r\n\r\n").await;
        assert!(client.message().await.unwrap().body == body, "{length} bytes in chunks");
    }
    assert_eq!(origin.connections(), 1);
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn a_response_until_close_reaches_the_client_in_chunks() {
    let origin = Origin::start(|_, mut io| async move {
        io.head().await;
        io.send("HTTP/1.1 200 OK\r\n\r\nuntil the end").await;
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    for _ in 0..2 {
        assert_eq!(client.get("/").await.text(), "until the end");
    }
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn a_response_may_begin_before_the_request_has_ended() {
    let origin = Origin::start(|_, mut io| async move {
        let head = io.head().await.unwrap();
        io.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nearly\r\n").await;
        let body = io.body(&head).await;
        io.send(format!("{:x}\r\n", body.len())).await;
        io.send(body).await;
        io.send("\r\n0\r\n\r\n").await;
        io.rest().await;
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234").await;
    let head = client.head().await.unwrap();
    assert_eq!(client.exactly(10).await, b"5\r\nearly\r\n");
    client.send("56789").await;
    assert_eq!(client.body(&head).await, b"0123456789");
}

#[tokio::test]
async fn a_rejection_reaches_a_client_that_is_still_sending() {
    let origin = Origin::start(|_, mut io| async move {
        io.head().await;
        io.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").await;
    client.send(vec![0; 100_000]).await;
    let response = client.message().await.unwrap();
    assert_eq!((response.status(), response.text().as_str()), (403, "no"));
    assert_eq!(response.field("connection"), Some("close"));
    assert!(client.rest().await.is_empty());
}

#[tokio::test]
async fn a_client_that_waits_for_continue_is_told_to() {
    let origin = Origin::start(|_, mut io| async move {
        let head = io.head().await.unwrap();
        assert!(head.contains("Expect: 100-continue\r\n"));
        io.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        let body = io.body(&head).await;
        io.send(ok(&format!("got {}", body.len()))).await;
        io.rest().await;
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    client
        .send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .await;
    assert_eq!(client.head().await.unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello").await;
    assert_eq!(client.message().await.unwrap().text(), "got 5");
}

#[tokio::test]
async fn a_client_that_is_not_told_to_continue_loses_its_connection_with_the_answer() {
    let origin = Origin::start(|_, mut io| async move {
        io.head().await;
        io.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await;
        io.rest().await;
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    let request = "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let response = client.ask(request).await;
    assert_eq!((response.status(), response.field("connection")), (401, Some("close")));
    assert!(client.rest().await.is_empty());
}

#[tokio::test]
async fn a_client_that_has_ended_its_side_still_gets_its_response() {
    let origin = Origin::echo().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
    client.stream.shutdown().await.unwrap();
    assert!(client.message().await.unwrap().text().ends_with("hi"));
    assert!(client.rest().await.is_empty());
}

#[tokio::test]
async fn a_slow_reader_holds_the_origin_back() {
    let (sent, mut progress) = tokio::sync::watch::channel(0usize);
    let origin = Origin::start(move |_, mut io| {
        let sent = sent.clone();
        async move {
            io.head().await;
            io.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n").await;
            for _ in 0..1_000 {
                if io.stream.write_all(&[7; 100_000]).await.is_err() {
                    break;
                }
                sent.send_modify(|sent| *sent += 100_000);
            }
        }
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.head().await.unwrap();
    // It goes on only until the buffers of the kernel are full.
    while tokio::time::timeout(Duration::from_millis(300), progress.changed()).await.is_ok() {}
    assert!(*progress.borrow() < 50_000_000, "{}", *progress.borrow());
    assert!(client.exactly(100_000_000).await.iter().all(|byte| *byte == 7));
}

#[tokio::test]
async fn an_incomplete_response_does_not_look_complete() {
    let origin = Origin::start(|number, mut io| async move {
        io.head().await;
        let framing = if number == 0 { "Content-Length: 20" } else { "Transfer-Encoding: chunked" };
        io.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n5\r\nhello\r\n")).await;
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    for _ in 0..2 {
        let mut client = site.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.head().await.unwrap();
        assert_eq!(client.rest().await, b"5\r\nhello\r\n");
    }
    site.failed(FailureReason::UpstreamClosedEarly, 2).await;
}

#[tokio::test]
async fn trailers_go_both_ways_but_for_what_none_may_hold() {
    let origin = Origin::start(|_, mut io| async move {
        let request = io.message().await.unwrap();
        assert_eq!(request.field("te"), Some("trailers"), "{}", request.head);
        assert_eq!(request.field("trailer"), Some("X-Sum"), "{}", request.head);
        assert_eq!(request.trailer, ["X-Sum: 41"]);
        io.send(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Grpc-Status\r\n\r\n\
             3\r\nabc\r\n0\r\nGrpc-Status: 0\r\nSet-Cookie: a=b\r\nContent-Length: 9\r\n\r\n",
        )
        .await;
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    let answer = client
        .ask(
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: TE\r\nTE: gzip;q=0.5, trailers\r\nTrailer: X-Sum\r\n\
             Transfer-Encoding: chunked\r\n\r\n\
             2\r\nhi\r\n0\r\nX-Sum: 41\r\nTransfer-Encoding: gzip\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n",
        )
        .await;
    assert_eq!((answer.status(), &answer.body[..]), (200, &b"abc"[..]));
    assert_eq!(answer.field("trailer"), Some("Grpc-Status"));
    assert_eq!(answer.trailer, ["Grpc-Status: 0"]);
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_no_trailers() {
    let origin = Origin::start(|_, mut io| async move {
        io.message().await.unwrap();
        io.send(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
             3\r\nabc\r\n0\r\nX-Sum: 0\r\n\r\n",
        )
        .await;
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
    let head = client.head().await.unwrap();
    assert!(!head.contains("Trailer"), "{head}");
    assert_eq!(client.rest().await, b"abc");
}
