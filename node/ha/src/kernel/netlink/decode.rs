//! Messages of the kernel about devices and addresses, read by hand (netlink(7), rtnetlink(7)).
//!
//! Invariant: what is unknown, odd or cut short is passed over; it never fails what stands beside it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::NLA_TYPE_MASK;

use super::super::{Device, DeviceAddress, Macvlan};

const MESSAGE_HEADER_BYTES: usize = 16;
const LINK_HEADER_BYTES: usize = 16;
const ADDRESS_HEADER_BYTES: usize = 8;
const ATTRIBUTE_HEADER_BYTES: usize = 4;
/// Messages and attributes stand at multiples of it.
const ALIGNMENT_BYTES: usize = 4;
const MACVLAN: &[u8] = b"macvlan";

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) body: &'a [u8],
}

/// The messages of one datagram.
pub(super) fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = usize::try_from(read_u32(rest, 0)?).ok()?;
        let message = Message {
            kind: read_u16(rest, 4)?,
            flags: read_u16(rest, 6)?,
            sequence: read_u32(rest, 8)?,
            body: rest.get(MESSAGE_HEADER_BYTES..length)?,
        };
        rest = rest.get(length.next_multiple_of(ALIGNMENT_BYTES)..).unwrap_or_default();
        Some(message)
    })
}

/// The number at the start of an acknowledgement, an error or the end of a list: 0 or −errno.
pub(super) fn code(body: &[u8]) -> i32 {
    read_u32(body, 0).map_or(0, u32::cast_signed)
}

/// The device of `RTM_NEWLINK` or `RTM_DELLINK`, without its addresses; none where the message is about
/// a device's place in a bridge, or has no name.
pub(super) fn device(body: &[u8]) -> Option<Device> {
    if i32::from(*body.first()?) == libc::AF_BRIDGE {
        return None;
    }
    let flags = read_u32(body, 8)?.cast_signed();
    let has = |flag: i32| flags & flag != 0;
    let mut device = Device {
        index: read_u32(body, 4)?,
        name: String::new(),
        mac: [0; 6],
        up: has(libc::IFF_UP) && has(libc::IFF_RUNNING),
        multicast: has(libc::IFF_MULTICAST),
        loopback: has(libc::IFF_LOOPBACK),
        addresses: Vec::new(),
        macvlan: None,
    };
    let (mut parent, mut alias, mut is_macvlan) = (None, String::new(), false);
    for (kind, value) in attributes(body.get(LINK_HEADER_BYTES..)?) {
        match kind {
            libc::IFLA_IFNAME => device.name = text(value),
            // Hardware addresses of other lengths (InfiniBand, tunnels) are none of ours.
            libc::IFLA_ADDRESS => device.mac = value.try_into().unwrap_or_default(),
            libc::IFLA_LINK => parent = read_u32(value, 0),
            libc::IFLA_IFALIAS => alias = text(value),
            libc::IFLA_LINKINFO => {
                let mut inner = attributes(value);
                is_macvlan = inner
                    .any(|(kind, value)| kind == libc::IFLA_INFO_KIND && trimmed(value) == MACVLAN);
            }
            _ => {}
        }
    }
    if is_macvlan && let Some(parent) = parent {
        device.macvlan = Some(Macvlan { parent, alias, set_up: has(libc::IFF_UP) });
    }
    (!device.name.is_empty()).then_some(device)
}

/// The device's number and the address of `RTM_NEWADDR` or `RTM_DELADDR`.
pub(super) fn address(body: &[u8]) -> Option<(u32, DeviceAddress)> {
    let family = i32::from(*body.first()?);
    let prefix_length = *body.get(1)?;
    let mut flags = u32::from(*body.get(2)?);
    let index = read_u32(body, 4)?;
    let (mut local, mut other) = (None, None);
    for (kind, value) in attributes(body.get(ADDRESS_HEADER_BYTES..)?) {
        match kind {
            libc::IFA_LOCAL => local = ip(family, value),
            libc::IFA_ADDRESS => other = ip(family, value),
            // All of them; the header has room for the first eight.
            libc::IFA_FLAGS => flags = read_u32(value, 0).unwrap_or(flags),
            _ => {}
        }
    }
    // On a point-to-point link `IFA_ADDRESS` is the other end's.
    let address = local.or(other)?;
    let leased = flags & libc::IFA_F_PERMANENT == 0;
    Some((index, DeviceAddress { address, prefix_length, leased }))
}

fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(read_u16(rest, 0)?);
        let kind = read_u16(rest, 2)? & NLA_TYPE_MASK;
        let value = rest.get(ATTRIBUTE_HEADER_BYTES..length)?;
        rest = rest.get(length.next_multiple_of(ALIGNMENT_BYTES)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn ip(family: i32, value: &[u8]) -> Option<IpAddr> {
    match family {
        libc::AF_INET => Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).into()),
        libc::AF_INET6 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into()),
        _ => None,
    }
}

/// Without the zero at the end that the kernel puts there.
fn trimmed(value: &[u8]) -> &[u8] {
    value.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(trimmed(value)).into_owned()
}

fn read_u16(bytes: &[u8], offset: usize) -> Option<u16> {
    let bytes = bytes.get(offset..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*bytes))
}

fn read_u32(bytes: &[u8], offset: usize) -> Option<u32> {
    let bytes = bytes.get(offset..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests;
