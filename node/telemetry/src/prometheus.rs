//! Prometheus text exposition format, version 0.0.4.
//!
//! Invariant: each family is written once, all its samples together, and what stands in a label is
//! escaped, whatever it is.

use std::fmt::{Display, Write};

use ballast_model::status::{Health, MemberStatus};

use crate::access_log::AccessLog;
use crate::counters::VirtualServerTotals;
use crate::histogram::{Histogram, upper_bound_us};
use crate::phase::Phase;
use crate::reason::FailureReason;
use crate::registry::CounterRegistry;

mod certificates;
mod pools;

pub use certificates::write_certificates;
pub use pools::{POOL_SERIES_MAX_COUNT, PoolFacts, write_pools};

/// The `Content-Type` of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Most members with series of their own; of further ones only the number is told.
pub const MEMBER_SERIES_MAX_COUNT: usize = 10_000;
/// Most virtual servers with series of their own; of further ones only the number is told.
pub const VIRTUAL_SERVER_SERIES_MAX_COUNT: usize = 10_000;

/// What a family of metrics is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only ever grows, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by upper bound.
    Histogram,
}

/// Metrics text in the making.
#[derive(Debug, Default)]
pub struct Metrics {
    text: String,
}

impl Metrics {
    /// An empty text.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a family. All its samples must be written before the next family begins.
    pub fn family(&mut self, name: &'static str, kind: MetricKind, help: &str) -> Family<'_> {
        let kind = match kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        self.text.push_str("# HELP ");
        self.text.push_str(name);
        self.text.push(' ');
        escape(&mut self.text, help, false);
        self.put(format_args!("\n# TYPE {name} {kind}\n"));
        Family { metrics: self, name }
    }

    /// Writes a family of one sample without labels.
    pub fn single(
        &mut self,
        name: &'static str,
        kind: MetricKind,
        help: &str,
        value: impl Display,
    ) {
        self.family(name, kind, help).sample(&[], value);
    }

    /// The text so far.
    pub fn finish(self) -> String {
        self.text
    }

    fn put(&mut self, arguments: std::fmt::Arguments<'_>) {
        // Writing to a `String` can't fail.
        let _infallible = self.text.write_fmt(arguments);
    }
}

/// A family of metrics: samples of one name.
#[derive(Debug)]
pub struct Family<'a> {
    metrics: &'a mut Metrics,
    name: &'static str,
}

impl Family<'_> {
    /// Writes one sample.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.line("", labels, None, value);
    }

    /// Writes the samples of one histogram, in seconds.
    pub fn histogram(&mut self, labels: &[(&str, &str)], histogram: &Histogram) {
        let mut cumulative: u64 = 0;
        for (bucket, count) in histogram.buckets.iter().enumerate() {
            cumulative = cumulative.wrapping_add(*count);
            match upper_bound_us(bucket) {
                Some(bound_us) => {
                    let bound = Seconds(bound_us).to_string();
                    self.line("_bucket", labels, Some(&bound), cumulative);
                }
                None => self.line("_bucket", labels, Some("+Inf"), cumulative),
            }
        }
        self.line("_sum", labels, None, Seconds(histogram.sum_us));
        self.line("_count", labels, None, cumulative);
    }

    fn line(
        &mut self,
        suffix: &str,
        labels: &[(&str, &str)],
        le: Option<&str>,
        value: impl Display,
    ) {
        let text = &mut self.metrics.text;
        text.push_str(self.name);
        text.push_str(suffix);
        let mut separator = '{';
        for (name, value) in labels.iter().copied().chain(le.map(|le| ("le", le))) {
            text.push(separator);
            text.push_str(name);
            text.push_str("=\"");
            escape(text, value, true);
            text.push('"');
            separator = ',';
        }
        if separator == ',' {
            text.push('}');
        }
        self.metrics.put(format_args!(" {value}\n"));
    }
}

/// Microseconds, written as seconds.
struct Seconds(u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if micros == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{micros:06}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

fn escape(out: &mut String, text: &str, quotes: bool) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}

/// Writes the families of all virtual servers.
pub fn write_virtual_servers(metrics: &mut Metrics, registry: &CounterRegistry) {
    let all = registry.all();
    let shown = &all[..all.len().min(VIRTUAL_SERVER_SERIES_MAX_COUNT)];
    let shown: Vec<_> = shown.iter().map(|counters| (counters.name(), counters.totals())).collect();
    let mut simple = |name, kind, help: &str, value: fn(&VirtualServerTotals) -> u64| {
        let mut family = metrics.family(name, kind, help);
        for (server, totals) in &shown {
            family.sample(&[("virtual_server", server)], value(totals));
        }
    };
    simple(
        "ballast_virtual_server_connections",
        MetricKind::Gauge,
        "Client connections open now.",
        |totals| totals.connections,
    );
    simple(
        "ballast_virtual_server_connections_total",
        MetricKind::Counter,
        "Client connections accepted.",
        |totals| totals.connections_total,
    );
    simple(
        "ballast_virtual_server_received_bytes_total",
        MetricKind::Counter,
        "Bytes received from clients.",
        |totals| totals.received_bytes_total,
    );
    simple(
        "ballast_virtual_server_sent_bytes_total",
        MetricKind::Counter,
        "Bytes sent to clients.",
        |totals| totals.sent_bytes_total,
    );
    simple(
        "ballast_virtual_server_http2_connections_total",
        MetricKind::Counter,
        "Client connections that spoke HTTP/2.",
        |totals| totals.http2_connections_total,
    );
    simple(
        "ballast_virtual_server_http2_requests_total",
        MetricKind::Counter,
        "Requests that came as streams of HTTP/2; they are among all requests too.",
        |totals| totals.http2_requests_total,
    );
    write_requests(metrics, &shown);
    metrics.single(
        "ballast_virtual_servers",
        MetricKind::Gauge,
        "Virtual servers with counters; beyond a limit they have no series of their own.",
        all.len(),
    );
}

