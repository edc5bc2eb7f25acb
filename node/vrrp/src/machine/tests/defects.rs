//! Faults that a VRRP of ours must not have, because others had them. One test each.

use super::*;
use crate::wire::{Datagram, MULTICAST_V4, decode, encode, ipv4_packet};

#[test]
fn skew_is_not_cut_down_to_whole_seconds() {
    let due_at = |priority| {
        let mut rig = Rig::backup(v4_only());
        rig.give(standing(priority));
        rig.hear_priority(150);
        rig.due_in()
    };
    let waits: Vec<u64> = (1..=253).rev().map(due_at).collect();
    assert!(waits.is_sorted_by(|before, after| before < after), "equal backups fire together");
}

#[test]
fn intervals_are_centiseconds_in_the_timers_too() {
    let mut rig = Rig::active(GroupConfig { interval_cs: 100, ..v4_only() });
    assert_eq!(sent(&rig.run(10_000_000)).len(), 10);
}

#[test]
fn an_interval_that_differs_is_adopted_and_not_refused() {
    let mut rig = Rig::backup(v4_only());
    assert_eq!(drops(&rig.hear(Advertisement { interval_cs: 100, ..v4(150) })), []);
    assert!(rig.due_in() > 3_000_000);
}

#[test]
fn hop_limit_type_and_addresses_are_checked() {
    let good = encode(&v4(150), MULTICAST_V4.into(), ChecksumForm::Rfc9568, None).unwrap();
    let reason = |hop_limit, bytes: &[u8]| {
        let datagram = Datagram {
            source: [10, 0, 0, 9].into(),
            destination: MULTICAST_V4.into(),
            hop_limit: Some(hop_limit),
            payload: bytes,
        };
        decode(&datagram, None).err()
    };
    assert_eq!(reason(255, &good), None);
    assert_eq!(reason(254, &good), Some(DropReason::HopLimit));
    let with = |index: usize, byte| {
        let mut bytes = good.clone();
        bytes[index] = byte;
        bytes
    };
    assert_eq!(reason(255, &with(0, 0x32)), Some(DropReason::Type));
    assert_eq!(reason(255, &with(3, 2)), Some(DropReason::Length));
    assert_eq!(reason(255, &with(8, 11)), Some(DropReason::Checksum));
}

#[test]
fn an_advertisement_that_was_queued_before_the_link_went_down_is_dropped() {
    let mut rig = Rig::active(v4_only());
    rig.give(Input::LinkDown);
    for priority in [0, 1, OWN, 255] {
        assert_eq!(drops(&rig.hear_priority(priority)), [DropReason::NotTakingPart]);
    }
    assert_eq!(rig.state(), State::Initialize);
}

#[test]
fn ip_options_do_not_shift_the_message() {
    let message = encode(&v4(150), MULTICAST_V4.into(), ChecksumForm::Rfc9568, None).unwrap();
    let total = 24 + message.len() as u8;
    // A header of six words: the last one is a router alert.
    let mut packet = vec![0x46, 0, 0, total, 0, 0, 0, 0, 255, 112, 0, 0];
    packet.extend([10, 0, 0, 9, 224, 0, 0, 18, 0x94, 4, 0, 0]);
    packet.extend(&message);
    let found = ipv4_packet(&packet).unwrap();
    assert_eq!(found.payload, message);
    let datagram = Datagram {
        source: found.source.into(),
        destination: found.destination.into(),
        hop_limit: Some(found.ttl),
        payload: found.payload,
    };
    assert_eq!(decode(&datagram, None).unwrap().advertisement, v4(150));
}

#[test]
fn a_source_is_always_of_its_family() {
    let mut config = both_families();
    config.instances[1].source = own_v4();
    assert!(GroupMachine::new(config, Time(0)).is_err());
    let mut rig = Rig::active(both_families());
    for advertisement in sent(&rig.run(INTERVAL_US)) {
        assert_eq!(Family::of(advertisement.source), advertisement.family);
    }
}

#[test]
fn a_priority_that_changes_is_in_the_very_next_advertisement() {
    let mut rig = Rig::active(v4_only());
    let mut effects = Vec::new();
    // Faster than advertisements may follow each other: the next one says what is true by then.
    for priority in [150, 160, 170] {
        effects.extend(rig.pass(1_000).give(standing(priority)));
    }
    effects.extend(rig.tick_when_due());
    assert_eq!(sent_priorities(&effects), [170]);
}

#[test]
fn time_under_test_is_the_time_of_production() {
    // The whole life of a takeover, told by the machine's own deadlines and nothing else.
    let mut rig = Rig::backup(v4_only());
    rig.hear_priority(150);
    let heard_at = rig.now;
    let effects = rig.run(1_000_000);
    let transition = transitions(&effects)[0];
    assert_eq!(transition.facts.heard.map(|heard| heard.ago_us), Some(ACTIVE_DOWN_US));
    let advertisements_count = (1_000_000 - ACTIVE_DOWN_US) / INTERVAL_US + 1;
    assert_eq!(sent(&effects).len() as u64, advertisements_count);
    assert_eq!(rig.now, heard_at + 1_000_000);
}
