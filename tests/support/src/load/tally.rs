//! Counts what became of requests.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustls::HandshakeKind;

use super::LoadReport;

/// How many failures are described one by one.
const DESCRIBED_FAILURE_MAX_COUNT: usize = 10;

/// Longest latency that is told apart from longer ones.
const LATENCY_MAX_US: u64 = 120_000_000;

/// The counters of a run.
pub(super) struct Tally {
    started: Instant,
    last_ok: Instant,
    latency: Histogram<u64>,
    report: LoadReport,
}

impl Tally {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let latency = Histogram::new_with_max(LATENCY_MAX_US, 3).expect("3 digits are allowed");
        Self { started: now, last_ok: now, latency, report: LoadReport::default() }
    }

    pub(super) fn sent(&mut self) {
        self.report.sent += 1;
    }

    pub(super) fn connected(&mut self, handshake: Option<HandshakeKind>) {
        self.report.connections += 1;
        match handshake {
            None => {}
            Some(HandshakeKind::Resumed) => self.report.tls_resumed += 1,
            Some(_) => self.report.tls_full += 1,
        }
    }

    /// The request that was begun goes over a new connection instead; it is not sent twice.
    pub(super) fn closed_between_requests(&mut self) {
        self.report.closed_between_requests += 1;
        self.report.sent -= 1;
    }

    pub(super) fn ok(&mut self, origin: &str, latency: Duration) {
        let now = Instant::now();
        self.note_gap(now);
        self.last_ok = now;
        self.report.ok += 1;
        self.latency.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        match self.report.by_origin.get_mut(origin) {
            Some(count) => *count += 1,
            None => drop(self.report.by_origin.insert(origin.to_owned(), 1)),
        }
    }

    pub(super) fn failed(&mut self, reason: &str) {
        let at = self.started.elapsed().as_secs_f64();
        if self.report.first_failures.len() < DESCRIBED_FAILURE_MAX_COUNT {
            self.report.first_failures.push(format!("after {at:.3} s: {reason}"));
        }
        *self.report.failed.entry(reason.to_owned()).or_default() += 1;
    }

    pub(super) fn report(&mut self) -> LoadReport {
        self.note_gap(Instant::now());
        let percentiles =
            [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];
        let latency_us: BTreeMap<String, u64> = percentiles
            .map(|(name, quantile)| (name.to_owned(), self.latency.value_at_quantile(quantile)))
            .into();
        let elapsed_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        LoadReport { latency_us, elapsed_ms, ..self.report.clone() }
    }

    fn note_gap(&mut self, now: Instant) {
        let gap = u64::try_from((now - self.last_ok).as_millis()).unwrap_or(u64::MAX);
        self.report.longest_gap_ms = self.report.longest_gap_ms.max(gap);
    }
}
