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
}

impl Heartbeats {
    pub(crate) fn new(worker_count: usize) -> Self {
        let beats_ms = (0..worker_count).map(|_| AtomicU64::new(0)).collect();
        Self { start: Instant::now(), beats_ms }
    }

    pub(crate) fn beat(&self, worker: usize) {
        if let Some(beat) = self.beats_ms.get(worker) {
            beat.store(self.now_ms(), Relaxed);
        }
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
