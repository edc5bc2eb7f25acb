//! HTTP/2 to members: connections shared, streams refused, windows kept to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ballast_model::status::Health;
use ballast_model::{MemberProtocol, OutlierEjection, PoolHttp2, PoolTls, RetryPolicy};
use ballast_telemetry::FailureReason as R;
use bytes::Bytes;
use h2::Reason;
use h2::server::Builder;
use http::{HeaderMap, HeaderValue, Response};
use rustls::ALL_VERSIONS;
use tokio::sync::Semaphore;

use crate::harness::*;
use crate::http2_origin::{self, answer, read_all};
use crate::pki::*;

/// A site whose one member is that origin, spoken to by HTTP/2 with those settings.
async fn site(origin: &Origin, settings: PoolHttp2) -> Site {
    Site::start_with(&[origin.address], |_, pool| {
        pool.protocol = MemberProtocol::Http2;
        pool.http2 = settings;
    })
    .await
}

fn one_connection() -> PoolHttp2 {
    PoolHttp2 { connection_max_count: 1, ..PoolHttp2::default() }
}

#[tokio::test]
async fn requests_share_a_connection() {
    let origin = http2_origin::echo(None).await;
    let site = site(&origin, PoolHttp2::default()).await;
    let mut client = site.connect().await;
    for target in ["/a", "/b", "/c"] {
        let response = client.get(target).await;
        assert_eq!((response.status(), response.text()), (200, target.to_owned()));
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn http2_is_asked_for_by_alpn_and_its_absence_told() {
    let ca = Ca::new("members");
    let leaf = ca.issue(&["127.0.0.1"]);
    let tls = PoolTls { ca_pem: Some(ca.pem.clone()), ..PoolTls::default() };
    let origin = http2_origin::echo(Some(leaf.server(ALL_VERSIONS, None))).await;
    let secured = async |address| {
        Site::start_with(&[address], |_, pool| {
            pool.protocol = MemberProtocol::Http2;
            pool.tls = Some(tls.clone());
        })
        .await
    };
    let site = secured(origin.address).await;
    assert_eq!(site.connect().await.get("/a").await.text(), "/a");
    let old = TlsOrigin::echo(leaf.server(ALL_VERSIONS, None)).await;
    let site = secured(old.origin.address).await;
    assert_eq!(site.connect().await.get("/a").await.status(), 502);
    site.failed(R::UpstreamProtocol, 1).await;
}

#[tokio::test]
async fn another_connection_is_opened_when_streams_run_out_and_no_more_than_allowed() {
    let gate = Arc::new(Semaphore::new(0));
    let waiting = Arc::new(AtomicUsize::new(0));
    let (held, seen) = (Arc::clone(&gate), Arc::clone(&waiting));
    let origin = http2_origin::start(None, Builder::new(), move |_, (_, respond)| {
        let (gate, waiting) = (Arc::clone(&held), Arc::clone(&seen));
        async move {
            waiting.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
            answer(respond, Response::new(()), b"", None).await;
        }
    })
    .await;
    let settings =
        PoolHttp2 { connection_max_count: 2, stream_max_count: 2, ..PoolHttp2::default() };
    let mut site = site(&origin, settings).await;
    site.pool.connect_timeout_ms = 20_000;
    site.apply().await;
    // All by one worker: each has connections of its own.
    let mut client = crate::http2_client::Client::connect(&site).await;
    let mut responses = Vec::new();
    for _ in 0..6 {
        responses.push(client.begin(crate::http2_client::get("/"), true).await.0);
    }
    until(|| waiting.load(Ordering::SeqCst) == 4).await;
    assert_eq!(origin.connections(), 2);
    gate.add_permits(6);
    for response in responses {
        assert_eq!(soon(response).await.unwrap().status(), 200);
    }
    assert_eq!((origin.connections(), waiting.load(Ordering::SeqCst)), (2, 6));
}

#[tokio::test]
async fn a_refused_stream_is_repeated_whatever_the_method() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let origin = http2_origin::start(None, Builder::new(), move |_, (request, mut respond)| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move {
            // The first is answered, so that the connection is one that is kept.
            if number == 1 {
                return respond.send_reset(Reason::REFUSED_STREAM);
            }
            let (body, _) = read_all(request.into_body()).await;
            answer(respond, Response::new(()), &body, None).await;
        }
    })
    .await;
    let site = site(&origin, PoolHttp2::default()).await;
    let mut client = site.connect().await;
    for _ in 0..2 {
        let response =
            client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
        assert_eq!((response.status(), response.text()), (200, "hi".to_owned()));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    assert_eq!(site.totals().failures_total(), 0);
}

/// Members that refuse every stream, as one that drains does.
async fn draining() -> Origin {
    http2_origin::start(None, Builder::new(), |_, (_, mut respond)| async move {
        respond.send_reset(Reason::REFUSED_STREAM);
    })
    .await
}

#[tokio::test]
async fn members_that_refuse_new_streams_are_passed_over_and_not_blamed() {
    let (one, other, good) = (draining().await, draining().await, http2_origin::echo(None).await);
    let site = Site::start_with(&[one.address, other.address, good.address], |_, pool| {
        pool.protocol = MemberProtocol::Http2;
        // The good one comes last.
        pool.priority_min_members = Some(1);
        pool.members[0].priority = 2;
        pool.members[1].priority = 2;
        pool.outlier_ejection =
            Some(OutlierEjection { consecutive_failures: 1, ..OutlierEjection::default() });
    })
    .await;
    let mut client = site.connect().await;
    for _ in 0..4 {
        let posted = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
        assert_eq!((posted.status(), posted.text()), (200, "hi".to_owned()));
    }
    let pools = site.plane.pools();
    let pools = pools.borrow();
    let statuses: Vec<_> = pools["origin"].statuses(0).collect();
    assert!(statuses.iter().all(|status| status.failures_total == 0), "{statuses:?}");
    assert!(statuses.iter().all(|status| status.health == Health::Unmonitored), "{statuses:?}");
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn a_request_that_everybody_refuses_is_asked_three_times_at_most() {
    let mut origins = Vec::new();
    for _ in 0..5 {
        origins.push(draining().await);
    }
    let addresses: Vec<_> = origins.iter().map(|origin| origin.address).collect();
    for retry in [None, Some(RetryPolicy { max_attempts: 10, ..RetryPolicy::default() })] {
        let site = Site::start_with(&addresses, |_, pool| {
            pool.protocol = MemberProtocol::Http2;
            pool.retry = retry;
        })
        .await;
        assert_eq!(site.connect().await.get("/").await.status(), 502);
        site.failed(R::UpstreamClosedEarly, 1).await;
        let pools = site.plane.pools();
        let pools = pools.borrow();
        let asked: u64 = pools["origin"].statuses(0).map(|status| status.requests_total).sum();
        assert_eq!(asked, 3);
    }
}

#[tokio::test]
async fn a_stream_reset_for_another_reason_is_a_failure_and_not_repeated() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let origin = http2_origin::start(None, Builder::new(), move |_, (_, mut respond)| {
        count.fetch_add(1, Ordering::SeqCst);
        async move { respond.send_reset(Reason::INTERNAL_ERROR) }
    })
    .await;
    let site = site(&origin, PoolHttp2::default()).await;
    assert_eq!(site.connect().await.get("/").await.status(), 502);
    site.failed(R::UpstreamClosedEarly, 1).await;
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_reset_within_a_response_aborts_it() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let origin = http2_origin::start(None, Builder::new(), move |_, (_, mut respond)| {
        let gate = Arc::clone(&held);
        async move {
            let mut send = respond.send_response(Response::new(()), false).unwrap();
            send.send_data(Bytes::from_static(b"half"), false).unwrap();
            gate.acquire().await.unwrap().forget();
            send.send_reset(Reason::INTERNAL_ERROR);
        }
    })
    .await;
    let site = site(&origin, PoolHttp2::default()).await;
    let mut client = site.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.head().await.unwrap();
    assert_eq!(client.exactly(9).await, b"4\r\nhalf\r\n");
    gate.add_permits(1);
    assert!(client.rest().await.is_empty(), "no end of the body is made up");
    site.failed(R::UpstreamClosedEarly, 1).await;
}

#[tokio::test]
async fn after_goaway_requests_under_way_end_well_and_new_ones_go_elsewhere() {
    let gate = Arc::new(Semaphore::new(0));
    let asked = Arc::new(AtomicUsize::new(0));
    let (held, count) = (Arc::clone(&gate), Arc::clone(&asked));
    let origin = Origin::start(move |number, io: Io| {
        let (gate, count) = (Arc::clone(&held), Arc::clone(&count));
        async move {
            let mut connection = h2::server::handshake(io.stream).await.unwrap();
            while let Some(Ok((request, respond))) = connection.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let gate = Arc::clone(&gate);
                let is_slow = request.uri().path() == "/slow";
                tokio::spawn(async move {
                    if is_slow {
                        gate.acquire().await.unwrap().forget();
                    }
                    let body = number.to_string();
                    answer(respond, Response::new(()), body.as_bytes(), None).await;
                });
                if is_slow {
                    connection.graceful_shutdown();
                }
            }
        }
    })
    .await;
    let site = site(&origin, one_connection()).await;
    // Both by one worker.
    let mut client = crate::http2_client::Client::connect(&site).await;
    let slow = client.begin(crate::http2_client::get("/slow"), true).await.0;
    until(|| asked.load(Ordering::SeqCst) == 1).await;
    let mut others = 0;
    while origin.connections() == 1 {
        let answer = client.get("/").await;
        assert_eq!(answer.status, 200);
        others += 1;
        assert!(others < 1_000, "the connection is used on");
    }
    gate.add_permits(1);
    let slow = crate::http2_client::read(slow).await.unwrap();
    assert_eq!((slow.status, slow.text()), (200, "0".to_owned()));
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn a_member_that_answers_no_ping_is_given_up() {
    // It greets, takes everything and says nothing more.
    let origin = Origin::start(|number, mut io: Io| async move {
        if number > 0 {
            return;
        }
        io.send([0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
        io.rest().await;
    })
    .await;
    let settings = PoolHttp2 { ping_interval_ms: Some(100), ..PoolHttp2::default() };
    let site = site(&origin, settings).await;
    let response =
        site.connect().await.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(response.status(), 502);
    site.failed(R::UpstreamClosedEarly, 1).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_time() {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ended);
    let origin = Origin::start(move |_, io: Io| {
        let ended = Arc::clone(&count);
        async move {
            let mut connection = h2::server::handshake(io.stream).await.unwrap();
            while let Some(Ok((_, respond))) = connection.accept().await {
                tokio::spawn(async { answer(respond, Response::new(()), b"", None).await });
            }
            ended.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let mut site = site(&origin, PoolHttp2::default()).await;
    site.pool.idle_connection_timeout_ms = 100;
    site.apply().await;
    let mut client = site.connect().await;
    assert_eq!(client.get("/").await.status(), 200);
    until(|| ended.load(Ordering::SeqCst) == 1).await;
    assert_eq!(client.get("/").await.status(), 200);
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn a_member_that_takes_nothing_holds_the_client_up() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let origin = http2_origin::start(None, Builder::new(), move |_, (request, respond)| {
        let gate = Arc::clone(&held);
        async move {
            gate.acquire().await.unwrap().forget();
            let (body, _) = read_all(request.into_body()).await;
            answer(respond, Response::new(()), body.len().to_string().as_bytes(), None).await;
        }
    })
    .await;
    let site = site(&origin, PoolHttp2::default()).await;
    let mut client = site.connect().await;
    let total = 64 * 1024 * 1024;
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {total}\r\n\r\n")).await;
    let piece = vec![b'x'; 64 * 1024];
    let mut sent = 0;
    // Until the way to the member is full: that it takes no more is seen by its standing still.
    while let Ok(wrote) = tokio::time::timeout(
        Duration::from_millis(500),
        tokio::io::AsyncWriteExt::write_all(&mut client.stream, &piece),
    )
    .await
    {
        wrote.unwrap();
        sent += piece.len();
        assert!(sent < total / 2, "everything was taken in");
    }
    assert_eq!(site.totals().requests_total(), 0);
}

#[tokio::test]
async fn trailers_and_answers_pass_while_the_request_goes_on() {
    let origin =
        http2_origin::start(None, Builder::new(), |_, (request, mut respond)| async move {
            assert_eq!(request.headers()["te"], "trailers");
            let mut body = request.into_body();
            let mut send = respond.send_response(Response::new(()), false).unwrap();
            while let Some(Ok(data)) = body.data().await {
                body.flow_control().release_capacity(data.len()).unwrap();
                send.send_data(data, false).unwrap();
            }
            let asked = body.trailers().await.unwrap().unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            trailers.insert("asked", asked["x-sum"].clone());
            send.send_trailers(trailers).unwrap();
        })
        .await;
    let site = site(&origin, PoolHttp2::default()).await;
    let mut client = site.connect().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nConnection: te\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    let head = client.head().await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "the answer begins before the request ends");
    client.send("3\r\none\r\n").await;
    assert_eq!(client.exactly(8).await, b"3\r\none\r\n");
    client.send("3\r\ntwo\r\n").await;
    assert_eq!(client.exactly(8).await, b"3\r\ntwo\r\n");
    client.send("0\r\nX-Sum: 6\r\n\r\n").await;
    let (body, trailer) = client.chunked().await;
    assert!(body.is_empty());
    assert_eq!(trailer, ["grpc-status: 0", "asked: 6"]);
}

#[tokio::test]
async fn a_request_that_http2_cannot_say_is_the_clients_fault() {
    let origin = http2_origin::echo(None).await;
    let site = site(&origin, PoolHttp2::default()).await;
    let mut client = site.connect().await;
    assert_eq!(client.get("/<a>").await.status(), 400);
    site.failed(R::BadRequest, 1).await;
}

#[tokio::test]
async fn a_websocket_goes_by_http1() {
    let origin = Origin::start(|_, mut io: Io| async move {
        let head = io.head().await.unwrap();
        assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
        io.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhi")
            .await;
    })
    .await;
    let site = site(&origin, PoolHttp2::default()).await;
    let mut client = site.connect().await;
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    assert!(client.head().await.unwrap().starts_with("HTTP/1.1 101 "));
    assert_eq!(client.rest().await, b"hi");
}

#[tokio::test]
async fn another_protocol_is_spoken_at_once() {
    let origin = http2_origin::echo(None).await;
    let old = Origin::echo().await;
    let mut site = site(&origin, PoolHttp2::default()).await;
    let mut client = site.connect().await;
    assert_eq!(client.get("/a").await.text(), "/a");
    site.pool.members[0].port = old.address.port();
    site.pool.protocol = MemberProtocol::Http1;
    site.apply().await;
    assert!(client.get("/a").await.text().starts_with("GET /a HTTP/1.1\r\n"));
}
