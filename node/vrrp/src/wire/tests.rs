use super::*;

const DESTINATION: IpAddr = IpAddr::V4(MULTICAST_V4);

fn v4() -> Advertisement {
    Advertisement {
        family: Family::V4,
        source: [10, 0, 0, 1].into(),
        vrid: 51,
        priority: 200,
        interval_cs: 100,
        addresses: vec![[10, 0, 0, 100].into(), [10, 0, 0, 101].into()],
    }
}

fn v6() -> Advertisement {
    Advertisement {
        family: Family::V6,
        source: "fe80::1".parse().unwrap(),
        addresses: vec!["fe80::100".parse().unwrap(), "fd00::100".parse().unwrap()],
        ..v4()
    }
}

fn encoded(advertisement: &Advertisement, form: ChecksumForm) -> Vec<u8> {
    encode(advertisement, advertisement.family.multicast(), form, None).unwrap()
}

fn decoded(source: IpAddr, payload: &[u8]) -> Result<Received, DropReason> {
    let destination = Family::of(source).multicast();
    decode(&Datagram { source, destination, hop_limit: Some(255), payload }, None)
}

/// The message with a changed byte and a checksum that is good again.
fn repaired(mut bytes: Vec<u8>, index: usize, byte: u8) -> Vec<u8> {
    bytes[index] = byte;
    bytes[6..8].fill(0);
    let checksum = !ones_complement_sum(0, &bytes);
    bytes[6..8].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

fn refused(index: usize, byte: u8) -> Option<DropReason> {
    let bytes = repaired(encoded(&v4(), ChecksumForm::Rfc9568), index, byte);
    decoded(v4().source, &bytes).err()
}

#[test]
fn an_ipv4_message_has_the_bytes_of_the_rfc() {
    let bytes = encoded(&v4(), ChecksumForm::Rfc9568);
    // 3133 + c802 + 0064 + 0a00 + 0064 + 0a00 + 0065 = 10e62, folded 0e63, inverted f19c.
    let expected =
        [[0x31, 0x33, 0xc8, 0x02], [0x00, 0x64, 0xf1, 0x9c], [10, 0, 0, 100], [10, 0, 0, 101]];
    assert_eq!(bytes, expected.concat());
}

#[test]
fn a_message_comes_back_as_it_was() {
    for advertisement in [v4(), v6()] {
        let received =
            decoded(advertisement.source, &encoded(&advertisement, ChecksumForm::Rfc9568));
        assert_eq!(received.unwrap().advertisement, advertisement);
    }
}

#[test]
fn both_forms_of_the_ipv4_checksum_are_sent_and_accepted() {
    for form in [ChecksumForm::Rfc9568, ChecksumForm::PseudoHeader] {
        let bytes = encoded(&v4(), form);
        assert_eq!(decoded(v4().source, &bytes).unwrap().checksum, form);
    }
    let bytes = |form| encoded(&v4(), form);
    assert_ne!(bytes(ChecksumForm::Rfc9568), bytes(ChecksumForm::PseudoHeader));
}

#[test]
fn ipv6_always_has_the_pseudo_header() {
    let bytes = encoded(&v6(), ChecksumForm::Rfc9568);
    assert_eq!(bytes, encoded(&v6(), ChecksumForm::PseudoHeader));
    let without = repaired(bytes, 2, 100);
    assert_eq!(decoded(v6().source, &without), Err(DropReason::Checksum));
}

#[test]
fn a_wrong_checksum_is_refused_in_both_families() {
    for advertisement in [v4(), v6()] {
        let mut bytes = encoded(&advertisement, ChecksumForm::Rfc9568);
        bytes[2] ^= 1;
        assert_eq!(decoded(advertisement.source, &bytes), Err(DropReason::Checksum));
    }
}

#[test]
fn a_pseudo_header_checksum_counts_for_its_destination_alone() {
    let payload = encoded(&v4(), ChecksumForm::PseudoHeader);
    let destination = [224, 0, 0, 19].into();
    let datagram =
        Datagram { source: v4().source, destination, hop_limit: Some(255), payload: &payload };
    assert_eq!(decode(&datagram, None), Err(DropReason::Checksum));
}

#[test]
fn the_hop_limit_is_255_or_not_asked_for() {
    let payload = encoded(&v4(), ChecksumForm::Rfc9568);
    let with = |hop_limit| {
        let source = v4().source;
        let datagram = Datagram { source, destination: DESTINATION, hop_limit, payload: &payload };
        decode(&datagram, None).err()
    };
    assert_eq!(with(Some(255)), None);
    assert_eq!(with(None), None);
    for hop_limit in [0, 1, 64, 254] {
        assert_eq!(with(Some(hop_limit)), Some(DropReason::HopLimit));
    }
}

#[test]
fn only_version_3_is_taken() {
    for version in [0, 2, 4, 15] {
        assert_eq!(refused(0, version << 4 | 1), Some(DropReason::Version));
    }
}

#[test]
fn only_advertisements_are_taken() {
    for kind in [0, 2, 15] {
        assert_eq!(refused(0, 0x30 | kind), Some(DropReason::Type));
    }
}

#[test]
fn vrid_0_is_refused() {
    assert_eq!(refused(1, 0), Some(DropReason::ZeroVrid));
    assert_eq!(refused(1, 255), None);
}

#[test]
fn a_message_without_addresses_is_refused() {
    let bytes = repaired(encoded(&v4(), ChecksumForm::Rfc9568)[..8].to_vec(), 3, 0);
    assert_eq!(decoded(v4().source, &bytes), Err(DropReason::NoAddresses));
}

#[test]
fn an_interval_of_zero_is_refused() {
    assert_eq!(refused(5, 0), Some(DropReason::ZeroInterval));
}

#[test]
fn reserved_bits_are_sent_as_zero_and_not_looked_at() {
    let bytes = encoded(&Advertisement { interval_cs: 4095, ..v4() }, ChecksumForm::Rfc9568);
    assert_eq!(bytes[4], 0x0f);
    let bytes = repaired(encoded(&v4(), ChecksumForm::Rfc9568), 4, 0xf0);
    assert_eq!(decoded(v4().source, &bytes).unwrap().advertisement, v4());
    // They are not part of the interval: zero stays zero.
    let bytes = encoded(&Advertisement { interval_cs: 256, ..v4() }, ChecksumForm::Rfc9568);
    let bytes = repaired(bytes, 4, 0xf0);
    assert_eq!(decoded(v4().source, &bytes), Err(DropReason::ZeroInterval));
}

#[test]
fn a_message_is_as_long_as_it_says() {
    let bytes = encoded(&v4(), ChecksumForm::Rfc9568);
    for length in 0..8 {
        assert_eq!(decoded(v4().source, &bytes[..length]), Err(DropReason::TooShort));
    }
    for length in 8..bytes.len() {
        assert_eq!(decoded(v4().source, &bytes[..length]), Err(DropReason::Length));
    }
    // Authentication data of version 2, say.
    let longer = [&bytes[..], &[0; 8]].concat();
    assert_eq!(decoded(v4().source, &longer), Err(DropReason::Length));
}

#[test]
fn the_first_ipv6_address_is_link_local() {
    let mut bytes = encoded(&v6(), ChecksumForm::Rfc9568);
    // fe80::100 and fd00::100 change places; the sum stays.
    let (first, second) = bytes[8..].split_at_mut(16);
    first.swap_with_slice(second);
    assert_eq!(decoded(v6().source, &bytes), Err(DropReason::NotLinkLocal));
    // IPv4 has no such rule.
    assert!(decoded(v4().source, &encoded(&v4(), ChecksumForm::Rfc9568)).is_ok());
}

#[test]
fn source_and_destination_are_of_one_family() {
    let payload = encoded(&v4(), ChecksumForm::Rfc9568);
    let destination = MULTICAST_V6.into();
    let datagram =
        Datagram { source: v4().source, destination, hop_limit: None, payload: &payload };
    assert_eq!(decode(&datagram, None), Err(DropReason::FamilyMixed));
}

#[test]
fn what_cannot_be_said_is_not_written() {
    let error = |advertisement: Advertisement| {
        let destination = advertisement.family.multicast();
        encode(&advertisement, destination, ChecksumForm::Rfc9568, None).err()
    };
    let mixed = vec![[10, 0, 0, 100].into(), "fd00::1".parse().unwrap()];
    let global = vec!["fd00::1".parse().unwrap()];
    let many = vec![[10, 0, 0, 100].into(); 256];
    assert_eq!(error(Advertisement { vrid: 0, ..v4() }), Some(EncodeError::ZeroVrid));
    assert_eq!(error(Advertisement { interval_cs: 0, ..v4() }), Some(EncodeError::Interval(0)));
    let long = Advertisement { interval_cs: 4096, ..v4() };
    assert_eq!(error(long), Some(EncodeError::Interval(4096)));
    let none = Advertisement { addresses: vec![], ..v4() };
    assert_eq!(error(none), Some(EncodeError::AddressCount(0)));
    let many = Advertisement { addresses: many, ..v4() };
    assert_eq!(error(many), Some(EncodeError::AddressCount(256)));
    let mixed = Advertisement { addresses: mixed, ..v4() };
    assert_eq!(error(mixed), Some(EncodeError::FamilyMixed));
    let global = Advertisement { addresses: global, ..v6() };
    assert_eq!(error(global), Some(EncodeError::NotLinkLocal));
}

#[test]
fn the_largest_signed_ipv6_message_fits_the_smallest_mtu() {
    const IPV6_HEADER_BYTES: usize = 40;
    const MIN_MTU_BYTES: usize = 1280;
    let largest = HEADER_BYTES + crate::MAX_ADDRESSES_COUNT * 16 + TRAILER_BYTES;
    assert!(IPV6_HEADER_BYTES + largest <= MIN_MTU_BYTES);
}

#[test]
fn every_drop_reason_is_listed_and_has_its_own_name() {
    let names: std::collections::BTreeSet<&str> =
        DropReason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(names.len(), DropReason::ALL.len());
    // The last one in the order of declaration is as far from the first as the list is long.
    assert_eq!(DropReason::LowerPriority as usize + 1, DropReason::ALL.len());
}

#[test]
fn the_vrid_can_be_read_before_anything_is_checked() {
    assert_eq!(peek_vrid(&encoded(&v4(), ChecksumForm::Rfc9568)), Some(51));
    assert_eq!(peek_vrid(&[0x31]), None);
}

mod ipv4_header {
    use super::*;

    fn packet() -> Vec<u8> {
        let mut packet = vec![0x45, 0xc0, 0, 24, 0, 1, 0, 0, 255, 112, 0, 0];
        packet.extend([10, 0, 0, 1, 224, 0, 0, 18, 1, 2, 3, 4]);
        packet
    }

    fn with(index: usize, byte: u8) -> Vec<u8> {
        let mut packet = packet();
        packet[index] = byte;
        packet
    }

    #[test]
    fn the_payload_is_what_follows_the_header() {
        let bytes = packet();
        let packet = ipv4_packet(&bytes).unwrap();
        assert_eq!(packet.payload, [1, 2, 3, 4]);
        assert_eq!((packet.ttl, packet.source), (255, Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(packet.destination, MULTICAST_V4);
    }

    #[test]
    fn padding_of_the_link_is_not_payload() {
        let bytes = [packet(), vec![0; 22]].concat();
        assert_eq!(ipv4_packet(&bytes).unwrap().payload, [1, 2, 3, 4]);
    }

    #[test]
    fn lengths_that_contradict_each_other_are_refused() {
        assert_eq!(ipv4_packet(&packet()[..19]), Err(DropReason::TooShort));
        assert_eq!(ipv4_packet(&packet()[..23]), Err(DropReason::Length));
        assert_eq!(ipv4_packet(&with(0, 0x44)), Err(DropReason::Length));
        assert_eq!(ipv4_packet(&with(0, 0x47)), Err(DropReason::Length));
        assert_eq!(ipv4_packet(&with(3, 19)), Err(DropReason::Length));
        assert_eq!(ipv4_packet(&with(3, 25)), Err(DropReason::Length));
    }

    #[test]
    fn other_protocols_versions_and_fragments_are_refused() {
        assert_eq!(ipv4_packet(&with(0, 0x65)), Err(DropReason::NotVrrp));
        assert_eq!(ipv4_packet(&with(9, 17)), Err(DropReason::NotVrrp));
        assert_eq!(ipv4_packet(&with(6, 0x20)), Err(DropReason::NotVrrp));
        assert_eq!(ipv4_packet(&with(7, 1)), Err(DropReason::NotVrrp));
        // "Don't fragment" is no fragment.
        assert!(ipv4_packet(&with(6, 0x40)).is_ok());
    }
}
