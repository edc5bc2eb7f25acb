//! VRRPv3 messages as bytes. Whatever [`decode`] returns has passed every check of RFC 9568 §7.1
//! that needs no configuration; no input makes it panic.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------+-------+---------------+---------------+---------------+
//! | ver 3 | type 1|     VRID      |   priority    | address count |
//! +-------+-------+---------------+---------------+---------------+
//! | resvd |   max advert interval, cs |           checksum        |
//! +-------+-----------------------+-------------------------------+
//! |  addresses, 4 or 16 bytes each …            (RFC 9568 §5.2)   |
//! +---------------------------------------------------------------+
//! |  trailer of signed advertisements, see `sign`                 |
//! +---------------------------------------------------------------+
//! ```

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::NodeId;
use crate::config::MAX_INTERVAL_CS;

mod checksum;
mod ipv4;
mod sign;

pub(crate) use checksum::{ones_complement_sum, pseudo_header_sum};
pub use ipv4::{Ipv4Packet, ipv4_packet};
pub use sign::{
    KEY_BYTES, KeyId, MAX_KEYS_COUNT, MAX_STREAMS_COUNT, SignError, Signer, SigningKey,
    TRAILER_BYTES, Verifier,
};

/// IP protocol and IPv6 next header of VRRP (RFC 9568 §5.1.1.4).
pub const PROTOCOL: u8 = 112;
/// Where IPv4 advertisements go (RFC 9568 §5.1.1.2).
pub const MULTICAST_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// Where IPv6 advertisements go (RFC 9568 §5.1.2.2).
pub const MULTICAST_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// TTL and hop limit of every advertisement (RFC 9568 §5.1.1.3, §5.1.2.3).
pub const HOP_LIMIT: u8 = 255;

const VERSION: u8 = 3;
const TYPE_ADVERTISEMENT: u8 = 1;
const HEADER_BYTES: usize = 8;
const CHECKSUM_OFFSET: usize = 6;

/// An address family: a group has one virtual router in each it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// One VRRP advertisement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advertisement {
    /// The family of the packet and of all its addresses.
    pub family: Family,
    /// Who sends it: the source of the IP packet.
    pub source: IpAddr,
    /// Virtual router identifier, 1–255.
    pub vrid: u8,
    /// 0: the Active releases; 1–254: backups; 255: the owner of the addresses.
    pub priority: u8,
    /// Advertisement interval of the Active, 1–4095 centiseconds.
    pub interval_cs: u16,
    /// The virtual addresses, at least one.
    pub addresses: Vec<IpAddr>,
}

/// What the checksum of an IPv4 advertisement covers. Both are accepted; this is what is sent.
/// IPv6 always covers the pseudo-header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChecksumForm {
    /// The message alone (RFC 9568 §5.2.8).
    #[default]
    Rfc9568,
    /// A pseudo-header too, as RFC 5798 was read by keepalived and FRR.
    PseudoHeader,
}

/// A packet as it came from the network, IP header taken off.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Source of the IP packet.
    pub source: IpAddr,
    /// Its destination.
    pub destination: IpAddr,
    /// TTL or hop limit; `None` where it is not to be checked: unicast, where signatures guard.
    pub hop_limit: Option<u8>,
    /// What follows the IP header.
    pub payload: &'a [u8],
}

/// An advertisement that was received and what is known of its sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// What it says.
    pub advertisement: Advertisement,
    /// Who vouches for it.
    pub signature: Signature,
    /// What its checksum covered.
    pub checksum: ChecksumForm,
}

/// What the trailer of an advertisement says of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signature {
    /// There is no trailer.
    Absent,
    /// There is one, and nobody asked whether it is good.
    Unchecked,
    /// It is good, and newer than any before it.
    Good {
        /// The node that signed.
        node_id: NodeId,
    },
    /// It is not good: [`DropReason::BadSignature`] or [`DropReason::UnknownKey`]. Another cluster
    /// on the same segment looks like this.
    Bad(DropReason),
}

