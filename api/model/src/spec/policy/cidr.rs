//! Networks, and regions made of them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::Kind;
use crate::limits::REGION_CIDR_MAX_COUNT;
use crate::resource::Spec;
use crate::validate::FieldErrors;

/// A network, written `192.0.2.0/24` or `2001:db8::/32`; an address alone means a network of that
/// one. An IPv6-mapped IPv4 address is the IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix_length: u8,
}

impl Cidr {
    /// A network.
    ///
    /// # Errors
    /// A prefix length above 32 or 128, or an address with bits beyond it.
    pub fn new(address: IpAddr, prefix_length: u8) -> Result<Self, String> {
        let max = if address.is_ipv4() { 32 } else { 128 };
        if prefix_length > max {
            return Err(format!("has a prefix length of {prefix_length}; the range is 0 to {max}"));
        }
        let network = masked(address, prefix_length);
        if network != address {
            return Err(format!(
                "has bits beyond its prefix; did you mean {network}/{prefix_length}?"
            ));
        }
        if address.to_canonical() != address && prefix_length < 96 {
            return Err("holds IPv6-mapped addresses and others; write them apart".to_owned());
        }
        let mapped = address.to_canonical() != address;
        let prefix_length = if mapped { prefix_length - 96 } else { prefix_length };
        Ok(Self { address: address.to_canonical(), prefix_length })
    }

    /// Its first address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// How many leading bits its addresses share.
    pub fn prefix_length(self) -> u8 {
        self.prefix_length
    }

    /// Whether `address` lies in it.
    pub fn contains(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4()
            && masked(address, self.prefix_length) == self.address
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_length)
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is no network such as \"192.0.2.0/24\"");
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => {
                let digits = length.bytes().all(|b| b.is_ascii_digit());
                (address, Some(length.parse().ok().filter(|_| digits).ok_or_else(wrong)?))
            }
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let length = length.unwrap_or(if address.is_ipv4() { 32 } else { 128 });
        Self::new(address, length).map_err(|why| format!("{text:?} {why}"))
    }
}

impl Serialize for Cidr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A named list of networks, such as a country's or an office's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RegionSpec {
    /// The networks, at most 100,000.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub cidrs: Vec<Cidr>,
}

impl Spec for RegionSpec {
    const KIND: Kind = Kind::Region;

    fn validate(&self, errors: &mut FieldErrors) {
        errors.range("cidrs", self.cidrs.len(), 0, REGION_CIDR_MAX_COUNT);
    }
}

fn masked(address: IpAddr, prefix_length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix_length)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix_length)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests;
