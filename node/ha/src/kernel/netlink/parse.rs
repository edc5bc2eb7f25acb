//! The few fields of rtnetlink messages that matter here. Attributes of newer kernels are passed
//! over; nothing outside a message's own length is read.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{
    NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NlasIterator, parse_ip,
};

use super::{Device, DeviceAddress};

/// `struct ifinfomsg`: family, type, index, flags, change mask.
const LINK_HEADER_BYTES: usize = 16;
/// `struct ifaddrmsg`: family, prefix length, flags, scope, index.
const ADDRESS_HEADER_BYTES: usize = 8;
/// `INFINITY_LIFE_TIME` of the kernel.
const FOR_EVER_S: u32 = u32::MAX;

/// A message of the kernel.
pub(super) struct Message {
    pub(super) sequence: u32,
    /// The dump that it belongs to changed while it was read.
    pub(super) interrupted: bool,
    pub(super) answer: Answer,
}

pub(super) enum Answer {
    Seen(Seen),
    LinkGone,
    AddressGone {
        device: u32,
        address: DeviceAddress,
    },
    /// A dump has ended.
    Done(io::Result<()>),
    /// A request was carried out or refused.
    Error(io::Result<()>),
    Other,
}

/// Something that is there.
pub(super) enum Seen {
    Link(Device),
    Address {
        device: u32,
        address: DeviceAddress,
        /// `IFA_F_…`
        flags: u32,
    },
}

/// The messages of one datagram.
pub(super) fn messages(bytes: &[u8]) -> impl Iterator<Item = io::Result<Message>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Ok(buffer) = NetlinkBuffer::new_checked(rest) else {
            rest = &[];
            return Some(Err(malformed()));
        };
        let length = usize::try_from(buffer.length()).unwrap_or(usize::MAX);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message(&buffer))
    })
}

fn message(buffer: &NetlinkBuffer<&[u8]>) -> io::Result<Message> {
    let payload = buffer.payload();
    let answer = match buffer.message_type() {
        NLMSG_DONE => Answer::Done(outcome(payload)?),
        NLMSG_ERROR => Answer::Error(outcome(payload)?),
        libc::RTM_NEWLINK => link(payload)?.map_or(Answer::Other, |it| Answer::Seen(Seen::Link(it))),
        libc::RTM_DELLINK => Answer::LinkGone,
        libc::RTM_NEWADDR => match address(payload)? {
            Some((device, address, flags)) => Answer::Seen(Seen::Address { device, address, flags }),
            None => Answer::Other,
        },
        libc::RTM_DELADDR => match address(payload)? {
            Some((device, address, _)) => Answer::AddressGone { device, address },
            None => Answer::Other,
        },
        _ => Answer::Other,
    };
    Ok(Message {
        sequence: buffer.sequence_number(),
        interrupted: buffer.flags() & NLM_F_DUMP_INTR != 0,
        answer,
    })
}

/// 0, or the negative error number.
fn outcome(payload: &[u8]) -> io::Result<io::Result<()>> {
    let code = u32_at(payload, 0).ok_or_else(malformed)?.cast_signed();
    Ok(if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code.saturating_neg())) })
}

fn link(payload: &[u8]) -> io::Result<Option<Device>> {
    let attributes = payload.get(LINK_HEADER_BYTES..).ok_or_else(malformed)?;
    // Bridges tell of their ports in a family of their own.
    if i32::from(payload[0]) != libc::AF_UNSPEC {
        return Ok(None);
    }
    let index = u32_at(payload, 4).ok_or_else(malformed)?;
    let flags = u32_at(payload, 8).ok_or_else(malformed)?;
    let is_set = |flag: libc::c_int| flags & flag.cast_unsigned() != 0;
    let mut device = Device {
        index,
        name: String::new(),
        mac: [0; 6],
        up: is_set(libc::IFF_UP) && is_set(libc::IFF_RUNNING) && is_set(libc::IFF_LOWER_UP),
        multicast: is_set(libc::IFF_MULTICAST),
        loopback: is_set(libc::IFF_LOOPBACK),
        addresses: Vec::new(),
    };
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.map_err(|_| malformed())?;
        match attribute.kind() {
            libc::IFLA_IFNAME => {
                let name = attribute.value().split(|byte| *byte == 0).next().unwrap_or_default();
                device.name = String::from_utf8_lossy(name).into_owned();
            }
            libc::IFLA_ADDRESS => {
                device.mac = attribute.value().try_into().unwrap_or_default();
            }
            _ => {}
        }
    }
    Ok(Some(device))
}

fn address(payload: &[u8]) -> io::Result<Option<(u32, DeviceAddress, u32)>> {
    let attributes = payload.get(ADDRESS_HEADER_BYTES..).ok_or_else(malformed)?;
    let device = u32_at(payload, 4).ok_or_else(malformed)?;
    let (mut local, mut other, mut valid_s) = (None, None, FOR_EVER_S);
    let mut flags = u32::from(payload[2]);
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.map_err(|_| malformed())?;
        match attribute.kind() {
            libc::IFA_LOCAL => local = parse_ip(attribute.value()).ok(),
            libc::IFA_ADDRESS => other = parse_ip(attribute.value()).ok(),
            libc::IFA_CACHEINFO => valid_s = u32_at(attribute.value(), 4).ok_or_else(malformed)?,
            libc::IFA_FLAGS => flags = u32_at(attribute.value(), 0).ok_or_else(malformed)?,
            _ => {}
        }
    }
    // On a point-to-point device IFA_ADDRESS is the other end's.
    let Some(address): Option<IpAddr> = local.or(other) else { return Ok(None) };
    let leased = valid_s != FOR_EVER_S;
    Ok(Some((device, DeviceAddress { address, prefix_length: payload[1], leased }, flags)))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a netlink message that contradicts itself")
}

#[cfg(test)]
mod tests;
