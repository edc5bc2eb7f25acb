//! Consistent hashing over the pool's lookup table, with bounded load.
//!
//! The table is made of the configuration alone. Where the member of a slot can't be chosen, the key
//! is hashed on to another slot, and so forth: only the keys of that member move, they spread over
//! all others, each to the same one on every node, and they come back when it does.
//!
//! Invariant: with a bound, no member is chosen that would have more requests in flight than
//! ⌈(1 + ε) · share · all⌉, by the counts that this pick sees.

use super::{Candidates, PickInput};
use crate::hash::{hash_address, mix};

/// Slots that a key is hashed on to before all candidates are looked at.
const HASH_ATTEMPT_MAX_COUNT: u64 = 16;

/// How many requests in flight each member may have (Mirrokni et al., 2018).
#[derive(Clone, Copy, Debug)]
struct LoadBound {
    /// Requests in flight to all candidates, this one included.
    total: u128,
    total_weight: u128,
    /// 100 + ε in percent.
    percent: u128,
}

impl LoadBound {
    /// The most requests in flight for a member of that weight: `⌈percent · total · weight share⌉`.
    fn max_count(self, weight: u64) -> u128 {
        let numerator = self.percent * self.total * u128::from(weight);
        numerator.div_ceil(100 * self.total_weight.max(1))
    }
}

impl Candidates<'_> {
    pub(super) fn consistent_hash(self, input: &PickInput<'_>) -> Option<u32> {
        let hash = input.key.map_or_else(|| hash_address(input.client), |key| key.0);
        let bound = self.load_bound();
        let is_within = |index: u32| {
            let Some(bound) = bound else { return true };
            let member = &self.pool.members()[index as usize];
            let in_flight = u128::from(member.state.in_flight());
            in_flight < bound.max_count(u64::from(member.weight))
        };
        if let Some(table) = self.pool.maglev() {
            for attempt in 0..HASH_ATTEMPT_MAX_COUNT {
                let index = table.index_of(rehash(hash, attempt));
                if self.holds(index) && is_within(index) {
                    return Some(index);
                }
            }
        }
        // Nearly all members are out. Between the two looks at them all may have become full.
        self.rendezvous(hash, is_within).or_else(|| self.rendezvous(hash, |_| true))
    }

    /// Looks at all candidates, where a bound is set.
    fn load_bound(self) -> Option<LoadBound> {
        let percent = self.pool.spec().consistent_hash.as_ref()?.load_excess_percent?;
        let mut bound = LoadBound { total: 1, total_weight: 0, percent: 100 + u128::from(percent) };
        for index in self.indices() {
            let load = self.load(index);
            bound.total += u128::from(load.amount);
            bound.total_weight += u128::from(load.weight);
        }
        Some(bound)
    }
}

/// The hash of a key at its n-th attempt.
fn rehash(hash: u64, attempt: u64) -> u64 {
    if attempt == 0 { hash } else { mix(hash ^ attempt.wrapping_mul(0x9e37_79b9_7f4a_7c15)) }
}
