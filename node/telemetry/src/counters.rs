//! Counters of a virtual server, one shard per worker.
//!
//! Invariant: a shard is written by one worker only. That is why adding is a load and a store, with
//! no locked instruction: a second writer would lose counts, nothing worse.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use ballast_model::status::VirtualServerStatus;

use crate::histogram::{Histogram, HistogramShard};
use crate::phase::{Phase, Phases};
use crate::reason::FailureReason;

/// A number that one thread adds to and any thread reads.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Counters of one virtual server. They outlive recompilation: see
/// [`CounterRegistry`](crate::CounterRegistry).
#[derive(Debug)]
pub struct VirtualServerCounters {
    name: String,
    shards: Box<[Arc<CounterShard>]>,
}

/// What one worker counts for one virtual server. On cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
pub struct CounterShard {
    connections_opened: Counter,
    connections_closed: Counter,
    /// 1xx to 5xx.
    responses: [Counter; STATUS_CLASS_COUNT],
    /// Requests that ended without a response, and TCP connections.
    unanswered: Counter,
    tls_full: Counter,
    tls_resumed: Counter,
    http2_connections: Counter,
    http2_requests: Counter,
    failures: [Counter; FailureReason::COUNT],
    received_bytes: Counter,
    sent_bytes: Counter,
    latency: HistogramShard,
    /// Made by the first request that has one: a TCP virtual server has none.
    phases: OnceLock<Box<[HistogramShard; Phase::COUNT]>>,
}

/// Classes of status codes: 1xx to 5xx.
pub const STATUS_CLASS_COUNT: usize = 5;

/// Which of the classes 1xx to 5xx a status is of; what lies beyond 599 is to be taken for 5xx (RFC 9110
/// §15). None for 0, which is no answer.
pub(crate) fn status_class(status: u16) -> Option<usize> {
    let class = usize::from(status / 100).checked_sub(1)?;
    Some(class.min(STATUS_CLASS_COUNT - 1))
}

impl Default for CounterShard {
    fn default() -> Self {
        Self {
            connections_opened: Counter::default(),
            connections_closed: Counter::default(),
            responses: array::from_fn(|_| Counter::default()),
            unanswered: Counter::default(),
            tls_full: Counter::default(),
            tls_resumed: Counter::default(),
            http2_connections: Counter::default(),
            http2_requests: Counter::default(),
            failures: array::from_fn(|_| Counter::default()),
            received_bytes: Counter::default(),
            sent_bytes: Counter::default(),
            latency: HistogramShard::default(),
            phases: OnceLock::new(),
        }
    }
}

impl CounterShard {
    /// Counts a client connection that was accepted.
    pub fn connection_opened(&self) {
        self.connections_opened.add(1);
    }

    /// Counts that a client connection ended.
    pub fn connection_closed(&self) {
        self.connections_closed.add(1);
    }

    /// Counts a request that was answered with `status`, `total_us` after its first byte.
    pub fn request(&self, status: u16, total_us: u64) {
        match status_class(status) {
            Some(class) => self.responses[class].add(1),
            None => self.unanswered.add(1),
        }
        self.latency.record(total_us);
    }

    /// Counts a request that got no response, or a TCP connection that ended, after `total_us`.
    pub fn request_unanswered(&self, total_us: u64) {
        self.unanswered.add(1);
        self.latency.record(total_us);
    }

    /// Counts how long the phases of a request took.
    pub fn phases(&self, taken: &Phases) {
        let histograms = self.phases.get_or_init(Box::default);
        for (phase, histogram) in Phase::ALL.iter().zip(&**histograms) {
            if let Some(us) = taken.us(*phase) {
                histogram.record(us);
            }
        }
    }

    /// Counts a TLS handshake that succeeded: a full one, or one that resumed a session.
    pub fn tls_handshake(&self, is_resumed: bool) {
        if is_resumed { &self.tls_resumed } else { &self.tls_full }.add(1);
    }

    /// Counts a client connection that speaks HTTP/2.
    pub fn http2_connection(&self) {
        self.http2_connections.add(1);
    }

    /// Counts a request that came as a stream of HTTP/2, besides the request itself.
    pub fn http2_request(&self) {
        self.http2_requests.add(1);
    }

    /// Counts why a request or connection failed: once for each that did, besides the request.
    pub fn failure(&self, reason: FailureReason) {
        self.failures[reason.index()].add(1);
    }

    /// Counts bytes that came from clients.
    pub fn received_bytes(&self, count: u64) {
        self.received_bytes.add(count);
    }

    /// Counts bytes that went to clients.
    pub fn sent_bytes(&self, count: u64) {
        self.sent_bytes.add(count);
    }

