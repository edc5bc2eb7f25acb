//! The brake on takeovers that nobody's death asks for: a fault that many nodes take for their own must
//! not send every group around the cluster, and groups that go back do so one after the other.

use std::collections::VecDeque;
use std::time::Duration;

use ballast_vrrp::{Reason, Time};

/// Voluntary takeovers of one node within [`WINDOW`].
pub(crate) const TAKEOVER_MAX_COUNT: usize = 4;
const WINDOW: Duration = Duration::from_secs(60);
/// Pause after a failback: by then every node has judged itself with the group where it is now, and
/// has advertised what comes of it. Without it all groups of a full node would go at once to an empty
/// one, which then is the full one.
const SETTLE_TIME: Duration = Duration::from_secs(2);

/// When groups moved here by preference.
#[derive(Debug, Default)]
pub(crate) struct Brake {
    takeovers: VecDeque<Time>,
    failed_back_at: Option<Time>,
}

impl Brake {
    /// A group moved here by preference.
    pub(crate) fn note(&mut self, now: Time, reason: Reason) {
        if self.takeovers.len() >= TAKEOVER_MAX_COUNT {
            self.takeovers.pop_front();
        }
        self.takeovers.push_back(now);
        if reason == Reason::Failback {
            self.failed_back_at = Some(now);
        }
    }

    /// Whether not too many moved lately.
    pub(crate) fn is_open(&self, now: Time) -> bool {
        let lately = self.takeovers.iter().filter(|at| now.since(**at) < WINDOW).count();
        lately < TAKEOVER_MAX_COUNT
    }

    /// Whether one more may move now.
    pub(crate) fn may_volunteer(&self, now: Time) -> bool {
        let is_settled = self.failed_back_at.is_none_or(|at| now.since(at) >= SETTLE_TIME);
        self.is_open(now) && is_settled
    }
}

#[cfg(test)]
mod tests;
