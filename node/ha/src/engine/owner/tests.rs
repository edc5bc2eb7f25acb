use ballast_vrrp::{Family, InstanceView, Time};

use super::*;

/// A node with priority 220 that heard the owner, with 200 and an interval of 200 ms, so long ago.
fn view(state: State, heard_ago_ms: u64) -> GroupView {
    let heard = Heard {
        source: [192, 0, 2, 1].into(),
        node_id: Some(1),
        priority: 200,
        interval_cs: 20,
        at: Time::default(),
    };
    let instance = InstanceView {
        family: Family::V4,
        source: Some([192, 0, 2, 2].into()),
        heard: Some(heard),
        heard_ago_us: Some(heard_ago_ms * 1_000),
        active_down_in_us: None,
    };
    GroupView {
        state,
        idle: None,
        state_lasts_us: 60_000_000,
        reason: None,
        priority: 220,
        is_manual: false,
        is_listening: false,
        vrid_in_use: None,
        vetoed_by: None,
        failback_in_us: None,
        instances: vec![instance],
    }
}

#[test]
fn an_owner_is_heard_for_three_intervals_and_the_skew_after_it_advertised() {
    // 3 · 200 ms + 200 ms · 36/256.
    assert!(heard_owner(&view(State::Backup, 0)).is_some());
    assert!(heard_owner(&view(State::Backup, 628)).is_some());
    assert_eq!(heard_owner(&view(State::Backup, 629)), None);
}

#[test]
fn who_released_and_who_is_heard_by_an_owner_owns_nothing() {
    assert_eq!(heard_owner(&view(State::Active, 0)), None);
    assert_eq!(heard_owner(&view(State::Initialize, 0)), None);
    let mut released = view(State::Backup, 0);
    released.instances[0].heard.as_mut().unwrap().priority = 0;
    assert_eq!(heard_owner(&released), None);
}

#[test]
fn what_was_heard_last_counts_in_whichever_family() {
    let mut both = view(State::Backup, 5_000);
    both.instances.extend(view(State::Backup, 10).instances);
    both.instances[1].heard.as_mut().unwrap().priority = 190;
    assert_eq!(heard_owner(&both).map(|heard| heard.priority), Some(190));
}

#[test]
fn what_a_backup_waits_for_is_told() {
    let waits = |view: &GroupView, is_braked| Wait::of(view, is_braked, &[]);
    let healthy = view(State::Backup, 0);
    assert_eq!(waits(&healthy, true), None, "there is nothing to hold back");
    let mut degraded = healthy.clone();
    degraded.instances[0].heard.as_mut().unwrap().priority = 100;
    assert_eq!(waits(&degraded, true), Some(Wait::Braked));
    assert_eq!(waits(&degraded, false), None);
    let foreign = [degraded.instances[0].heard.unwrap().source];
    assert_eq!(Wait::of(&degraded, true, &foreign), None, "100 is what others run at");
    let failback = |left_us| GroupView { failback_in_us: Some(left_us), ..healthy.clone() };
    let left = Duration::from_secs(7);
    assert_eq!(waits(&failback(7_000_000), false), Some(Wait::Failback { left }));
    assert_eq!(waits(&failback(0), true), Some(Wait::Braked));
    let silent = view(State::Backup, 629);
    let vetoed = GroupView { vetoed_by: Some(1), ..silent.clone() };
    assert_eq!(waits(&vetoed, false), Some(Wait::Vetoed { by: 1 }));
    let listening = GroupView { is_listening: true, ..silent };
    assert_eq!(waits(&listening, false), Some(Wait::Listening));
    assert_eq!(waits(&GroupView { state: State::Active, ..vetoed }, true), None);
}

#[test]
fn who_reports_to_own_it_and_is_not_heard_is_named_while_its_reports_come() {
    let now = Time(100_000_000);
    let report = |state| PeerReport {
        node_id: 1,
        state,
        priority: 200,
        link_up: true,
        gateways: ballast_vrrp::Gateways::Unknown,
        interval_ms: 200,
    };
    let mut claims = Claims::default();
    for ago_ms in (0..=10).rev() {
        claims.note(&report(State::Active), now - Duration::from_millis(ago_ms * 100));
    }
    let unheard = |claims: &Claims, view: &GroupView, now| claims.unheard(view, 20, now);
    for state in [State::Active, State::Backup] {
        assert_eq!(unheard(&claims, &view(state, 629), now), Some(1), "{state}");
        assert_eq!(unheard(&claims, &view(state, 100), now), None, "{state}: it is heard");
        let just_now = GroupView { state_lasts_us: 600_000, ..view(state, 629) };
        assert_eq!(unheard(&claims, &just_now, now), None, "{state}: it may be heard yet");
    }
    let later = now + Duration::from_millis(601);
    assert_eq!(unheard(&claims, &view(State::Backup, 629), later), None, "no report any more");
    claims.note(&report(State::Backup), now);
    assert_eq!(unheard(&claims, &view(State::Backup, 629), now), None, "it has let go");
}
