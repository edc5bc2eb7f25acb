//! Link, source, standing, configuration, shutdown.

use super::*;
use crate::config::ConfigError;
use crate::machine::Idle;

fn idle(rig: &Rig) -> Option<Idle> {
    rig.machine.view(Time(rig.now)).idle
}

fn assert_released(effects: &[Effect], why: Reason) {
    assert!(
        matches!(
            effects,
            [
                Effect::RemoveAddresses(_),
                Effect::SendAdvertisement(Advertisement { priority: 0, .. }),
                Effect::Notify(Transition { to: State::Initialize, reason, .. }),
            ] if *reason == why
        ),
        "{effects:?}"
    );
}

#[test]
fn shutdown_removes_addresses_then_releases() {
    let mut rig = Rig::active(v4_only());
    assert_released(&rig.give(Input::Shutdown), Reason::Shutdown);
    assert_eq!((idle(&rig), rig.machine.next_deadline()), (Some(Idle::ShutDown), None));
    assert_eq!(rig.give(Input::LinkUp), []);
    assert_eq!(rig.give(standing(OWN)), []);
    assert_eq!(rig.give(Input::TakeOver), []);
    assert_eq!(rig.state(), State::Initialize);
}

#[test]
fn a_backup_that_shuts_down_sends_nothing() {
    let mut rig = Rig::backup(v4_only());
    let effects = rig.give(Input::Shutdown);
    assert_eq!((sent(&effects).len(), reasons(&effects)), (0, vec![Reason::Shutdown]));
}

#[test]
fn whatever_makes_the_node_unable_releases() {
    let all = [
        Unable::Starting,
        Unable::Offline,
        Unable::Maintenance,
        Unable::DataPlaneDead,
        Unable::InterfaceMissing,
        Unable::KernelRefused,
    ];
    for why in all {
        let mut rig = Rig::active(v4_only());
        assert_released(&rig.give(unable(why)), Reason::Unable(why));
        assert_eq!(idle(&rig), Some(Idle::Unable(why)));
        assert_eq!(drops(&rig.hear_priority(1)), [DropReason::NotTakingPart]);
        // It listens like anybody new when it comes back.
        assert_eq!(reasons(&rig.give(standing(OWN))), [Reason::Able]);
        assert_eq!(rig.due_in(), ACTIVE_DOWN_US);
    }
}

#[test]
fn a_dead_link_carries_no_release() {
    let mut rig = Rig::active(v4_only());
    let effects = rig.give(Input::LinkDown);
    assert!(matches!(&effects[..], [Effect::RemoveAddresses(_), Effect::Notify(_)]));
    assert_eq!(idle(&rig), Some(Idle::LinkDown));
    assert_eq!(rig.give(Input::LinkDown), []);
    assert_eq!(reasons(&rig.give(Input::LinkUp)), [Reason::Able]);
}

#[test]
fn a_group_without_a_source_takes_no_part() {
    let mut rig = Rig::active(both_families());
    let gone = Input::AddressChanged { family: Family::V6, source: None };
    let effects = rig.give(gone);
    // The family that can still speak releases.
    assert_eq!(sent(&effects).iter().map(|one| one.family).collect::<Vec<_>>(), [Family::V4]);
    assert_eq!(sent_priorities(&effects), [0]);
    assert_eq!(idle(&rig), Some(Idle::NoSource(Family::V6)));
    let source = Some("fe80::6".parse().unwrap());
    let back = Input::AddressChanged { family: Family::V6, source };
    assert_eq!(reasons(&rig.give(back)), [Reason::Able]);
}

#[test]
fn a_source_of_the_other_family_is_none() {
    let mut rig = Rig::active(v4_only());
    let source = Some("fe80::6".parse().unwrap());
    rig.give(Input::AddressChanged { family: Family::V4, source });
    assert_eq!(idle(&rig), Some(Idle::NoSource(Family::V4)));
}

#[test]
fn another_source_is_advertised_from_at_once() {
    let mut rig = Rig::active(v4_only());
    let source: IpAddr = [10, 0, 0, 6].into();
    let effects =
        rig.pass(50_000).give(Input::AddressChanged { family: Family::V4, source: Some(source) });
    assert_eq!(sent(&effects).iter().map(|one| one.source).collect::<Vec<_>>(), [source]);
    assert_eq!(rig.state(), State::Active);
}

#[test]
fn another_priority_is_advertised_at_once() {
    let mut rig = Rig::active(v4_only());
    assert_eq!(sent_priorities(&rig.pass(50_000).give(standing(150))), [150]);
    // The same one is not.
    assert_eq!(rig.pass(50_000).give(standing(150)), []);
}

