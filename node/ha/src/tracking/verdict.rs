//! From answers and their absence to a verdict that does not flap.
//!
//! Pure: time is given.

use std::time::{Duration, Instant};

/// Answers in a row after which what was lost is well again.
const RISE_COUNT: u8 = 2;
/// Missing answers in a row after which something is lost.
const FALL_COUNT: u8 = 3;

/// What is known of something that is asked again and again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// None before the first verdict.
    is_lost: Option<bool>,
    /// Outcomes in a row that speak against the verdict.
    against_count: u8,
    /// Since when it holds; none where it was the first one and good.
    since: Option<Instant>,
}

impl Verdict {
    /// Takes in whether it answered.
    pub(crate) fn note(&mut self, is_answered: bool, now: Instant) {
        let needed = match (self.is_lost, is_answered) {
            (None, true) => {
                self.is_lost = Some(false);
                self.against_count = 0;
                return;
            }
            (Some(true), false) | (Some(false), true) => {
                self.against_count = 0;
                return;
            }
            (Some(true), true) => RISE_COUNT,
            (None | Some(false), false) => FALL_COUNT,
        };
        self.against_count += 1;
        if self.against_count >= needed {
            *self = Self { is_lost: Some(!is_answered), against_count: 0, since: Some(now) };
        }
    }

    /// What is to be thought of it now.
    pub(crate) fn sighting(&self, now: Instant, why: &str) -> Sighting {
        let lasts = self.since.map(|since| now.saturating_duration_since(since));
        match self.is_lost {
            None => Sighting::Unknown,
            Some(false) => Sighting::Well { lasts: lasts.unwrap_or(Duration::MAX) },
            Some(true) => {
                Sighting::Lost { lasts: lasts.unwrap_or(Duration::MAX), why: why.to_owned() }
            }
        }
    }
}

/// How something that is tracked is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sighting {
    /// Nothing is known yet, or it can't be looked at.
    Unknown,
    /// It is as it should be, for so long.
    Well { lasts: Duration },
    /// It is not, for so long.
    Lost { lasts: Duration, why: String },
}

#[cfg(test)]
mod tests;
