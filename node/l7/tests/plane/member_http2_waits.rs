//! HTTP/2 to members: requests that get no stream, and members that fall silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ballast_model::{MemberProtocol, PoolHttp2};
use ballast_telemetry::FailureReason as R;
use h2::server::Builder;
use http::Response;
use tokio::sync::Semaphore;

use crate::harness::*;
use crate::http2_client::{self, Client};
use crate::http2_origin::{self, answer};

async fn site(origin: &Origin, settings: PoolHttp2, response_ms: u64) -> Site {
    Site::start_with(&[origin.address], |server, pool| {
        server.http.response_timeout_ms = response_ms;
        pool.protocol = MemberProtocol::Http2;
        pool.http2 = settings;
        pool.connect_timeout_ms = 200;
    })
    .await
}

fn member_failures(site: &Site) -> u64 {
    let pools = site.plane.pools();
    let pools = pools.borrow();
    pools["origin"].members()[0].status("origin", 0).failures_total
}

#[tokio::test]
async fn lack_of_streams_is_not_held_against_the_member() {
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
        PoolHttp2 { connection_max_count: 1, stream_max_count: 1, ..PoolHttp2::default() };
    let site = site(&origin, settings, 20_000).await;
    // Both by one worker: each has connections of its own.
    let mut client = Client::connect(&site).await;
    let first = client.begin(http2_client::get("/"), true).await.0;
    until(|| waiting.load(Ordering::SeqCst) == 1).await;
    let refused = client.get("/").await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.text(), "503 Service Unavailable: queue_timeout\n");
    site.failed(R::QueueTimeout, 1).await;
    assert_eq!(member_failures(&site), 0);
    gate.add_permits(2);
    assert_eq!(soon(first).await.unwrap().status(), 200);
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn a_silent_connection_is_left_however_short_the_waits_are() {
    // Its first connection greets, takes everything and says nothing more.
    let origin = Origin::start(|number, mut io: Io| async move {
        if number == 0 {
            io.send([0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
            io.rest().await;
            return;
        }
        let mut connection = h2::server::handshake(io.stream).await.unwrap();
        while let Some(Ok((_, respond))) = connection.accept().await {
            tokio::spawn(answer(respond, Response::new(()), b"", None));
        }
    })
    .await;
    let site = site(&origin, PoolHttp2::default(), 300).await;
    let mut client = site.connect().await;
    let begin = std::time::Instant::now();
    let mut late_count = 0;
    while client.get("/").await.status() == 504 {
        late_count += 1;
        assert!(late_count < 10, "the connection is used on");
    }
    assert!(begin.elapsed() >= Duration::from_secs(1), "one slow answer is no silence");
    assert_eq!(origin.connections(), 2);
    site.failed(R::ResponseTimeout, late_count).await;
}
