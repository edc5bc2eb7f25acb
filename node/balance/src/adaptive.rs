//! How many requests a pool can be asked at once, found out by how long its members take.
//!
//! ```text
//! measuring: limit = min, until enough answers ─► shortest time = their median
//!     ▲                                              │
//!     │ every interval, with jitter;                 ▼ every window
//!     └─ the limit has long been at its least ── running: gradient = shortest × tolerance / median
//!                                                limit = limit × gradient + √limit
//! ```
//! The gradient algorithm of Envoy's adaptive concurrency filter, which follows Netflix' "Performance Under
//! Load" (concurrency-limits, Gradient2): below one the members queue, and the limit shrinks; √limit
//! leaves room to find out that they could do more.
//!
//! Invariant: the limit stays within the settings'; how much is remembered is bounded.

use ballast_model::AdaptiveConcurrency;

/// Most answers of a window that are looked at.
const SAMPLE_MAX_COUNT: usize = 1_000;
/// How far the limit may grow or shrink in a window, as a factor.
const GRADIENT_RANGE: (f64, f64) = (0.5, 2.0);
/// Windows in a row at the least limit after which the shortest time is measured anew: it may have been
/// too short for what members do now.
const LEAST_WINDOW_COUNT: u32 = 5;
/// Longest time that is taken for one, in µs.
const RTT_MAX_US: u64 = u32::MAX as u64;

/// The limit of one pool on one node, and what it follows from.
#[derive(Debug)]
pub struct Gradient {
    settings: AdaptiveConcurrency,
    limit: f64,
    /// None while it is measured.
    min_rtt_us: Option<f64>,
    /// When the window, or measuring, began.
    since_ms: u64,
    measure_at_ms: u64,
    /// In µs.
    samples: Vec<u32>,
    least_windows: u32,
}

impl Gradient {
    /// Begins to measure the shortest time at `now_ms`.
    pub fn new(settings: AdaptiveConcurrency, now_ms: u64) -> Self {
        Self {
            settings,
            limit: f64::from(settings.min_limit),
            min_rtt_us: None,
            since_ms: now_ms,
            measure_at_ms: 0,
            samples: Vec::new(),
            least_windows: 0,
        }
    }

    /// How many requests may be in flight.
    pub fn limit(&self) -> u32 {
        self.limit as u32
    }

    /// Whether the shortest time is being measured.
    pub fn is_measuring(&self) -> bool {
        self.min_rtt_us.is_none()
    }

    /// Takes in that a member began to answer after `rtt_us`; `random` draws the jitter.
    pub fn sample(&mut self, rtt_us: u64, now_ms: u64, random: u64) {
        if self.samples.len() < SAMPLE_MAX_COUNT {
            // In range by the clamp.
            self.samples.push(rtt_us.clamp(1, RTT_MAX_US) as u32);
        }
        match self.min_rtt_us {
            None if self.samples.len() >= self.settings.min_rtt_request_count as usize => {
                self.min_rtt_us = Some(self.take_median());
                self.since_ms = now_ms;
                self.least_windows = 0;
                let interval_ms = self.settings.min_rtt_interval_ms;
                let jitter_ms = interval_ms * u64::from(self.settings.jitter_percent) / 100;
                let later_ms = random.checked_rem(jitter_ms + 1).unwrap_or(0);
                self.measure_at_ms = now_ms.saturating_add(interval_ms + later_ms);
            }
            None => {}
            Some(_) if now_ms >= self.measure_at_ms => self.measure(now_ms),
            Some(min_rtt_us)
                if now_ms.saturating_sub(self.since_ms) >= self.settings.sample_window_ms =>
            {
                self.end_window(min_rtt_us, now_ms);
            }
            Some(_) => {}
        }
    }

    fn measure(&mut self, now_ms: u64) {
        self.min_rtt_us = None;
        self.samples.clear();
        self.since_ms = now_ms;
        self.limit = f64::from(self.settings.min_limit);
    }

    fn end_window(&mut self, min_rtt_us: f64, now_ms: u64) {
        let rtt_us = self.take_median();
        self.since_ms = now_ms;
        let tolerated_us = min_rtt_us * (1.0 + f64::from(self.settings.tolerance_percent) / 100.0);
        let gradient = (tolerated_us / rtt_us).clamp(GRADIENT_RANGE.0, GRADIENT_RANGE.1);
        let (least, most) =
            (f64::from(self.settings.min_limit), f64::from(self.settings.max_limit));
        self.limit = (self.limit * gradient + self.limit.sqrt()).clamp(least, most.max(least));
        self.least_windows = if gradient < 1.0 && self.limit < least + 1.0 + least.sqrt() {
            self.least_windows + 1
        } else {
            0
        };
        if self.least_windows >= LEAST_WINDOW_COUNT {
            self.measure(now_ms);
        }
    }

    /// The middle of what was taken in, which is forgotten. There is at least one.
    fn take_median(&mut self) -> f64 {
        let middle = self.samples.len() / 2;
        let median = match self.samples.len() {
            0 => 1,
            _ => *self.samples.select_nth_unstable(middle).1,
        };
        self.samples.clear();
        f64::from(median)
    }
}

#[cfg(test)]
mod tests;
