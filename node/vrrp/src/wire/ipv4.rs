//! The payload of a raw IPv4 packet. The header is as long as it says, options included, and
//! nothing outside the packet's own length is read.

use std::net::Ipv4Addr;

use super::{DropReason, PROTOCOL};

/// A VRRP packet over IPv4, header taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Packet<'a> {
    /// Who sent it.
    pub source: Ipv4Addr,
    /// To whom.
    pub destination: Ipv4Addr,
    /// Its time to live.
    pub ttl: u8,
    /// What follows the header and its options.
    pub payload: &'a [u8],
}

const MIN_HEADER_BYTES: usize = 20;
/// "More fragments" and the offset: both zero in a whole packet.
const FRAGMENT_BITS: u16 = 0x3fff;

/// Takes the header off a raw IPv4 packet, as a raw socket gives it.
///
/// # Errors
/// [`DropReason::TooShort`], [`DropReason::Length`] where lengths contradict each other, and
/// [`DropReason::NotVrrp`] for other protocols, versions and fragments.
pub fn ipv4_packet(bytes: &[u8]) -> Result<Ipv4Packet<'_>, DropReason> {
    let header = bytes.first_chunk::<MIN_HEADER_BYTES>().ok_or(DropReason::TooShort)?;
    let word = |offset: usize| u16::from_be_bytes([header[offset], header[offset + 1]]);
    if header[0] >> 4 != 4 {
        return Err(DropReason::NotVrrp);
    }
    let header_bytes = usize::from(header[0] & 0x0f) * 4;
    let total_bytes = usize::from(word(2));
    if header_bytes < MIN_HEADER_BYTES || total_bytes < header_bytes {
        return Err(DropReason::Length);
    }
    // What follows the packet's own length is padding of the link.
    let payload = bytes.get(header_bytes..total_bytes).ok_or(DropReason::Length)?;
    if header[9] != PROTOCOL || word(6) & FRAGMENT_BITS != 0 {
        return Err(DropReason::NotVrrp);
    }
    let address = |offset: usize| {
        Ipv4Addr::new(header[offset], header[offset + 1], header[offset + 2], header[offset + 3])
    };
    Ok(Ipv4Packet { source: address(12), destination: address(16), ttl: header[8], payload })
}
