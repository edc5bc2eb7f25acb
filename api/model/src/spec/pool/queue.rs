//! Requests that wait for a member with room.

use serde::{Deserialize, Serialize};

use crate::validate::FieldErrors;

/// Most requests that may wait for a pool.
pub const QUEUE_MAX_COUNT: u32 = 100_000;

/// Highest `queue_priority`; its negative is the lowest.
pub const QUEUE_PRIORITY_MAX: i8 = 100;

/// Where every member that could take a request is at its `connection_limit`: how many requests (TCP:
/// connections) wait for room, and for how long. Per node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct QueueSettings {
    /// Most that wait at once, 0 to 100000, default 1024. One more is refused with 503 `queue_full`; or
    /// the youngest of the lowest `queue_priority` is, where that is lower than its own.
    pub max_count: u32,
    /// Longest wait, in ms, 10 to a day, default 5000; then it is refused with 503 `queue_timeout`.
    pub timeout_ms: u64,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self { max_count: 1_024, timeout_ms: 5_000 }
    }
}

/// Requires a `queue_priority` in its range.
pub(in crate::spec) fn validate_priority(errors: &mut FieldErrors, priority: i8) {
    errors.range("queue_priority", priority, -QUEUE_PRIORITY_MAX, QUEUE_PRIORITY_MAX);
}

impl QueueSettings {
    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        errors.range("max_count", self.max_count, 0, QUEUE_MAX_COUNT);
        errors.timeout_ms("timeout_ms", self.timeout_ms, 10);
    }
}
