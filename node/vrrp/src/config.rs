//! What a traffic group is told to be. A machine never runs on a configuration that
//! [`GroupConfig::validate`] refuses.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::wire::{Family, is_link_local};

/// Virtual addresses per family at most, besides the link-local one that every IPv6 list begins
/// with: an IPv6 advertisement of so many, signed, still fits the smallest MTU that IPv6 allows (1280
/// bytes).
pub const MAX_ADDRESSES_COUNT: usize = 64;
/// The largest advertisement interval that the message can carry, in centiseconds (12 bits).
pub const MAX_INTERVAL_CS: u16 = 4095;
/// Frames per address in one burst at most.
pub const MAX_ANNOUNCE_REPEAT_COUNT: u8 = 20;

/// A traffic group on this node: one virtual router per address family, moved as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupConfig {
    /// The group's name, for people.
    pub name: String,
    /// Virtual router identifier, 1–255, the same for both families.
    pub vrid: u8,
    /// Advertisement interval, 1–4095 centiseconds.
    pub interval_cs: u16,
    /// One or two instances, one per family; IPv4 comes first where both are there, and the first
    /// one decides ties.
    pub instances: Vec<InstanceConfig>,
    /// Whether a better Backup takes over from a healthy Active.
    pub preempt: Preempt,
    /// Whether only advertisements with a good signature count. Off for groups that share their
    /// VRID with routers outside the cluster.
    pub signed: bool,
    /// Those routers. What their priorities say of fitness is unknown: only [`Preempt`] decides
    /// whether a Backup takes over from one that lives.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub foreign_routers: Vec<IpAddr>,
    /// How a takeover is announced.
    pub announce: AnnounceConfig,
}

/// One address family of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceConfig {
    /// IPv4 or IPv6.
    pub family: Family,
    /// The node's own address on the interface, from which it advertises; link-local for IPv6 by
    /// multicast. It also breaks ties.
    pub source: IpAddr,
    /// The virtual addresses, 1–64. For IPv6 the first one is link-local (RFC 9568 §5.2.9) and not
    /// counted: [`crate::announce::virtual_link_local`] where the operator named none.
    pub addresses: Vec<IpAddr>,
}

/// Whether preference alone moves a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preempt {
    /// It does not; only death, degradation, release and operators move the group.
    Never,
    /// A Backup takes over once it has been able and better for this long.
    After {
        /// 0–300,000 ms.
        delay_ms: u32,
    },
}

/// When gratuitous ARP and unsolicited neighbour advertisements are sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnounceConfig {
    /// Frames per address in a burst, 1–20.
    pub repeat_count: u8,
    /// When bursts follow the first one, in ms after the takeover, ascending; at most 8.
    pub again_ms: Vec<u32>,
    /// One frame per address again and again after so many seconds; 0: never.
    pub refresh_s: u32,
}

impl Default for AnnounceConfig {
    /// 5 at once, 5 after 1 s, 5 after 5 s, then one every 60 s.
    fn default() -> Self {
        Self { repeat_count: 5, again_ms: vec![1_000, 5_000], refresh_s: 60 }
    }
}

/// Why a configuration cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum ConfigError {
    /// VRIDs begin at 1.
    #[error("VRID 0 does not exist")]
    ZeroVrid,
    /// Zero, or more than the message can carry.
    #[error("an advertisement interval of {0} cs is not within 1–4095")]
    Interval(u16),
    /// No instance, a family twice, or IPv6 before IPv4.
    #[error("a group has one instance per address family, IPv4 first")]
    Instances,
    /// The source is of the other family.
    #[error("{0} is not an address of its instance's family")]
    SourceFamily(IpAddr),
    /// No virtual address, or more than [`MAX_ADDRESSES_COUNT`].
    #[error("an instance has 1–64 virtual addresses, not {0}")]
    AddressCount(usize),
    /// A virtual address is of the other family.
    #[error("{0} does not belong among virtual addresses of the other family")]
    AddressFamily(IpAddr),
    /// A virtual address stands there twice, or is multicast, unspecified or the node's own.
    #[error("{0} cannot be a virtual address of this group")]
    Address(IpAddr),
    /// RFC 9568 §5.2.9.
    #[error("the first virtual IPv6 address must be link-local, {0} is not")]
    NotLinkLocal(IpAddr),
    /// More than 300 s.
    #[error("a failback delay of {0} ms is more than 300 s")]
    FailbackDelay(u32),
    /// Out of the ranges of [`AnnounceConfig`].
    #[error("announcements: 1–20 frames, at most 8 ascending repetitions")]
    Announce,
}

const MAX_FAILBACK_DELAY_MS: u32 = 300_000;
const MAX_ANNOUNCE_AGAIN_COUNT: usize = 8;

impl GroupConfig {
    /// Checks every range that the types do not; the first fault found.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.vrid == 0 {
            return Err(ConfigError::ZeroVrid);
        }
        if self.interval_cs == 0 || self.interval_cs > MAX_INTERVAL_CS {
            return Err(ConfigError::Interval(self.interval_cs));
        }
        let families: Vec<Family> = self.instances.iter().map(|one| one.family).collect();
        if !matches!(*families, [_] | [Family::V4, Family::V6]) {
            return Err(ConfigError::Instances);
        }
        if let Preempt::After { delay_ms } = self.preempt
            && delay_ms > MAX_FAILBACK_DELAY_MS
        {
            return Err(ConfigError::FailbackDelay(delay_ms));
        }
        self.announce.validate()?;
        self.instances.iter().try_for_each(InstanceConfig::validate)
    }

    /// The configured advertisement interval.
    pub fn interval(&self) -> Duration {
        centiseconds(self.interval_cs)
    }

    /// The instance of a family, where the group has it.
    pub fn instance(&self, family: Family) -> Option<&InstanceConfig> {
        self.instances.iter().find(|instance| instance.family == family)
    }
}

impl InstanceConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        if Family::of(self.source) != self.family {
            return Err(ConfigError::SourceFamily(self.source));
        }
        let link_local_count = usize::from(self.family == Family::V6);
        if !(1..=MAX_ADDRESSES_COUNT + link_local_count).contains(&self.addresses.len()) {
            return Err(ConfigError::AddressCount(self.addresses.len()));
        }
        for (index, address) in self.addresses.iter().enumerate() {
            if Family::of(*address) != self.family {
                return Err(ConfigError::AddressFamily(*address));
            }
            let is_unusable = address.is_multicast() || address.is_unspecified();
            // RFC 9568 §8.3.1: whoever owns an address would have to run at priority 255.
            let is_taken = *address == self.source || self.addresses[..index].contains(address);
            if is_unusable || is_taken {
                return Err(ConfigError::Address(*address));
            }
        }
        match self.addresses.first() {
            Some(first) if self.family == Family::V6 && !is_link_local(*first) => {
                Err(ConfigError::NotLinkLocal(*first))
            }
            _ => Ok(()),
        }
    }
}

impl AnnounceConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        let is_good = (1..=MAX_ANNOUNCE_REPEAT_COUNT).contains(&self.repeat_count)
            && self.again_ms.len() <= MAX_ANNOUNCE_AGAIN_COUNT
            && self.again_ms.is_sorted();
        if is_good { Ok(()) } else { Err(ConfigError::Announce) }
    }
}

/// Intervals travel in hundredths of a second, not in seconds.
pub(crate) fn centiseconds(count: u16) -> Duration {
    Duration::from_millis(u64::from(count) * 10)
}

#[cfg(test)]
mod tests;
