//! The metrics of everything that serves traffic.
//!
//! Invariant: every family here has its row in `docs/operator.md`; a suite compares them.

use std::sync::Arc;

use ballast_model::status::NodeStatus;
use ballast_telemetry::prometheus::{self, MetricKind, Metrics};

use super::Traffic;
use crate::{buffering, pool_metrics, share};

impl Traffic {
    /// Writes all of them.
    pub(crate) fn write_metrics(&self, metrics: &mut Metrics, status: &NodeStatus) {
        prometheus::write_virtual_servers(metrics, &self.counters);
        prometheus::write_members(metrics, &status.members);
        let pools = self.plane.pools();
        let pools = Arc::clone(&pools.borrow());
        pool_metrics::write(metrics, &pools, &self.counters);
        prometheus::write_certificates(metrics, &status.certificates);
        crate::metrics::write_dns(metrics, &status.dns);
        prometheus::write_access_log(metrics, &self.access_log);
        let spans = self.spans.as_ref();
        prometheus::write_spans(metrics, spans.map_or((0, 0), |(totals, _)| totals.totals()));
        share::write_metrics(metrics, &pools, &self.share);
        self.write_totals(metrics);
        self.write_rate_limits(metrics);
        self.write_mirrors(metrics);
        buffering::expose(&self.buffering, metrics);
        self.write_pressure(metrics);
    }

    fn write_totals(&self, metrics: &mut Metrics) {
        let totals = self.plane.totals();
        write_counters(
            metrics,
            [
                (
                    "ballast_accept_errors_total",
                    "Client connections not accepted for want of descriptors or memory.",
                    totals.accept_errors_total,
                ),
                (
                    "ballast_refused_connections_total",
                    "Client connections refused by a limit.",
                    totals.refused_total,
                ),
                (
                    "ballast_worker_panics_total",
                    "Client connections lost to a fault of this program; please report it.",
                    totals.panics_total,
                ),
                (
                    "ballast_untracked_sources_total",
                    "Client connections let in without regard to the limits of their source: too many sources.",
                    totals.untracked_sources_total,
                ),
            ],
        );
    }

    fn write_rate_limits(&self, metrics: &mut Metrics) {
        let limits = self.rate_limits.counts();
        write_counters(
            metrics,
            [
                (
                    "ballast_rate_limit_passed_total",
                    "Requests that a policy's rate limit let through.",
                    limits.passed_count,
                ),
                (
                    "ballast_rate_limit_refused_total",
                    "Requests that a policy's rate limit refused.",
                    limits.refused_count,
                ),
                (
                    "ballast_rate_limit_forgotten_total",
                    "Keys of rate limits that were forgotten while they counted: too many at once.",
                    limits.forgotten_count,
                ),
            ],
        );
    }

    fn write_mirrors(&self, metrics: &mut Metrics) {
        write_counters(
            metrics,
            [
                (
                    "ballast_mirror_sent_total",
                    "Copies of requests that mirror pools took.",
                    self.mirrors.sent(),
                ),
                (
                    "ballast_mirror_dropped_total",
                    "Copies of requests not begun: too many at once, or too large a body.",
                    self.mirrors.dropped(),
                ),
                (
                    "ballast_mirror_failed_total",
                    "Copies of requests that no member of the mirror pool took.",
                    self.mirrors.failed(),
                ),
            ],
        );
    }

    fn write_pressure(&self, metrics: &mut Metrics) {
        let pressure = self.plane.pressure();
        let mut family = metrics.family(
            "ballast_pressure_percent",
            MetricKind::Gauge,
            "How much of what the node has is in use; new connections are refused by priority.",
        );
        family.sample(&[("resource", "descriptors")], pressure.descriptors_percent);
        family.sample(&[("resource", "memory")], pressure.memory_percent);
        metrics.single(
            "ballast_worker_lag_seconds",
            MetricKind::Gauge,
            "How late the latest worker turns to what is ready, smoothed.",
            pressure.lag_ms as f64 / 1_000.0,
        );
    }
}

/// Name, help and value of counters without labels.
fn write_counters<const N: usize>(
    metrics: &mut Metrics,
    counters: [(&'static str, &'static str, u64); N],
) {
    for (name, help, value) in counters {
        metrics.single(name, MetricKind::Counter, help, value);
    }
}
