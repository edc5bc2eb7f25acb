//! Degradation, failback, manual moves, and the brake on moves that nobody's death asks for.

use super::*;

const DEGRADED: u8 = 96;

fn failback(delay_ms: u32) -> GroupConfig {
    GroupConfig { preempt: Preempt::After { delay_ms }, ..v4_only() }
}

fn braked(priority: u8) -> Input {
    Input::Standing(Standing { unable: None, priority, may_volunteer: false })
}

#[test]
fn a_healthy_backup_takes_over_from_a_degraded_active() {
    let mut rig = Rig::backup(v4_only());
    rig.hear_priority(127);
    assert_eq!(rig.due_in(), SKEW_US);
    let effects = rig.tick_when_due();
    assert_eq!(reasons(&effects), [Reason::PeerDegraded]);
    assert!(Reason::PeerDegraded.is_voluntary());
}

#[test]
fn a_healthy_active_of_low_preference_is_left_alone() {
    let mut rig = Rig::backup(v4_only());
    rig.hear_priority(128);
    assert_eq!(rig.due_in(), ACTIVE_DOWN_US);
}

#[test]
fn a_degraded_backup_leaves_a_degraded_active_alone() {
    let mut rig = Rig::backup(v4_only());
    rig.give(standing(DEGRADED));
    rig.hear_priority(DEGRADED - 50);
    assert!(rig.due_in() > 3 * INTERVAL_US);
}

#[test]
fn who_is_left_to_serve_takes_over_from_one_that_leaves_even_degraded_and_braked() {
    let mut rig = Rig::backup(v4_only());
    rig.give(braked(DEGRADED));
    rig.hear_priority(LEAVING_PRIORITY);
    let effects = rig.tick_when_due();
    assert_eq!(reasons(&effects), [Reason::PeerLeaving]);
    assert!(!Reason::PeerLeaving.is_voluntary());
}

#[test]
fn a_router_outside_the_cluster_keeps_what_it_has_at_any_priority() {
    let foreign_routers = vec![[10, 0, 0, 9].into()];
    let group = GroupConfig { foreign_routers, ..v4_only() };
    for priority in [LEAVING_PRIORITY, 100, 127] {
        let mut rig = Rig::backup(group.clone());
        rig.hear_priority(priority);
        assert_eq!(rig.due_in(), ACTIVE_DOWN_US, "{priority}");
    }
    let preempt = Preempt::After { delay_ms: 0 };
    let mut rig = Rig::backup(GroupConfig { preempt, ..group });
    rig.hear_priority(100);
    assert_eq!(reasons(&rig.tick_when_due()), [Reason::Failback]);
}

#[test]
fn of_two_that_leave_neither_takes_over() {
    let mut rig = Rig::backup(v4_only());
    rig.give(standing(LEAVING_PRIORITY));
    rig.hear_priority(LEAVING_PRIORITY);
    assert!(rig.due_in() > 3 * INTERVAL_US);
}

#[test]
fn one_that_stays_after_all_keeps_the_group() {
    let mut rig = Rig::backup(v4_only());
    rig.hear_priority(LEAVING_PRIORITY);
    rig.pass(SKEW_US - 1).hear_priority(180);
    assert_eq!(rig.due_in(), ACTIVE_DOWN_US);
    assert_eq!(rig.state(), State::Backup);
}

#[test]
fn an_active_that_recovers_in_time_keeps_the_group() {
    let mut rig = Rig::backup(v4_only());
    rig.hear_priority(DEGRADED);
    rig.pass(SKEW_US - 1).hear_priority(180);
    assert_eq!(rig.due_in(), ACTIVE_DOWN_US);
}

#[test]
fn a_backup_that_degrades_meanwhile_waits_for_silence() {
    let mut rig = Rig::backup(v4_only());
    rig.hear_priority(DEGRADED);
    rig.give(standing(DEGRADED));
    assert_eq!(rig.tick_when_due(), []);
    assert_eq!(rig.state(), State::Backup);
    assert!(rig.due_in() > 3 * INTERVAL_US);
}

