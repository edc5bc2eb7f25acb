use std::net::Ipv4Addr;

use ballast_model::config::AnyDraft;
use ballast_model::status::Health;
use ballast_model::{Config, Draft, Edit, MemberSpec, PoolSpec};

use super::*;
use crate::member::HealthReport;
use crate::persistence::PersistenceKey;
use crate::pick::{NoMember, PickInput, PickState};
use crate::registry::PoolRegistry;

fn pool(member_count: u32, settings: OutlierEjection) -> Arc<Pool> {
    let members = (1..=member_count).map(|i| MemberSpec {
        name: Some(format!("m{i}")),
        ..MemberSpec::new((Ipv4Addr::from(0x0a00_0000 + i), 80).into())
    });
    let outlier_ejection = Some(settings);
    let spec = PoolSpec { members: members.collect(), outlier_ejection, ..PoolSpec::default() };
    let edit = Edit::put(AnyDraft::Pool(Draft::new("pool", spec)), "uid");
    let config = Config::default().edited(&[edit], 1, 1).unwrap();
    let mut registry = PoolRegistry::new(2, PersistenceKey::new(&[3; 32]));
    registry.reconcile(&config, 0);
    Arc::clone(registry.pool("pool").unwrap())
}

fn settings() -> OutlierEjection {
    OutlierEjection { max_ejected_percent: 50, ..OutlierEjection::default() }
}

fn observe(pool: &Pool, index: usize, failed: bool, now_ms: u64) -> Option<String> {
    let attempt = Attempt { worker: index, took_us: 1_000, failed, now_ms };
    pool.observe(&pool.members()[index], attempt)
}

fn fail(pool: &Pool, index: usize, count: u32, now_ms: u64) -> Option<String> {
    (0..count).fold(None, |said, _| observe(pool, index, true, now_ms).or(said))
}

#[test]
fn failures_in_a_row_eject_at_the_limit_and_not_before() {
    let pool = pool(4, settings());
    let now_ms = 43_173_000;
    assert_eq!(fail(&pool, 0, 4, now_ms), None);
    assert_eq!(observe(&pool, 0, false, now_ms), None);
    assert_eq!(fail(&pool, 0, 4, now_ms), None);
    let reason = observe(&pool, 0, true, now_ms).unwrap();
    assert_eq!(reason, "ejected: 5 failures in a row, until 12:00:03 UTC");
    let status = pool.members()[0].status("pool", now_ms + 1);
    assert_eq!(status.health, Health::Down);
    assert_eq!(status.reason, format!("{reason}; monitors: the pool has no monitor"));
    assert_eq!((status.since_ms, status.last_probe_us), (now_ms, None));
    let state = &pool.members()[0].state;
    assert!(state.is_ejected(now_ms + 29_999) && !state.is_ejected(now_ms + 30_000));
    assert_eq!(pool.members()[0].status("pool", now_ms + 30_000).health, Health::Unmonitored);
}

#[test]
fn each_ejection_is_longer_than_the_last_up_to_the_longest() {
    let settings = OutlierEjection { max_ejection_ms: 70_000, ..settings() };
    let pool = pool(4, settings);
    let state = &pool.members()[0].state;
    let mut now_ms = 1_000_000;
    for expected_ms in [30_000, 60_000, 70_000, 70_000] {
        fail(&pool, 0, 5, now_ms).unwrap();
        assert!(state.is_ejected(now_ms + expected_ms - 1));
        now_ms += expected_ms;
        assert!(!state.is_ejected(now_ms));
    }
    now_ms += 70_000;
    fail(&pool, 0, 5, now_ms).unwrap();
    assert!(!state.is_ejected(now_ms + 30_000), "well for long: it begins anew");
}

#[test]
fn no_more_are_ejected_than_may_be_and_never_the_last() {
    let pool = pool(4, settings());
    let ejected: Vec<_> = (0..4).map(|index| fail(&pool, index, 50, 1_000).is_some()).collect();
    assert_eq!(ejected, [true, true, false, false]);

    let all = OutlierEjection { max_ejected_percent: 100, ..settings() };
    let pair = self::pool(2, all);
    assert!(fail(&pair, 0, 5, 1_000).is_some());
    assert!(fail(&pair, 1, 50, 1_000).is_none());

    let down = self::pool(3, settings());
    for index in [1, 2] {
        let report = HealthReport { health: Health::Down, ..Default::default() };
        down.members()[index].state.set_health(report);
    }
    assert!(fail(&down, 0, 50, 1_000).is_none(), "the only one that is up");
}

