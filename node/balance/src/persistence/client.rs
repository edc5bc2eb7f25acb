//! What a client is known by, made small and keyed.
//!
//! Invariant: what a client brought can't be read from a [`ClientKey`], and no client can look for a
//! value that shares another one's; all nodes of a cluster make the same of the same.

use std::net::IpAddr;

use ballast_model::Persistence;
use ballast_policy::KeyHasher;

/// The keyed hash of what a client is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientKey(pub u128);

/// A client as a table knows it, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// What it is known by.
    pub client: ClientKey,
    /// How long it is remembered without a request, in ms.
    pub timeout_ms: u32,
}

/// Makes [`ClientKey`]s.
#[derive(Clone, Debug)]
pub struct ClientHasher(KeyHasher);

/// What sort of value a client is known by; two sorts never meet.
#[derive(Clone, Copy)]
enum Sort {
    Ipv4 = 1,
    Ipv6 = 2,
    Header = 3,
    Cookie = 4,
}

impl ClientHasher {
    /// Takes 16 bytes that every node of the cluster derives alike and nobody else knows.
    pub fn new(key: &[u8; 16]) -> Self {
        Self(KeyHasher::new(key))
    }

    /// The client at `address`, where persistence goes by that; an IPv4 address and its IPv6-mapped
    /// form are the same client.
    pub fn by_source(&self, persistence: &Persistence, address: IpAddr) -> Option<Known> {
        let Persistence::Source { ipv4_prefix_bits, ipv6_prefix_bits, idle_timeout_s } =
            *persistence
        else {
            return None;
        };
        let client = match address.to_canonical() {
            IpAddr::V4(address) => {
                let drop_bits = 32_u32.saturating_sub(ipv4_prefix_bits.into());
                let network = u32::from(address).checked_shr(drop_bits).unwrap_or(0);
                self.hash(Sort::Ipv4, &[ipv4_prefix_bits], &network.to_be_bytes())
            }
            IpAddr::V6(address) => {
                let drop_bits = 128_u32.saturating_sub(ipv6_prefix_bits.into());
                let network = u128::from(address).checked_shr(drop_bits).unwrap_or(0);
                self.hash(Sort::Ipv6, &[ipv6_prefix_bits], &network.to_be_bytes())
            }
        };
        Some(Known { client, timeout_ms: timeout_ms(idle_timeout_s) })
    }

    /// The client that brings `value`, where persistence goes by a header field or by a cookie of the
    /// application. An empty value is none: those who bring it are not one client.
    pub fn by_value(&self, persistence: &Persistence, value: &[u8]) -> Option<Known> {
        let (sort, name, idle_timeout_s) = match persistence {
            Persistence::Header { name, idle_timeout_s } => (Sort::Header, name, *idle_timeout_s),
            Persistence::ApplicationCookie { name, idle_timeout_s } => {
                (Sort::Cookie, name, *idle_timeout_s)
            }
            Persistence::None | Persistence::Cookie { .. } | Persistence::Source { .. } => {
                return None;
            }
        };
        if value.is_empty() {
            return None;
        }
        let client = self.hash(sort, name.as_bytes(), value);
        Some(Known { client, timeout_ms: timeout_ms(idle_timeout_s) })
    }

    /// Of values of any length, without putting them behind each other in memory.
    fn hash(&self, sort: Sort, name: &[u8], value: &[u8]) -> ClientKey {
        let mut parts = [0; 33];
        parts[0] = sort as u8;
        parts[1..17].copy_from_slice(&self.0.hash(name).to_be_bytes());
        parts[17..].copy_from_slice(&self.0.hash(value).to_be_bytes());
        ClientKey(self.0.hash(&parts))
    }
}

/// At most 30 days, which fit.
fn timeout_ms(timeout_s: u32) -> u32 {
    timeout_s.saturating_mul(1_000)
}

#[cfg(test)]
mod tests;
