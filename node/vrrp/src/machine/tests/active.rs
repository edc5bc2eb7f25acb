//! RFC 9568 §6.4.3.

use super::*;

#[test]
fn an_active_advertises_every_interval() {
    let mut rig = Rig::active(v4_only());
    let effects = rig.run(10 * INTERVAL_US);
    assert_eq!(sent_priorities(&effects), [OWN; 10]);
    assert_eq!(transitions(&effects), [] as [&Transition; 0]);
}

#[test]
fn lateness_within_reason_does_not_add_up() {
    let mut rig = Rig::active(v4_only());
    let wait = rig.due_in();
    rig.pass(wait + 1_500).give(Input::Tick);
    assert_eq!(rig.due_in(), INTERVAL_US - 1_500);
}

#[test]
fn a_higher_priority_is_yielded_to() {
    let mut rig = Rig::active(v4_only());
    let effects = rig.pass(1_000).hear_priority(OWN + 1);
    assert!(matches!(
        &effects[..],
        [Effect::RemoveAddresses(addresses), Effect::Notify(_), Effect::SendAdvertisement(_)]
            if *addresses == vips_v4()
    ));
    // A winner that did not hear its rival learns of it, and announces its addresses again.
    assert_eq!(sent_priorities(&effects), [OWN]);
    let transition = transitions(&effects)[0];
    assert_eq!((transition.to, transition.reason), (State::Backup, Reason::HigherPriority));
    assert_eq!(transition.facts.heard.map(|heard| heard.priority), Some(OWN + 1));
    assert_eq!(rig.due_in(), ACTIVE_DOWN_US);
}

#[test]
fn the_interval_of_the_better_one_is_adopted() {
    let mut rig = Rig::active(v4_only());
    rig.hear(Advertisement { interval_cs: 100, ..v4(OWN + 1) });
    assert_eq!(rig.due_in(), 5 * ACTIVE_DOWN_US);
}

#[test]
fn a_tie_goes_to_the_higher_address() {
    let mut rig = Rig::active(v4_only());
    assert_eq!(reasons(&rig.hear(v4_from([10, 0, 0, 9], OWN))), [Reason::TieLost]);

    let mut rig = Rig::active(v4_only());
    assert_eq!(reasons(&rig.hear(v4_from([10, 0, 0, 4], OWN))), []);
    assert_eq!(rig.state(), State::Active);
}

#[test]
fn addresses_are_compared_as_unsigned_bytes() {
    let mut rig = Rig::active(v4_only());
    // 200 would be negative as a signed byte.
    assert_eq!(reasons(&rig.hear(v4_from([200, 0, 0, 1], OWN))), [Reason::TieLost]);
    let mut rig = Rig::active(v4_only());
    // The last byte is the larger one, and does not matter.
    assert_eq!(reasons(&rig.hear(v4_from([9, 0, 0, 200], OWN))), []);
}

#[test]
fn a_lower_priority_is_answered_at_once() {
    let mut rig = Rig::active(v4_only());
    let effects = rig.pass(50_000).hear_priority(OWN - 1);
    assert_eq!(sent_priorities(&effects), [OWN]);
    assert_eq!(drops(&effects), [DropReason::LowerPriority]);
    assert_eq!(rig.state(), State::Active);
    // The regular one follows an interval later.
    assert_eq!(rig.due_in(), INTERVAL_US);
}

#[test]
fn a_release_while_active_is_answered_at_once() {
    let mut rig = Rig::active(v4_only());
    let effects = rig.pass(50_000).hear_priority(0);
    assert_eq!(sent_priorities(&effects), [OWN]);
    assert_eq!((rig.state(), rig.due_in()), (State::Active, INTERVAL_US));
}

#[test]
fn a_flood_of_rivals_is_not_answered_by_a_flood() {
    let mut rig = Rig::active(v4_only());
    rig.pass(50_000);
    let mut effects = Vec::new();
    for _ in 0..1_000 {
        effects.extend(rig.pass(100).hear_priority(OWN - 1));
        if rig.due_in() == 0 {
            effects.extend(rig.give(Input::Tick));
        }
    }
    // 100 ms at one in 10 ms.
    assert!((8..=11).contains(&sent(&effects).len()), "{}", sent(&effects).len());
    assert_eq!(frames_count(&effects), 5);
}

#[test]
fn nothing_that_is_heard_keeps_the_regular_advertisements_from_going_out() {
    let mut rig = Rig::active(v4_only());
    let effects = rig.run(INTERVAL_US);
    assert_eq!(sent(&effects).len(), 1);
    rig.hear(Advertisement { vrid: 52, ..v4(255) });
    assert_eq!(rig.due_in(), INTERVAL_US);
}
