use crate::kernel::DeviceAddress;

use super::*;

const MAC: MacAddress = [2, 0, 0, 0, 0, 1];
const ROUTER_MAC: MacAddress = [2, 0, 0, 0, 0, 9];

fn device(addresses: &[&str]) -> Device {
    let address = |address: &&str| DeviceAddress {
        address: address.parse().unwrap(),
        prefix_length: 24,
        leased: false,
    };
    Device {
        index: 2,
        name: "eth0".to_owned(),
        mac: MAC,
        up: true,
        multicast: true,
        loopback: false,
        addresses: addresses.iter().map(address).collect(),
        macvlan: None,
    }
}

fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

fn arp_reply(sender: Ipv4Addr) -> Vec<u8> {
    let mut frame = arp_request(ROUTER_MAC, sender, Ipv4Addr::new(192, 0, 2, 11));
    frame[20..22].copy_from_slice(&ARP_REPLY);
    frame
}

fn advertisement(target: &str) -> Vec<u8> {
    let mut frame = solicitation(ROUTER_MAC, "fe80::9".parse().unwrap(), target.parse().unwrap());
    frame[54] = NEIGHBOUR_ADVERTISEMENT;
    frame
}

#[test]
fn arp_asks_everybody_from_an_address_of_its_own() {
    let mut eth0 = device(&["192.0.2.100", "192.0.2.11"]);
    eth0.addresses[0].leased = true;
    let frame = question(&eth0, ip("192.0.2.1")).unwrap();
    let expected = [
        &[0xff; 6][..],
        &MAC,
        &[8, 6],
        &[0, 1, 8, 0, 6, 4, 0, 1],
        &MAC,
        &[192, 0, 2, 11],
        &[0; 6],
        &[192, 0, 2, 1],
    ];
    assert_eq!(frame, expected.concat(), "never from a floating address");
    eth0.addresses.clear();
    let probe = question(&eth0, ip("192.0.2.1")).unwrap();
    assert_eq!(probe[28..32], [0; 4]);
}

#[test]
fn neighbour_solicitation_goes_to_the_solicited_node_address_with_a_right_checksum() {
    let frame = question(&device(&["2001:db8::11", "fe80::11"]), ip("2001:db8::12:3456")).unwrap();
    assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
    assert_eq!(frame[21], 255, "hop limit");
    assert_eq!(frame[22..38], "fe80::11".parse::<Ipv6Addr>().unwrap().octets());
    assert_eq!(frame[38..54], "ff02::1:ff12:3456".parse::<Ipv6Addr>().unwrap().octets());
    // Summed over with its checksum in place, a right message gives zero.
    assert_eq!(icmpv6_checksum(&frame), 0);
}

#[test]
fn a_device_that_can_not_ask_says_why() {
    let why = question(&device(&["2001:db8::11"]), ip("fe80::1")).unwrap_err();
    assert!(why.contains("eth0 has no link-local"), "{why}");
    let why = question(&Device { mac: [0; 6], ..device(&[]) }, ip("192.0.2.1")).unwrap_err();
    assert!(why.contains("no Ethernet device"), "{why}");
}

#[test]
fn only_the_asked_addresss_own_answer_counts() {
    let reply = arp_reply(Ipv4Addr::new(192, 0, 2, 1));
    assert!(is_answer(&reply, ip("192.0.2.1")));
    assert!(!is_answer(&reply, ip("192.0.2.2")), "another's answer");
    let mut request = reply.clone();
    request[20..22].copy_from_slice(&ARP_REQUEST);
    assert!(!is_answer(&request, ip("192.0.2.1")), "a question");

    let advertisement = advertisement("fe80::1");
    assert!(is_answer(&advertisement, ip("fe80::1")));
    assert!(!is_answer(&advertisement, ip("fe80::2")));
    let mut routed = advertisement.clone();
    routed[21] = 254;
    assert!(!is_answer(&routed, ip("fe80::1")), "it came from another segment");
}

#[test]
fn cut_frames_are_no_answers() {
    for (frame, from) in [
        (arp_reply(Ipv4Addr::new(192, 0, 2, 1)), "192.0.2.1"),
        (advertisement("fe80::1"), "fe80::1"),
    ] {
        let least = if ip(from).is_ipv4() { ARP_BYTES } else { ADVERTISEMENT_MIN_BYTES };
        for length in 0..frame.len() {
            assert_eq!(is_answer(&frame[..length], ip(from)), length >= least, "{length}");
        }
    }
}
