//! How fast a client has to be while we wait for it: a token bucket of waiting time, that bytes fill.
//!
//! Each millisecond of waiting takes one out, each `bytes_per_s` bytes put a second back, and no more
//! than the time of grace fits: what a client was fast at once does not let it be slow for ever.
//!
//! Invariant: only time in which the client alone is waited for counts.

use ballast_model::HttpSettings;

use crate::connection::Session;

/// Milliseconds that a second has, by which bytes become bytes per second.
const MS_PER_S: u64 = 1_000;
/// By how much the time of grace is longer than a silence may be, in ms, so that a client that has said
/// nothing at all is told from one that is slow.
const MARGIN_MS: u64 = 1_000;

/// What a client has left of its time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// Least rate; 0 where there is none.
    bytes_per_s: u64,
    grace_ms: u64,
    /// Waiting time that is left, times the rate.
    left: u64,
    /// Bytes of which it is known that they came, or were taken.
    seen_bytes: u64,
    /// Until when the wait that is on was counted; none while there is none.
    waits_since_ms: Option<u64>,
}

impl Pace {
    /// For a client that sends a body, whose silence may last `idle_ms`.
    pub(crate) fn of_sender(http: &HttpSettings, idle_ms: u64) -> Self {
        Self::new(http.body_min_bytes_per_s, graced(http, idle_ms))
    }

    /// For a client that takes a response, whose silence may last `idle_ms`.
    pub(crate) fn of_reader(http: &HttpSettings, idle_ms: u64) -> Self {
        Self::new(http.response_min_bytes_per_s, graced(http, idle_ms))
    }

    fn new(bytes_per_s: u32, grace_ms: u64) -> Self {
        let bytes_per_s = u64::from(bytes_per_s);
        let left = bytes_per_s.saturating_mul(grace_ms);
        Self { bytes_per_s, grace_ms, left, ..Self::default() }
    }

    /// Notes that `bytes` have been moved in all, and whether the client is waited for from now on;
    /// whether it has been too slow. All streams of a connection share its rate.
    pub(crate) fn is_too_slow(&mut self, session: &Session, bytes: u64, waits: bool) -> bool {
        if self.bytes_per_s == 0 || (!waits && self.waits_since_ms.is_none()) {
            return false;
        }
        let share_count = if session.is_http2 { session.stream_count() } else { 1 };
        self.note(session.ticket.coarse_ms(), bytes, waits, share_count)
    }

    fn note(&mut self, now_ms: u64, bytes: u64, waits: bool, share_count: usize) -> bool {
        let mut is_over = false;
        let share_count = share_count.max(1) as u64;
        if let Some(since_ms) = self.waits_since_ms {
            let waited_ms = now_ms.saturating_sub(since_ms);
            let used = waited_ms.saturating_mul(self.bytes_per_s);
            let gained = bytes
                .saturating_sub(self.seen_bytes)
                .saturating_mul(MS_PER_S)
                .saturating_mul(share_count);
            let full = self.bytes_per_s.saturating_mul(self.grace_ms);
            // What came before the wait was over goes first: a client that did its part in time is
            // not behind because we looked late.
            let left = self.left.saturating_add(gained);
            is_over = used > left;
            self.left = left.saturating_sub(used).min(full);
        }
        self.seen_bytes = bytes;
        self.waits_since_ms = waits.then_some(now_ms);
        waits && is_over
    }

    /// How long the client may be silent from now on before it is too slow, in ms.
    pub(crate) fn left_ms(&self) -> u64 {
        match self.bytes_per_s {
            0 => u64::MAX,
            rate => (self.left / rate).saturating_add(1),
        }
    }
}

fn graced(http: &HttpSettings, idle_ms: u64) -> u64 {
    http.min_rate_grace_ms.max(idle_ms.saturating_add(MARGIN_MS))
}

#[cfg(test)]
mod tests;
