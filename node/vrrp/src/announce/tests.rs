use super::*;

const MAC: MacAddress = [0x02, 0, 0, 0xaa, 0xbb, 0xcc];

#[test]
fn gratuitous_arp_is_a_broadcast_request_about_itself() {
    let frame = gratuitous_arp(MAC, Ipv4Addr::new(10, 0, 0, 100));
    let expected = [
        &[0xff; 6][..],
        &MAC,
        &[0x08, 0x06],
        // Ethernet, IPv4, 6 and 4 bytes, request.
        &[0, 1, 8, 0, 6, 4, 0, 1],
        &MAC,
        &[10, 0, 0, 100],
        &[0; 6],
        &[10, 0, 0, 100],
    ]
    .concat();
    assert_eq!(frame.to_vec(), expected);
}

#[test]
fn unsolicited_na_goes_to_all_nodes_and_overrides() {
    let address: Ipv6Addr = "fd00::100".parse().unwrap();
    let frame = unsolicited_na(MAC, address, false);
    assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 1]);
    assert_eq!(frame[6..12], MAC);
    assert_eq!(frame[12..22], [0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255]);
    assert_eq!(frame[22..38], address.octets());
    assert_eq!(frame[38..54], ALL_NODES.octets());
    // Type and code, then the flags: Override, neither Solicited nor Router.
    assert_eq!((frame[54], frame[55], frame[58]), (136, 0, 0x20));
    assert_eq!(frame[62..78], address.octets());
    assert_eq!(frame[78..80], [2, 1]);
    assert_eq!(frame[80..], MAC);
}

#[test]
fn a_router_says_that_it_is_one() {
    let address: Ipv6Addr = "fd00::100".parse().unwrap();
    assert_eq!(unsolicited_na(MAC, address, true)[58], 0xa0);
}

#[test]
fn the_checksum_of_an_na_covers_message_and_pseudo_header() {
    for (address, router) in [("fd00::100", false), ("fe80::200:5eff:fe00:233", true)] {
        let address: Ipv6Addr = address.parse().unwrap();
        let frame = unsolicited_na(MAC, address, router);
        // By hand: addresses, length and next header, then the message, in 16-bit words.
        let words = [&frame[22..54], &[0, 0, 0, 32, 0, 0, 0, 58], &frame[54..]].concat();
        let sum: u32 =
            words.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        assert_eq!((folded & 0xffff) + (folded >> 16), 0xffff);
    }
}

#[test]
fn virtual_macs_are_those_of_the_rfc() {
    assert_eq!(virtual_mac(Family::V4, 51), [0x00, 0x00, 0x5e, 0x00, 0x01, 51]);
    assert_eq!(virtual_mac(Family::V6, 255), [0x00, 0x00, 0x5e, 0x00, 0x02, 255]);
}

#[test]
fn the_link_local_address_is_made_from_the_virtual_mac() {
    let address = virtual_link_local(0x33);
    assert_eq!(address, "fe80::200:5eff:fe00:233".parse::<Ipv6Addr>().unwrap());
    assert!(crate::wire::is_link_local(address.into()));
}
