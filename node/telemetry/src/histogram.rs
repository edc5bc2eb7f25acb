//! Latency histograms with fixed bounds: powers of two of microseconds, so that finding the bucket
//! is one instruction and histograms of all workers and nodes can be added.

use std::array;

use crate::counters::Counter;

/// Buckets, the last without an upper bound.
pub const BUCKET_COUNT: usize = 22;

/// Upper bound of the first bucket: 2^6 = 64 µs. Each further bound is twice the one before; the
/// last is 2^26 µs, about 67 s.
const FIRST_BOUND_LOG2_US: u32 = 6;

/// The upper bound of a bucket, included, in µs; none for the last.
pub fn upper_bound_us(bucket: usize) -> Option<u64> {
    (bucket + 1 < BUCKET_COUNT).then(|| 1 << (FIRST_BOUND_LOG2_US as usize + bucket))
}

fn bucket_of(value_us: u64) -> usize {
    // The smallest k with value <= 2^k.
    let log2 = u64::BITS - value_us.saturating_sub(1).leading_zeros();
    (log2.saturating_sub(FIRST_BOUND_LOG2_US) as usize).min(BUCKET_COUNT - 1)
}

/// What one worker records.
#[derive(Debug)]
pub(crate) struct HistogramShard {
    buckets: [Counter; BUCKET_COUNT],
    sum_us: Counter,
}

impl Default for HistogramShard {
    fn default() -> Self {
        Self { buckets: array::from_fn(|_| Counter::default()), sum_us: Counter::default() }
    }
}

impl HistogramShard {
    pub(crate) fn record(&self, value_us: u64) {
        self.buckets[bucket_of(value_us)].add(1);
        self.sum_us.add(value_us);
    }
}

/// How many values fell into each bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Counts by bucket, not cumulative.
    pub buckets: [u64; BUCKET_COUNT],
    /// Sum of all values, in µs.
    pub sum_us: u64,
}

impl Histogram {
    pub(crate) fn add(&mut self, shard: &HistogramShard) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&shard.buckets) {
            *sum = sum.wrapping_add(bucket.value());
        }
        self.sum_us = self.sum_us.wrapping_add(shard.sum_us.value());
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The upper bound of the bucket in which the `quantile` (0 to 1) lies, in µs; none without
    /// values, and beyond the last bound.
    pub fn quantile_us(&self, quantile: f64) -> Option<u64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = ((count as f64 * quantile).ceil() as u64).clamp(1, count);
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|in_bucket| {
            seen += in_bucket;
            seen >= rank
        });
        bucket.and_then(upper_bound_us)
    }
}

#[cfg(test)]
mod tests;
