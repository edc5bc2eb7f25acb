//! Signs of life of the workers' threads, for whoever must give up the addresses of a node whose
//! data plane hangs.
//!
//! Invariant: a worker's beat is moved by its own thread, between two tasks of its runtime; so one
//! that is old means that the thread is stuck, gone, or not given any CPU.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Time between two beats of a worker, also of an idle one.
pub const BEAT_INTERVAL: Duration = Duration::from_millis(100);

/// The last beat of each worker.
#[derive(Debug)]
pub(crate) struct Heartbeats {
    start: Instant,
    /// In ms since `start`.
    beats_ms: Box<[AtomicU64]>,
    /// How late the beats came, in ms, smoothed.
    lags_ms: Box<[AtomicU64]>,
}

impl Heartbeats {
    pub(crate) fn new(worker_count: usize) -> Self {
        let zeros = || (0..worker_count).map(|_| AtomicU64::new(0)).collect();
        Self { start: Instant::now(), beats_ms: zeros(), lags_ms: zeros() }
    }

    /// Notes a beat that came `late`.
    pub(crate) fn beat(&self, worker: usize, late: Duration) {
        if let (Some(beat), Some(lag_ms)) = (self.beats_ms.get(worker), self.lags_ms.get(worker)) {
            beat.store(self.now_ms(), Relaxed);
            let late_ms = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
            // One late beat is no lack of time; a few in a row are.
            lag_ms
                .store(lag_ms.load(Relaxed).saturating_mul(3).saturating_add(late_ms) / 4, Relaxed);
        }
    }

    /// How late the latest worker's beats come, in ms, smoothed over a few of them.
    pub(crate) fn lag_ms(&self) -> u64 {
        self.lags_ms.iter().map(|lag_ms| lag_ms.load(Relaxed)).max().unwrap_or(0)
    }

    /// How long ago each worker's last beat was.
    pub(crate) fn ages(&self) -> impl Iterator<Item = Duration> + '_ {
        let now_ms = self.now_ms();
        let ages = self.beats_ms.iter().map(move |beat| now_ms.saturating_sub(beat.load(Relaxed)));
        ages.map(Duration::from_millis)
    }

    fn now_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }
}