#[test]
fn addresses_change_without_leaving_active() {
    let mut rig = Rig::active(v4_only());
    rig.run(10_000_000);
    let mut config = v4_only();
    config.instances[0].addresses = vec![[10, 0, 0, 101].into(), [10, 0, 0, 102].into()];
    let addresses = config.instances[0].addresses.clone();
    let effects = rig.give(Input::ConfigChanged(Box::new(config)));
    assert!(
        matches!(
            &effects[..],
            [
                Effect::RemoveAddresses(removed),
                Effect::AddAddresses(added),
                Effect::SendAdvertisement(advertisement),
                Effect::Announce { repeat_count: 5 },
            ] if *removed == vips_v4() && *added == addresses
                && advertisement.addresses == addresses
        ),
        "{effects:?}"
    );
    assert_eq!(rig.state(), State::Active);
    assert_eq!(rig.machine.held_addresses(), addresses);
}

#[test]
fn another_interval_counts_at_once() {
    let mut rig = Rig::active(v4_only());
    let effects =
        rig.give(Input::ConfigChanged(Box::new(GroupConfig { interval_cs: 10, ..v4_only() })));
    assert_eq!(sent(&effects)[0].interval_cs, 10);
    assert_eq!(rig.due_in(), 100_000);
}

#[test]
fn the_same_configuration_changes_nothing() {
    for mut rig in [Rig::active(both_families()), Rig::backup(both_families())] {
        assert_eq!(rig.give(Input::ConfigChanged(Box::new(both_families()))), []);
    }
}

#[test]
fn another_vrid_is_released_under_the_old_one_and_listened_to_first() {
    let mut rig = Rig::active(v4_only());
    let other = GroupConfig { vrid: 52, ..v4_only() };
    let effects = rig.give(Input::ConfigChanged(Box::new(other)));
    assert_eq!(reasons(&effects), [Reason::Reconfigured, Reason::Able]);
    let released = sent(&effects)[0];
    assert_eq!((released.vrid, released.priority), (VRID, 0));
    assert_eq!((rig.state(), rig.due_in()), (State::Backup, ACTIVE_DOWN_US));
}

#[test]
fn an_active_that_gets_another_family_stays_active_and_serves_it_at_once() {
    let mut rig = Rig::active(v4_only());
    let effects = rig.give(Input::ConfigChanged(Box::new(both_families())));
    assert_eq!(effects[0], Effect::AddAddresses(vips_v6()));
    let families: Vec<_> = sent(&effects).iter().map(|one| one.family).collect();
    assert_eq!(families, [Family::V4, Family::V6]);
    assert_eq!((reasons(&effects), rig.state()), (vec![], State::Active));
    let effects = rig.give(Input::ConfigChanged(Box::new(v4_only())));
    assert_eq!(effects[0], Effect::RemoveAddresses(vips_v6()));
    // No release: it would have others take over what stays.
    assert!(sent(&effects).iter().all(|one| one.family == Family::V4 && one.priority == OWN));
    assert_eq!((rig.state(), rig.machine.held_addresses()), (State::Active, &vips_v4()[..]));
}

#[test]
fn a_backup_that_gets_another_family_goes_on_backing_up() {
    let mut rig = Rig::backup(v4_only());
    rig.hear_priority(180);
    assert_eq!(rig.give(Input::ConfigChanged(Box::new(both_families()))), []);
    // The Active does not know of the family yet: it keeps the group all the same.
    for _ in 0..10 {
        assert_eq!(rig.run(INTERVAL_US), []);
        rig.hear_priority(180);
    }
    assert_eq!(rig.due_in(), ACTIVE_DOWN_US);
    assert_eq!(reasons(&rig.tick_when_due()), [Reason::Silence]);
    assert_eq!(rig.machine.held_addresses().len(), 3);
}

#[test]
fn a_family_that_nobody_was_heard_in_is_waited_for_once() {
    let mut rig = Rig::backup(v4_only());
    rig.hear_priority(180);
    rig.run(ACTIVE_DOWN_US - 1);
    rig.give(Input::ConfigChanged(Box::new(both_families())));
    assert_eq!(rig.due_in(), ACTIVE_DOWN_US);
    assert_eq!(reasons(&rig.tick_when_due()), [Reason::Silence]);
}

#[test]
fn a_source_that_the_kernel_lost_is_not_brought_back_by_a_configuration() {
    let mut rig = Rig::active(v4_only());
    rig.give(Input::AddressChanged { family: Family::V4, source: None });
    let config = GroupConfig { interval_cs: 10, ..v4_only() };
    rig.give(Input::ConfigChanged(Box::new(config)));
    assert_eq!(idle(&rig), Some(Idle::NoSource(Family::V4)));
}

#[test]
fn a_configuration_that_cannot_be_is_refused() {
    let mut rig = Rig::active(v4_only());
    let bad = GroupConfig { vrid: 0, ..v4_only() };
    let effects = rig.give(Input::ConfigChanged(Box::new(bad.clone())));
    assert_eq!(notes(&effects), [&Note::ConfigRefused(ConfigError::ZeroVrid)]);
    assert_eq!(*rig.machine.config(), v4_only());
    assert_eq!(GroupMachine::new(bad, Time(0)), Err(ConfigError::ZeroVrid));
}