/// Why an advertisement was not acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// TTL or hop limit is not 255: it came through a router (RFC 9568 §7.1).
    HopLimit,
    /// Not a VRRP packet, or a fragment of one.
    NotVrrp,
    /// Shorter than the fixed fields.
    TooShort,
    /// Not version 3.
    Version,
    /// Not an advertisement.
    Type,
    /// Shorter than its addresses, or followed by something that is not a signature.
    Length,
    /// The checksum is wrong in every form.
    Checksum,
    /// VRID 0.
    ZeroVrid,
    /// It carries no address.
    NoAddresses,
    /// An interval of zero.
    ZeroInterval,
    /// The first IPv6 address is not link-local.
    NotLinkLocal,
    /// Source and destination are not of one family.
    FamilyMixed,
    /// No group of this interface has the VRID.
    UnknownVrid,
    /// The group has no instance in this family.
    UnknownFamily,
    /// It came from this node itself.
    Own,
    /// The group does not take part now.
    NotTakingPart,
    /// The group asks for signatures and there is none.
    Unsigned,
    /// The signature does not fit the message.
    BadSignature,
    /// Signed with a key that is not known here.
    UnknownKey,
    /// Signed, but not newer than what the same sender said before.
    Replayed,
    /// More senders than are remembered.
    TooManySenders,
    /// The VRID is used by somebody who does not belong to the group.
    VridClash,
    /// The priority is lower than that of the Active which hears it.
    LowerPriority,
}

/// Why an advertisement cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// VRID 0.
    #[error("VRID 0 does not exist")]
    ZeroVrid,
    /// Zero, or more than 4095 cs.
    #[error("an interval of {0} cs is not within 1–4095")]
    Interval(u16),
    /// None, or more than 255.
    #[error("an advertisement carries 1–255 addresses, not {0}")]
    AddressCount(usize),
    /// Source, destination or an address is of the other family.
    #[error("source, destination and addresses are not of one family")]
    FamilyMixed,
    /// The first IPv6 address is not link-local (RFC 9568 §5.2.9).
    #[error("the first IPv6 address is not link-local")]
    NotLinkLocal,
    /// See [`SignError`].
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// Writes the VRRP message, and its trailer where a signer is given. `form` matters for IPv4 only.
pub fn encode(
    advertisement: &Advertisement,
    destination: IpAddr,
    form: ChecksumForm,
    signer: Option<&mut Signer>,
) -> Result<Vec<u8>, EncodeError> {
    check_encodable(advertisement, destination)?;
    let source = advertisement.source;
    let mut message = Vec::with_capacity(
        HEADER_BYTES
            + advertisement.addresses.len() * advertisement.family.address_bytes()
            + TRAILER_BYTES,
    );
    let count = u8::try_from(advertisement.addresses.len())
        .map_err(|_| EncodeError::AddressCount(advertisement.addresses.len()))?;
    message.extend([
        VERSION << 4 | TYPE_ADVERTISEMENT,
        advertisement.vrid,
        advertisement.priority,
        count,
    ]);
    // RFC 9568 §5.2.6: the four reserved bits above the interval are zero.
    message.extend(advertisement.interval_cs.to_be_bytes());
    message.extend([0, 0]);
    for address in &advertisement.addresses {
        push_address(&mut message, *address);
    }
    let checksum = match checksum_form(advertisement.family, form) {
        ChecksumForm::Rfc9568 => !ones_complement_sum(0, &message),
        ChecksumForm::PseudoHeader => {
            let start = pseudo_header_sum(source, destination, PROTOCOL, message.len());
            !ones_complement_sum(start, &message)
        }
    };
    message[CHECKSUM_OFFSET..HEADER_BYTES].copy_from_slice(&checksum.to_be_bytes());
    if let Some(signer) = signer {
        signer.sign(source, destination, &mut message)?;
    }
    Ok(message)
}

