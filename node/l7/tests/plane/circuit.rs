//! Pools that are asked no more at once than they may be.

use std::time::Duration;

use ballast_model::{AdaptiveConcurrency, CircuitBreaker, PoolSpec};
use ballast_telemetry::FailureReason;

use crate::harness::*;
use crate::queue::{arrive, get, held};

fn in_flight(site: &Site) -> u32 {
    let pools = site.plane.pools();
    let pools = pools.borrow();
    pools["origin"].gate_facts().unwrap().request_count
}

/// With one request in flight, the next fails for `reason`; once that is over, there is room again.
async fn assert_one_at_once(adjust: impl FnOnce(&mut PoolSpec), reason: FailureReason) {
    let (origin, leave, arrivals) = held().await;
    let site = Site::start_with(&[origin.address], |_, pool| adjust(pool)).await;
    let (mut first, mut second) = (site.connect().await, site.connect().await);
    first.send(&get("/first")).await;
    arrive(&arrivals, 1).await;
    let refused = second.ask(&get("/second")).await;
    assert_eq!((refused.status(), refused.field("retry-after")), (503, Some("1")));
    assert!(refused.text().contains(reason.code()), "{}", refused.text());
    site.failed(reason, 1).await;
    leave.add_permits(2);
    assert_eq!(first.message().await.unwrap().text(), "/first");
    // The worker counts it out a moment after the client has the response.
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    soon(async {
        while in_flight(&site) > 0 {
            looks.tick().await;
        }
    })
    .await;
    assert_eq!(second.ask(&get("/third")).await.text(), "/third");
    let failures = site.counters.pools()["origin"].totals().failures;
    assert_eq!(failures.iter().sum::<u64>(), 1);
}

#[tokio::test]
async fn the_circuit_breaker_lets_as_many_through_as_may_be() {
    let breaker = CircuitBreaker { request_max_count: Some(1), retry_max_count: None };
    assert_one_at_once(|pool| pool.circuit_breaker = Some(breaker), FailureReason::CircuitOpen)
        .await;
}

/// A member that begins answers and never ends them: a tunnel for who asks for one, else chunks.
async fn endless() -> Origin {
    Origin::start(|_, mut io| async move {
        let Some(request) = io.message().await else { return };
        let begin = match request.field("upgrade") {
            Some(_) => {
                "101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
            }
            None => "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
        };
        io.send(format!("HTTP/1.1 {begin}")).await;
        io.rest().await;
    })
    .await
}

const WEBSOCKET: &str = "GET /socket HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Asks twice for an answer that goes on for ever; that each has begun.
async fn assert_two_begin(site: &Site, request: &str, status: &str) {
    let mut clients = [site.connect().await, site.connect().await];
    for client in &mut clients {
        client.send(request).await;
        let head = client.head().await.unwrap();
        assert!(head.starts_with(status), "{head}");
    }
    assert_eq!(in_flight(site), 2, "they are in flight as before");
}

#[tokio::test]
async fn answers_that_have_begun_leave_room_in_the_adaptive_limit() {
    for (request, status) in [(WEBSOCKET, "HTTP/1.1 101"), (&get("/"), "HTTP/1.1 200")] {
        let origin = endless().await;
        let site = Site::start_with(&[origin.address], |_, pool| {
            let adaptive = AdaptiveConcurrency { min_limit: 1, ..AdaptiveConcurrency::default() };
            pool.adaptive_concurrency = Some(adaptive);
        })
        .await;
        assert_two_begin(&site, request, status).await;
    }
}

#[tokio::test]
async fn answers_that_have_begun_leave_room_for_retries() {
    for (request, status) in [(WEBSOCKET, "HTTP/1.1 101"), (&get("/"), "HTTP/1.1 200")] {
        let origin = endless().await;
        let site = Site::start_with(&[vacant(), origin.address], |_, pool| {
            let breaker = CircuitBreaker { request_max_count: None, retry_max_count: Some(1) };
            pool.circuit_breaker = Some(breaker);
            // The first one is tried first, always.
            pool.priority_min_members = Some(1);
            pool.members[0].priority = 1;
        })
        .await;
        assert_two_begin(&site, request, status).await;
        let pools = site.plane.pools();
        let pools = pools.borrow();
        let facts = pools["origin"].gate_facts().unwrap();
        assert_eq!((facts.retry_count, facts.refused_retries), (0, 0));
    }
}

#[tokio::test]
async fn the_adaptive_limit_lets_as_many_through_as_it_has_found() {
    let adaptive = AdaptiveConcurrency { min_limit: 1, ..AdaptiveConcurrency::default() };
    assert_one_at_once(
        |pool| pool.adaptive_concurrency = Some(adaptive),
        FailureReason::ConcurrencyLimit,
    )
    .await;
}
