//! Who was not served in time.

use super::*;

#[test]
fn an_active_that_slept_steps_down_before_anything_else() {
    let mut rig = Rig::active(v4_only());
    rig.pass(3 * INTERVAL_US + 1);
    let effects = rig.give(Input::Tick);
    assert!(matches!(&effects[..], [Effect::RemoveAddresses(_), Effect::Notify(_)]));
    let transition = transitions(&effects)[0];
    assert_eq!((transition.to, transition.reason), (State::Backup, Reason::LateTick));
    assert_eq!(transition.facts.late_us, 2 * INTERVAL_US + 1);
    assert_eq!(rig.due_in(), INTERVAL_US + SKEW_US);
}

#[test]
fn two_intervals_are_not_late_yet() {
    let mut rig = Rig::active(v4_only());
    let effects = rig.pass(3 * INTERVAL_US).give(Input::Tick);
    assert_eq!(sent_priorities(&effects), [OWN]);
    assert_eq!(rig.state(), State::Active);
}

#[test]
fn whatever_comes_first_after_the_sleep_finds_no_active() {
    let mut rig = Rig::active(v4_only());
    rig.pass(10 * INTERVAL_US);
    // The answer that an Active would give to this is not given.
    let effects = rig.hear_priority(150);
    assert_eq!(reasons(&effects), [Reason::LateTick]);
    assert_eq!(sent(&effects), [] as [&Advertisement; 0]);
    assert_eq!(rig.due_in(), ACTIVE_DOWN_US);
}

#[test]
fn who_steps_down_late_and_hears_nobody_is_active_soon_again() {
    let mut rig = Rig::active(v4_only());
    rig.pass(10 * INTERVAL_US).give(Input::Tick);
    rig.pass(INTERVAL_US + SKEW_US);
    rig.give(Input::Tick);
    assert_eq!(rig.state(), State::Active);
}

#[test]
fn a_backup_that_slept_listens_before_it_takes_over() {
    let mut rig = Rig::backup(v4_only());
    rig.hear_priority(150);
    rig.pass(ACTIVE_DOWN_US + 2 * INTERVAL_US + 1);
    assert_eq!(rig.give(Input::Tick), []);
    assert_eq!(rig.due_in(), INTERVAL_US + SKEW_US);
    rig.hear_priority(150);
    assert_eq!(rig.due_in(), ACTIVE_DOWN_US);
}

#[test]
fn a_backup_that_is_a_little_late_takes_over() {
    let mut rig = Rig::backup(v4_only());
    rig.pass(ACTIVE_DOWN_US + 2 * INTERVAL_US).give(Input::Tick);
    assert_eq!(rig.state(), State::Active);
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let mut rig = Rig::backup(v4_only());
    rig.hear_priority(150);
    rig.now -= 500_000;
    rig.hear_priority(150);
    assert_eq!(rig.due_in(), ACTIVE_DOWN_US);
    assert_eq!(rig.machine.view(Time(rig.now + 7)).instances[0].heard_ago_us, Some(7));
    rig.tick_when_due();
    assert_eq!(rig.state(), State::Active);
    rig.now -= 1_000_000;
    assert_eq!(rig.give(Input::Tick), []);
    assert_eq!(rig.due_in(), INTERVAL_US);
}