    /// Client connections of this worker that are open.
    pub fn connections(&self) -> u64 {
        self.connections_opened.value().saturating_sub(self.connections_closed.value())
    }
}

impl VirtualServerCounters {
    /// Counters at zero, for `worker_count` workers.
    pub fn new(name: &str, worker_count: usize) -> Self {
        let shards = (0..worker_count.max(1)).map(|_| Arc::default()).collect();
        Self { name: name.to_owned(), shards }
    }

    /// The virtual server's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What `worker` counts in. Keep it: the shard lives as long as the counters.
    pub fn shard(&self, worker: usize) -> &Arc<CounterShard> {
        &self.shards[worker % self.shards.len()]
    }

    /// Client connections that are open, of all workers.
    pub fn connections(&self) -> u64 {
        // Not the sum of differences: a connection may move to another worker.
        let opened = self.sum(|shard| &shard.connections_opened);
        opened.saturating_sub(self.sum(|shard| &shard.connections_closed))
    }

    /// Everything that was counted, of all workers.
    pub fn totals(&self) -> VirtualServerTotals {
        let mut latency = Histogram::default();
        let mut phases: [Histogram; Phase::COUNT] = Default::default();
        for shard in &self.shards {
            latency.add(&shard.latency);
            for (sum, shard) in
                phases.iter_mut().zip(shard.phases.get().into_iter().flat_map(|all| &**all))
            {
                sum.add(shard);
            }
        }
        VirtualServerTotals {
            connections: self.connections(),
            connections_total: self.sum(|shard| &shard.connections_opened),
            responses: array::from_fn(|class| self.sum(|shard| &shard.responses[class])),
            unanswered_total: self.sum(|shard| &shard.unanswered),
            tls_full_total: self.sum(|shard| &shard.tls_full),
            tls_resumed_total: self.sum(|shard| &shard.tls_resumed),
            http2_connections_total: self.sum(|shard| &shard.http2_connections),
            http2_requests_total: self.sum(|shard| &shard.http2_requests),
            failures: array::from_fn(|reason| self.sum(|shard| &shard.failures[reason])),
            received_bytes_total: self.sum(|shard| &shard.received_bytes),
            sent_bytes_total: self.sum(|shard| &shard.sent_bytes),
            latency,
            phases,
        }
    }

    /// What this node reports of the virtual server.
    pub fn status(&self) -> VirtualServerStatus {
        let totals = self.totals();
        VirtualServerStatus {
            name: self.name.clone(),
            connections: totals.connections,
            connections_total: totals.connections_total,
            requests_total: totals.requests_total(),
            failures_total: totals.failures_total(),
            received_bytes_total: totals.received_bytes_total,
            sent_bytes_total: totals.sent_bytes_total,
        }
    }

    fn sum(&self, counter: impl Fn(&CounterShard) -> &Counter) -> u64 {
        self.shards.iter().map(|shard| counter(shard).value()).fold(0, u64::wrapping_add)
    }
}

/// The sums of a virtual server's counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualServerTotals {
    /// Client connections open now.
    pub connections: u64,
    /// Client connections accepted.
    pub connections_total: u64,
    /// Requests answered, by class of status: 1xx to 5xx.
    pub responses: [u64; STATUS_CLASS_COUNT],
    /// Requests that ended without a response, and TCP connections.
    pub unanswered_total: u64,
    /// TLS handshakes that made a new session.
    pub tls_full_total: u64,
    /// TLS handshakes that resumed a session.
    pub tls_resumed_total: u64,
    /// Client connections that spoke HTTP/2.
    pub http2_connections_total: u64,
    /// Requests that came as streams of HTTP/2.
    pub http2_requests_total: u64,
    /// Failures, in the order of [`FailureReason::ALL`].
    pub failures: [u64; FailureReason::COUNT],
    /// Bytes received from clients.
    pub received_bytes_total: u64,
    /// Bytes sent to clients.
    pub sent_bytes_total: u64,
    /// Time from first byte to last.
    pub latency: Histogram,
    /// Time of each phase, in the order of [`Phase::ALL`].
    pub phases: [Histogram; Phase::COUNT],
}

impl VirtualServerTotals {
    /// Requests, answered or not; for TCP, connections that ended.
    pub fn requests_total(&self) -> u64 {
        self.responses.iter().fold(self.unanswered_total, |sum, count| sum.wrapping_add(*count))
    }

    /// Failures for any reason.
    pub fn failures_total(&self) -> u64 {
        self.failures.iter().fold(0, |sum, count| sum.wrapping_add(*count))
    }

    /// Failures for one reason.
    pub fn failures_for(&self, reason: FailureReason) -> u64 {
        self.failures[reason.index()]
    }
}

#[cfg(test)]
mod tests;
