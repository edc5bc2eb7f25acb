//! The [limiter](crate::limiter) that the threads of a node share: the same algorithm and the same
//! table, on atomics, so that a limit of a node is one limit, whichever thread a client meets.
//!
//! Invariant: a key's instant moves by one compare-and-swap for each request that passes, so that
//! threads that ask at the same moment are let through one by one. Only while a key takes another's
//! place in a full set may one request too many pass, or one be refused.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::limiter::{
    Admission, Consumption, DEBT_MAX_FACTOR, LimiterCounts, Rate, SECOND_NS, WAY_COUNT,
};

/// A table of keys and their instants, without a lock.
#[derive(Debug)]
pub struct SharedLimiter {
    key_max_count: usize,
    /// Made when the first limit is asked, since most nodes have none.
    slots: OnceLock<Box<[Slot]>>,
    passed_count: AtomicU64,
    refused_count: AtomicU64,
    forgotten_count: AtomicU64,
    unpublished_count: AtomicU64,
}

#[derive(Debug, Default)]
struct Slot {
    /// 0: free.
    key: AtomicU64,
    instant_ns: AtomicU64,
    /// What was let through and others have not been told.
    charge_ns: AtomicU64,
    tolerance_ns: AtomicU64,
}

impl SharedLimiter {
    /// A table for that many keys, rounded up to a power of two and at least 8; each takes 32 bytes.
    pub fn new(key_max_count: usize) -> Self {
        Self {
            key_max_count: key_max_count.clamp(WAY_COUNT, 1 << 28).next_power_of_two(),
            slots: OnceLock::new(),
            passed_count: AtomicU64::new(0),
            refused_count: AtomicU64::new(0),
            forgotten_count: AtomicU64::new(0),
            unpublished_count: AtomicU64::new(0),
        }
    }

    /// Whether a request with that key passes now; see
    /// [`Limiter::check`](crate::limiter::Limiter::check). All threads count `now_ns` from the same
    /// moment.
    pub fn check(&self, key: u128, rate: Rate, now_ns: u64) -> Admission {
        let key = folded(key);
        let slot = self.place(key, now_ns);
        let mut instant_ns = slot.instant_ns.load(Relaxed);
        loop {
            let next_ns = instant_ns.max(now_ns).saturating_add(rate.emission_ns);
            let ahead_ns = next_ns - now_ns;
            if ahead_ns > rate.tolerance_ns {
                self.refused_count.fetch_add(1, Relaxed);
                return Admission::Refused { retry_after_ns: ahead_ns - rate.tolerance_ns };
            }
            match slot.instant_ns.compare_exchange_weak(instant_ns, next_ns, Relaxed, Relaxed) {
                Ok(_) => break,
                Err(present_ns) => instant_ns = present_ns,
            }
        }
        slot.tolerance_ns.store(rate.tolerance_ns, Relaxed);
        slot.charge_ns.fetch_add(rate.emission_ns, Relaxed);
        self.passed_count.fetch_add(1, Relaxed);
        Admission::Passed
    }

    /// Whether a request with that key would pass now; nothing is counted.
    pub fn peek(&self, key: u128, rate: Rate, now_ns: u64) -> Admission {
        let key = folded(key);
        let known = self
            .slots
            .get()
            .and_then(|slots| ways(slots, key).iter().find(|slot| slot.key.load(Relaxed) == key));
        let instant_ns = known.map_or(0, |slot| slot.instant_ns.load(Relaxed));
        let ahead_ns = instant_ns.max(now_ns).saturating_add(rate.emission_ns) - now_ns;
        if ahead_ns > rate.tolerance_ns {
            Admission::Refused { retry_after_ns: ahead_ns - rate.tolerance_ns }
        } else {
            Admission::Passed
        }
    }

    /// Appends what has been let through since it was last told, of at most `max_count` keys
    /// beginning at slot `from`; the slot to go on at, 0 after the last. It looks at the whole table,
    /// which is for a thread that may take its time.
    pub fn publish(&self, from: usize, max_count: usize, out: &mut Vec<Consumption>) -> usize {
        let Some(slots) = self.slots.get() else { return 0 };
        let mut count = 0;
        for (at, slot) in slots.iter().enumerate().skip(from) {
            if slot.charge_ns.load(Relaxed) == 0 {
                continue;
            }
            if count == max_count {
                return at;
            }
            let key = slot.key.load(Relaxed);
            let charge_ns = slot.charge_ns.swap(0, Relaxed);
            let tolerance_ns = slot.tolerance_ns.load(Relaxed);
            if charge_ns > 0 {
                out.push(Consumption { key: u128::from(key), charge_ns, tolerance_ns });
                count += 1;
            }
        }
        0
    }

