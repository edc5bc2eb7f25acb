//! What the VRRP thread and the rest of the node share without a channel: a sign of life one way, the
//! demand to let go or to stop the other.
//!
//! Invariant: both arrive whatever the thread is doing, also when its channel of commands is full.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::kernel;

/// The thread wakes far more often than this, whatever it has to do.
const ALIVE_LIMIT_MIN: Duration = Duration::from_millis(300);

#[derive(Debug)]
pub(crate) struct Pulse {
    /// When the thread last did everything that was due, in µs of the kernel's clock.
    turned_at_us: AtomicU64,
    must_release: AtomicBool,
    must_stop: AtomicBool,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self {
            turned_at_us: AtomicU64::new(kernel::monotonic().0),
            must_release: AtomicBool::new(false),
            must_stop: AtomicBool::new(false),
        }
    }

    /// The thread has done everything that was due.
    pub(crate) fn turn(&self) {
        self.turned_at_us.store(kernel::monotonic().0, Ordering::Release);
    }

    /// How long ago that was.
    pub(crate) fn silence(&self) -> Duration {
        let turned_at_us = self.turned_at_us.load(Ordering::Acquire);
        Duration::from_micros(kernel::monotonic().0.saturating_sub(turned_at_us))
    }

    /// Whether what the thread published last can be believed: it has run within two intervals.
    pub(crate) fn is_alive(&self, interval: Duration) -> bool {
        self.silence() <= (2 * interval).max(ALIVE_LIMIT_MIN)
    }

    pub(crate) fn ask_for_release(&self) {
        self.must_release.store(true, Ordering::Release);
    }

    pub(crate) fn ask_for_stop(&self) {
        self.must_stop.store(true, Ordering::Release);
    }

    pub(crate) fn must_release(&self) -> bool {
        self.must_release.load(Ordering::Acquire)
    }

    pub(crate) fn must_stop(&self) -> bool {
        self.must_stop.load(Ordering::Acquire)
    }
}
