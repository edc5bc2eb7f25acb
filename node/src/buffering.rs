//! What is held of requests and responses, for Prometheus.

use ballast_l7::BufferingTotals;
use ballast_telemetry::prometheus::{MetricKind, Metrics};

/// Writes the families.
pub(crate) fn expose(totals: &BufferingTotals, metrics: &mut Metrics) {
    metrics.single(
        "ballast_buffering_held_bytes",
        MetricKind::Gauge,
        "What requests and responses that are held take, on all workers.",
        totals.held_bytes(),
    );
    for (name, help, value) in [
        (
            "ballast_buffering_whole_requests_total",
            "Requests that were taken whole before a member was chosen.",
            totals.whole_requests(),
        ),
        (
            "ballast_buffering_large_requests_total",
            "Requests that turned out to be larger than may be held, and were passed on.",
            totals.large_requests(),
        ),
        (
            "ballast_buffering_early_releases_total",
            "Responses whose member was free before their client had them.",
            totals.early_releases(),
        ),
        (
            "ballast_buffering_refused_total",
            "Messages passed on as they came: a connection or worker held as much as it may.",
            totals.refused(),
        ),
    ] {
        metrics.single(name, MetricKind::Counter, help, value);
    }
}
