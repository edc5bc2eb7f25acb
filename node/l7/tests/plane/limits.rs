//! What is refused, and that it is refused whole: the origin must see none of it.

use ballast_telemetry::FailureReason;

use crate::harness::*;

/// An origin that must not be reached.
async fn untouched() -> Origin {
    Origin::echo().await
}

#[tokio::test]
async fn what_is_ambiguous_is_refused_and_the_connection_closed() {
    let origin = untouched().await;
    let site = Site::start(&[origin.address]).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let vectors = [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n folded: z\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nX: y\r\n\r\n",
        "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
    ];
    for vector in vectors {
        let mut client = site.connect().await;
        client.send(format!("{vector}{smuggled}")).await;
        let response = client.message().await.unwrap_or_else(|| panic!("{vector:?}: no answer"));
        assert_eq!(response.status(), 400, "{vector:?}");
        assert_eq!(response.field("connection"), Some("close"), "{vector:?}");
        assert!(client.rest().await.is_empty(), "{vector:?}: a second answer");
    }
    assert_eq!(origin.connections(), 0);
    site.failures(vectors.len() as u64).await;
}

#[tokio::test]
async fn broken_chunks_end_the_connection_and_are_not_passed_on() {
    let origin = Origin::start(|_, mut io| async move {
        let seen = io.rest().await;
        assert!(!String::from_utf8_lossy(&seen).contains("smuggled"));
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    for body in ["5\nhello", "g\r\n", "5\r\nhelloX\r\n", "-1\r\n", "5\r\nhello\r\n0\r\nX:y\n\r\n"] {
        let mut client = site.connect().await;
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send(format!("{head}{body}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let response = client.message().await.unwrap();
        assert_eq!(response.status(), 400, "{body:?}");
        assert!(client.rest().await.is_empty());
    }
    site.failed(FailureReason::BadRequestFraming, 5).await;
}

#[tokio::test]
async fn unserved_methods_codings_versions_and_expectations_are_named() {
    let origin = untouched().await;
    let site = Site::start(&[origin.address]).await;
    for (request, status) in [
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", 417),
    ] {
        let mut client = site.connect().await;
        assert_eq!(client.ask(request).await.status(), status, "{request:?}");
    }
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn the_header_is_limited_at_the_limit_and_not_below() {
    let origin = Origin::echo().await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.header_max_bytes = 2_000;
        server.http.uri_max_bytes = 500;
        server.http.header_max_count = 10;
    })
    .await;
    let of_length = |length: usize| {
        let fixed = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(length - fixed))
    };
    let with_fields =
        |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    let with_uri =
        |length: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "u".repeat(length - 1));
    for (request, status) in [
        (of_length(2_000), 200),
        (of_length(2_001), 431),
        (with_fields(10), 200),
        (with_fields(11), 431),
        (with_uri(500), 200),
        (with_uri(501), 414),
        (with_uri(50_000), 414),
        (of_length(100_000), 431),
    ] {
        let mut client = site.connect().await;
        // The answer may come, and the connection end, before everything is sent.
        let _ = client.try_send(&request).await;
        assert_eq!(client.message().await.unwrap().status(), status, "{} bytes", request.len());
    }
    site.failures(5).await;
    let totals = site.totals();
    assert_eq!(totals.failures_for(FailureReason::HeaderTooLarge), 2);
    assert_eq!(totals.failures_for(FailureReason::TooManyHeaders), 1);
    assert_eq!(totals.failures_for(FailureReason::UriTooLong), 2);
}

#[tokio::test]
async fn the_body_is_limited_at_the_limit_and_not_below() {
    let origin = Origin::echo().await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.body_max_bytes = Some(10);
    })
    .await;
    let exact = |n: usize| {
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {n}\r\n\r\n{}", "b".repeat(n))
    };
    let chunked = |n: usize| {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        format!("{head}1\r\nb\r\n{:x}\r\n{}\r\n0\r\n\r\n", n - 1, "b".repeat(n - 1))
    };
    for (request, status) in
        [(exact(10), 200), (exact(11), 413), (chunked(10), 200), (chunked(11), 413)]
    {
        let mut client = site.connect().await;
        assert_eq!(client.ask(&request).await.status(), status, "{request:?}");
    }
    site.failed(FailureReason::BodyTooLarge, 2).await;
}

#[tokio::test]
async fn connections_are_limited_at_the_limit_and_not_below() {
    let origin = Origin::echo().await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.connection_limit = Some(2);
    })
    .await;
    let mut first = site.connect().await;
    first.get("/").await;
    let mut second = site.connect().await;
    second.get("/").await;
    let mut third = site.connect().await;
    assert_eq!(third.get("/").await.status(), 503);
    site.failed(FailureReason::ConnectionLimit, 1).await;
    drop(first);
    site.has_open(1).await;
    let mut fourth = site.connect().await;
    assert_eq!(fourth.get("/").await.status(), 200);
}
