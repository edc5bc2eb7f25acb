//! Gratuitous ARP and neighbour advertisements: after a takeover, for ever, and after a conflict.

use super::*;

const RIVAL: u8 = OWN - 10;

#[test]
fn bursts_come_at_once_after_one_second_and_after_five() {
    let mut rig = Rig::backup(v4_only());
    assert_eq!(frames_count(&rig.tick_when_due()), 5);
    assert_eq!(frames_count(&rig.run(999_999)), 0);
    assert_eq!(frames_count(&rig.run(1)), 5);
    assert_eq!(frames_count(&rig.run(3_999_999)), 0);
    assert_eq!(frames_count(&rig.run(1)), 5);
}

#[test]
fn one_frame_refreshes_every_minute() {
    let mut rig = Rig::active(v4_only());
    rig.run(5_000_000);
    assert_eq!(frames_count(&rig.run(59_999_999)), 0);
    assert_eq!(frames_count(&rig.run(1)), 1);
    assert_eq!(frames_count(&rig.run(60_000_000)), 1);
}

#[test]
fn a_refresh_of_zero_seconds_is_none() {
    let mut config = v4_only();
    config.announce.refresh_s = 0;
    let mut rig = Rig::active(config);
    rig.run(5_000_000);
    assert_eq!(frames_count(&rig.run(600_000_000)), 0);
}

#[test]
fn a_conflict_that_is_won_is_announced_again() {
    let mut rig = Rig::active(v4_only());
    rig.run(5_100_000);
    // At once, because the rival has told the segment its own address.
    assert_eq!(frames_count(&rig.hear_priority(RIVAL)), 5);
    // And once it is quiet, because its last word may have come after ours.
    let effects = rig.run(INTERVAL_US * 3 / 2);
    assert_eq!(frames_count(&effects), 5);
    assert_eq!(notes(&effects), [&Note::ConflictWon { source: [10, 0, 0, 9].into() }]);
    // Then as after a takeover.
    assert_eq!(frames_count(&rig.run(1_000_000)), 5);
    assert_eq!(frames_count(&rig.run(4_000_000)), 5);
}

#[test]
fn a_rival_that_goes_on_is_not_won_over() {
    let mut rig = Rig::active(v4_only());
    rig.run(5_100_000);
    let mut effects = Vec::new();
    for _ in 0..20 {
        effects.extend(rig.hear_priority(RIVAL));
        effects.extend(rig.run(INTERVAL_US));
    }
    assert_eq!(notes(&effects), [] as [&Note; 0]);
    // 4 s at one burst a second.
    assert_eq!(frames_count(&effects), 4 * 5);
}

#[test]
fn a_rival_that_comes_and_goes_cannot_make_a_flood() {
    let mut config = v4_only();
    config.interval_cs = 1;
    let mut rig = Rig::active(config);
    rig.run(5_100_000);
    let mut effects = Vec::new();
    for _ in 0..100 {
        effects.extend(rig.hear(Advertisement { interval_cs: 1, ..v4(RIVAL) }));
        effects.extend(rig.run(50_000));
    }
    // 5 s with two bursts a second at most, and the series after each of the wins.
    assert!(frames_count(&effects) <= 5 * 3 * 5, "{}", frames_count(&effects));
}

#[test]
fn a_backup_announces_nothing() {
    let mut rig = Rig::active(v4_only());
    rig.hear_priority(OWN + 1);
    for _ in 0..100 {
        rig.pass(INTERVAL_US);
        assert_eq!(frames_count(&rig.hear_priority(OWN + 1)), 0);
        assert_eq!(frames_count(&rig.give(Input::Tick)), 0);
    }
}
