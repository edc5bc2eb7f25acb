//! Members that serve badly, and are left out for it.

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
