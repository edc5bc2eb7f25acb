//! When a request that failed at a member is tried again, at another.

use serde::{Deserialize, Serialize};

use crate::validate::FieldErrors;

/// When a request that failed at a member is tried again, at another if there is one.
///
/// Only a request that is still whole is sent again: of whose body nothing has left the buffer. One
/// that may have reached the member is sent again only if its method is idempotent (RFC 9110 §9.2.2),
/// or `non_idempotent` says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RetryPolicy {
    /// For what, default `connect_failure` and `reset_before_response`.
    pub causes: Vec<RetryCause>,
    /// For the cause `status`: which, of 500 to 599, at most 16; default 502, 503, 504.
    pub statuses: Vec<u16>,
    /// Attempts at a request, the first included, 1 to 10, default 3.
    pub max_attempts: u32,
    /// Longest wait for a response in each attempt, in ms, 10 to a day. Absent: that of the virtual
    /// server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_try_timeout_ms: Option<u64>,
    /// Retries that are allowed, in percent of the pool's requests through this node in the last 10
    /// seconds, 0 to 100, default 20: retries must not bury members that can't keep up.
    pub budget_percent: u32,
    /// Retries that are allowed in each second besides, 0 to 10000, default 10.
    pub budget_min_per_s: u32,
    /// Whether requests of other methods are sent again although the member may have acted on them.
    pub non_idempotent: bool,
}

/// For what a request is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RetryCause {
    /// The connection was refused, timed out or could not be made otherwise.
    ConnectFailure,
    /// The connection died before the first byte of a response.
    ResetBeforeResponse,
    /// The response has one of `statuses`.
    Status,
    /// No response came in time.
    Timeout,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            causes: vec![RetryCause::ConnectFailure, RetryCause::ResetBeforeResponse],
            statuses: vec![502, 503, 504],
            max_attempts: 3,
            per_try_timeout_ms: None,
            budget_percent: 20,
            budget_min_per_s: 10,
            non_idempotent: false,
        }
    }
}

impl RetryPolicy {
    /// Whether requests are tried again for that cause.
    pub fn is_for(&self, cause: RetryCause) -> bool {
        self.causes.contains(&cause)
    }

    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        errors.range("causes", self.causes.len(), 0, 4);
        errors.range("statuses", self.statuses.len(), 0, 16);
        errors.within("statuses", |errors| {
            for (i, status) in self.statuses.iter().enumerate() {
                errors.require((500..=599).contains(status), i, "out_of_range", || {
                    format!("is {status}; the range is 500 to 599")
                });
            }
        });
        errors.range("max_attempts", self.max_attempts, 1, 10);
        if let Some(timeout_ms) = self.per_try_timeout_ms {
            errors.timeout_ms("per_try_timeout_ms", timeout_ms, 10);
        }
        errors.range("budget_percent", self.budget_percent, 0, 100);
        errors.range("budget_min_per_s", self.budget_min_per_s, 0, 10_000);
    }
}
