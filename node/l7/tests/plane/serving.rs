//! Which members can serve: priority groups, slow start, and what happens where too few are up.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ballast_balance::HealthReport;
use ballast_model::MemberSpec;
use ballast_model::status::Health;
use ballast_telemetry::FailureReason;

use crate::harness::*;

/// Origins that answer with their numbers.
async fn numbered(count: usize) -> Vec<Origin> {
    let mut origins = Vec::new();
    for number in 0..count {
        origins.push(Origin::answering(move |_| ok(&number.to_string())).await);
    }
    origins
}

fn addresses(origins: &[Origin]) -> Vec<SocketAddr> {
    origins.iter().map(|origin| origin.address).collect()
}

/// What monitors would say.
fn set_health(site: &Site, index: usize, health: Health) {
    let pools = site.plane.pools();
    let pools = pools.borrow();
    let report = HealthReport { health, ..HealthReport::default() };
    pools["origin"].members()[index].state.set_health(report);
}

/// How often which member answers so many requests of one connection; all must be answered 200.
async fn shares(site: &Site, count: usize) -> BTreeMap<String, usize> {
    let mut client = site.connect().await;
    let mut shares = BTreeMap::new();
    for _ in 0..count {
        let answer = client.get("/").await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        *shares.entry(answer.text()).or_default() += 1;
    }
    shares
}

async fn serving(site: &Site) -> String {
    shares(site, 12).await.into_keys().collect()
}

#[tokio::test]
async fn lower_priorities_serve_only_while_too_few_of_the_higher_can() {
    let origins = numbered(4).await;
    let site = Site::start_with(&addresses(&origins), |_, pool| {
        pool.priority_min_members = Some(2);
        for (member, priority) in pool.members.iter_mut().zip([5, 5, 5, 1]) {
            member.priority = priority;
        }
    })
    .await;
    assert_eq!(serving(&site).await, "012");
    set_health(&site, 0, Health::Down);
    assert_eq!(serving(&site).await, "12", "two are enough");
    set_health(&site, 1, Health::Down);
    assert_eq!(serving(&site).await, "23", "one is not");
    set_health(&site, 0, Health::Up);
    assert_eq!(serving(&site).await, "02");
}

#[tokio::test]
async fn member_that_is_added_begins_with_a_part_of_its_share() {
    let origins = numbered(3).await;
    let mut site = Site::start_with(&addresses(&origins[..2]), |_, pool| {
        pool.slow_start_s = 3_600;
    })
    .await;
    assert_eq!(serving(&site).await, "01", "who is there from the beginning has its share");
    site.pool.members.push(MemberSpec::new(origins[2].address));
    site.apply().await;
    let part = shares(&site, 240).await.remove("2").unwrap_or_default();
    // A sixteenth of its share of 80 are 5; that it is more than 30 by chance is out of the question.
    assert!(part <= 30, "{part}");
    site.pool.slow_start_s = 0;
    site.apply().await;
    assert_eq!(shares(&site, 240).await["2"], 80);
}

#[tokio::test]
async fn health_is_ignored_below_the_panic_threshold() {
    let origins = numbered(4).await;
    let mut site = Site::start_with(&addresses(&origins), |_, pool| {
        pool.panic_threshold_percent = Some(50);
    })
    .await;
    set_health(&site, 0, Health::Down);
    set_health(&site, 1, Health::Down);
    assert_eq!(serving(&site).await, "23", "half of them are enough");
    set_health(&site, 2, Health::Down);
    assert_eq!(serving(&site).await, "0123", "fewer are not");
    site.pool.panic_threshold_percent = None;
    site.apply().await;
    // Compiling anew a pool without monitors takes what was said of its members back.
    (0..3).for_each(|index| set_health(&site, index, Health::Down));
    assert_eq!(serving(&site).await, "3");
}

#[tokio::test]
async fn pool_fails_open_or_not_where_all_are_down() {
    let origins = numbered(2).await;
    for fail_open in [false, true] {
        let site =
            Site::start_with(&addresses(&origins), |_, pool| pool.fail_open = fail_open).await;
        (0..2).for_each(|index| set_health(&site, index, Health::Down));
        if fail_open {
            assert_eq!(serving(&site).await, "01");
        } else {
            assert_eq!(site.connect().await.get("/").await.status(), 503);
            site.failed(FailureReason::NoMember, 1).await;
        }
    }
}