    /// Appends what keys still owe at `now_ns`, of at most `max_count` of them beginning at slot `from`; the
    /// slot to go on at, 0 after the last. Absorbed by an empty limiter, it makes that one decide as this
    /// one would.
    pub fn dump(
        &self,
        from: usize,
        max_count: usize,
        now_ns: u64,
        out: &mut Vec<Consumption>,
    ) -> usize {
        let Some(slots) = self.slots.get() else { return 0 };
        let end = out.len() + max_count;
        for (at, slot) in slots.iter().enumerate().skip(from) {
            let charge_ns = slot.instant_ns.load(Relaxed).saturating_sub(now_ns);
            if charge_ns == 0 {
                continue;
            }
            if out.len() == end {
                return at;
            }
            let key = u128::from(slot.key.load(Relaxed));
            out.push(Consumption { key, charge_ns, tolerance_ns: slot.tolerance_ns.load(Relaxed) });
        }
        0
    }

    /// Counts what another limiter has let through; see
    /// [`Limiter::absorb`](crate::limiter::Limiter::absorb).
    pub fn absorb(&self, consumption: &Consumption, now_ns: u64) {
        let slot = self.place(folded(consumption.key), now_ns);
        let debt_max_ns =
            consumption.tolerance_ns.saturating_add(SECOND_NS).saturating_mul(DEBT_MAX_FACTOR);
        let moved = |present_ns: u64| {
            let instant_ns = present_ns.max(now_ns).saturating_add(consumption.charge_ns);
            // What the slot already owes by its own doing stays owed.
            instant_ns.min(now_ns.saturating_add(debt_max_ns).max(present_ns))
        };
        let mut present_ns = slot.instant_ns.load(Relaxed);
        while let Err(changed_ns) =
            slot.instant_ns.compare_exchange_weak(present_ns, moved(present_ns), Relaxed, Relaxed)
        {
            present_ns = changed_ns;
        }
        // For whoever is told of it from here.
        slot.tolerance_ns.store(consumption.tolerance_ns, Relaxed);
    }

    /// What it has done so far.
    pub fn counts(&self) -> LimiterCounts {
        LimiterCounts {
            passed_count: self.passed_count.load(Relaxed),
            refused_count: self.refused_count.load(Relaxed),
            forgotten_count: self.forgotten_count.load(Relaxed),
            unpublished_count: self.unpublished_count.load(Relaxed),
        }
    }

    /// The slot of a key, or the one that it takes over.
    fn place(&self, key: u64, now_ns: u64) -> &Slot {
        let slots = self.slots.get_or_init(|| {
            std::iter::repeat_with(Slot::default).take(self.key_max_count).collect()
        });
        let ways = ways(slots, key);
        loop {
            if let Some(slot) = ways.iter().find(|slot| slot.key.load(Relaxed) == key) {
                return slot;
            }
            let oldest = ways.iter().min_by_key(|slot| slot.instant_ns.load(Relaxed));
            // A set has ways.
            let slot = oldest.unwrap_or(&ways[0]);
            let before = slot.key.load(Relaxed);
            let instant_ns = slot.instant_ns.load(Relaxed);
            if slot.key.compare_exchange(before, key, Relaxed, Relaxed).is_err() {
                // Another thread took it; for this key, maybe.
                continue;
            }
            if instant_ns > now_ns {
                self.forgotten_count.fetch_add(1, Relaxed);
            }
            if slot.charge_ns.swap(0, Relaxed) > 0 {
                self.unpublished_count.fetch_add(1, Relaxed);
            }
            // Where this fails, the new key's first request has already been counted.
            let _counted = slot.instant_ns.compare_exchange(instant_ns, 0, Relaxed, Relaxed);
            return slot;
        }
    }
}

/// A key's set.
fn ways(slots: &[Slot], key: u64) -> &[Slot] {
    let set = (key as usize % (slots.len() / WAY_COUNT)) * WAY_COUNT;
    &slots[set..set + WAY_COUNT]
}

/// 64 bits of a key; all nodes take the same, and none is 0.
fn folded(key: u128) -> u64 {
    (key as u64).max(1)
}

#[cfg(test)]
mod tests;
