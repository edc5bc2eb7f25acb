//! When a fault falls: takeover takes three intervals after the last advert, so where between two adverts
//! the fault falls decides up to one interval of the gap. Rounds spread their faults evenly over it, the same
//! way for each subject, so that medians differ by what the subjects do and not by chance.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use ballast_test_support::{Capture, Lab, Segment, capture, wait_for};

/// Longest time for an advert to pass.
const ADVERT_LIMIT: Duration = Duration::from_secs(30);

/// The adverts of a pair, as they pass the switch.
pub(super) struct Rhythm {
    adverts: Capture,
    interval: Duration,
}

impl Rhythm {
    pub(super) async fn start(lab: &Lab, interval_ms: u32) -> Result<Self> {
        let adverts = Capture::start(lab, Segment::Clients, "rhythm", capture::ADVERTS).await?;
        Ok(Self { adverts, interval: Duration::from_millis(interval_ms.into()) })
    }

    /// Waits until `share` (0 to 1) of an interval has gone by since an advert.
    pub(super) async fn wait_for_share(&mut self, share: f64) -> Result<()> {
        let begun = since_epoch();
        let mut last = Duration::ZERO;
        wait_for("an advert", ADVERT_LIMIT, async || {
            let adverts = self.adverts.adverts().unwrap_or_default();
            last = adverts.last().map_or(last, |advert| Duration::from_micros(advert.at_us));
            last > begun
        })
        .await?;
        let mut due = last + self.interval.mul_f64(share);
        let now = since_epoch();
        if due < now {
            due += self.interval;
        }
        // tidy: the moment is what is measured.
        tokio::time::sleep(due.saturating_sub(now)).await;
        Ok(())
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
