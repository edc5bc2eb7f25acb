//! Members and clients that fail, stall, or talk nonsense.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ballast_model::{MemberSpec, RetryCause, RetryPolicy};
use ballast_telemetry::FailureReason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::*;

/// Answers the first request of every connection, then takes one more and hangs up.
async fn forgetful() -> (Origin, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    let origin = Origin::start(move |number, mut io| {
        let count = Arc::clone(&count);
        async move {
            while let Some(request) = io.message().await {
                let is_first = number > 0 || count.load(Ordering::SeqCst) == 0;
                count.fetch_add(1, Ordering::SeqCst);
                if !is_first {
                    return;
                }
                io.send(ok(&request.text())).await;
            }
        }
    })
    .await;
    (origin, requests)
}

#[tokio::test]
async fn a_request_that_a_kept_connection_loses_is_sent_again_once() {
    let (origin, requests) = forgetful().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    assert_eq!(client.get("/").await.status(), 200);
    let again = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    let response = client.ask(again).await;
    assert_eq!((response.status(), response.text().as_str()), (200, "body"));
    assert_eq!(requests.load(Ordering::SeqCst), 3);
    assert_eq!(origin.connections(), 2);
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn a_request_that_may_have_been_acted_on_is_not_sent_again() {
    let (origin, requests) = forgetful().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    assert_eq!(client.get("/").await.status(), 200);
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    let response = client.ask(post).await;
    assert_eq!(response.status(), 502);
    assert_eq!(requests.load(Ordering::SeqCst), 2);
    assert_eq!(origin.connections(), 1);
    site.failed(FailureReason::UpstreamClosedEarly, 1).await;
}

#[tokio::test]
async fn what_may_be_sent_twice_for_one_cause_is_not_for_another() {
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    for (cause, status, count) in
        [(RetryCause::Status, 502, 2), (RetryCause::ResetBeforeResponse, 200, 3)]
    {
        let (origin, requests) = forgetful().await;
        let causes = vec![cause];
        let policy = RetryPolicy { causes, non_idempotent: true, ..RetryPolicy::default() };
        let site = Site::start_with(&[origin.address], |_, pool| pool.retry = Some(policy)).await;
        let mut client = site.connect().await;
        assert_eq!(client.get("/").await.status(), 200);
        assert_eq!(client.ask(post).await.status(), status, "{cause:?}");
        assert_eq!(requests.load(Ordering::SeqCst), count, "{cause:?}");
    }
}

#[tokio::test]
async fn a_request_too_large_to_be_kept_is_not_sent_again() {
    let (origin, _) = forgetful().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    assert_eq!(client.get("/").await.status(), 200);
    // Fits the buffer that it is read into, but not beside the head that the member gets.
    let body = "x".repeat(20_400);
    let put = format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 20400\r\n\r\n{body}");
    assert_eq!(client.ask(&put).await.status(), 502);
    site.failed(FailureReason::UpstreamClosedEarly, 1).await;
}

#[tokio::test]
async fn the_body_of_a_failed_request_is_not_taken_for_the_next() {
    let site = Site::start(&[vacant()]).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for length in [50, 20_000, 20_400, 100_000] {
        let mut client = site.connect().await;
        let body = format!("{smuggled}{}", "x".repeat(length - smuggled.len()));
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        // The answer may come, and the connection end, before everything is sent.
        let _ = client.try_send(format!("{head}{body}")).await;
        let response = client.message().await.unwrap();
        assert_eq!(response.status(), 502);
        if response.field("connection").is_none() {
            assert_eq!(client.get("/next").await.status(), 502);
        }
        client.stream.shutdown().await.unwrap();
        assert!(client.rest().await.is_empty(), "{length} bytes: a second answer");
    }
}

#[tokio::test]
async fn a_fresh_connection_that_dies_is_not_tried_again() {
    let origin = Origin::start(|_, mut io| async move {
        io.head().await;
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    assert_eq!(client.get("/").await.status(), 502);
    assert_eq!(origin.connections(), 1);
    site.failed(FailureReason::UpstreamClosedEarly, 1).await;
}

/// Takes every connection and a request, then hangs up without a word.
async fn dying() -> Origin {
    Origin::start(|_, mut io| async move {
        io.message().await;
    })
    .await
}

#[tokio::test]
async fn another_member_takes_over_from_one_that_dies_with_the_request() {
    let (dying, origin) = (dying().await, Origin::echo().await);
    let site = Site::start(&[dying.address, origin.address]).await;
    let mut client = site.connect().await;
    for _ in 0..6 {
        assert_eq!(client.get("/").await.status(), 200);
    }
    assert!(dying.connections() > 0);
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn what_may_have_been_acted_on_does_not_go_to_another_member() {
    let (first, second) = (dying().await, dying().await);
    let site = Site::start(&[first.address, second.address]).await;
    let mut client = site.connect().await;
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    assert_eq!(client.ask(post).await.status(), 502);
    assert_eq!(first.connections() + second.connections(), 1);
}

#[tokio::test]
async fn a_request_that_kills_members_is_given_to_two_at_most() {
    let members = [dying().await, dying().await, dying().await];
    let site = Site::start(&members.each_ref().map(|member| member.address)).await;
    let mut client = site.connect().await;
    assert_eq!(client.get("/").await.status(), 502);
    assert_eq!(members.iter().map(Origin::connections).sum::<usize>(), 2);
}

#[tokio::test]
async fn a_connection_that_the_member_closed_meanwhile_is_not_used() {
    let (closed, mut closed_count) = tokio::sync::watch::channel(0);
    let closed = Arc::new(closed);
    let origin = Origin::start(move |_, mut io| {
        let closed = Arc::clone(&closed);
        async move {
            io.message().await;
            io.send(ok("bye")).await;
            drop(io);
            closed.send_modify(|count| *count += 1);
        }
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";
    for number in 1..=3 {
        assert_eq!(client.ask(post).await.status(), 200);
        // The worker's reactor sees the end of that connection before it sees the next request.
        closed_count.wait_for(|count| *count >= number).await.unwrap();
    }
    assert_eq!(origin.connections(), 3);
}

#[tokio::test]
async fn another_member_takes_over_from_one_that_refuses() {
    let origin = Origin::echo().await;
    let site = Site::start(&[vacant(), origin.address, vacant()]).await;
    let mut client = site.connect().await;
    for _ in 0..6 {
        assert_eq!(client.get("/").await.status(), 200);
    }
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn a_request_fails_where_every_member_refuses() {
    let site = Site::start(&[vacant(), vacant()]).await;
    let mut client = site.connect().await;
    let response = client.get("/").await;
    assert_eq!(response.status(), 502);
    assert_eq!(response.text(), "502 Bad Gateway: connect_refused\n");
    let date = response.field("date").expect("a date (RFC 9110 §6.6.1)");
    assert!(date.len() == 29 && date.ends_with(" GMT"), "{date}");
    // The client did nothing wrong and keeps its connection.
    assert_eq!(client.get("/").await.status(), 502);
    site.failed(FailureReason::ConnectRefused, 2).await;
}

#[tokio::test]
async fn a_member_that_no_way_leads_to_is_told_from_one_that_refuses() {
    // TCP has no way to a broadcast address.
    let site = Site::start(&["127.255.255.255:80".parse().unwrap()]).await;
    assert_eq!(site.connect().await.get("/").await.status(), 502);
    site.failed(FailureReason::ConnectFailed, 1).await;
}

#[tokio::test]
async fn a_pool_without_members_answers_503() {
    let site = Site::start(&[]).await;
    let mut client = site.connect().await;
    let response = client.get("/").await;
    assert_eq!(response.text(), "503 Service Unavailable: no_member\n");
    site.failed(FailureReason::NoMember, 1).await;
}

#[tokio::test]
async fn nonsense_from_a_member_is_not_passed_on() {
    const NONSENSE: &[&str] = &[
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        "hello\r\n\r\n",
    ];
    let origin = Origin::start(|number, mut io| async move {
        io.head().await;
        io.send(NONSENSE[number % NONSENSE.len()]).await;
        io.rest().await;
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    for nonsense in NONSENSE {
        assert_eq!(client.get("/").await.status(), 502, "{nonsense:?}");
    }
    site.failed(FailureReason::UpstreamProtocol, NONSENSE.len() as u64).await;
}

#[tokio::test]
async fn bytes_behind_a_response_are_not_taken_for_the_next() {
    let origin = Origin::start(|number, mut io| async move {
        while io.head().await.is_some() {
            io.send(format!("{}{}", ok(&number.to_string()), ok("poison"))).await;
        }
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    for n in 0..3 {
        assert_eq!(client.get("/").await.text(), n.to_string());
    }
}

#[tokio::test]
async fn a_silent_member_is_given_up() {
    let origin = Origin::start(|_, mut io| async move {
        io.rest().await;
    })
    .await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.response_timeout_ms = 100;
    })
    .await;
    let mut client = site.connect().await;
    assert_eq!(client.get("/").await.status(), 504);
    site.failed(FailureReason::ResponseTimeout, 1).await;
}

#[tokio::test]
async fn a_member_that_falls_silent_within_the_body_is_given_up() {
    let origin = Origin::start(|_, mut io| async move {
        io.head().await;
        io.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
        io.rest().await;
    })
    .await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.body_idle_timeout_ms = 100;
    })
    .await;
    let mut client = site.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(client.head().await.unwrap().contains("Content-Length: 10"));
    assert_eq!(client.rest().await, b"half");
    site.failed(FailureReason::ResponseBodyTimeout, 1).await;
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_header_or_body_is_told() {
    let origin = Origin::echo().await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.header_timeout_ms = 100;
        server.http.body_idle_timeout_ms = 100;
    })
    .await;
    for (request, reason) in [
        ("GET / HTTP/1.1\r\nHo", "header_timeout"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab", "body_timeout"),
    ] {
        let mut client = site.connect().await;
        let response = client.ask(request).await;
        assert_eq!(response.text(), format!("408 Request Timeout: {reason}\n"));
        assert!(client.rest().await.is_empty());
    }
}

#[tokio::test]
async fn an_idle_client_is_let_go_without_a_word() {
    let origin = Origin::echo().await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.keep_alive_timeout_ms = 100;
    })
    .await;
    let mut silent = site.connect().await;
    assert!(silent.rest().await.is_empty());
    let mut client = site.connect().await;
    assert_eq!(client.get("/").await.status(), 200);
    assert!(client.rest().await.is_empty());
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_within_its_body_fails_alone() {
    let origin = Origin::echo().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nab").await;
    drop(client);
    site.failed(FailureReason::ClientClosed, 1).await;
    assert_eq!(site.connect().await.get("/").await.status(), 200);
}

#[tokio::test]
async fn a_member_that_failed_is_remembered_when_the_pool_is_replaced_meanwhile() {
    let (die, wait) = tokio::sync::watch::channel(false);
    let failing = Origin::start(move |_, mut io| {
        let mut wait = wait.clone();
        async move {
            io.message().await;
            wait.wait_for(|go| *go).await.unwrap();
        }
    })
    .await;
    let origin = Origin::echo().await;
    let mut site = Site::start(&[failing.address]).await;
    let mut client = site.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    until(|| failing.connections() > 0).await;
    // The one that fails moves from the first place to the second.
    site.pool.members = [origin.address, failing.address].map(MemberSpec::new).into();
    site.apply().await;
    die.send(true).unwrap();
    assert_eq!(client.message().await.unwrap().status(), 200);
    assert_eq!(failing.connections(), 1);
}

#[tokio::test]
async fn a_request_is_not_sent_again_once_an_interim_response_came() {
    let hinting = || {
        Origin::start(|_, mut io| async move {
            io.message().await;
            io.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").await;
        })
    };
    let (first, second) = (hinting().await, hinting().await);
    let site = Site::start(&[first.address, second.address]).await;
    let mut client = site.connect().await;
    assert_eq!(client.get("/").await.status(), 103);
    assert_eq!(client.message().await.unwrap().status(), 502);
    assert_eq!(first.connections() + second.connections(), 1);
}

#[tokio::test]
async fn a_response_that_ends_early_does_not_look_complete() {
    let origin = Origin::start(|_, mut io| async move {
        io.message().await;
        io.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
        // Not before the client has it.
        io.message().await;
    })
    .await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.body_idle_timeout_ms = 100;
    })
    .await;
    let mut client = site.connect().await;
    // Its body ends with the connection.
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    client.head().await.unwrap();
    assert_eq!(client.exactly(4).await, b"half");
    let end = soon(client.stream.read(&mut [0])).await;
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}
