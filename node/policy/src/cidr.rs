//! Sets of networks, as sorted ranges that neither touch nor overlap: a look-up is one binary search.

use std::net::IpAddr;

use ballast_model::Cidr;

/// A set of addresses.
#[derive(Debug, Default)]
pub(crate) struct AddressSet {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl AddressSet {
    /// The addresses of all these networks.
    pub(crate) fn new(networks: &[Cidr]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            let length = u32::from(network.prefix_length());
            match network.address() {
                IpAddr::V4(first) => {
                    let first = first.to_bits();
                    v4.push((first, first | u32::MAX.checked_shr(length).unwrap_or(0)));
                }
                IpAddr::V6(first) => {
                    let first = first.to_bits();
                    v6.push((first, first | u128::MAX.checked_shr(length).unwrap_or(0)));
                }
            }
        }
        let (v4, v6) = (merged(v4, u32::checked_add), merged(v6, u128::checked_add));
        Self { v4, v6 }
    }

    /// Whether `address` is one of them; an IPv6-mapped IPv4 address is the IPv4 address.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => within(&self.v4, address.to_bits()),
            IpAddr::V6(address) => within(&self.v6, address.to_bits()),
        }
    }
}

fn within<T: Ord + Copy>(ranges: &[(T, T)], address: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= address);
    after > 0 && address <= ranges[after - 1].1
}

fn merged<T: Ord + Copy + From<bool>>(
    mut ranges: Vec<(T, T)>,
    checked_add: impl Fn(T, T) -> Option<T>,
) -> Box<[(T, T)]> {
    ranges.sort_unstable();
    let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if checked_add(*end, true.into()).is_none_or(|next| first <= next) => {
                *end = (*end).max(last);
            }
            _ => merged.push((first, last)),
        }
    }
    merged.into()
}

#[cfg(test)]
mod tests;
