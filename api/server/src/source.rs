//! Where requests come from, as far as limits are concerned.
//!
//! Invariant: whoever has a whole IPv6 network (/64) counts as one, for addresses of it cost nothing.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// The host bits of an IPv6 address, which whoever has the network chooses.
const IPV6_HOST_BITS: u32 = 64;

/// The address that limits count for `address`: an IPv4 address, or an IPv6 network.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let host = (1_u128 << IPV6_HOST_BITS) - 1;
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !host))
        }
    }
}

/// Places of which each source may hold some.
#[derive(Clone, Default)]
pub(crate) struct Shares {
    held: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A place that is held until it is dropped.
pub(crate) struct Share {
    shares: Shares,
    network: IpAddr,
}

impl Shares {
    /// A place for `source`, unless it holds `max` already.
    pub(crate) fn take(&self, source: IpAddr, max: usize) -> Option<Share> {
        let network = network(source);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(network).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Share { shares: self.clone(), network })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.shares.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests;
