use ballast_vrrp::wire::{MULTICAST_V4, MULTICAST_V6, ipv4_packet};

use super::*;

const MAC: MacAddress = [0, 0, 0x5e, 0, 1, 51];

#[test]
fn an_ipv4_frame_is_what_a_receiver_takes_for_an_advertisement() {
    let source = Ipv4Addr::new(192, 0, 2, 1);
    let frame = multicast_frame(MAC, source.into(), MULTICAST_V4.into(), b"message!").unwrap();
    assert_eq!(frame[..6], [0x01, 0x00, 0x5e, 0, 0, 18]);
    assert_eq!(frame[6..12], MAC);
    assert_eq!(frame[12..14], [0x08, 0x00]);
    let packet = ipv4_packet(&frame[14..]).expect("a good packet");
    assert_eq!((packet.source, packet.destination), (source, MULTICAST_V4));
    assert_eq!((packet.ttl, packet.payload), (255, &b"message!"[..]));
    // Over a good header the sum is all ones (RFC 791 §3.1).
    let words = frame[14..34].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
}

#[test]
fn an_ipv6_frame_goes_to_the_group_with_hop_limit_255() {
    let source: Ipv6Addr = "fe80::1".parse().unwrap();
    let frame = multicast_frame(MAC, source.into(), MULTICAST_V6.into(), b"message!").unwrap();
    assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 0x12]);
    assert_eq!(frame[6..14], [0, 0, 0x5e, 0, 1, 51, 0x86, 0xdd]);
    assert_eq!(frame[14..22], [0x6c, 0, 0, 0, 0, 8, 112, 255]);
    assert_eq!(frame[22..38], source.octets());
    assert_eq!(frame[38..54], MULTICAST_V6.octets());
    assert_eq!(&frame[54..], b"message!");
}

#[test]
fn what_is_no_multicast_of_one_family_has_no_frame() {
    let (v4, v6) = (Ipv4Addr::new(192, 0, 2, 1).into(), Ipv6Addr::LOCALHOST.into());
    assert_eq!(multicast_frame(MAC, v4, v4, b""), None);
    assert_eq!(multicast_frame(MAC, v4, MULTICAST_V6.into(), b""), None);
    assert_eq!(multicast_frame(MAC, v6, MULTICAST_V4.into(), b""), None);
    assert_eq!(multicast_frame(MAC, v4, MULTICAST_V4.into(), &[0; 65_536]), None);
}
