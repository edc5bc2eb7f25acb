//! When a new Active announces its addresses: bursts after the takeover, then a refresh for ever.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::AnnounceConfig;
use crate::time::Time;

/// What is still to be announced. Empty while the group is not Active.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Announcements {
    /// Ascending.
    bursts: Vec<Time>,
    refresh_at: Option<Time>,
}

impl Announcements {
    /// Begins anew; the burst of this very moment is the caller's to send.
    pub(super) fn restart(&mut self, config: &AnnounceConfig, now: Time) {
        let after = |ms: &u32| now + Duration::from_millis(u64::from(*ms));
        self.bursts = config.again_ms.iter().map(after).collect();
        self.refresh_at = refresh_after(config, now);
    }

    /// Nothing more is announced.
    pub(super) fn stop(&mut self) {
        *self = Self::default();
    }

    /// When something is to be announced next.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.bursts.first().copied().into_iter().chain(self.refresh_at).min()
    }

    /// Frames per address to send now. Bursts that were slept through become one.
    pub(super) fn due(&mut self, config: &AnnounceConfig, now: Time) -> Option<u8> {
        let bursts_count = self.bursts.iter().take_while(|at| **at <= now).count();
        self.bursts.drain(..bursts_count);
        let is_refresh = self.refresh_at.is_some_and(|at| at <= now);
        if is_refresh || bursts_count > 0 {
            self.refresh_at = refresh_after(config, now);
        }
        match (bursts_count, is_refresh) {
            (0, false) => None,
            (0, true) => Some(1),
            _ => Some(config.repeat_count),
        }
    }
}

fn refresh_after(config: &AnnounceConfig, now: Time) -> Option<Time> {
    let refresh = Duration::from_secs(u64::from(config.refresh_s));
    (!refresh.is_zero()).then(|| now + refresh)
}
