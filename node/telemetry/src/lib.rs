//! What a node counts and writes down: counters per virtual server, latency histograms, Prometheus
//! text, the access log.
//!
//! Counting takes no lock and shares no cache line between workers: each worker writes a shard of
//! its own, readers add the shards up. Writing the access log never blocks a worker; what can't be
//! kept is counted.

#![forbid(unsafe_code)]

pub mod access_log;
pub mod clock;
pub mod counters;
pub mod histogram;
pub mod otlp;
pub mod phase;
pub mod pool;
pub mod process;
pub mod prometheus;
pub mod reason;
pub mod registry;
pub mod tail;
pub mod trace;

pub use access_log::{
    AccessLog, AccessLogOptions, AccessLogSink, AccessLogWriter, AccessRecord, HeaderValues,
};
pub use counters::{CounterShard, VirtualServerCounters, VirtualServerTotals};
pub use histogram::Histogram;
pub use phase::{Phase, Phases};
pub use pool::{PoolCounters, PoolShard, RetryKind};
pub use prometheus::{MetricKind, Metrics};
pub use reason::FailureReason;
pub use registry::CounterRegistry;
pub use tail::{Tail, TailReader};
