//! How long a member takes: a moving average that forgets over time.
//!
//! Each worker keeps its own and reads those of the others: measuring writes no cache line that two
//! workers write.
//!
//! Invariant: what nobody measures fades, so that a member that was slow once is tried again.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// After this long without news, an average is worth a third (1/e) of what it was, in ms.
const DECAY_MS: f64 = 10_000.0;
/// A failed attempt counts as at least this long, in µs: a member that refuses at once is not the
/// fastest.
const FAILURE_MIN_US: u64 = 1_000_000;
/// Averages below this are not told from none, in µs.
const FADED_US: f64 = 1.0;

/// How measurements become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Averaging {
    /// Every measurement counts by how much time has passed since the one before.
    Mean,
    /// As the mean, but one that is above it counts at once (peak EWMA).
    Peak,
}

/// What one worker measured of one member.
///
/// The average as `f32`, in µs, in the lower half; when it was measured, in ms modulo 2^32, in the
/// upper: both in one word, so that a reader never sees one without the other.
#[derive(Debug, Default)]
pub(crate) struct Latency(AtomicU64);

impl Latency {
    /// Takes in one measurement. Only one worker calls it; a second would lose some, nothing worse.
    pub(crate) fn observe(&self, took_us: u64, averaging: Averaging, now_ms: u64) {
        let took = took_us as f64;
        let average = match unpack(self.0.load(Relaxed)) {
            None => took,
            Some((average, at_ms)) => {
                // Two measurements in one ms are not one: the later must count for something.
                let kept = decay(age_ms(at_ms, now_ms).max(1.0));
                let mean = average * kept + took * (1.0 - kept);
                if averaging == Averaging::Peak { mean.max(took) } else { mean }
            }
        };
        self.0.store(pack(average.max(FADED_US), now_ms), Relaxed);
    }

    /// Takes in that an attempt failed after `took_us`.
    pub(crate) fn observe_failure(&self, took_us: u64, now_ms: u64) {
        self.observe(took_us.max(FAILURE_MIN_US), Averaging::Peak, now_ms);
    }

    /// The average as it has faded since, in µs; none where nothing was measured for long.
    pub(crate) fn value(&self, now_ms: u64) -> Option<f64> {
        let (average, at_ms) = unpack(self.0.load(Relaxed))?;
        let value = average * decay(age_ms(at_ms, now_ms));
        (value >= FADED_US).then_some(value)
    }
}

/// What is left of an average after that long.
fn decay(age_ms: f64) -> f64 {
    (-age_ms / DECAY_MS).exp()
}

/// From one time modulo 2^32 to another, in ms; a clock that was set back counts as none.
fn age_ms(at_ms: u32, now_ms: u64) -> f64 {
    let age = (now_ms as u32).wrapping_sub(at_ms);
    if age > u32::MAX / 2 { 0.0 } else { f64::from(age) }
}

fn pack(average: f64, now_ms: u64) -> u64 {
    u64::from((average as f32).to_bits()) | u64::from(now_ms as u32) << 32
}

fn unpack(word: u64) -> Option<(f64, u32)> {
    let average = f32::from_bits(word as u32);
    (average > 0.0).then_some((f64::from(average), (word >> 32) as u32))
}

#[cfg(test)]
mod tests;
