//! Slow start: a member that came up gets a growing part of its share.
//!
//! Each pick looks away from such a member with the probability of what its share still lacks. That
//! works alike for every algorithm. One that goes by keys looks away by key: each key comes over
//! once, and does not go back and forth.
//!
//! Invariant: what a member is admitted to only ever grows while its share does.

use ballast_model::{Algorithm, PoolSpec};

use super::PickInput;
use crate::hash::{hash_address, mix};
use crate::member::Member;

/// The smallest part of its share that a member gets: 2^-4, so that it is warmed up at all.
const SMALLEST_PART_BITS: u32 = 4;

/// How members that came up are treated in one pick.
#[derive(Clone, Copy)]
pub(super) struct Ramp {
    length_ms: u64,
    now_ms: u64,
    seed: u64,
}

impl Ramp {
    /// None where the pool has no slow start.
    pub(super) fn new(spec: &PoolSpec, input: &PickInput<'_>) -> Option<Self> {
        if spec.slow_start_s == 0 {
            return None;
        }
        let seed = match spec.algorithm {
            Algorithm::ConsistentHash => {
                input.key.map_or_else(|| hash_address(input.client), |key| key.0)
            }
            Algorithm::SourceHash => hash_address(input.client),
            _ => input.random,
        };
        let length_ms = u64::from(spec.slow_start_s) * 1_000;
        Some(Self { length_ms, now_ms: input.now_ms, seed })
    }

    /// Whether this pick looks at `member`.
    pub(super) fn admits(self, member: &Member) -> bool {
        let since_ms = member.state.ramps_from_ms();
        // Not begun to ramp yet, such as while it serves in a panic: no more than at the beginning.
        let age_ms = self.now_ms.saturating_sub(since_ms);
        if since_ms == 0 || age_ms >= self.length_ms {
            return true;
        }
        let part = (u128::from(age_ms) << 64) / u128::from(self.length_ms);
        let part = part.max(1 << (64 - SMALLEST_PART_BITS));
        u128::from(mix(self.seed ^ member.hash_seed.rotate_left(17))) < part
    }
}
