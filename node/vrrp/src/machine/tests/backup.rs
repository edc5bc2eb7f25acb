//! RFC 9568 §6.4.2.

use super::*;

#[test]
fn silence_makes_active_after_three_intervals_and_the_skew() {
    let mut rig = Rig::backup(v4_only());
    rig.hear_priority(150);
    assert_eq!(rig.due_in(), ACTIVE_DOWN_US);
    rig.pass(ACTIVE_DOWN_US - 1);
    assert_eq!(rig.give(Input::Tick), []);
    assert_eq!(rig.state(), State::Backup);
    let effects = rig.pass(1).give(Input::Tick);
    assert_eq!(reasons(&effects), [Reason::Silence]);
    assert_eq!(rig.state(), State::Active);
}

#[test]
fn advertisements_keep_a_backup_quiet() {
    let mut rig = Rig::backup(v4_only());
    for _ in 0..20 {
        rig.pass(INTERVAL_US);
        assert_eq!(rig.hear_priority(150), []);
        assert_eq!(rig.give(Input::Tick), []);
    }
    assert_eq!(rig.state(), State::Backup);
}

#[test]
fn a_backup_sends_nothing_and_holds_nothing() {
    let mut rig = Rig::backup(both_families());
    let effects = [rig.hear_priority(150), rig.hear(v6(150)), rig.give(standing(180))].concat();
    assert_eq!(effects, []);
    assert!(rig.machine.held_addresses().is_empty());
}

#[test]
fn a_new_active_adds_addresses_then_advertises_then_announces() {
    let mut rig = Rig::backup(v4_only());
    let effects = rig.tick_when_due();
    assert!(
        matches!(
            &effects[..],
            [
                Effect::AddAddresses(addresses),
                Effect::SendAdvertisement(Advertisement { priority: OWN, vrid: VRID, .. }),
                Effect::Announce { repeat_count: 5 },
                Effect::Notify(Transition { to: State::Active, .. }),
            ] if *addresses == vips_v4()
        ),
        "{effects:?}"
    );
}

#[test]
fn a_release_shortens_the_wait_to_the_skew() {
    let mut rig = Rig::backup(v4_only());
    rig.hear_priority(150);
    rig.pass(INTERVAL_US / 2).hear_priority(0);
    assert_eq!(rig.due_in(), SKEW_US);
    assert_eq!(reasons(&rig.tick_when_due()), [Reason::Released]);
}

#[test]
fn a_better_backup_waits_less() {
    let due_at = |priority| {
        let mut rig = Rig::backup(v4_only());
        rig.give(standing(priority));
        rig.hear_priority(150);
        rig.due_in()
    };
    assert_eq!(due_at(200), ACTIVE_DOWN_US);
    assert_eq!(due_at(196) - due_at(200), INTERVAL_US * 4 / 256);
}

#[test]
fn the_interval_of_the_active_is_adopted() {
    let mut rig = Rig::backup(v4_only());
    rig.hear(Advertisement { interval_cs: 100, ..v4(150) });
    assert_eq!(rig.due_in(), 5 * ACTIVE_DOWN_US);
    // Its release is waited for by the same measure.
    rig.hear(Advertisement { interval_cs: 100, ..v4(0) });
    assert_eq!(rig.due_in(), 5 * SKEW_US);
}

#[test]
fn an_active_goes_by_its_own_interval_again() {
    let mut rig = Rig::backup(v4_only());
    rig.hear(Advertisement { interval_cs: 100, ..v4(150) });
    let effects = rig.tick_when_due();
    assert_eq!(sent(&effects)[0].interval_cs, 20);
    assert_eq!(rig.due_in(), INTERVAL_US);
}

#[test]
fn a_lower_priority_is_not_preempted_unless_asked_for() {
    let mut rig = Rig::backup(v4_only());
    for _ in 0..20 {
        rig.pass(INTERVAL_US).hear_priority(129);
        assert_eq!(rig.due_in(), ACTIVE_DOWN_US);
    }
}

#[test]
fn an_equal_priority_is_not_preempted_even_if_asked_for() {
    let mut rig = Rig::backup(GroupConfig { preempt: Preempt::After { delay_ms: 0 }, ..v4_only() });
    rig.hear_priority(OWN);
    assert_eq!(rig.due_in(), ACTIVE_DOWN_US);
}

#[test]
fn what_is_not_ours_is_counted_by_its_reason() {
    let mut rig = Rig::backup(v4_only());
    let mut dropped = |advertisement| drops(&rig.hear(advertisement));
    assert_eq!(dropped(Advertisement { vrid: 52, ..v4(150) }), [DropReason::UnknownVrid]);
    assert_eq!(dropped(v6(150)), [DropReason::UnknownFamily]);
    assert_eq!(dropped(Advertisement { source: own_v4(), ..v4(150) }), [DropReason::Own]);
    assert_eq!(dropped(Advertisement { interval_cs: 0, ..v4(150) }), [DropReason::ZeroInterval]);
    assert_eq!(dropped(Advertisement { addresses: vec![], ..v4(150) }), [DropReason::NoAddresses]);
    assert_eq!(rig.machine.view(Time(rig.now)).instances[0].heard, None);
}

#[test]
fn a_dropped_advertisement_does_not_put_the_timer_back() {
    let mut rig = Rig::backup(v4_only());
    rig.pass(ACTIVE_DOWN_US - 1);
    rig.hear(Advertisement { vrid: 52, ..v4(255) });
    rig.hear(Advertisement { interval_cs: 0, ..v4(255) });
    assert_eq!(rig.due_in(), 1);
}

#[test]
fn an_address_owner_of_another_make_is_heard() {
    let mut rig = Rig::active(v4_only());
    assert_eq!(reasons(&rig.hear_priority(255)), [Reason::HigherPriority]);
}

#[test]
fn other_addresses_are_told_once_and_do_not_matter() {
    let mut rig = Rig::backup(v4_only());
    let wider = Advertisement {
        addresses: vec![[10, 0, 0, 100].into(), [10, 0, 0, 101].into()],
        ..v4(150)
    };
    let source = wider.source;
    assert_eq!(notes(&rig.hear(wider.clone())), [&Note::AddressListDiffers { source }]);
    assert_eq!(rig.pass(INTERVAL_US).hear(wider), []);
    assert_eq!(rig.due_in(), ACTIVE_DOWN_US);
}

#[test]
fn another_interval_is_told_once_a_minute() {
    let mut rig = Rig::backup(v4_only());
    let slower = Advertisement { interval_cs: 100, ..v4(150) };
    let source = slower.source;
    let note = Note::IntervalDiffers { source, interval_cs: 100 };
    assert_eq!(notes(&rig.hear(slower.clone())), [&note]);
    assert_eq!(notes(&rig.pass(59_999_999).hear(slower.clone())), [] as [&Note; 0]);
    assert_eq!(notes(&rig.pass(1).hear(slower)), [&note]);
    assert_eq!(notes(&rig.hear_priority(150)), [] as [&Note; 0]);
}
