//! The question "who has this address?" as a frame, and the answer: ARP (RFC 826) for IPv4, neighbour
//! discovery (RFC 4861) for IPv6.
//!
//! Pure. An answer counts only if it is that of the asked address itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ballast_vrrp::announce::MacAddress;

use crate::kernel::Device;

const BROADCAST: MacAddress = [0xff; 6];
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
/// Ethernet, IPv4, and the lengths of their addresses.
const ARP_OF_IPV4: [u8; 6] = [0, 1, 0x08, 0, 6, 4];
const ARP_REQUEST: [u8; 2] = [0, 1];
const ARP_REPLY: [u8; 2] = [0, 2];
const ARP_BYTES: usize = 42;
const ICMPV6: u8 = 58;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
/// With one option: 24 bytes and 8.
const SOLICITATION_BYTES: u8 = 32;
const HOP_LIMIT: u8 = 255;
const ETHERNET_AND_IPV6_BYTES: usize = 54;
/// An advertisement without options.
const ADVERTISEMENT_MIN_BYTES: usize = ETHERNET_AND_IPV6_BYTES + 24;

/// The question for `neighbour` on a device.
///
/// # Errors
/// What the device lacks for it, in a sentence.
pub(super) fn question(device: &Device, neighbour: IpAddr) -> Result<Vec<u8>, String> {
    if device.mac == [0; 6] {
        return Err(format!("{} is no Ethernet device", device.name));
    }
    let own = device.addresses.iter().filter(|address| !address.leased).map(|own| own.address);
    match neighbour {
        IpAddr::V4(v4) => {
            let mut own =
                own.filter_map(|own| if let IpAddr::V4(v4) = own { Some(v4) } else { None });
            // Without an address of one's own it is a probe (RFC 5227 §2.1.1), which is answered too.
            Ok(arp_request(device.mac, own.next().unwrap_or(Ipv4Addr::UNSPECIFIED), v4))
        }
        IpAddr::V6(v6) => {
            let mut own = own.filter_map(|own| match own {
                IpAddr::V6(v6) if v6.is_unicast_link_local() => Some(v6),
                _ => None,
            });
            let source = own
                .next()
                .ok_or_else(|| format!("{} has no link-local IPv6 address", device.name))?;
            Ok(solicitation(device.mac, source, v6))
        }
    }
}

/// Whether a frame is the answer of `neighbour`.
pub(super) fn is_answer(frame: &[u8], neighbour: IpAddr) -> bool {
    match neighbour {
        IpAddr::V4(v4) => {
            frame.len() >= ARP_BYTES
                && frame[12..14] == ETHERTYPE_ARP
                && frame[14..20] == ARP_OF_IPV4
                && frame[20..22] == ARP_REPLY
                && frame[28..32] == v4.octets()
        }
        IpAddr::V6(v6) => {
            frame.len() >= ADVERTISEMENT_MIN_BYTES
                && frame[12..14] == ETHERTYPE_IPV6
                && frame[20] == ICMPV6
                // From this segment and nowhere else (RFC 4861 §7.1.2).
                && frame[21] == HOP_LIMIT
                && frame[54..56] == [NEIGHBOUR_ADVERTISEMENT, 0]
                && frame[62..78] == v6.octets()
        }
    }
}

fn arp_request(mac: MacAddress, source: Ipv4Addr, neighbour: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ARP_BYTES);
    frame.extend(BROADCAST);
    frame.extend(mac);
    frame.extend(ETHERTYPE_ARP);
    frame.extend(ARP_OF_IPV4);
    frame.extend(ARP_REQUEST);
    frame.extend(mac);
    frame.extend(source.octets());
    frame.extend([0; 6]);
    frame.extend(neighbour.octets());
    frame
}

fn solicitation(mac: MacAddress, source: Ipv6Addr, neighbour: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = neighbour.octets();
    // The solicited-node multicast address (RFC 4291 §2.7.1) and its frames' one (RFC 2464 §7).
    let destination =
        Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    let mut frame = vec![0x33, 0x33, 0xff, a, b, c];
    frame.extend(mac);
    frame.extend(ETHERTYPE_IPV6);
    frame.extend([0x60, 0, 0, 0, 0, SOLICITATION_BYTES, ICMPV6, HOP_LIMIT]);
    frame.extend(source.octets());
    frame.extend(destination.octets());
    frame.extend([NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0]);
    frame.extend(neighbour.octets());
    // The option's length counts in units of 8 bytes.
    frame.extend([SOURCE_LINK_LAYER_ADDRESS, 1]);
    frame.extend(mac);
    let checksum = icmpv6_checksum(&frame);
    frame[ETHERNET_AND_IPV6_BYTES + 2..ETHERNET_AND_IPV6_BYTES + 4]
        .copy_from_slice(&checksum.to_be_bytes());
    frame
}

/// Over the addresses, the length, the next header and the message (RFC 8200 §8.1), of a frame whose
/// checksum is zero so far.
fn icmpv6_checksum(frame: &[u8]) -> u16 {
    let from_addresses_on = frame[22..].chunks(2);
    let words = from_addresses_on.map(|pair| {
        let low = pair.get(1).copied().unwrap_or(0);
        u32::from(u16::from_be_bytes([pair[0], low]))
    });
    let sum = words.sum::<u32>() + u32::from(SOLICITATION_BYTES) + u32::from(ICMPV6);
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
