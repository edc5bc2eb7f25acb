//! Clients that leave, or seem to, while a member works on their request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ballast_model::{ClientHalfClose, PoolTls};
use ballast_telemetry::FailureReason;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

use crate::harness::*;

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A member that answers each request once it is given leave; tells how many have arrived.
async fn held() -> (Origin, Arc<Semaphore>, Arc<Semaphore>) {
    let leave = Arc::new(Semaphore::new(0));
    let arrivals = Arc::new(Semaphore::new(0));
    let (given, arrived) = (Arc::clone(&leave), Arc::clone(&arrivals));
    let origin = Origin::start(move |_, mut io| {
        let (given, arrived) = (Arc::clone(&given), Arc::clone(&arrived));
        async move {
            while io.message().await.is_some() {
                arrived.add_permits(1);
                given.acquire().await.expect("never closed").forget();
                if io.try_send(ok("here")).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (origin, leave, arrivals)
}

fn in_flight(site: &Site) -> u64 {
    let pools = site.plane.pools();
    let pools = pools.borrow();
    pools["origin"].members().iter().map(|member| member.state.in_flight()).sum()
}

#[tokio::test]
async fn a_client_that_resets_frees_its_place_long_before_the_member_answers() {
    let (origin, _leave, arrivals) = held().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    client.send(REQUEST).await;
    soon(arrivals.acquire()).await.expect("never closed").forget();
    assert_eq!(in_flight(&site), 1);
    client.stream.set_zero_linger().unwrap();
    drop(client);
    until(|| in_flight(&site) == 0).await;
    site.failed(FailureReason::ClientClosed, 1).await;
}

#[tokio::test]
async fn a_client_that_only_sends_no_more_gets_its_answer() {
    let (origin, leave, arrivals) = held().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    client.send(REQUEST).await;
    client.stream.shutdown().await.unwrap();
    soon(arrivals.acquire()).await.expect("never closed").forget();
    // For longer than it takes to look after it.
    let begin = Instant::now();
    until(|| begin.elapsed() >= Duration::from_millis(1_500)).await;
    assert_eq!(in_flight(&site), 1);
    leave.add_permits(1);
    assert_eq!(client.message().await.expect("its answer").text(), "here");
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn looking_after_the_client_makes_no_wait_shorter_or_longer() {
    let (origin, _leave, _arrivals) = held().await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.response_timeout_ms = 2_300;
    })
    .await;
    let begin = Instant::now();
    assert_eq!(site.connect().await.get("/").await.status(), 504);
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(2_250), "{took:?}");
    assert!(took < Duration::from_millis(3_300), "{took:?}");
    site.failed(FailureReason::ResponseTimeout, 1).await;
}

fn waiting(site: &Site) -> usize {
    let pools = site.plane.pools();
    let pools = pools.borrow();
    pools["origin"].queue().waiting_count()
}

/// A site with a member that takes one request at a time.
async fn one_at_a_time(origin: &Origin, half_close: ClientHalfClose) -> Site {
    Site::start_with(&[origin.address], |server, pool| {
        server.http.client_half_close = half_close;
        pool.members[0].connection_limit = Some(1);
    })
    .await
}

#[tokio::test]
async fn who_half_closes_gives_up_what_the_setting_says() {
    use ClientHalfClose::*;
    for (setting, in_line, at_member) in
        [(Continue, false, false), (AbortQueued, true, false), (Abort, true, true)]
    {
        let (origin, leave, arrivals) = held().await;
        let site = one_at_a_time(&origin, setting).await;
        let (mut first, mut second) = (site.connect().await, site.connect().await);
        first.send(REQUEST).await;
        soon(arrivals.acquire()).await.expect("never closed").forget();
        second.send(REQUEST).await;
        until(|| waiting(&site) == 1).await;
        second.stream.shutdown().await.unwrap();
        if in_line {
            until(|| waiting(&site) == 0).await;
            site.failed(FailureReason::ClientAbort, 1).await;
        }
        first.stream.shutdown().await.unwrap();
        if at_member {
            until(|| in_flight(&site) == 0).await;
            site.failed(FailureReason::ClientAbort, 2).await;
            continue;
        }
        // For longer than it takes to look after both.
        let begin = Instant::now();
        until(|| begin.elapsed() >= Duration::from_millis(1_500)).await;
        assert_eq!((in_flight(&site), waiting(&site)), (1, usize::from(!in_line)), "{setting:?}");
        leave.add_permits(2);
        assert_eq!(first.message().await.expect("its answer").text(), "here");
        if !in_line {
            assert_eq!(second.message().await.expect("its answer").text(), "here");
        }
        assert_eq!(site.totals().failures_total(), u64::from(in_line), "{setting:?}");
    }
}

#[tokio::test]
async fn a_client_that_resets_leaves_the_line_whatever_the_setting_says() {
    let (origin, leave, arrivals) = held().await;
    let site = one_at_a_time(&origin, ClientHalfClose::Continue).await;
    let (mut first, mut second) = (site.connect().await, site.connect().await);
    first.send(REQUEST).await;
    soon(arrivals.acquire()).await.expect("never closed").forget();
    second.send(REQUEST).await;
    until(|| waiting(&site) == 1).await;
    second.stream.set_zero_linger().unwrap();
    drop(second);
    until(|| waiting(&site) == 0).await;
    site.failed(FailureReason::ClientClosed, 1).await;
    leave.add_permits(1);
    assert_eq!(first.message().await.expect("its answer").text(), "here");
}

#[tokio::test]
async fn a_member_hears_that_the_client_has_given_up() {
    let origin = Origin::start(|_, mut io| async move {
        io.message().await;
        // The response begins and goes on for ever.
        io.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n").await;
        assert!(io.rest().await.is_empty());
    })
    .await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.client_half_close = ClientHalfClose::Abort;
    })
    .await;
    let mut client = site.connect().await;
    client.send(REQUEST).await;
    client.head().await.expect("a head");
    client.stream.shutdown().await.unwrap();
    until(|| in_flight(&site) == 0).await;
    site.failed(FailureReason::ClientAbort, 1).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_a_head_is_counted_and_others_are_not() {
    let origin = Origin::echo().await;
    let site = Site::start(&[origin.address]).await;
    // Some checks of health say nothing, and some clients send an empty line behind a body.
    for silent in ["", "\r\n"] {
        site.connect().await.send(silent).await;
    }
    let mut served = site.connect().await;
    assert_eq!(served.get("/").await.status(), 200);
    drop(served);
    until(|| site.totals().connections_total == 3 && site.totals().connections == 0).await;
    assert_eq!(site.totals().failures_total(), 0);
    for cut_off in ["G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r"] {
        site.connect().await.send(cut_off).await;
    }
    site.failed(FailureReason::ClientClosed, 3).await;
    assert_eq!(site.totals().requests_total(), 4);
    assert_eq!(site.totals().unanswered_total, 3);
}

#[tokio::test]
async fn a_client_whose_leaving_ends_its_request_is_seen_to_leave_at_once() {
    let (origin, _leave, arrivals) = held().await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.client_half_close = ClientHalfClose::Abort;
    })
    .await;
    for n in 1..=3 {
        let mut client = site.connect().await;
        client.send(REQUEST).await;
        soon(arrivals.acquire()).await.expect("never closed").forget();
        let begin = Instant::now();
        client.stream.shutdown().await.unwrap();
        until(|| in_flight(&site) == 0).await;
        let took = begin.elapsed();
        assert!(took < Duration::from_millis(600), "{took:?}");
        site.failed(FailureReason::ClientAbort, n).await;
    }
}

