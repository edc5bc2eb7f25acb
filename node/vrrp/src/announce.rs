//! Frames that tell a segment where a virtual address lives now: gratuitous ARP for IPv4,
//! unsolicited neighbour advertisements for IPv6. A frame speaks for exactly one address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::{Family, ones_complement_sum, pseudo_header_sum};

/// An Ethernet address.
pub type MacAddress = [u8; 6];

/// Length of a gratuitous ARP frame, padding of the link left to the driver.
pub const GRATUITOUS_ARP_BYTES: usize = 42;
/// Length of an unsolicited neighbour advertisement frame.
pub const UNSOLICITED_NA_BYTES: usize = 86;

const BROADCAST: MacAddress = [0xff; 6];
/// Where a frame to `ff02::1` goes (RFC 2464 §7).
const ALL_NODES_MAC: MacAddress = [0x33, 0x33, 0, 0, 0, 1];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const NEXT_HEADER_ICMPV6: u8 = 58;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const ROUTER_FLAG: u8 = 0x80;
const OVERRIDE_FLAG: u8 = 0x20;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
/// ICMPv6 of an advertisement with one option: 24 bytes and 8.
const NA_BYTES: u8 = 32;
const ETHERNET_AND_IPV6_BYTES: usize = 54;
const ICMPV6_CHECKSUM_OFFSET: usize = ETHERNET_AND_IPV6_BYTES + 2;

/// The virtual router's MAC address (RFC 9568 §7.3).
pub fn virtual_mac(family: Family, vrid: u8) -> MacAddress {
    let block = match family {
        Family::V4 => 1,
        Family::V6 => 2,
    };
    [0x00, 0x00, 0x5e, 0x00, block, vrid]
}

/// The link-local address that a virtual IPv6 router advertises first where none was configured:
/// made from its virtual MAC address (RFC 4291 appendix A), so it is the same on every node.
pub fn virtual_link_local(vrid: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0x0200, 0x5eff, 0xfe00, 0x0200 | u16::from(vrid))
}

/// An ARP announcement (RFC 5227 §3): a broadcast request of which sender and target are `address`.
pub fn gratuitous_arp(mac: MacAddress, address: Ipv4Addr) -> [u8; GRATUITOUS_ARP_BYTES] {
    let mut frame = [0; GRATUITOUS_ARP_BYTES];
    frame[..6].copy_from_slice(&BROADCAST);
    frame[6..12].copy_from_slice(&mac);
    frame[12..14].copy_from_slice(&ETHERTYPE_ARP);
    // Ethernet, IPv4, their lengths, request.
    frame[14..22].copy_from_slice(&[0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame[22..28].copy_from_slice(&mac);
    frame[28..32].copy_from_slice(&address.octets());
    // The target's MAC address stays zero: it is what a request asks for.
    frame[38..].copy_from_slice(&address.octets());
    frame
}

/// An unsolicited neighbour advertisement to all nodes (RFC 4861 §7.2.6) with the Override flag.
/// `router`: whether this node forwards IPv6 for others; clients drop a router that says it is none.
pub fn unsolicited_na(
    mac: MacAddress,
    address: Ipv6Addr,
    router: bool,
) -> [u8; UNSOLICITED_NA_BYTES] {
    let mut frame = [0; UNSOLICITED_NA_BYTES];
    frame[..6].copy_from_slice(&ALL_NODES_MAC);
    frame[6..12].copy_from_slice(&mac);
    frame[12..14].copy_from_slice(&ETHERTYPE_IPV6);
    // Version 6, no class, no flow label, length, next header, hop limit (RFC 4861 §7.1.2).
    frame[14..22].copy_from_slice(&[0x60, 0, 0, 0, 0, NA_BYTES, NEXT_HEADER_ICMPV6, 255]);
    frame[22..38].copy_from_slice(&address.octets());
    frame[38..54].copy_from_slice(&ALL_NODES.octets());
    frame[54] = NEIGHBOUR_ADVERTISEMENT;
    frame[58] = OVERRIDE_FLAG | if router { ROUTER_FLAG } else { 0 };
    frame[62..78].copy_from_slice(&address.octets());
    // The option's length counts in units of 8 bytes.
    frame[78..80].copy_from_slice(&[TARGET_LINK_LAYER_ADDRESS, 1]);
    frame[80..].copy_from_slice(&mac);
    let icmpv6 = &frame[ETHERNET_AND_IPV6_BYTES..];
    let start = pseudo_header_sum(
        IpAddr::V6(address),
        IpAddr::V6(ALL_NODES),
        NEXT_HEADER_ICMPV6,
        icmpv6.len(),
    );
    let checksum = !ones_complement_sum(start, icmpv6);
    frame[ICMPV6_CHECKSUM_OFFSET..ICMPV6_CHECKSUM_OFFSET + 2]
        .copy_from_slice(&checksum.to_be_bytes());
    frame
}

#[cfg(test)]
mod tests;
