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
