//! Members with a connection limit, and requests that wait for room.

use std::sync::Arc;
use std::time::Duration;

use ballast_model::{AnyDraft, Draft, Edit, Persistence, QueueSettings};
use ballast_telemetry::FailureReason;
use tokio::sync::Semaphore;

use crate::harness::*;

/// An origin that answers each request once it is given leave.
pub(crate) async fn held() -> (Origin, Arc<Semaphore>, Arc<Semaphore>) {
    let leave = Arc::new(Semaphore::new(0));
    let arrivals = Arc::new(Semaphore::new(0));
    let (given, arrived) = (Arc::clone(&leave), Arc::clone(&arrivals));
    let origin = Origin::start(move |_, mut io| {
        let (given, arrived) = (Arc::clone(&given), Arc::clone(&arrived));
        async move {
            while let Some(request) = io.message().await {
                arrived.add_permits(1);
                given.acquire().await.expect("never closed").forget();
                let target = request.head.split(' ').nth(1).unwrap_or_default().to_owned();
                if io.try_send(ok(&target)).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (origin, leave, arrivals)
}

async fn limited(origins: &[&Origin], limit: u32, queue: QueueSettings) -> Site {
    let members: Vec<_> = origins.iter().map(|origin| origin.address).collect();
    Site::start_with(&members, |_, pool| {
        pool.queue = Some(queue);
        pool.members.iter_mut().for_each(|member| member.connection_limit = Some(limit));
    })
    .await
}

pub(crate) async fn arrive(arrivals: &Semaphore, count: u32) {
    soon(arrivals.acquire_many(count)).await.expect("never closed").forget();
}

fn waiting(site: &Site) -> usize {
    let pools = site.plane.pools();
    let pools = pools.borrow();
    pools["origin"].queue().waiting_count()
}

fn in_flight(site: &Site) -> u64 {
    let pools = site.plane.pools();
    let pools = pools.borrow();
    pools["origin"].members().iter().map(|member| member.state.in_flight()).sum()
}

pub(crate) fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[tokio::test]
async fn requests_beyond_the_limit_wait_their_turn_and_all_are_served() {
    let (origin, leave, arrivals) = held().await;
    let site = limited(&[&origin], 2, QueueSettings::default()).await;
    let mut clients = Vec::new();
    for number in 0..6 {
        let mut client = site.connect().await;
        client.send(get(&format!("/{number}"))).await;
        clients.push(client);
        if number < 2 {
            arrive(&arrivals, 1).await;
        } else {
            until(|| waiting(&site) == number - 1).await;
        }
    }
    assert_eq!((in_flight(&site), arrivals.available_permits()), (2, 0));
    for number in 0..6 {
        leave.add_permits(1);
        if number < 4 {
            // First come, first served: one ends, the next one in line arrives.
            arrive(&arrivals, 1).await;
            until(|| waiting(&site) == 3 - number).await;
        }
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.message().await.unwrap().text(), format!("/{number}"));
    }
    until(|| in_flight(&site) == 0).await;
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn one_more_than_may_wait_is_refused() {
    let (origin, leave, arrivals) = held().await;
    let site = limited(&[&origin], 1, QueueSettings { max_count: 2, timeout_ms: 60_000 }).await;
    let mut clients = Vec::new();
    for number in 0..3 {
        let mut client = site.connect().await;
        client.send(get("/")).await;
        clients.push(client);
        if number == 0 {
            arrive(&arrivals, 1).await;
        } else {
            until(|| waiting(&site) == number).await;
        }
    }
    let refused = site.connect().await.get("/").await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.text(), "503 Service Unavailable: queue_full\n");
    leave.add_permits(3);
    for client in &mut clients {
        assert_eq!(client.message().await.unwrap().status(), 200);
    }
    site.failed(FailureReason::QueueFull, 1).await;
}

#[tokio::test]
async fn who_waits_for_too_long_is_refused() {
    let (origin, leave, arrivals) = held().await;
    let site = limited(&[&origin], 1, QueueSettings { max_count: 9, timeout_ms: 120 }).await;
    let mut first = site.connect().await;
    first.send(get("/")).await;
    arrive(&arrivals, 1).await;
    let begin = std::time::Instant::now();
    let mut second = site.connect().await;
    let refused = second.get("/").await;
    assert!(begin.elapsed() >= Duration::from_millis(120));
    assert_eq!(refused.text(), "503 Service Unavailable: queue_timeout\n");
    site.failed(FailureReason::QueueTimeout, 1).await;
    leave.add_permits(2);
    assert_eq!(first.message().await.unwrap().status(), 200);
    assert_eq!(second.get("/again").await.text(), "/again", "its connection goes on");
}

#[tokio::test]
async fn who_leaves_makes_room_in_the_queue() {
    let (origin, leave, arrivals) = held().await;
    let site = limited(&[&origin], 1, QueueSettings::default()).await;
    let mut first = site.connect().await;
    first.send(get("/first")).await;
    arrive(&arrivals, 1).await;
    let mut gone = site.connect().await;
    gone.send(get("/gone")).await;
    until(|| waiting(&site) == 1).await;
    let mut last = site.connect().await;
    last.send(get("/last")).await;
    until(|| waiting(&site) == 2).await;
    drop(gone);
    until(|| waiting(&site) == 1).await;
    leave.add_permits(2);
    assert_eq!(first.message().await.unwrap().text(), "/first");
    assert_eq!(last.message().await.unwrap().text(), "/last");
    site.failed(FailureReason::ClientAbort, 1).await;
}

#[tokio::test]
async fn persistent_client_waits_for_its_own_member() {
    let (origin, leave, arrivals) = held().await;
    let other = Origin::echo().await;
    let mut site = limited(&[&origin], 1, QueueSettings::default()).await;
    let name = "BALLAST".to_owned();
    site.server.persistence = Persistence::Cookie { name, ttl_s: 0 };
    site.apply().await;
    leave.add_permits(1);
    let first = site.connect().await.get("/").await;
    arrive(&arrivals, 1).await;
    let cookie = first.field("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    site.pool.members.push(ballast_model::MemberSpec::new(other.address));
    site.pool.members[1].weight = 0;
    site.apply().await;

    let with_cookie = format!("GET /own HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n");
    let mut busy = site.connect().await;
    busy.send(&with_cookie).await;
    arrive(&arrivals, 1).await;
    site.pool.members[1].weight = 1;
    site.apply().await;
    let mut own = site.connect().await;
    own.send(&with_cookie).await;
    until(|| waiting(&site) == 1).await;
    assert!(site.connect().await.get("/any").await.text().starts_with("GET /any"));
    leave.add_permits(2);
    assert_eq!(busy.message().await.unwrap().text(), "/own");
    assert_eq!(own.message().await.unwrap().text(), "/own");
}

#[tokio::test]
async fn room_at_a_member_that_is_added_is_found() {
    let (origin, _leave, arrivals) = held().await;
    let mut site = limited(&[&origin], 1, QueueSettings::default()).await;
    let mut first = site.connect().await;
    first.send(get("/")).await;
    arrive(&arrivals, 1).await;
    let mut second = site.connect().await;
    second.send(get("/second")).await;
    until(|| waiting(&site) == 1).await;
    let added = Origin::echo().await;
    site.pool.members.push(ballast_model::MemberSpec::new(added.address));
    site.apply().await;
    assert!(second.message().await.unwrap().text().starts_with("GET /second"));
}

/// A second virtual server in front of the same pool.
fn add_server(site: &mut Site, priority: i8) -> std::net::SocketAddr {
    let mut server = site.server.clone();
    let address = vacant();
    server.ports = vec![address.port()];
    server.queue_priority = priority;
    site.edit(&[Edit::put(AnyDraft::VirtualServer(Draft::new("other", server)), "other-uid")]);
    address
}

/// Sends each request by a connection of its own, and waits until it waits.
async fn line_up(site: &Site, requests: &[(std::net::SocketAddr, String)]) -> Vec<Io> {
    let mut clients = Vec::new();
    for (address, request) in requests {
        let before = waiting(site);
        let mut client = Io::connect(*address).await;
        client.send(request).await;
        until(|| waiting(site) == before + 1).await;
        clients.push(client);
    }
    clients
}

#[tokio::test]
async fn room_goes_to_the_higher_priority_of_server_and_rule() {
    let (origin, leave, arrivals) = held().await;
    let mut site = limited(&[&origin], 1, QueueSettings::default()).await;
    let rules = serde_json::json!({"rules": [
        {"name": "batch", "when": {"path": {"prefix": "/batch"}}, "queue_priority": -100},
        {"name": "pay", "when": {"path": {"prefix": "/pay"}}, "queue_priority": 100},
    ]});
    let policy = Draft::new("rules", serde_json::from_value(rules).unwrap());
    site.edit(&[Edit::put(AnyDraft::Policy(policy), "policy-uid")]);
    site.server.policies = vec!["rules".to_owned()];
    site.server.queue_priority = -5;
    site.apply().await;
    let other = add_server(&mut site, 5);
    site.wait_applied().await;

    let mut busy = site.connect().await;
    busy.send(get("/busy")).await;
    arrive(&arrivals, 1).await;
    let by_server = |target: &str| (site.address, get(target));
    let requests = [
        by_server("/batch/1"),
        by_server("/plain/1"),
        by_server("/plain/2"),
        (other, get("/other")),
        (other, get("/batch/2")),
        by_server("/pay"),
    ];
    let mut clients = line_up(&site, &requests).await;
    leave.add_permits(1);
    assert_eq!(busy.message().await.unwrap().text(), "/busy");
    // A later request of higher priority comes first; among equals the older.
    for turn in [5, 3, 1, 2, 0, 4] {
        arrive(&arrivals, 1).await;
        leave.add_permits(1);
        let answer = clients[turn].message().await.unwrap().text();
        assert_eq!(format!("GET {answer} "), requests[turn].1[..answer.len() + 5]);
    }
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn who_matters_more_displaces_the_youngest_of_the_least_where_the_queue_is_full() {
    let (origin, leave, arrivals) = held().await;
    let mut site = limited(&[&origin], 1, QueueSettings { max_count: 2, timeout_ms: 60_000 }).await;
    let other = add_server(&mut site, 1);
    site.wait_applied().await;
    let mut busy = site.connect().await;
    busy.send(get("/busy")).await;
    arrive(&arrivals, 1).await;
    let mut low =
        line_up(&site, &[(site.address, get("/old")), (site.address, get("/young"))]).await;
    assert_eq!(site.connect().await.get("/equal").await.status(), 503);
    let mut high = Io::connect(other).await;
    high.send(get("/high")).await;
    let displaced = low[1].message().await.unwrap();
    assert_eq!(displaced.text(), "503 Service Unavailable: queue_full\n");
    assert_eq!((waiting(&site), arrivals.available_permits()), (2, 0));
    leave.add_permits(3);
    assert_eq!(busy.message().await.unwrap().text(), "/busy");
    assert_eq!(high.message().await.unwrap().text(), "/high");
    assert_eq!(low[0].message().await.unwrap().text(), "/old");
    site.failed(FailureReason::QueueFull, 2).await;
    leave.add_permits(1);
    assert_eq!(low[1].get("/again").await.text(), "/again", "its connection goes on");
}
