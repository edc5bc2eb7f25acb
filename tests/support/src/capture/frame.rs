//! Ethernet frames of the kinds that matter for who owns an address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::lab::format_mac;

const ETHERNET_HEADER_BYTES: usize = 14;
const IPV6_HEADER_BYTES: usize = 40;
const VRRP_HEADER_BYTES: usize = 8;
const PROTOCOL_VRRP: u8 = 112;
const PROTOCOL_ICMPV6: u8 = 58;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// A frame that a host sent.
#[derive(Clone, Debug)]
pub struct Frame {
    /// When it passed the switch, in µs since the Unix epoch.
    pub at_us: u64,
    /// The sender's hardware address, as `ip` writes it.
    pub source_mac: String,
    /// What it is.
    pub kind: Kind,
}

/// What a frame is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A VRRP message.
    Advert(Advert),
    /// ARP that announces `address`: its sender and its target are the same.
    GratuitousArp(Ipv4Addr),
    /// The answer to somebody who asked for `address`.
    ArpReply(Ipv4Addr),
    /// An unsolicited neighbour advertisement.
    UnsolicitedNa(Ipv6Addr),
    /// A neighbour advertisement that answers a solicitation.
    SolicitedNa(Ipv6Addr),
    /// Anything else.
    Other,
}

/// A VRRPv3 message (RFC 9568 section 5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// When it passed the switch, in µs since the Unix epoch.
    pub at_us: u64,
    /// From where.
    pub source: IpAddr,
    /// To where.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Which virtual router.
    pub vrid: u8,
    /// 0 releases.
    pub priority: u8,
    /// The interval it announces, in hundredths of a second.
    pub interval_cs: u16,
    /// All of the IP payload, a trailer included.
    pub message: Vec<u8>,
}

impl Frame {
    /// Reads a frame; what is malformed is [`Kind::Other`].
    pub(super) fn parse(at_us: u64, bytes: &[u8]) -> Self {
        let source_mac = bytes.get(6..12).and_then(|mac| mac.try_into().ok());
        Self {
            at_us,
            source_mac: source_mac.map(format_mac).unwrap_or_default(),
            kind: kind(at_us, bytes).unwrap_or(Kind::Other),
        }
    }
}

fn kind(at_us: u64, bytes: &[u8]) -> Option<Kind> {
    let packet = bytes.get(ETHERNET_HEADER_BYTES..)?;
    match bytes.get(12..14)? {
        [0x08, 0x06] => arp(packet),
        [0x08, 0x00] => {
            let header_bytes = usize::from(packet.first()? & 0x0f) * 4;
            let total_bytes = usize::from(word(packet, 2)?);
            let (source, destination) = (ipv4(packet, 12)?, ipv4(packet, 16)?);
            let message = packet.get(header_bytes..total_bytes)?;
            let is_vrrp = *packet.get(9)? == PROTOCOL_VRRP;
            let hop_limit = *packet.get(8)?;
            is_vrrp.then(|| advert(at_us, source.into(), destination.into(), hop_limit, message))?
        }
        [0x86, 0xdd] => {
            let length = usize::from(word(packet, 4)?);
            let (next, hop_limit) = (*packet.get(6)?, *packet.get(7)?);
            let (source, destination) = (ipv6(packet, 8)?, ipv6(packet, 24)?);
            let message = packet.get(IPV6_HEADER_BYTES..IPV6_HEADER_BYTES + length)?;
            match next {
                PROTOCOL_VRRP => {
                    advert(at_us, source.into(), destination.into(), hop_limit, message)
                }
                PROTOCOL_ICMPV6 => neighbour_advertisement(message),
                _ => None,
            }
        }
        _ => None,
    }
}

/// RFC 826; sender at 14, target at 24.
fn arp(packet: &[u8]) -> Option<Kind> {
    let (operation, sender, target) = (word(packet, 6)?, ipv4(packet, 14)?, ipv4(packet, 24)?);
    Some(match operation {
        _ if sender == target => Kind::GratuitousArp(sender),
        2 => Kind::ArpReply(sender),
        _ => Kind::Other,
    })
}

/// RFC 4861 section 4.4; the S flag is the second bit.
fn neighbour_advertisement(message: &[u8]) -> Option<Kind> {
    let (target, flags) = (ipv6(message, 8)?, *message.get(4)?);
    (*message.first()? == NEIGHBOUR_ADVERTISEMENT).then_some(if flags & 0x40 == 0 {
        Kind::UnsolicitedNa(target)
    } else {
        Kind::SolicitedNa(target)
    })
}

fn advert(
    at_us: u64,
    source: IpAddr,
    destination: IpAddr,
    hop_limit: u8,
    message: &[u8],
) -> Option<Kind> {
    let [_, vrid, priority, _, ..] = *message.get(..VRRP_HEADER_BYTES)? else { return None };
    let interval_cs = word(message, 4)? & 0x0fff;
    let message = message.to_vec();
    let advert =
        Advert { at_us, source, destination, hop_limit, vrid, priority, interval_cs, message };
    Some(Kind::Advert(advert))
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

fn ipv4(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(octets.into())
}

fn ipv6(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    let octets: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
    Some(octets.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACS: [u8; 12] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0x77, 0, 0, 0, 11];

    fn frame(ethertype: [u8; 2], packet: &[u8]) -> Kind {
        let bytes = [MACS.as_slice(), &ethertype, packet].concat();
        let frame = Frame::parse(7, &bytes);
        assert_eq!(frame.source_mac, "02:77:00:00:00:0b");
        // Cut anywhere, it is no frame of that kind, and nothing panics.
        for length in 0..bytes.len() {
            assert_eq!(Frame::parse(7, &bytes[..length]).kind, Kind::Other, "{length} bytes");
        }
        frame.kind
    }

    #[test]
    fn an_advert_is_read_with_its_addresses_and_timing() {
        let header = [0x45, 0xc0, 0, 32, 0, 1, 0, 0, 255, 112, 0, 0, 10, 77, 0, 11, 224, 0, 0, 18];
        let message = [0x31, 51, 200, 1, 0, 20, 0x11, 0x1f, 10, 77, 0, 100];
        let Kind::Advert(advert) = frame([8, 0], &[header.as_slice(), &message].concat()) else {
            panic!("no advert");
        };
        assert_eq!((advert.vrid, advert.priority, advert.interval_cs), (51, 200, 20));
        assert_eq!((advert.hop_limit, advert.at_us), (255, 7));
        assert_eq!(advert.source, IpAddr::from([10, 77, 0, 11]));
        assert_eq!(advert.message, message);
    }

    #[test]
    fn arp_announces_when_sender_and_target_are_the_same() {
        let packet = |operation: u8, target: u8| {
            let head = [0, 1, 8, 0, 6, 4, 0, operation, 2, 0x77, 0, 0, 0, 11, 10, 77, 0, 100];
            [head.as_slice(), &[0, 0, 0, 0, 0, 0, 10, 77, 0, target]].concat()
        };
        let address = Ipv4Addr::new(10, 77, 0, 100);
        assert_eq!(frame([8, 6], &packet(1, 100)), Kind::GratuitousArp(address));
        assert_eq!(frame([8, 6], &packet(2, 100)), Kind::GratuitousArp(address));
        assert_eq!(frame([8, 6], &packet(2, 31)), Kind::ArpReply(address));
        assert_eq!(frame([8, 6], &packet(1, 31)), Kind::Other);
    }
}
