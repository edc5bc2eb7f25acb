//! Algorithms that go by the request or by time.

use std::collections::BTreeMap;
use std::time::Duration;

use ballast_model::{Algorithm, ConsistentHash, HashKey};
use ballast_telemetry::FailureReason;

use crate::harness::*;

/// An origin that answers with its name after `delay`.
async fn named(name: &'static str, delay: Duration) -> Origin {
    Origin::start(move |_, mut io| async move {
        while io.message().await.is_some() {
            // Slow is what this origin is; nothing is waited for.
            let _slow = tokio::time::timeout(delay, std::future::pending::<()>()).await;
            if io.try_send(ok(name)).await.is_err() {
                return;
            }
        }
    })
    .await
}

async fn three() -> [Origin; 3] {
    let now = Duration::ZERO;
    [named("a", now).await, named("b", now).await, named("c", now).await]
}

async fn keyed(origins: &[Origin; 3], key: HashKey) -> Site {
    let members = origins.each_ref().map(|origin| origin.address);
    Site::start_with(&members, |_, pool| {
        pool.algorithm = Algorithm::ConsistentHash;
        pool.consistent_hash = Some(ConsistentHash { key, ..ConsistentHash::default() });
    })
    .await
}

/// Asks for each of 60 keys from three connections; all must get one member, and all members serve.
async fn each_key_has_a_home(site: &Site, request: impl Fn(u32) -> String) {
    let mut clients = [site.connect().await, site.connect().await, site.connect().await];
    let mut shares = BTreeMap::<String, u32>::new();
    for key in 0..60 {
        let request = request(key);
        let home = clients[0].ask(&request).await.text();
        for client in &mut clients[1..] {
            assert_eq!(client.ask(&request).await.text(), home, "{request}");
        }
        *shares.entry(home).or_default() += 1;
    }
    assert_eq!(shares.len(), 3, "{shares:?}");
}

#[tokio::test]
async fn requests_go_by_a_header() {
    let origins = three().await;
    let site = keyed(&origins, HashKey::Header { name: "X-User".to_owned() }).await;
    let request = |key| format!("GET /{{}} HTTP/1.1\r\nHost: a\r\nx-uSer: u{key}\r\n\r\n");
    each_key_has_a_home(&site, request).await;
}

#[tokio::test]
async fn requests_go_by_a_cookie() {
    let origins = three().await;
    let site = keyed(&origins, HashKey::Cookie { name: "sid".to_owned() }).await;
    let request =
        |key| format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1; sid=s{key}; b=2\r\n\r\n");
    each_key_has_a_home(&site, request).await;
}

#[tokio::test]
async fn requests_go_by_a_query_parameter() {
    let origins = three().await;
    let site = keyed(&origins, HashKey::Query { name: "user".to_owned() }).await;
    let request = |key| format!("GET /?x={key}&user=u{key} HTTP/1.1\r\nHost: a\r\n\r\n");
    each_key_has_a_home(&site, request).await;
}

#[tokio::test]
async fn requests_go_by_the_path() {
    let origins = three().await;
    let site = keyed(&origins, HashKey::Path).await;
    each_key_has_a_home(&site, |key| format!("GET /{key} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    let mut client = site.connect().await;
    let home = client.get("/1").await.text();
    for query in 0..20 {
        assert_eq!(client.get(&format!("/1?{query}")).await.text(), home);
    }
}

#[tokio::test]
async fn requests_without_the_key_go_by_the_client() {
    let origins = three().await;
    let site = keyed(&origins, HashKey::Header { name: "x-user".to_owned() }).await;
    let mut client = site.connect().await;
    let home = client.get("/").await.text();
    for _ in 0..10 {
        assert_eq!(client.get("/").await.text(), home);
        let empty = client.ask("GET / HTTP/1.1\r\nHost: a\r\nx-user:\r\n\r\n").await;
        assert_eq!(empty.text(), home);
    }
}

#[tokio::test]
async fn the_key_may_be_changed_while_serving() {
    let origins = three().await;
    let mut site = keyed(&origins, HashKey::Path).await;
    let mut client = site.connect().await;
    client.get("/1").await;
    let header = HashKey::Header { name: "x-user".to_owned() };
    site.pool.consistent_hash = Some(ConsistentHash { key: header, ..ConsistentHash::default() });
    site.apply().await;
    let asks =
        |user: u32, path: u32| format!("GET /{path} HTTP/1.1\r\nHost: a\r\nx-user: {user}\r\n\r\n");
    let home = client.ask(&asks(1, 0)).await.text();
    for path in 1..20 {
        assert_eq!(client.ask(&asks(1, path)).await.text(), home);
    }
}

#[tokio::test]
async fn the_member_that_answers_sooner_serves() {
    for algorithm in [Algorithm::LeastTime, Algorithm::PeakEwma] {
        let slow = named("slow", Duration::from_millis(40)).await;
        let fast = named("fast", Duration::ZERO).await;
        let site = Site::start_with(&[slow.address, fast.address, vacant()], |_, pool| {
            pool.algorithm = algorithm;
        })
        .await;
        let mut client = site.connect().await;
        for _ in 0..8 {
            assert_eq!(client.get("/").await.status(), 200);
        }
        let mut slow_count = 0;
        for _ in 0..30 {
            slow_count += u32::from(client.get("/").await.text() == "slow");
        }
        // Power of two choices draws the slow one and the vacant one together in a third of all.
        let allowed = if algorithm == Algorithm::LeastTime { 0 } else { 22 };
        assert!(slow_count <= allowed, "{algorithm:?}: {slow_count}");
        assert_eq!(site.totals().failures_for(FailureReason::ConnectRefused), 0);
    }
}
