//! Limits on what a pool is asked at once through one node: beyond them requests fail at once, so that a
//! pool that can't keep up does not take the node's memory, and the clients' patience, with it.

use serde::{Deserialize, Serialize};

use crate::validate::FieldErrors;

/// Largest limit.
const LIMIT_MAX: u32 = 1_000_000;

/// Limits on what a pool is asked at once through one node. How many requests wait is bounded by
/// `queue.max_count`, and members that fail are left out by `outlier_ejection`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct CircuitBreaker {
    /// Most requests (TCP: connections; UDP: sessions) in flight to all members together, 1 to
    /// 1000000; further ones fail with 503 `circuit_open`. Absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_max_count: Option<u32>,
    /// Most requests that are being sent again at once, 1 to 1000000; a further one is not, and fails as
    /// its last attempt did. Beside the budget of `retry`. Absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_max_count: Option<u32>,
}

impl CircuitBreaker {
    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        for (name, limit) in [
            ("request_max_count", self.request_max_count),
            ("retry_max_count", self.retry_max_count),
        ] {
            if let Some(limit) = limit {
                errors.range(name, limit, 1, LIMIT_MAX);
            }
        }
    }
}