#[test]
fn failback_waits_until_the_node_was_better_for_the_delay() {
    let mut rig = Rig::backup(failback(1_000));
    for _ in 0..5 {
        rig.hear_priority(150);
        assert_eq!(rig.due_in(), ACTIVE_DOWN_US);
        rig.pass(INTERVAL_US);
    }
    rig.hear_priority(150);
    assert_eq!(rig.due_in(), SKEW_US);
    assert_eq!(reasons(&rig.tick_when_due()), [Reason::Failback]);
}

#[test]
fn being_worse_for_a_moment_starts_the_delay_anew() {
    let mut rig = Rig::backup(failback(1_000));
    rig.hear_priority(150);
    rig.pass(900_000).give(standing(140));
    rig.give(standing(OWN));
    assert_eq!(rig.machine.view(Time(rig.now)).failback_in_us, None);
    rig.pass(100_000).hear_priority(150);
    assert_eq!(rig.machine.view(Time(rig.now)).failback_in_us, Some(1_000_000));
    assert_eq!(rig.due_in(), ACTIVE_DOWN_US);
}

#[test]
fn the_brake_holds_moves_of_preference_and_says_so_once() {
    let mut rig = Rig::backup(v4_only());
    rig.give(braked(OWN));
    let reason = Reason::PeerDegraded;
    assert_eq!(notes(&rig.hear_priority(DEGRADED)), [&Note::Braked { reason }]);
    assert_eq!(notes(&rig.pass(INTERVAL_US).hear_priority(DEGRADED)), [] as [&Note; 0]);
    assert_eq!(rig.due_in(), ACTIVE_DOWN_US);
    // And lets go.
    rig.give(standing(OWN));
    rig.hear_priority(DEGRADED);
    assert_eq!(rig.due_in(), SKEW_US);
}

#[test]
fn a_brake_that_closes_meanwhile_holds() {
    let mut rig = Rig::backup(v4_only());
    rig.hear_priority(DEGRADED);
    rig.give(braked(OWN));
    assert_eq!(rig.tick_when_due(), []);
    assert_eq!(rig.state(), State::Backup);
}

#[test]
fn the_brake_does_not_hold_when_the_active_dies_or_releases() {
    let mut rig = Rig::backup(v4_only());
    rig.give(braked(OWN));
    rig.hear_priority(DEGRADED);
    assert_eq!(reasons(&rig.tick_when_due()), [Reason::Silence]);

    let mut rig = Rig::backup(v4_only());
    rig.give(braked(OWN));
    rig.hear_priority(0);
    assert_eq!(reasons(&rig.tick_when_due()), [Reason::Released]);
}

#[test]
fn a_manual_move_happens_at_once_and_insists() {
    let mut rig = Rig::backup(v4_only());
    rig.hear_priority(200);
    let effects = rig.give(Input::TakeOver);
    assert_eq!(reasons(&effects), [Reason::TakenOver]);
    assert_eq!(sent_priorities(&effects), [254]);
    assert_eq!(rig.machine.priority(), 254);
    // The one before hears 254; were it to speak up, it would be answered.
    assert_eq!(sent_priorities(&rig.pass(50_000).hear_priority(253)), [254]);
}

#[test]
fn a_manual_owner_is_one_until_it_is_no_longer_active() {
    let mut rig = Rig::backup(failback(0));
    rig.give(Input::TakeOver);
    rig.hear_priority(255);
    assert_eq!((rig.state(), rig.machine.priority()), (State::Backup, OWN));
}

#[test]
fn failback_does_not_undo_a_manual_move() {
    let mut rig = Rig::backup(failback(0));
    rig.hear_priority(254);
    assert_eq!(rig.due_in(), ACTIVE_DOWN_US);
}

#[test]
fn an_owner_by_preference_can_be_made_one_by_hand() {
    let mut rig = Rig::active(v4_only());
    assert_eq!(sent_priorities(&rig.pass(50_000).give(Input::TakeOver)), [254]);
    assert!(rig.machine.view(Time(rig.now)).is_manual);
}