fn write_requests(metrics: &mut Metrics, shown: &[(&str, VirtualServerTotals)]) {
    let mut requests = metrics.family(
        "ballast_virtual_server_requests_total",
        MetricKind::Counter,
        "Requests by class of the response's status; \"none\" for those without a response and for \
         TCP connections.",
    );
    for (server, totals) in shown {
        for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"].iter().zip(totals.responses) {
            requests.sample(&[("virtual_server", server), ("class", class)], count);
        }
        let labels = [("virtual_server", *server), ("class", "none")];
        requests.sample(&labels, totals.unanswered_total);
    }
    let mut failures = metrics.family(
        "ballast_virtual_server_failures_total",
        MetricKind::Counter,
        "Requests and connections that failed, by reason; reasons that never occurred are left out.",
    );
    for (server, totals) in shown {
        for reason in FailureReason::ALL {
            let count = totals.failures_for(*reason);
            if count > 0 {
                failures.sample(&[("virtual_server", server), ("reason", reason.code())], count);
            }
        }
    }
    let mut handshakes = metrics.family(
        "ballast_virtual_server_tls_handshakes_total",
        MetricKind::Counter,
        "TLS handshakes that succeeded: full ones, and those that resumed a session.",
    );
    for (server, totals) in shown {
        for (kind, count) in
            [("full", totals.tls_full_total), ("resumed", totals.tls_resumed_total)]
        {
            if totals.tls_full_total + totals.tls_resumed_total > 0 {
                handshakes.sample(&[("virtual_server", server), ("kind", kind)], count);
            }
        }
    }
    let mut durations = metrics.family(
        "ballast_virtual_server_request_duration_seconds",
        MetricKind::Histogram,
        "Time from the first byte of a request to the last of its response.",
    );
    for (server, totals) in shown {
        durations.histogram(&[("virtual_server", server)], &totals.latency);
    }
    let mut phases = metrics.family(
        "ballast_virtual_server_phase_duration_seconds",
        MetricKind::Histogram,
        "Time of each phase of requests; phases that no request had are left out.",
    );
    for (server, totals) in shown {
        for (phase, histogram) in Phase::ALL.iter().zip(&totals.phases) {
            if histogram.count() > 0 {
                let labels = [("virtual_server", *server), ("phase", phase.as_str())];
                phases.histogram(&labels, histogram);
            }
        }
    }
}

/// Writes the families of all members.
pub fn write_members(metrics: &mut Metrics, members: &[MemberStatus]) {
    let shown = &members[..members.len().min(MEMBER_SERIES_MAX_COUNT)];
    let mut simple = |name, kind, help: &str, value: fn(&MemberStatus) -> u64| {
        let mut family = metrics.family(name, kind, help);
        for member in shown {
            family.sample(&[("pool", &member.pool), ("member", &member.member)], value(member));
        }
    };
    simple(
        "ballast_member_up",
        MetricKind::Gauge,
        "1 if the monitors let the member take requests, else 0.",
        |member| u64::from(matches!(member.health, Health::Up | Health::Unmonitored)),
    );
    simple(
        "ballast_member_in_flight",
        MetricKind::Gauge,
        "Requests or connections in flight.",
        |member| member.in_flight,
    );
    simple(
        "ballast_member_requests_total",
        MetricKind::Counter,
        "Requests or connections sent to the member.",
        |member| member.requests_total,
    );
    simple(
        "ballast_member_failures_total",
        MetricKind::Counter,
        "Requests or connections that failed on the member's side.",
        |member| member.failures_total,
    );
    metrics.single(
        "ballast_members",
        MetricKind::Gauge,
        "Members; beyond a limit they have no series of their own.",
        members.len(),
    );
}

/// Writes the families of spans: exported, dropped.
pub fn write_spans(metrics: &mut Metrics, (exported, dropped): (u64, u64)) {
    metrics.single(
        "ballast_spans_exported_total",
        MetricKind::Counter,
        "Spans of requests that the collector has taken.",
        exported,
    );
    metrics.single(
        "ballast_spans_dropped_total",
        MetricKind::Counter,
        "Spans of requests that were lost: too many at once, or the collector did not take them.",
        dropped,
    );
}

/// Writes the families of the access log.
pub fn write_access_log(metrics: &mut Metrics, log: &AccessLog) {
    let totals = log.totals();
    metrics.single(
        "ballast_access_log_records_total",
        MetricKind::Counter,
        "Access records written.",
        totals.written_total,
    );
    metrics.single(
        "ballast_access_log_dropped_total",
        MetricKind::Counter,
        "Access records dropped because they could not be written fast enough, or at all.",
        totals.dropped_total,
    );
}

#[cfg(test)]
mod tests;
