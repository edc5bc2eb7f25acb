//! A VRID that somebody else uses on the same segment.

use super::*;
use crate::effect::Refusal;

fn stranger() -> Advertisement {
    Advertisement { addresses: vec![[10, 0, 0, 77].into()], ..v4(100) }
}

fn in_use(rig: &Rig) -> Option<IpAddr> {
    rig.machine.view(Time(rig.now)).vrid_in_use.map(|in_use| in_use.by)
}

#[test]
fn a_vrid_in_use_is_not_joined_while_that_lasts() {
    let mut rig = Rig::backup(v4_only());
    let by = stranger().source;
    let effects = rig.hear(stranger());
    assert_eq!(notes(&effects), [&Note::VridInUse { by }]);
    assert_eq!(drops(&effects), [DropReason::VridClash]);
    for _ in 0..20 {
        assert_eq!(notes(&rig.hear(stranger())), [] as [&Note; 0]);
        assert_eq!(rig.run(INTERVAL_US), []);
    }
    assert_eq!((rig.state(), in_use(&rig)), (State::Backup, Some(by)));
    // Three of its intervals and the skew after it was heard last.
    let effects = rig.run(2 * INTERVAL_US + SKEW_US);
    assert_eq!(notes(&effects), [&Note::VridFree]);
    assert_eq!(rig.state(), State::Active);
}

#[test]
fn a_stranger_with_a_low_priority_is_not_pushed_aside() {
    let mut rig = Rig::backup(GroupConfig { preempt: Preempt::After { delay_ms: 0 }, ..v4_only() });
    rig.hear(Advertisement { priority: 1, ..stranger() });
    rig.run(2 * INTERVAL_US);
    assert_eq!(rig.state(), State::Backup);
}

#[test]
fn a_stranger_that_releases_is_gone() {
    let mut rig = Rig::backup(v4_only());
    rig.hear(stranger());
    rig.hear(Advertisement { priority: 0, ..stranger() });
    let effects = rig.give(Input::Tick);
    assert_eq!(notes(&effects), [&Note::VridFree]);
    // What is left is the listening of every start.
    assert_eq!(rig.due_in(), ACTIVE_DOWN_US);
}

#[test]
fn an_operator_cannot_join_a_vrid_in_use() {
    let mut rig = Rig::backup(v4_only());
    rig.hear(stranger());
    let refusal = Refusal::VridInUse;
    assert_eq!(notes(&rig.give(Input::TakeOver)), [&Note::TakeOverRefused { refusal }]);
    assert_eq!(rig.state(), State::Backup);
}

#[test]
fn a_group_that_is_heard_too_is_joined() {
    let mut rig = Rig::backup(v4_only());
    rig.hear(stranger());
    assert_eq!(notes(&rig.hear_priority(150)), [&Note::VridFree]);
    assert_eq!((in_use(&rig), rig.due_in()), (None, ACTIVE_DOWN_US));
}

#[test]
fn unsigned_advertisements_are_strangers_where_signing_is_on() {
    let signed = GroupConfig { signed: true, ..v4_only() };
    let mut rig = Rig::backup(signed.clone());
    assert_eq!(drops(&rig.hear_priority(150)), [DropReason::VridClash]);
    assert!(in_use(&rig).is_some());

    // And ignored once the node has joined, whatever they say.
    let mut rig = Rig::active(signed);
    let effects = rig.hear_priority(255);
    assert_eq!(drops(&effects), [DropReason::Unsigned]);
    assert_eq!(notes(&effects), [&Note::VridClash { by: [10, 0, 0, 9].into() }]);
    assert_eq!(notes(&rig.hear_priority(255)), [] as [&Note; 0]);
    assert_eq!(rig.state(), State::Active);
}

#[test]
fn another_clusters_signatures_are_strangers_too() {
    for bad in [DropReason::BadSignature, DropReason::UnknownKey] {
        let received = |advertisement| {
            Input::Advertisement(Received {
                advertisement,
                signature: Signature::Bad(bad),
                checksum: ChecksumForm::Rfc9568,
            })
        };
        let signed = GroupConfig { signed: true, ..v4_only() };
        let mut rig = Rig::backup(signed.clone());
        rig.give(received(v4(150)));
        assert!(in_use(&rig).is_some());
        let mut rig = Rig::active(signed);
        assert_eq!(drops(&rig.give(received(v4(255)))), [bad]);
        assert_eq!(rig.state(), State::Active);
    }
}

#[test]
fn without_signing_a_group_that_was_joined_follows_the_rfc() {
    let mut rig = Rig::active(v4_only());
    let effects = rig.hear(Advertisement { priority: 255, ..stranger() });
    assert_eq!(reasons(&effects), [Reason::HigherPriority]);
    assert!(matches!(notes(&effects)[..], [Note::AddressListDiffers { .. }]));
}

#[test]
fn a_shared_link_local_address_makes_no_kinship() {
    let mut config = both_families();
    config.instances.remove(0);
    let mut rig = Rig::backup(config);
    let link_local = vips_v6()[0];
    let addresses = vec![link_local, "fd00::77".parse().unwrap()];
    rig.hear(Advertisement { addresses, ..v6(100) });
    assert!(in_use(&rig).is_some());
    // Where there is nothing else, it does.
    rig.hear(v6(100));
    assert!(in_use(&rig).is_none());
}

#[test]
fn a_clash_is_told_again_after_a_minute() {
    let mut rig = Rig::active(GroupConfig { signed: true, ..v4_only() });
    let mut told = 0;
    for _ in 0..600 {
        told += notes(&rig.hear(stranger())).len();
        rig.run(INTERVAL_US);
    }
    // 120 s.
    assert_eq!(told, 2);
}
