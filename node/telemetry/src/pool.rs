//! Counters of a pool and, where it wants them, of each of its members: one shard per worker.
//!
//! Invariant: as with virtual servers, a shard is written by one worker only, and is on cache lines of its
//! own. What never occurs takes no memory.

use std::array;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ballast_model::RetryCause;

use crate::counters::{Counter, STATUS_CLASS_COUNT, status_class};
use crate::histogram::{Histogram, HistogramShard};
use crate::reason::FailureReason;

/// Why a request was sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RetryKind {
    /// No connection could be made.
    ConnectFailure,
    /// The connection, a new one, died before the first byte of a response.
    ResetBeforeResponse,
    /// A kept connection had been closed by the member meanwhile.
    StaleConnection,
    /// Of the response's status.
    Status,
    /// No response began in time.
    Timeout,
}

impl RetryKind {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::ConnectFailure,
        Self::ResetBeforeResponse,
        Self::StaleConnection,
        Self::Status,
        Self::Timeout,
    ];
    const COUNT: usize = Self::ALL.len();

    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConnectFailure => "connect_failure",
            Self::ResetBeforeResponse => "reset_before_response",
            Self::StaleConnection => "stale_connection",
            Self::Status => "status",
            Self::Timeout => "timeout",
        }
    }
}

impl From<RetryCause> for RetryKind {
    fn from(cause: RetryCause) -> Self {
        match cause {
            RetryCause::ConnectFailure => Self::ConnectFailure,
            RetryCause::ResetBeforeResponse => Self::ResetBeforeResponse,
            RetryCause::Status => Self::Status,
            RetryCause::Timeout => Self::Timeout,
        }
    }
}

/// What one worker counts of a pool, or of a member.
#[derive(Debug)]
#[repr(align(128))]
pub struct PoolShard {
    /// 1xx to 5xx.
    responses: [Counter; STATUS_CLASS_COUNT],
    unanswered: Counter,
    retries_refused: Counter,
    failures: OnceLock<Box<[Counter; FailureReason::COUNT]>>,
    retries: OnceLock<Box<[Counter; RetryKind::COUNT]>>,
    queue: OnceLock<Box<HistogramShard>>,
    connect: OnceLock<Box<HistogramShard>>,
}

impl Default for PoolShard {
    fn default() -> Self {
        Self {
            responses: array::from_fn(|_| Counter::default()),
            unanswered: Counter::default(),
            retries_refused: Counter::default(),
            failures: OnceLock::new(),
            retries: OnceLock::new(),
            queue: OnceLock::new(),
            connect: OnceLock::new(),
        }
    }
}

impl PoolShard {
    /// Counts a request that was answered with `status`; 0: it was not, or it was a connection.
    pub fn request(&self, status: u16) {
        match status_class(status) {
            Some(class) => self.responses[class].add(1),
            None => self.unanswered.add(1),
        }
    }

    /// Counts why a request or connection failed, besides the request.
    pub fn failure(&self, reason: FailureReason) {
        let failures =
            self.failures.get_or_init(|| Box::new(array::from_fn(|_| Counter::default())));
        failures[reason.index()].add(1);
    }

    /// Counts that a request is sent again.
    pub fn retry(&self, kind: RetryKind) {
        let retries = self.retries.get_or_init(|| Box::new(array::from_fn(|_| Counter::default())));
        retries[kind as usize].add(1);
    }

    /// Counts that a request is not sent again because the budget is spent.
    pub fn retry_refused(&self) {
        self.retries_refused.add(1);
    }

    /// Counts how long a request waited for a member with room.
    pub fn queued(&self, waited_us: u64) {
        self.queue.get_or_init(Box::default).record(waited_us);
    }

    /// Counts how long it took to connect to a member, without TLS.
    pub fn connected(&self, took_us: u64) {
        self.connect.get_or_init(Box::default).record(took_us);
    }
}

/// Counters of one pool or member. They outlive recompilation: see
/// [`CounterRegistry`](crate::CounterRegistry).
#[derive(Debug)]
pub struct PoolCounters {
    name: String,
    shards: Box<[Arc<PoolShard>]>,
    /// Off the request path.
    members: Mutex<BTreeMap<String, Arc<PoolCounters>>>,
}

impl PoolCounters {
    /// Counters at zero, for `worker_count` workers.
    pub fn new(name: &str, worker_count: usize) -> Self {
        let shards = (0..worker_count.max(1)).map(|_| Arc::default()).collect();
        Self { name: name.to_owned(), shards, members: Mutex::default() }
    }

    /// The pool's or the member's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What `worker` counts in.
    pub fn shard(&self, worker: usize) -> &Arc<PoolShard> {
        &self.shards[worker % self.shards.len()]
    }

    /// The counters of a member; new ones the first time.
    pub fn member(&self, name: &str) -> Arc<Self> {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Self::new(name, self.shards.len()));
        Arc::clone(members.entry(name.to_owned()).or_insert_with(new))
    }

    /// Forgets the members whose name is not in `names`.
    pub fn retain_members(&self, names: &BTreeSet<&str>) {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.retain(|name, _| names.contains(name.as_str()));
    }

    /// The counters of its members, by name.
    pub fn members(&self) -> Vec<Arc<Self>> {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.values().cloned().collect()
    }

    /// Everything that was counted, of all workers.
    pub fn totals(&self) -> PoolTotals {
        let mut totals = PoolTotals::default();
        for shard in &self.shards {
            for (sum, class) in totals.responses.iter_mut().zip(&shard.responses) {
                *sum = sum.wrapping_add(class.value());
            }
            totals.unanswered_total += shard.unanswered.value();
            totals.retries_refused_total += shard.retries_refused.value();
            let failures = shard.failures.get().into_iter().flat_map(|all| all.iter());
            for (sum, counter) in totals.failures.iter_mut().zip(failures) {
                *sum = sum.wrapping_add(counter.value());
            }
            let retries = shard.retries.get().into_iter().flat_map(|all| all.iter());
            for (sum, counter) in totals.retries.iter_mut().zip(retries) {
                *sum = sum.wrapping_add(counter.value());
            }
            shard.queue.get().into_iter().for_each(|queue| totals.queue.add(queue));
            shard.connect.get().into_iter().for_each(|connect| totals.connect.add(connect));
        }
        totals
    }
}

/// The sums of a pool's or a member's counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolTotals {
    /// Requests answered, by class of status: 1xx to 5xx.
    pub responses: [u64; STATUS_CLASS_COUNT],
    /// Requests that ended without a response, and connections.
    pub unanswered_total: u64,
    /// Requests that were not sent again because the budget was spent.
    pub retries_refused_total: u64,
    /// Failures, in the order of [`FailureReason::ALL`].
    pub failures: [u64; FailureReason::COUNT],
    /// Requests that were sent again, in the order of [`RetryKind::ALL`].
    pub retries: [u64; RetryKind::COUNT],
    /// Time spent waiting for a member with room.
    pub queue: Histogram,
    /// Time to connect to a member.
    pub connect: Histogram,
}

impl Default for PoolTotals {
    fn default() -> Self {
        Self {
            responses: [0; STATUS_CLASS_COUNT],
            unanswered_total: 0,
            retries_refused_total: 0,
            failures: [0; FailureReason::COUNT],
            retries: [0; RetryKind::COUNT],
            queue: Histogram::default(),
            connect: Histogram::default(),
        }
    }
}

#[cfg(test)]
mod tests;
