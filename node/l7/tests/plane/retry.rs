//! Requests that are tried again, by what went wrong, as far as the pool's policy and budget allow.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ballast_model::{RetryCause, RetryPolicy};
use ballast_telemetry::FailureReason;

use crate::harness::*;

/// An origin that answers 503 the first `count` times, and counts what it is asked.
async fn unavailable(count: usize) -> (Origin, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&asked);
    let origin = Origin::answering(move |request| {
        if seen.fetch_add(1, Ordering::SeqCst) < count {
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy".to_owned()
        } else {
            ok(&request.text())
        }
    })
    .await;
    (origin, asked)
}

async fn site(origins: &[&Origin], policy: RetryPolicy) -> Site {
    let members: Vec<_> = origins.iter().map(|origin| origin.address).collect();
    Site::start_with(&members, |_, pool| pool.retry = Some(policy)).await
}

fn by_status(max_attempts: u32) -> RetryPolicy {
    RetryPolicy { causes: vec![RetryCause::Status], max_attempts, ..RetryPolicy::default() }
}

const PUT: &str = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";

#[tokio::test]
async fn a_status_is_tried_again_as_often_as_may_be_and_not_once_more() {
    let (origin, asked) = unavailable(2).await;
    let site = site(&[&origin], by_status(3)).await;
    let mut client = site.connect().await;
    let response = client.ask(PUT).await;
    assert_eq!((response.status(), response.text().as_str()), (200, "body"));
    assert_eq!(asked.load(Ordering::SeqCst), 3);

    let (origin, asked) = unavailable(3).await;
    let site = self::site(&[&origin], by_status(3)).await;
    let response = site.connect().await.ask(PUT).await;
    assert_eq!(
        (response.status(), response.text().as_str()),
        (503, "busy"),
        "the last is passed on"
    );
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn a_status_is_tried_again_at_another_member() {
    let ((bad, asked), good) = (unavailable(usize::MAX).await, Origin::echo().await);
    let site = site(&[&bad, &good], by_status(2)).await;
    let mut client = site.connect().await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.status(), 200);
    }
    assert!(asked.load(Ordering::SeqCst) >= 4);
}

#[tokio::test]
async fn a_status_is_the_reason_where_no_other_member_has_room() {
    let busy = Origin::start(|_, mut io| async move {
        io.message().await;
        std::future::pending::<()>().await;
    })
    .await;
    let (bad, asked) = unavailable(usize::MAX).await;
    let site = Site::start_with(&[bad.address, busy.address], |_, pool| {
        pool.retry = Some(by_status(2));
        pool.members[1].connection_limit = Some(1);
    })
    .await;
    // Wherever it comes first, it ends at the one that keeps it.
    let mut waiting = site.connect().await;
    waiting.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    until(|| busy.connections() == 1).await;
    let before = asked.load(Ordering::SeqCst);
    let response = site.connect().await.get("/").await;
    assert_eq!(
        (response.status(), response.text().trim()),
        (503, "503 Service Unavailable: upstream_status")
    );
    assert_eq!(asked.load(Ordering::SeqCst), before + 1);
    site.failed(FailureReason::UpstreamStatus, 1).await;
}

#[tokio::test]
async fn what_may_have_been_acted_on_is_tried_again_only_if_that_is_asked_for() {
    let (origin, asked) = unavailable(1).await;
    let site = site(&[&origin], by_status(3)).await;
    assert_eq!(site.connect().await.ask(POST).await.status(), 503);
    assert_eq!(asked.load(Ordering::SeqCst), 1);

    let (origin, asked) = unavailable(1).await;
    let policy = RetryPolicy { non_idempotent: true, ..by_status(3) };
    let site = self::site(&[&origin], policy).await;
    let response = site.connect().await.ask(POST).await;
    assert_eq!((response.status(), response.text().as_str()), (200, "body"));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn other_causes_and_statuses_are_not_tried_again() {
    let (origin, asked) = unavailable(1).await;
    let site = site(&[&origin], RetryPolicy { statuses: vec![502], ..by_status(3) }).await;
    assert_eq!(site.connect().await.get("/").await.status(), 503);
    assert_eq!(asked.load(Ordering::SeqCst), 1);

    let good = Origin::echo().await;
    let site = Site::start_with(&[vacant(), good.address], |_, pool| {
        pool.retry = Some(by_status(3));
    })
    .await;
    let mut client = site.connect().await;
    let statuses = [client.get("/").await.status(), client.get("/").await.status()];
    assert!(statuses.contains(&502) && statuses.contains(&200), "{statuses:?}");
    site.failed(FailureReason::ConnectRefused, 1).await;
}

#[tokio::test]
async fn a_response_that_is_late_is_asked_for_elsewhere() {
    let silent = Origin::start(|_, mut io| async move {
        io.message().await;
        std::future::pending::<()>().await;
    })
    .await;
    let good = Origin::echo().await;
    let policy = RetryPolicy {
        causes: vec![RetryCause::Timeout],
        per_try_timeout_ms: Some(60),
        ..RetryPolicy::default()
    };
    let site = site(&[&silent, &good], policy).await;
    let mut client = site.connect().await;
    for _ in 0..4 {
        assert_eq!(client.get("/").await.status(), 200);
    }
    assert!(silent.connections() > 0);
    assert_eq!(site.totals().failures_total(), 0);
    // Not what may have been acted on.
    let mut statuses = Vec::new();
    for _ in 0..2 {
        statuses.push(site.connect().await.ask(POST).await.status());
    }
    assert!(statuses.contains(&504), "{statuses:?}");
}

#[tokio::test]
async fn an_empty_budget_allows_no_retry() {
    let (origin, asked) = unavailable(usize::MAX).await;
    let policy = RetryPolicy { budget_percent: 0, budget_min_per_s: 1, ..by_status(10) };
    let site = site(&[&origin], policy).await;
    let mut client = site.connect().await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.status(), 503);
    }
    let retries = asked.load(Ordering::SeqCst) - 20;
    // One in each of ten seconds; the window may have turned over once.
    assert!((10..=20).contains(&retries), "{retries}");
}

#[tokio::test]
async fn a_body_that_has_left_the_buffer_is_not_sent_again() {
    let (origin, asked) = unavailable(1).await;
    let site = site(&[&origin], by_status(3)).await;
    let body = "x".repeat(200_000);
    let put = format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n{body}");
    assert_eq!(site.connect().await.ask(&put).await.status(), 503);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}
