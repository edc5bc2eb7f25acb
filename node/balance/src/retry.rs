//! How many requests may be tried again: a share of the pool's requests, so that retries don't bury
//! members that can't keep up.
//!
//! Invariant: within a window no more retries are allowed than the budget of the busier of this window
//! and the one before; looked at where something has failed only.

use std::sync::{Mutex, PoisonError};

use ballast_model::RetryPolicy;

use crate::pool::Pool;

/// Length of a window, in ms.
const WINDOW_MS: u64 = 10_000;

/// What has been spent of a pool's budget; outlives recompilation.
#[derive(Debug, Default)]
pub(crate) struct RetryBudget(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    start_ms: u64,
    /// The pool's requests at the start.
    requests_at_start: u64,
    /// How many there were in the window before.
    requests_before: u64,
    retry_count: u64,
}

impl Pool {
    /// Takes one retry out of the budget; whether there was one left.
    pub fn take_retry(&self, policy: &RetryPolicy, now_ms: u64) -> bool {
        let requests = self.members().iter().map(|member| member.state.requests_total()).sum();
        let mut window = self.retry_budget().0.lock().unwrap_or_else(PoisonError::into_inner);
        window.move_on(requests, now_ms);
        let in_this = requests.saturating_sub(window.requests_at_start);
        let requests = in_this.max(window.requests_before);
        let share = requests * u64::from(policy.budget_percent) / 100;
        let allowed = share + u64::from(policy.budget_min_per_s) * (WINDOW_MS / 1_000);
        let is_left = window.retry_count < allowed;
        window.retry_count += u64::from(is_left);
        is_left
    }
}

impl Window {
    fn move_on(&mut self, requests: u64, now_ms: u64) {
        let age_ms = now_ms.saturating_sub(self.start_ms);
        if age_ms < WINDOW_MS {
            return;
        }
        let in_last = requests.saturating_sub(self.requests_at_start);
        // Nothing was asked for in the windows between: what was counted since is no measure.
        self.requests_before = if age_ms < 2 * WINDOW_MS { in_last } else { 0 };
        self.requests_at_start = requests;
        self.start_ms = now_ms;
        self.retry_count = 0;
    }
}

#[cfg(test)]
mod tests;
