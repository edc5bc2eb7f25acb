//! Members that serve badly, and are left out for it.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use ballast_model::OutlierEjection;
use ballast_model::status::{Health, MemberStatus};
use ballast_telemetry::FailureReason;

use crate::harness::*;

const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

fn ejection(consecutive_failures: u32) -> OutlierEjection {
    OutlierEjection { consecutive_failures, ..OutlierEjection::default() }
}

fn status(site: &Site, index: usize) -> MemberStatus {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let pools = site.plane.pools();
    let pools = pools.borrow();
    pools["origin"].members()[index].status("origin", now.as_millis() as u64)
}

#[tokio::test]
async fn member_that_answers_503_is_ejected_after_as_many_as_may_be_and_no_more() {
    let bad = Origin::answering(|_| UNAVAILABLE.to_owned()).await;
    let good = Origin::echo().await;
    let site = Site::start_with(&[bad.address, good.address], |_, pool| {
        pool.outlier_ejection = Some(ejection(3));
    })
    .await;
    let mut client = site.connect().await;
    let mut failed = 0;
    for _ in 0..40 {
        failed += u32::from(client.get("/").await.status() == 503);
    }
    assert_eq!(failed, 3);
    let status = status(&site, 0);
    assert_eq!(status.health, Health::Down);
    assert!(status.reason.starts_with("ejected: 3 failures in a row, until "), "{}", status.reason);
    assert!(status.reason.ends_with(" UTC; monitors: the pool has no monitor"));
}

#[tokio::test]
async fn member_that_refuses_is_ejected_and_costs_no_more_attempts() {
    let good = Origin::echo().await;
    let site = Site::start_with(&[vacant(), good.address], |_, pool| {
        pool.outlier_ejection = Some(ejection(2));
    })
    .await;
    let mut client = site.connect().await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.status(), 200);
    }
    assert_eq!((status(&site, 0).requests_total, status(&site, 0).failures_total), (2, 2));
}

#[tokio::test]
async fn the_only_member_is_never_ejected() {
    let bad = Origin::answering(|_| UNAVAILABLE.to_owned()).await;
    let site = Site::start_with(&[bad.address], |_, pool| {
        pool.outlier_ejection = Some(ejection(1));
    })
    .await;
    let mut client = site.connect().await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.status(), 503);
    }
    assert_eq!(site.totals().failures_for(FailureReason::NoMember), 0);
    assert_eq!(status(&site, 0).health, Health::Unmonitored);
}

#[tokio::test]
async fn a_success_in_between_is_a_new_beginning() {
    let bad = Origin::answering(|request| {
        if request.head.starts_with("GET /bad") { UNAVAILABLE.to_owned() } else { ok("") }
    })
    .await;
    let site = Site::start_with(&[bad.address, vacant()], |_, pool| {
        pool.outlier_ejection = Some(ejection(3));
        pool.members[1].weight = 0;
    })
    .await;
    let mut client = site.connect().await;
    for _ in 0..5 {
        for target in ["/bad", "/bad", "/"] {
            client.get(target).await;
        }
    }
    assert_eq!(status(&site, 0).health, Health::Unmonitored);
}

/// Sends requests until the first member is ejected; why it was.
async fn until_ejected(site: &Site) -> String {
    let mut client = site.connect().await;
    let mut pace = tokio::time::interval(Duration::from_millis(2));
    soon(async {
        loop {
            pace.tick().await;
            client.get("/").await;
            let status = status(site, 0);
            if status.health == Health::Down {
                return status.reason;
            }
        }
    })
    .await
}

/// The members are compared every second; failures in a row are not looked at.
fn comparison() -> OutlierEjection {
    OutlierEjection { interval_ms: 1_000, min_requests: 10, ..ejection(0) }
}

/// The causes of ejections so far, with how many there were.
fn causes(site: &Site) -> Vec<(&'static str, u64)> {
    let pools = site.plane.pools();
    let pools = pools.borrow();
    let ejections = pools["origin"].ejections().filter(|(_, count)| *count > 0);
    ejections.map(|(cause, count)| (cause.as_str(), count)).collect()
}

#[tokio::test]
async fn member_that_fails_more_often_than_the_others_is_ejected() {
    let count = AtomicUsize::new(0);
    let every_other = move || count.fetch_add(1, Relaxed).is_multiple_of(2);
    let bad =
        Origin::answering(move |_| if every_other() { UNAVAILABLE.to_owned() } else { ok("") });
    let (bad, good, other) = (bad.await, Origin::echo().await, Origin::echo().await);
    let site = Site::start_with(&[bad.address, good.address, other.address], |_, pool| {
        let success_rate_deviations_percent = 100;
        pool.outlier_ejection =
            Some(OutlierEjection { success_rate_deviations_percent, ..comparison() });
    })
    .await;
    let reason = until_ejected(&site).await;
    assert!(reason.contains(" % of requests succeeded, "), "{reason}");
    assert_eq!(causes(&site), [("success_rate", 1)]);
    let asked = status(&site, 0).requests_total;
    let mut client = site.connect().await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.status(), 200);
    }
    assert_eq!(status(&site, 0).requests_total, asked);
}

#[tokio::test]
async fn member_that_is_slower_than_the_others_is_ejected() {
    let slow = Origin::start(|_, mut io| async move {
        while io.message().await.is_some() {
            // Slow is what this origin is; nothing is waited for.
            let delay = Duration::from_millis(50);
            let _slow = tokio::time::timeout(delay, std::future::pending::<()>()).await;
            if io.try_send(ok("")).await.is_err() {
                return;
            }
        }
    })
    .await;
    let (good, other) = (Origin::echo().await, Origin::echo().await);
    let site = Site::start_with(&[slow.address, good.address, other.address], |_, pool| {
        pool.outlier_ejection =
            Some(OutlierEjection { latency_percent: Some(500), ..comparison() });
    })
    .await;
    let reason = until_ejected(&site).await;
    assert!(reason.contains(" ms to first byte, "), "{reason}");
    assert_eq!(causes(&site), [("latency", 1)]);
}
