//! The Internet checksum (RFC 1071). A message whose sum, checksum included, is 0xffff is intact.

use std::net::IpAddr;

/// Adds up `bytes` as 16-bit words, the last one padded with zero, and folds the carries.
pub(crate) fn ones_complement_sum(start: u32, bytes: &[u8]) -> u16 {
    let (words, rest) = bytes.as_chunks::<2>();
    let mut sum = u64::from(start);
    sum += words.iter().map(|word| u64::from(u16::from_be_bytes(*word))).sum::<u64>();
    if let [last] = rest {
        sum += u64::from(*last) << 8;
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // Folded above.
    sum as u16
}

/// The sum of a pseudo-header (RFC 793 §3.1, RFC 8200 §8.1); fold it with what follows.
pub(crate) fn pseudo_header_sum(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    length_bytes: usize,
) -> u32 {
    let address_sum = |address: IpAddr| match address {
        IpAddr::V4(address) => u32::from(ones_complement_sum(0, &address.octets())),
        IpAddr::V6(address) => u32::from(ones_complement_sum(0, &address.octets())),
    };
    // No packet is longer than its 16-bit length field says; IPv6's upper half is zero for them.
    let length = u32::try_from(length_bytes).unwrap_or(u32::MAX) & 0xffff;
    address_sum(source) + address_sum(destination) + u32::from(protocol) + length
}