/// Reads and checks an advertisement. With a verifier its signature is checked too, and the
/// sender's counter moves on.
///
/// A bad or missing signature is no error here but [`Received::signature`]: whether it matters is
/// the group's setting, and a group that listens has to know of strangers on its VRID.
pub fn decode(
    datagram: &Datagram<'_>,
    verifier: Option<&mut Verifier>,
) -> Result<Received, DropReason> {
    let family = Family::of(datagram.source);
    if Family::of(datagram.destination) != family {
        return Err(DropReason::FamilyMixed);
    }
    // RFC 9568 §7.1: first of all, whether it comes from this very link.
    if datagram.hop_limit.is_some_and(|hop_limit| hop_limit != HOP_LIMIT) {
        return Err(DropReason::HopLimit);
    }
    let payload = datagram.payload;
    let (header, after_header) =
        payload.split_first_chunk::<HEADER_BYTES>().ok_or(DropReason::TooShort)?;
    let [version_type, vrid, priority, count, interval_high, interval_low, _, _] = *header;
    if version_type >> 4 != VERSION {
        return Err(DropReason::Version);
    }
    if version_type & 0x0f != TYPE_ADVERTISEMENT {
        return Err(DropReason::Type);
    }
    let addresses_bytes = usize::from(count) * family.address_bytes();
    if after_header.len() < addresses_bytes {
        return Err(DropReason::Length);
    }
    let (message, trailer) = payload.split_at(HEADER_BYTES + addresses_bytes);
    if !trailer.is_empty() && !sign::is_trailer(trailer) {
        return Err(DropReason::Length);
    }
    let checksum = check_checksum(datagram, message).ok_or(DropReason::Checksum)?;
    let advertisement = Advertisement {
        family,
        source: datagram.source,
        vrid,
        priority,
        // RFC 9568 §5.2.6: reserved bits are ignored on reception.
        interval_cs: u16::from_be_bytes([interval_high, interval_low]) & MAX_INTERVAL_CS,
        addresses: read_addresses(family, &after_header[..addresses_bytes]),
    };
    check_content(&advertisement)?;
    let signature = match (trailer.is_empty(), verifier) {
        (true, _) => Signature::Absent,
        (false, None) => Signature::Unchecked,
        (false, Some(verifier)) => {
            match verifier.verify(datagram.source, datagram.destination, message, trailer) {
                Ok(node_id) => Signature::Good { node_id },
                Err(bad @ (DropReason::BadSignature | DropReason::UnknownKey)) => {
                    Signature::Bad(bad)
                }
                Err(reason) => return Err(reason),
            }
        }
    };
    Ok(Received { advertisement, signature, checksum })
}

/// The VRID of a payload, before anything of it is checked: to find whose it is.
pub fn peek_vrid(payload: &[u8]) -> Option<u8> {
    payload.get(1).copied()
}

/// Whether an address is link-local: `fe80::/10`, or 169.254.0.0/16.
pub fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

impl Family {
    /// The family of an address. IPv4 written as IPv6 is IPv6: it was on the wire so.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// Where advertisements of this family go unless they go to unicast peers.
    pub fn multicast(self) -> IpAddr {
        match self {
            Self::V4 => MULTICAST_V4.into(),
            Self::V6 => MULTICAST_V6.into(),
        }
    }

    /// The name in status, events and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }

