//! IPv4 and IPv6 of one group: Active in both or in none.

use super::*;

#[test]
fn one_family_that_is_heard_keeps_both_in_backup() {
    let mut rig = Rig::backup(both_families());
    for _ in 0..20 {
        rig.pass(INTERVAL_US).hear(v6(150));
        assert_eq!(rig.give(Input::Tick), []);
    }
    assert_eq!(rig.state(), State::Backup);
}

#[test]
fn both_families_become_active_together() {
    let mut rig = Rig::backup(both_families());
    rig.hear_priority(150);
    rig.pass(50_000).hear(v6(150));
    // The later of the two timers.
    assert_eq!(rig.due_in(), ACTIVE_DOWN_US);
    let effects = rig.tick_when_due();
    let families: Vec<_> = sent(&effects).iter().map(|one| one.family).collect();
    assert_eq!(families, [Family::V4, Family::V6]);
    let mut addresses = vips_v4();
    addresses.extend(vips_v6());
    assert_eq!(rig.machine.held_addresses(), addresses);
}

#[test]
fn a_better_router_in_one_family_takes_both() {
    let mut rig = Rig::active(both_families());
    let effects = rig.hear(v6(OWN + 1));
    assert_eq!(reasons(&effects), [Reason::HigherPriority]);
    assert!(rig.machine.held_addresses().is_empty());
}

#[test]
fn the_first_family_decides_a_tie() {
    let higher_v6 = v6(OWN);
    let lower_v4 = v4_from([10, 0, 0, 4], OWN);

    let mut rig = Rig::active(both_families());
    rig.hear(lower_v4.clone());
    for _ in 0..20 {
        assert_eq!(reasons(&rig.hear(higher_v6.clone())), []);
        rig.run(INTERVAL_US);
        rig.hear(lower_v4.clone());
    }
    assert_eq!(rig.state(), State::Active);
    // And where the first family says so, the group goes.
    assert_eq!(reasons(&rig.hear(v4(OWN))), [Reason::TieLost]);
}

#[test]
fn another_family_decides_a_tie_once_the_first_is_long_silent() {
    let mut rig = Rig::active(both_families());
    let begin = rig.now;
    while rig.state() == State::Active && rig.now - begin < 10 * INTERVAL_US {
        rig.hear(v6(OWN));
        if rig.state() == State::Active {
            rig.run(INTERVAL_US);
        }
    }
    assert_eq!(rig.state(), State::Backup);
    // By then a rival that hears our first family would have given in.
    assert!(rig.now - begin > ACTIVE_DOWN_US);
}

#[test]
fn a_group_of_ipv6_alone_decides_its_ties() {
    let mut config = both_families();
    config.instances.remove(0);
    let mut rig = Rig::active(config);
    assert_eq!(reasons(&rig.hear(v6(OWN))), [Reason::TieLost]);
}

#[test]
fn a_release_of_a_known_node_stands_for_both_families() {
    let mut rig = Rig::backup(GroupConfig { signed: true, ..both_families() });
    rig.give(signed_by(7, v4(150)));
    rig.give(signed_by(7, v6(150)));
    // The release over IPv6 is lost.
    rig.pass(50_000).give(signed_by(7, v4(0)));
    assert_eq!(rig.due_in(), SKEW_US);
    assert_eq!(reasons(&rig.tick_when_due()), [Reason::Released]);
}

#[test]
fn a_release_of_an_unknown_node_stands_for_its_family_alone() {
    let mut rig = Rig::backup(both_families());
    rig.hear_priority(150);
    rig.hear(v6(150));
    rig.hear_priority(0);
    assert_eq!(rig.due_in(), ACTIVE_DOWN_US);
    rig.hear(v6(0));
    assert_eq!(rig.due_in(), SKEW_US);
}
