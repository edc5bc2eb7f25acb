//! Cheap clocks for the request path.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// The time in ms since the Unix epoch, as of the kernel's last tick (1 to 10 ms ago). Takes a few
/// ns: no hardware clock is read.
pub fn coarse_now_ms() -> u64 {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}

/// The time in ms since the Unix epoch.
pub fn now_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

/// The time from `earlier` to `later` in µs; 0 where that is negative.
pub fn us_between(earlier: Instant, later: Instant) -> u64 {
    let duration = later.saturating_duration_since(earlier);
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