#[test]
fn one_may_be_ejected_however_small_the_percentage() {
    let pool = pool(5, OutlierEjection { max_ejected_percent: 1, ..settings() });
    assert!(fail(&pool, 0, 5, 1_000).is_some());
    assert!(fail(&pool, 1, 5, 1_000).is_none());
}

#[test]
fn success_far_below_the_others_ejects() {
    let only_rates = OutlierEjection { consecutive_failures: 0, ..settings() };
    let pool = pool(6, only_rates);
    assert!(pool.compare(1_000_000).is_empty());
    let serve = |failures: [u32; 6], total: u32, now_ms| {
        for (index, failures) in failures.into_iter().enumerate() {
            (0..total).for_each(|i| drop(observe(&pool, index, i < failures, now_ms)));
        }
        pool.compare(now_ms)
    };
    assert!(serve([1, 0, 2, 1, 0, 60], 99, 1_010_000).is_empty(), "too few requests");
    assert!(serve([1, 0, 2, 1, 0, 60], 100, 1_019_999).is_empty(), "too soon");
    assert_eq!(serve([9; 6], 100, 1_020_000).len(), 1, "all since the last comparison count");
    let ejected = serve([1, 0, 2, 1, 0, 60], 100, 1_060_000);
    assert_eq!(ejected.len(), 1);
    let (member, reason) = &ejected[0];
    assert_eq!(&*member.name, "m6");
    let said = "ejected: 40.0 % of requests succeeded, 89.3 % on average, until ";
    assert!(reason.starts_with(said), "{reason}");
    assert!(serve([0; 6], 100, 1_100_000).is_empty());
}

#[test]
fn time_far_above_the_others_ejects() {
    let pool = pool(5, OutlierEjection { latency_percent: Some(300), ..settings() });
    let now_ms = 1_000_000;
    for (index, took_us) in [10_000, 11_000, 12_000, 35_000, 37_000].into_iter().enumerate() {
        let attempt = Attempt { worker: 0, took_us, failed: false, now_ms };
        pool.observe(&pool.members()[index], attempt);
    }
    let ejected = pool.compare(now_ms);
    assert_eq!(ejected.len(), 1);
    assert_eq!(&*ejected[0].0.name, "m5");
    assert!(ejected[0].1.starts_with("ejected: 37.0 ms to first byte, 12.0 ms in the middle"));
}

#[test]
fn pools_that_do_not_ask_observe_nothing() {
    let mut spec = pool(2, settings()).spec().clone();
    spec.outlier_ejection = None;
    let edit = Edit::put(AnyDraft::Pool(Draft::new("pool", spec)), "uid");
    let config = Config::default().edited(&[edit], 1, 1).unwrap();
    let mut registry = PoolRegistry::new(2, PersistenceKey::new(&[3; 32]));
    registry.reconcile(&config, 0);
    let pool = registry.pool("pool").unwrap();
    assert!(!pool.observes());
    assert_eq!(fail(pool, 0, 50, 1_000), None);
    assert!(pool.compare(1_000_000).is_empty());
}

#[test]
fn member_serves_only_where_monitors_and_its_answers_agree() {
    let pool = pool(3, settings());
    let state = &pool.members()[0].state;
    let found = |health| {
        let reason = "connection refused".to_owned();
        state.set_health(HealthReport { health, reason, since_ms: 1, last_probe_us: Some(7) });
    };
    let picks = |now_ms| {
        let mut turns = PickState::default();
        let mut pick = || {
            let input = PickInput {
                client: Ipv4Addr::LOCALHOST.into(),
                key: None,
                random: 1,
                now_ms,
                persistent: None,
                exclude: &[],
            };
            pool.pick(&mut turns, &input).unwrap().index
        };
        (0..30).filter(|_| pick() == 0).count()
    };
    found(Health::Up);
    assert_eq!(picks(0), 10);
    fail(&pool, 0, 5, 1_000);
    assert_eq!(picks(1_001), 0, "monitors say up, but it was ejected");
    let status = pool.members()[0].status("pool", 1_001);
    assert_eq!(status.health, Health::Down);
    assert!(status.reason.contains("5 failures in a row"), "{}", status.reason);
    found(Health::Down);
    assert_eq!(picks(40_000), 0, "the ejection is over, but monitors say down");
    assert_eq!(pool.members()[0].status("pool", 40_000).reason, "connection refused");
    found(Health::Up);
    assert_eq!(picks(1_001), 0, "what the monitors find does not end an ejection");
    assert_eq!(picks(40_000), 10);
}

/// A pick for a client that belongs to nobody.
fn pick(pool: &Pool, turns: &mut PickState, now_ms: u64) -> (u32, Option<crate::InFlight>) {
    let input = PickInput {
        client: Ipv4Addr::LOCALHOST.into(),
        key: None,
        random: 1,
        now_ms,
        persistent: None,
        exclude: &[],
    };
    let picked = pool.pick(turns, &input).unwrap();
    (picked.index, picked.begin(0))
}