    fn address_bytes(self) -> usize {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

impl DropReason {
    /// Every reason, for counters that exist before they count.
    pub const ALL: [Self; 23] = [
        Self::HopLimit,
        Self::NotVrrp,
        Self::TooShort,
        Self::Version,
        Self::Type,
        Self::Length,
        Self::Checksum,
        Self::ZeroVrid,
        Self::NoAddresses,
        Self::ZeroInterval,
        Self::NotLinkLocal,
        Self::FamilyMixed,
        Self::UnknownVrid,
        Self::UnknownFamily,
        Self::Own,
        Self::NotTakingPart,
        Self::Unsigned,
        Self::BadSignature,
        Self::UnknownKey,
        Self::Replayed,
        Self::TooManySenders,
        Self::VridClash,
        Self::LowerPriority,
    ];

    /// The name in status, events and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HopLimit => "hop_limit",
            Self::NotVrrp => "not_vrrp",
            Self::TooShort => "too_short",
            Self::Version => "version",
            Self::Type => "type",
            Self::Length => "length",
            Self::Checksum => "checksum",
            Self::ZeroVrid => "zero_vrid",
            Self::NoAddresses => "no_addresses",
            Self::ZeroInterval => "zero_interval",
            Self::NotLinkLocal => "not_link_local",
            Self::FamilyMixed => "family_mixed",
            Self::UnknownVrid => "unknown_vrid",
            Self::UnknownFamily => "unknown_family",
            Self::Own => "own",
            Self::NotTakingPart => "not_taking_part",
            Self::Unsigned => "unsigned",
            Self::BadSignature => "bad_signature",
            Self::UnknownKey => "unknown_key",
            Self::Replayed => "replayed",
            Self::TooManySenders => "too_many_senders",
            Self::VridClash => "vrid_clash",
            Self::LowerPriority => "lower_priority",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn check_encodable(advertisement: &Advertisement, destination: IpAddr) -> Result<(), EncodeError> {
    let family = advertisement.family;
    if advertisement.vrid == 0 {
        return Err(EncodeError::ZeroVrid);
    }
    if advertisement.interval_cs == 0 || advertisement.interval_cs > MAX_INTERVAL_CS {
        return Err(EncodeError::Interval(advertisement.interval_cs));
    }
    if advertisement.addresses.is_empty() {
        return Err(EncodeError::AddressCount(0));
    }
    let mut all = advertisement.addresses.iter().chain([&advertisement.source, &destination]);
    if all.any(|address| Family::of(*address) != family) {
        return Err(EncodeError::FamilyMixed);
    }
    if family == Family::V6 && !is_link_local(advertisement.addresses[0]) {
        return Err(EncodeError::NotLinkLocal);
    }
    Ok(())
}

/// What a message may not say, whoever sends it.
pub(crate) fn check_content(advertisement: &Advertisement) -> Result<(), DropReason> {
    if advertisement.vrid == 0 {
        return Err(DropReason::ZeroVrid);
    }
    if advertisement.interval_cs == 0 {
        return Err(DropReason::ZeroInterval);
    }
    let Some(first) = advertisement.addresses.first() else {
        return Err(DropReason::NoAddresses);
    };
    if advertisement.family == Family::V6 && !is_link_local(*first) {
        return Err(DropReason::NotLinkLocal);
    }
    Ok(())
}

/// The form in which the checksum is good.
fn check_checksum(datagram: &Datagram<'_>, message: &[u8]) -> Option<ChecksumForm> {
    let is_good = |start| ones_complement_sum(start, message) == 0xffff;
    if datagram.source.is_ipv4() && is_good(0) {
        return Some(ChecksumForm::Rfc9568);
    }
    let start = pseudo_header_sum(datagram.source, datagram.destination, PROTOCOL, message.len());
    is_good(start).then_some(ChecksumForm::PseudoHeader)
}

fn checksum_form(family: Family, form: ChecksumForm) -> ChecksumForm {
    match family {
        Family::V4 => form,
        // RFC 9568 §5.2.8: IPv6 always includes the pseudo-header.
        Family::V6 => ChecksumForm::PseudoHeader,
    }
}

fn push_address(into: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => into.extend(address.octets()),
        IpAddr::V6(address) => into.extend(address.octets()),
    }
}

fn read_addresses(family: Family, bytes: &[u8]) -> Vec<IpAddr> {
    match family {
        Family::V4 => bytes.as_chunks::<4>().0.iter().map(|octets| IpAddr::from(*octets)).collect(),
        Family::V6 => {
            bytes.as_chunks::<16>().0.iter().map(|octets| IpAddr::from(*octets)).collect()
        }
    }
}

#[cfg(test)]
mod tests;
