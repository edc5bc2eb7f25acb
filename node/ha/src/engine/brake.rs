//! The brake on takeovers that nobody's death asks for: a fault that many nodes take for their own must
//! not send every group around the cluster.

use std::collections::VecDeque;
use std::time::Duration;

use ballast_vrrp::Time;

/// Voluntary takeovers of one node within [`WINDOW`].
const TAKEOVER_MAX_COUNT: usize = 4;
const WINDOW: Duration = Duration::from_secs(60);

/// When groups moved here by preference.
#[derive(Debug, Default)]
pub(crate) struct Brake(VecDeque<Time>);

impl Brake {
    /// A group moved here by preference.
    pub(crate) fn note(&mut self, now: Time) {
        if self.0.len() >= TAKEOVER_MAX_COUNT {
            self.0.pop_front();
        }
        self.0.push_back(now);
    }

    /// Whether one more may.
    pub(crate) fn is_open(&self, now: Time) -> bool {
        let lately = self.0.iter().filter(|at| now.since(**at) < WINDOW).count();
        lately < TAKEOVER_MAX_COUNT
    }
}

#[cfg(test)]
mod tests;