#[tokio::test]
async fn a_client_that_resets_while_it_has_waited_long_is_seen_to_at_once() {
    let (origin, _leave, arrivals) = held().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    client.send(REQUEST).await;
    soon(arrivals.acquire()).await.expect("never closed").forget();
    let begin = Instant::now();
    until(|| begin.elapsed() >= Duration::from_millis(1_200)).await;
    let begin = Instant::now();
    client.stream.set_zero_linger().unwrap();
    drop(client);
    until(|| in_flight(&site) == 0).await;
    let took = begin.elapsed();
    assert!(took < Duration::from_millis(400), "{took:?}");
    site.failed(FailureReason::ClientClosed, 1).await;
}

#[tokio::test]
async fn a_client_that_asks_ahead_and_then_leaves_is_seen_to_leave() {
    let (origin, leave, arrivals) = held().await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.client_half_close = ClientHalfClose::Abort;
    })
    .await;
    let mut client = site.connect().await;
    client.send(REQUEST).await;
    soon(arrivals.acquire()).await.expect("never closed").forget();
    client.send(REQUEST).await;
    leave.add_permits(1);
    assert_eq!(client.message().await.expect("its answer").text(), "here");
    soon(arrivals.acquire()).await.expect("never closed").forget();
    client.send(REQUEST).await;
    client.stream.shutdown().await.unwrap();
    until(|| in_flight(&site) == 0).await;
    site.failed(FailureReason::ClientAbort, 1).await;
}

#[tokio::test]
async fn a_client_in_line_is_seen_to_leave_at_once() {
    let (origin, _leave, arrivals) = held().await;
    let site = one_at_a_time(&origin, ClientHalfClose::AbortQueued).await;
    let mut first = site.connect().await;
    first.send(REQUEST).await;
    soon(arrivals.acquire()).await.expect("never closed").forget();
    let mut took = Duration::ZERO;
    for n in 1..=5 {
        let mut second = site.connect().await;
        second.send(REQUEST).await;
        until(|| waiting(&site) == 1).await;
        let begin = Instant::now();
        second.stream.shutdown().await.unwrap();
        until(|| waiting(&site) == 0).await;
        took += begin.elapsed();
        site.failed(FailureReason::ClientAbort, n).await;
    }
    assert!(took < Duration::from_millis(600), "{took:?} for five");
}

#[tokio::test]
async fn a_client_that_leaves_while_a_member_is_connected_to_is_seen_to_leave_at_once() {
    // It takes connections, and says nothing in TLS.
    let mute = Origin::start(|_, mut io| async move {
        io.rest().await;
    })
    .await;
    let site = Site::start_with(&[mute.address], |server, pool| {
        server.http.client_half_close = ClientHalfClose::Abort;
        pool.tls = Some(PoolTls { verify: false, ..PoolTls::default() });
        pool.connect_timeout_ms = 15_000;
    })
    .await;
    let mut client = site.connect().await;
    client.send(REQUEST).await;
    until(|| mute.connections() == 1).await;
    let begin = Instant::now();
    client.stream.shutdown().await.unwrap();
    until(|| in_flight(&site) == 0).await;
    site.failed(FailureReason::ClientAbort, 1).await;
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
}
