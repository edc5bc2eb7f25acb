//! How many requests a pool can be asked at once is found out, not set: by how much longer its members
//! take than when they have little to do.

use serde::{Deserialize, Serialize};

use crate::validate::FieldErrors;

/// Largest limit.
const LIMIT_MAX: u32 = 1_000_000;

/// Bounds the requests in flight to a pool through one node by how long members take to begin to answer:
/// see `docs/balance.md`. For `http` and `https`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct AdaptiveConcurrency {
    /// Fewest requests that are let through at once, and how many are while the shortest time is
    /// measured, 1 to 1000000.
    pub min_limit: u32,
    /// Most requests that are let through at once, `min_limit` to 1000000.
    pub max_limit: u32,
    /// How often the limit is computed anew, in ms, 10 to 60000.
    pub sample_window_ms: u64,
    /// How often the shortest time is measured anew, in ms, 1000 to 3600000; each time up to
    /// `jitter_percent` later, so that nodes don't do it in step.
    pub min_rtt_interval_ms: u64,
    /// See above, 0 to 100.
    pub jitter_percent: u8,
    /// Of how many requests the shortest time is the middle, 5 to 1000.
    pub min_rtt_request_count: u32,
    /// How much longer than the shortest time is no sign of too much work, in percent, 0 to 500.
    pub tolerance_percent: u16,
}

impl Default for AdaptiveConcurrency {
    fn default() -> Self {
        Self {
            min_limit: 3,
            max_limit: 1_000,
            sample_window_ms: 100,
            min_rtt_interval_ms: 60_000,
            jitter_percent: 15,
            min_rtt_request_count: 50,
            tolerance_percent: 25,
        }
    }
}

impl AdaptiveConcurrency {
    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        errors.range("min_limit", self.min_limit, 1, LIMIT_MAX);
        errors.range("max_limit", self.max_limit, self.min_limit.clamp(1, LIMIT_MAX), LIMIT_MAX);
        errors.range("sample_window_ms", self.sample_window_ms, 10, 60_000);
        errors.range("min_rtt_interval_ms", self.min_rtt_interval_ms, 1_000, 3_600_000);
        errors.range("jitter_percent", self.jitter_percent, 0, 100);
        errors.range("min_rtt_request_count", self.min_rtt_request_count, 5, 1_000);
        errors.range("tolerance_percent", self.tolerance_percent, 0, 500);
    }
}
