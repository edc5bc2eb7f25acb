//! When a member that serves badly is left out for a while, whatever its monitors say.

use serde::{Deserialize, Serialize};

use crate::validate::FieldErrors;

/// Leaves members out that serve badly, judged by their answers to clients. Each node judges for
/// itself. A failure is a connection that is refused, times out or dies before its response, a
/// response that does not come in time, or a 502, 503 or 504.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct OutlierEjection {
    /// Failures in a row that eject a member, 0 to 1000, default 5; 0: any number is well.
    pub consecutive_failures: u32,
    /// How far below the mean of the pool's success rates a member's must be to be ejected, in
    /// hundredths of their standard deviation, 0 to 1000, default 190; 0: success rates are not
    /// compared.
    pub success_rate_deviations_percent: u32,
    /// How long a member's average time to first byte must be to be ejected, in percent of the pool's
    /// median, 150 to 10000. Absent: times are not compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_percent: Option<u32>,
    /// Time between two comparisons, in ms, 1000 to a day, default 10000.
    pub interval_ms: u64,
    /// Requests that a member must have had since the last comparison to be part of one, 1 to
    /// 1000000, default 100.
    pub min_requests: u32,
    /// Members that must have had as many for any to be ejected by comparison, 2 to 4096, default 3.
    pub min_members: u32,
    /// How long the first ejection of a member lasts, in ms, 100 to a day, default 30000. Each that
    /// follows lasts that much longer, until the member was well for `max_ejection_ms`.
    pub base_ejection_ms: u64,
    /// The longest ejection, in ms, at least `base_ejection_ms`, default 300000.
    pub max_ejection_ms: u64,
    /// Most members of the pool that are ejected at once, in percent, 1 to 100, default 10; one may
    /// be in any case, the last that takes requests never is.
    pub max_ejected_percent: u32,
}

impl Default for OutlierEjection {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            success_rate_deviations_percent: 190,
            latency_percent: None,
            interval_ms: 10_000,
            min_requests: 100,
            min_members: 3,
            base_ejection_ms: 30_000,
            max_ejection_ms: 300_000,
            max_ejected_percent: 10,
        }
    }
}

impl OutlierEjection {
    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        errors.range("consecutive_failures", self.consecutive_failures, 0, 1_000);
        let deviations = self.success_rate_deviations_percent;
        errors.range("success_rate_deviations_percent", deviations, 0, 1_000);
        if let Some(percent) = self.latency_percent {
            errors.range("latency_percent", percent, 150, 10_000);
        }
        errors.timeout_ms("interval_ms", self.interval_ms, 1_000);
        errors.range("min_requests", self.min_requests, 1, 1_000_000);
        errors.range("min_members", self.min_members, 2, 4_096);
        errors.timeout_ms("base_ejection_ms", self.base_ejection_ms, 100);
        errors.timeout_ms("max_ejection_ms", self.max_ejection_ms, self.base_ejection_ms);
        errors.range("max_ejected_percent", self.max_ejected_percent, 1, 100);
    }
}
