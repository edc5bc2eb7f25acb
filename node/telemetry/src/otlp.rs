//! Spans of requests on their way to a collector of OpenTelemetry (OTLP 1.x, binary protobuf).
//!
//! ```text
//!   worker: SpanSink::offer ── encoded spans of a request ──► bounded channel ──► exporter ──► collector
//! ```
//! Invariant: a worker waits for nobody: where the channel is full, spans are dropped and counted. Without
//! an exporter a request costs one look at an `Option`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::mpsc;

mod encode;

pub use encode::{Attempt, Origin, RequestSpans, export_request};

/// Requests whose spans wait for the exporter; of further ones they are dropped.
pub const QUEUE_MAX_COUNT: usize = 2_048;

/// Encoded spans of one request: fields `spans` of `ScopeSpans`, one after another.
#[derive(Debug)]
pub struct SpanBatch {
    /// The fields.
    pub bytes: Vec<u8>,
    /// How many there are.
    pub span_count: u64,
}

/// Where workers put spans. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct SpanSink {
    queue: Option<(mpsc::Sender<SpanBatch>, Arc<SpanTotals>)>,
}

/// What became of spans so far.
#[derive(Debug, Default)]
pub struct SpanTotals {
    exported: AtomicU64,
    dropped: AtomicU64,
}

impl SpanTotals {
    /// Counts spans that the collector has taken.
    pub fn count_exported(&self, count: u64) {
        self.exported.fetch_add(count, Relaxed);
    }

    /// Counts spans that were lost.
    pub fn count_dropped(&self, count: u64) {
        self.dropped.fetch_add(count, Relaxed);
    }

    /// Spans that the collector has taken, and spans that were lost: too many at once, or the collector
    /// could not be reached or did not want them.
    pub fn totals(&self) -> (u64, u64) {
        (self.exported.load(Relaxed), self.dropped.load(Relaxed))
    }
}

impl SpanSink {
    /// A sink, and what an exporter reads it from.
    pub fn new() -> (Self, mpsc::Receiver<SpanBatch>, Arc<SpanTotals>) {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX_COUNT);
        let totals = Arc::new(SpanTotals::default());
        (Self { queue: Some((sender, Arc::clone(&totals))) }, receiver, totals)
    }

    /// Whether spans go anywhere.
    pub fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// Puts a request's spans in line.
    pub fn offer(&self, spans: &RequestSpans<'_>) {
        let Some((sender, totals)) = &self.queue else { return };
        let span_count = 1 + spans.attempts.len() as u64;
        let Ok(place) = sender.try_reserve() else { return totals.count_dropped(span_count) };
        place.send(SpanBatch { bytes: spans.encode(), span_count });
    }
}

#[cfg(test)]
mod tests;