#[test]
fn member_that_comes_back_gets_one_request_until_one_has_gone_well() {
    let pool = pool(3, settings());
    fail(&pool, 0, 5, 1_000);
    let (mut turns, back_ms) = (PickState::default(), 40_000);
    let mut held: Vec<_> = (0..30).map(|_| pick(&pool, &mut turns, back_ms)).collect();
    assert!(held.iter().all(|(_, in_flight)| in_flight.is_some()));
    assert_eq!(held.iter().filter(|(index, _)| *index == 0).count(), 1, "one at a time");
    let reason = pool.members()[0].status("pool", back_ms).reason;
    assert!(reason.starts_with("on trial after an ejection; monitors: "), "{reason}");

    // It ended without telling anything: the client left, say.
    held.retain(|(index, _)| *index != 0);
    let again = (0..30).map(|_| pick(&pool, &mut turns, back_ms)).collect::<Vec<_>>();
    assert_eq!(again.iter().filter(|(index, _)| *index == 0).count(), 1);

    assert!(observe(&pool, 0, false, back_ms).is_none());
    let share = (0..30).filter(|_| pick(&pool, &mut turns, back_ms).0 == 0).count();
    assert_eq!(share, 10, "it has its share again, while the trial goes on");
    drop(again);
    assert_eq!((0..30).filter(|_| pick(&pool, &mut turns, back_ms).0 == 0).count(), 10);
}

#[test]
fn member_that_fails_on_trial_is_ejected_at_once_and_for_longer() {
    let pool = pool(3, settings());
    fail(&pool, 0, 5, 1_000);
    let state = &pool.members()[0].state;
    assert!(!state.is_ejected(31_000));
    let reason = observe(&pool, 0, true, 31_000).expect("an ejection");
    assert!(reason.starts_with("ejected: it failed on trial, until "), "{reason}");
    assert!(state.is_ejected(90_999) && !state.is_ejected(91_000));
    // What ends well that began before says nothing while it is ejected.
    assert!(observe(&pool, 0, false, 50_000).is_none());
    assert!(observe(&pool, 0, true, 91_000).is_some());
}

#[test]
fn failure_on_trial_is_followed_by_another_trial_where_failures_in_a_row_are_well() {
    let only_rates = OutlierEjection { consecutive_failures: 0, ..settings() };
    let pool = pool(3, only_rates);
    let state = &pool.members()[0].state;
    state.eject(1_000, 30_000, 300_000, "so the test says");
    assert!(observe(&pool, 0, true, 40_000).is_none());
    let mut turns = PickState::default();
    let held: Vec<_> = (0..30).map(|_| pick(&pool, &mut turns, 40_000)).collect();
    assert_eq!(held.iter().filter(|(index, _)| *index == 0).count(), 1);
}

#[test]
fn trials_keep_nobody_waiting_where_there_is_nobody_else() {
    let pool = pool(2, settings());
    fail(&pool, 0, 5, 1_000);
    let report = HealthReport { health: Health::Down, ..Default::default() };
    pool.members()[1].state.set_health(report);
    let mut turns = PickState::default();
    let held: Vec<_> = (0..5).map(|_| pick(&pool, &mut turns, 40_000)).collect();
    assert!(held.iter().all(|(index, _)| *index == 0));
    // The pick says that it is on trial where it is: only the first is.
    assert!(held.iter().all(|(_, in_flight)| in_flight.is_some()));
}

#[test]
fn member_on_trial_does_not_get_what_others_are_only_too_busy_for() {
    let pool = pool(2, settings());
    fail(&pool, 0, 5, 1_000);
    pool.members()[1].state.set_limit(Some(1));
    let mut turns = PickState::default();
    let held: Vec<_> = (0..2).map(|_| pick(&pool, &mut turns, 40_000)).collect();
    assert_eq!(held.iter().map(|(index, _)| index).sum::<u32>(), 1, "one request each");
    let input = PickInput {
        client: Ipv4Addr::LOCALHOST.into(),
        key: None,
        random: 1,
        now_ms: 40_000,
        persistent: None,
        exclude: &[],
    };
    let busy = |turns: &mut PickState| pool.pick(turns, &input).map(|picked| picked.index);
    assert_eq!(busy(&mut turns), Err(NoMember::AllBusy), "it may wait for the other");
    assert!(observe(&pool, 0, false, 40_000).is_none());
    assert_eq!(busy(&mut turns), Ok(0));
}