#[test]
fn a_manual_owner_that_degrades_can_be_relieved() {
    let mut rig = Rig::backup(v4_only());
    rig.give(Input::TakeOver);
    let effects = rig.pass(50_000).give(standing(DEGRADED));
    assert_eq!(sent_priorities(&effects), [DEGRADED]);
    assert_eq!(sent_priorities(&rig.pass(50_000).give(standing(150))), [254]);
}

#[test]
fn an_operator_may_choose_a_degraded_node() {
    let mut rig = Rig::backup(v4_only());
    rig.give(standing(DEGRADED));
    assert_eq!(sent_priorities(&rig.give(Input::TakeOver)), [254]);
    // But not one that becomes worse still.
    let worse = rig.pass(50_000).give(standing(DEGRADED - 1));
    assert_eq!(sent_priorities(&worse), [DEGRADED - 1]);
}

#[test]
fn who_hands_over_stops_insisting_and_goes_when_the_other_is_heard() {
    let mut rig = Rig::backup(v4_only());
    rig.give(Input::TakeOver);
    let effects = rig.pass(50_000).give(Input::HandOver);
    assert_eq!(sent_priorities(&effects), [OWN]);
    assert_eq!(rig.state(), State::Active);
    assert_eq!(reasons(&rig.pass(1_000).hear_priority(254)), [Reason::HigherPriority]);
}

#[test]
fn a_node_that_takes_no_part_refuses_a_manual_move() {
    use crate::effect::Refusal;
    let mut rig = Rig::new(v4_only());
    let refusal = Refusal::NotTakingPart;
    assert_eq!(notes(&rig.give(Input::TakeOver)), [&Note::TakeOverRefused { refusal }]);
    assert_eq!(rig.state(), State::Initialize);
}

#[test]
fn an_operator_can_send_the_group_away() {
    let mut rig = Rig::active(v4_only());
    let effects = rig.give(Input::StepDown);
    assert!(matches!(
        &effects[..],
        [
            Effect::RemoveAddresses(_),
            Effect::SendAdvertisement(Advertisement { priority: 0, .. }),
            Effect::Notify(Transition { to: State::Backup, reason: Reason::SteppedDown, .. }),
        ]
    ));
    assert_eq!(rig.due_in(), ACTIVE_DOWN_US);
    // Nobody to send away.
    assert_eq!(rig.give(Input::StepDown), []);
}

#[test]
fn priorities_that_are_not_a_standing_are_put_right() {
    let mut rig = Rig::backup(v4_only());
    for (given, taken) in [(0, 1), (254, 253), (255, 253), (128, 128)] {
        rig.give(standing(given));
        assert_eq!(rig.machine.priority(), taken);
    }
}

#[test]
fn a_successor_goes_on_as_active_at_once_and_without_a_release() {
    let mut rig = Rig::backup(v4_only());
    let effects = rig.give(Input::Resume { is_manual: false });
    assert_eq!(rig.state(), State::Active);
    assert_eq!(reasons(&effects), [Reason::Resumed]);
    assert!(matches!(effects[0], Effect::AddAddresses(_)));
    let is_release =
        |effect: &Effect| matches!(effect, Effect::SendAdvertisement(it) if it.priority == 0);
    assert!(!effects.iter().any(is_release));
    assert!(!rig.machine.view(Time(rig.now)).is_manual);
}

#[test]
fn a_successor_of_a_manual_owner_is_one() {
    let mut rig = Rig::backup(v4_only());
    rig.give(Input::Resume { is_manual: true });
    assert!(rig.machine.view(Time(rig.now)).is_manual);
}

#[test]
fn an_active_that_rested_goes_on_though_its_timer_is_late() {
    let mut rig = Rig::active(v4_only());
    rig.pass(10 * INTERVAL_US);
    let effects = rig.give(Input::Resume { is_manual: false });
    assert_eq!(rig.state(), State::Active);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::SendAdvertisement(_))));
}

#[test]
fn who_takes_no_part_resumes_nothing() {
    let mut rig = Rig::new(v4_only());
    rig.give(Input::Resume { is_manual: false });
    assert_eq!(rig.state(), State::Initialize);
}
