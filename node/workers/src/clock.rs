//! The worker's clock: one real reading per event, a stored one for everything that may be a tick
//! old.
//!
//! Invariant: times never run backwards within a worker.

use std::cell::Cell;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A monotonic clock in µs and ms since its creation, with the wall clock beside it.
#[derive(Debug)]
pub struct Clock {
    start: Instant,
    coarse_us: Cell<u64>,
    /// Unix time of `start`, corrected at every tick: the wall clock may be set while we run.
    start_unix_ms: Cell<u64>,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// A clock that starts at 0 now.
    pub fn new() -> Self {
        let clock =
            Self { start: Instant::now(), coarse_us: Cell::new(0), start_unix_ms: Cell::new(0) };
        clock.tick();
        clock
    }

    /// Reads the real clock, in µs.
    pub fn now_us(&self) -> u64 {
        let now_us = self.start.elapsed().as_micros() as u64;
        self.coarse_us.set(now_us);
        now_us
    }

    /// The last reading, in µs: as old as the last event or tick of this worker.
    pub fn coarse_us(&self) -> u64 {
        self.coarse_us.get()
    }

    /// The last reading, in ms.
    pub fn coarse_ms(&self) -> u64 {
        self.coarse_us.get() / 1_000
    }

    /// The wall clock at the last reading, in ms since the Unix epoch.
    pub fn coarse_unix_ms(&self) -> u64 {
        self.start_unix_ms.get() + self.coarse_ms()
    }

    /// Reads both clocks.
    pub fn tick(&self) {
        let now_ms = self.now_us() / 1_000;
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.start_unix_ms.set((unix.as_millis() as u64).saturating_sub(now_ms));
    }
}
