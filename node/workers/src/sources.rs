//! How many connections each source has and how fast they come: one table for all workers of a node.
//!
//! ```text
//!   set = hash of (virtual server, source) ──► 8 places, each: tag · open count | when it is even again
//! ```
//!
//! The rate is that of the generic cell rate algorithm (ITU-T I.371): a place holds the time at which
//! the source will have used up what it took in advance.
//!
//! Invariant: a place changes hands only while nothing is open in it and its time has passed; no
//! operation waits for another thread. A source for which there is no place is let in, and counted.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use ballast_model::SourceLimits;
use ballast_telemetry::FailureReason;

use crate::connections::GroupId;

/// Sources that are counted at once.
pub const SOURCE_MAX_COUNT: usize = 262_144;
const PLACE_COUNT: usize = 8;
const SET_COUNT: usize = SOURCE_MAX_COUNT / PLACE_COUNT;
/// How often we look again where other threads change the same set at the same moment.
const TRY_MAX_COUNT: usize = 64;

/// See the module.
#[derive(Debug)]
pub struct SourceTable {
    /// Made with the first source that is counted.
    sets: OnceLock<Box<[Set]>>,
    hasher: RandomState,
    start: Instant,
    untracked: AtomicU64,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Set([Place; PLACE_COUNT]);

#[derive(Debug, Default)]
struct Place {
    /// The source's tag in the upper half, its open connections in the lower.
    holder: AtomicU64,
    /// When what it took in advance is used up, in µs of the table's clock.
    even_us: AtomicU64,
}

/// A connection counted for its source; dropping it counts it out.
#[derive(Debug)]
pub struct SourceHold {
    table: Arc<SourceTable>,
    set: usize,
    place: usize,
}

impl Drop for SourceHold {
    fn drop(&mut self) {
        if let Some(set) = self.table.sets.get().and_then(|sets| sets.get(self.set)) {
            set.0[self.place].holder.fetch_sub(1, SeqCst);
        }
    }
}

/// What became of an attempt to be counted.
enum Counted {
    In(usize),
    AtLimit,
    NoPlace,
}

impl Default for SourceTable {
    fn default() -> Self {
        Self {
            sets: OnceLock::new(),
            hasher: RandomState::new(),
            start: Instant::now(),
            untracked: AtomicU64::new(0),
        }
    }
}

impl SourceTable {
    /// The table's clock.
    pub fn now_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// Connections that were let in uncounted, because no place was free.
    pub fn untracked_total(&self) -> u64 {
        self.untracked.load(Relaxed)
    }

    /// Counts a new connection of `source` to the virtual server `group`; none where no place is free.
    ///
    /// # Errors
    /// Which of its limits the source has reached.
    pub fn admit(
        self: &Arc<Self>,
        group: GroupId,
        source: IpAddr,
        limits: &SourceLimits,
        now_us: u64,
    ) -> Result<Option<SourceHold>, FailureReason> {
        let sets = self.sets.get_or_init(|| (0..SET_COUNT).map(|_| Set::default()).collect());
        let hash = self.hasher.hash_one((group, prefix(source, limits)));
        let index = hash as usize % SET_COUNT;
        let max_count = limits.connection_max_count.unwrap_or(u32::MAX);
        let place = match sets[index].count(tag(hash), max_count, now_us) {
            Counted::In(place) => place,
            Counted::AtLimit => return Err(FailureReason::SourceConnectionLimit),
            Counted::NoPlace => {
                self.untracked.fetch_add(1, Relaxed);
                return Ok(None);
            }
        };
        let hold = SourceHold { table: Arc::clone(self), set: index, place };
        if let Some(rate_per_s) = limits.connection_rate_per_s {
            let burst_count = limits.connection_burst_count.unwrap_or(rate_per_s);
            let even_us = &sets[index].0[place].even_us;
            if !take(even_us, rate_per_s, burst_count, now_us) {
                return Err(FailureReason::SourceRateLimit);
            }
        }
        Ok(Some(hold))
    }
}

impl Set {
    /// Counts one more connection under `tag`, unless `max_count` are.
    fn count(&self, tag: u64, max_count: u32, now_us: u64) -> Counted {
        for _ in 0..TRY_MAX_COUNT {
            let known = self.find(tag);
            let (place, holder, counted) = match known {
                Some((_, holder)) if count_of(holder) >= max_count => return Counted::AtLimit,
                Some((place, holder)) => (place, holder, holder + 1),
                None => match self.free(now_us) {
                    Some((place, holder)) => (place, holder, tag << 32 | 1),
                    None => return Counted::NoPlace,
                },
            };
            let entry = &self.0[place].holder;
            if entry.compare_exchange(holder, counted, SeqCst, SeqCst).is_err() {
                continue;
            }
            // Another thread may have given the same source another place at the same moment. Of the
            // two, at least one sees the other, for both write before they look, and takes it back.
            if !self.is_used_elsewhere(tag, place) {
                return Counted::In(place);
            }
            entry.fetch_sub(1, SeqCst);
        }
        Counted::NoPlace
    }

    /// The place of `tag`, one with open connections before one without.
    fn find(&self, tag: u64) -> Option<(usize, u64)> {
        let mut found = None;
        for (place, entry) in self.0.iter().enumerate() {
            let holder = entry.holder.load(SeqCst);
            if holder >> 32 == tag {
                if count_of(holder) > 0 {
                    return Some((place, holder));
                }
                found = found.or(Some((place, holder)));
            }
        }
        found
    }

    fn is_used_elsewhere(&self, tag: u64, place: usize) -> bool {
        self.0.iter().enumerate().any(|(other, entry)| {
            let holder = entry.holder.load(SeqCst);
            other != place && holder >> 32 == tag && count_of(holder) > 0
        })
    }

    fn free(&self, now_us: u64) -> Option<(usize, u64)> {
        self.0.iter().enumerate().find_map(|(place, entry)| {
            let holder = entry.holder.load(SeqCst);
            let is_free = count_of(holder) == 0 && entry.even_us.load(Relaxed) <= now_us;
            is_free.then_some((place, holder))
        })
    }
}

fn count_of(holder: u64) -> u32 {
    holder as u32
}

/// Never 0, which stands for nobody.
fn tag(hash: u64) -> u64 {
    (hash >> 32).max(1)
}

/// Takes one cell; false where the source is ahead of its rate by `burst_count` cells already.
fn take(even_us: &AtomicU64, rate_per_s: u32, burst_count: u32, now_us: u64) -> bool {
    let cell_us = 1_000_000 / u64::from(rate_per_s.max(1));
    let ahead_max_us = cell_us * u64::from(burst_count.saturating_sub(1));
    let taken = even_us.fetch_update(Relaxed, Relaxed, |even_us| {
        let base_us = even_us.max(now_us);
        (base_us - now_us <= ahead_max_us).then_some(base_us + cell_us)
    });
    taken.is_ok()
}

/// The first bits of an address that make it a source; an IPv4 address in an IPv6 one is an IPv4
/// address.
fn prefix(source: IpAddr, limits: &SourceLimits) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(ip) => {
            let shift = 32_u32.saturating_sub(limits.ipv4_prefix_length.into());
            Ipv4Addr::from_bits(ip.to_bits() & u32::MAX.checked_shl(shift).unwrap_or(0)).into()
        }
        IpAddr::V6(ip) => {
            let shift = 128_u32.saturating_sub(limits.ipv6_prefix_length.into());
            Ipv6Addr::from_bits(ip.to_bits() & u128::MAX.checked_shl(shift).unwrap_or(0)).into()
        }
    }
}

#[cfg(test)]
mod tests;
