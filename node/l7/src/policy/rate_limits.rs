//! The rate limits of a node: one table for all its workers.

use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use ballast_policy::limiter::{Admission, Consumption, LimiterCounts};
use ballast_policy::{KeyHasher, Limit, SharedLimiter};

/// Clients, or whatever limits go by, that a node keeps count of at once: 2 MiB.
const KEY_MAX_COUNT: usize = 64 * 1024;

/// The rate limits of a node.
#[derive(Debug)]
pub struct RateLimits {
    limiter: SharedLimiter,
    hasher: KeyHasher,
    epoch: Instant,
}

impl RateLimits {
    /// An empty table; `key` is the same on all nodes of a cluster, and secret.
    pub fn new(key: &[u8; 16]) -> Self {
        Self {
            limiter: SharedLimiter::new(KEY_MAX_COUNT),
            hasher: KeyHasher::new(key),
            epoch: Instant::now(),
        }
    }

    /// Appends what was let through since it was last told, see [`SharedLimiter::publish`].
    pub fn publish(&self, from: usize, max_count: usize, out: &mut Vec<Consumption>) -> usize {
        self.limiter.publish(from, max_count, out)
    }

    /// Appends what keys still owe, see [`SharedLimiter::dump`].
    pub fn dump(&self, from: usize, max_count: usize, out: &mut Vec<Consumption>) -> usize {
        self.limiter.dump(from, max_count, self.now_ns(), out)
    }

    /// Counts what another node has let through.
    pub fn absorb(&self, consumption: &Consumption) {
        self.limiter.absorb(consumption, self.now_ns());
    }

    /// What was done so far.
    pub fn counts(&self) -> LimiterCounts {
        self.limiter.counts()
    }

    pub(crate) fn check(&self, key: u128, limit: &Limit) -> Admission {
        self.limiter.check(key, limit.rate, self.now_ns())
    }

    pub(crate) fn hasher(&self) -> &KeyHasher {
        &self.hasher
    }

    fn now_ns(&self) -> u64 {
        let elapsed_ns = u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX / 2);
        elapsed_ns + 1
    }
}

impl Default for RateLimits {
    /// With a key of its own: for a node that shares with nobody.
    fn default() -> Self {
        let draw = || RandomState::new().hash_one(0_u8).to_be_bytes();
        let mut key = [0; 16];
        key[..8].copy_from_slice(&draw());
        key[8..].copy_from_slice(&draw());
        Self::new(&key)
    }
}
