//! VRRP messages as whole Ethernet frames, for those that leave with the virtual router's hardware
//! address as their source (RFC 9568 §7.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ballast_vrrp::announce::MacAddress;
use ballast_vrrp::wire::{HOP_LIMIT, PROTOCOL};

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const IPV4_HEADER_BYTES: usize = 20;
const IPV4_CHECKSUM: std::ops::Range<usize> = 10..12;
/// Network control (RFC 2474 §4.2.2.1).
const TRAFFIC_CLASS: u8 = 0xc0;
const DO_NOT_FRAGMENT: u8 = 0x40;

/// The frame of a message to a multicast group; none where the addresses are of two families, the
/// destination is no group, or the message is too long for a packet.
pub fn multicast_frame(
    mac: MacAddress,
    source: IpAddr,
    destination: IpAddr,
    message: &[u8],
) -> Option<Vec<u8>> {
    if !destination.is_multicast() {
        return None;
    }
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(group)) => {
            // RFC 1112 §6.4: the low 23 bits.
            let [_, b, c, d] = group.octets();
            let to = [0x01, 0x00, 0x5e, b & 0x7f, c, d];
            let header = ipv4_header(source, group, message.len())?;
            Some([&to[..], &mac, &ETHERTYPE_IPV4, &header, message].concat())
        }
        (IpAddr::V6(source), IpAddr::V6(group)) => {
            // RFC 2464 §7: the low 32 bits.
            let octets = group.octets();
            let to = [0x33, 0x33, octets[12], octets[13], octets[14], octets[15]];
            let header = ipv6_header(source, group, message.len())?;
            Some([&to[..], &mac, &ETHERTYPE_IPV6, &header, message].concat())
        }
        _ => None,
    }
}

fn ipv4_header(source: Ipv4Addr, destination: Ipv4Addr, length: usize) -> Option<Vec<u8>> {
    let total = u16::try_from(IPV4_HEADER_BYTES + length).ok()?.to_be_bytes();
    // An atomic datagram needs no identification (RFC 6864 §4.1).
    let head = [0x45, TRAFFIC_CLASS, total[0], total[1], 0, 0, DO_NOT_FRAGMENT, 0];
    let mut header =
        [&head[..], &[HOP_LIMIT, PROTOCOL, 0, 0], &source.octets(), &destination.octets()].concat();
    let sum: u32 =
        header.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    // Ten words: two folds are enough.
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from(sum).ok()?;
    header[IPV4_CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
    Some(header)
}

fn ipv6_header(source: Ipv6Addr, destination: Ipv6Addr, length: usize) -> Option<Vec<u8>> {
    let length = u16::try_from(length).ok()?.to_be_bytes();
    let class = [0x60 | (TRAFFIC_CLASS >> 4), TRAFFIC_CLASS << 4, 0, 0];
    let rest = [length[0], length[1], PROTOCOL, HOP_LIMIT];
    Some([&class[..], &rest, &source.octets(), &destination.octets()].concat())
}

#[cfg(test)]
mod tests;
