//! What a group does about a kernel that refuses its addresses: it lets go, so that another node can
//! take over, and asks again later.
//!
//! Invariant: who can't hold the addresses is Active for less time than their lease lasts.

use std::time::Duration;

use ballast_vrrp::Time;

/// Pause before the kernel is asked again; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long renewals may fail: what is held is there for longer.
const RENEWAL_LIMIT: Duration = Duration::from_secs(2);

/// What the kernel refused to one group.
#[derive(Debug, Default)]
pub(super) struct Refusal {
    why: Option<String>,
    failing_since: Option<Time>,
    pause: Duration,
    until: Option<Time>,
}

impl Refusal {
    /// The kernel refused them to a node that takes over.
    pub(super) fn note(&mut self, now: Time, why: String) {
        self.why = Some(why);
        self.failing_since = None;
        self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        self.until = Some(now + self.pause);
    }

    /// The kernel refused them to a node that holds them; whether it does so for too long.
    pub(super) fn note_renewal(&mut self, now: Time, why: String) -> bool {
        let since = *self.failing_since.get_or_insert(now);
        let is_lasting = now.since(since) >= RENEWAL_LIMIT;
        if is_lasting {
            self.note(now, why);
        }
        is_lasting
    }

    /// The kernel did what it was asked for.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    /// Whether the pause has just ended.
    pub(super) fn has_paused(&mut self, now: Time) -> bool {
        self.until.take_if(|until| *until <= now).is_some()
    }

    /// When the pause ends; none outside of one.
    pub(super) fn until(&self) -> Option<Time> {
        self.until
    }

    /// What was refused last, until it is granted.
    pub(super) fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }
}

#[cfg(test)]
mod tests;
