//! How many requests may be tried again: a share of the pool's requests, so that retries don't bury
//! members that can't keep up.
//!
//! Invariant: within a window no more retries are allowed than the budget of the busier of this window
//! and the one before; looked at where something has failed only.

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use ballast_model::RetryPolicy;

use crate::pool::Pool;

/// Length of a window, in ms.
const WINDOW_MS: u64 = 10_000;

/// How often requests are counted, in ms: that sums up what each worker has sent to each member.
const SAMPLE_INTERVAL_MS: u64 = 100;

/// What has been spent of a pool's budget; outlives recompilation.
#[derive(Debug, Default)]
pub(crate) struct RetryBudget {
    /// When requests were counted last.
    sampled_ms: AtomicU64,
    /// What the share is of: the requests of the busier of the two windows, without retries.
    request_count: AtomicU64,
    /// Retries in this window.
    retry_count: AtomicU64,
    /// Tried only, and by who counts requests; the others go by what was counted last.
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    start_ms: u64,
    /// The pool's requests at the start, retries included.
    requests_at_start: u64,
    /// How many there were in the window before, without retries.
    requests_before: u64,
}

impl Pool {
    /// Takes one retry out of the budget; whether there was one left.
    pub fn take_retry(&self, policy: &RetryPolicy, now_ms: u64) -> bool {
        let budget = self.retry_budget();
        if now_ms.saturating_sub(budget.sampled_ms.load(Relaxed)) >= SAMPLE_INTERVAL_MS {
            self.sample(budget, now_ms);
        }
        let requests = budget.request_count.load(Relaxed);
        let share = requests * u64::from(policy.budget_percent) / 100;
        let allowed = share + u64::from(policy.budget_min_per_s) * (WINDOW_MS / 1_000);
        let take = |count| (count < allowed).then_some(count + 1);
        budget.retry_count.fetch_update(Relaxed, Relaxed, take).is_ok()
    }

    /// Counts the pool's requests, unless somebody does so at this moment.
    fn sample(&self, budget: &RetryBudget, now_ms: u64) {
        let Ok(mut window) = budget.window.try_lock() else { return };
        let members = self.members().iter();
        let requests_total = members.map(|member| member.state.requests_total()).sum();
        let retry_count = budget.retry_count.load(Relaxed);
        if window.move_on(requests_total, retry_count, now_ms) {
            budget.retry_count.store(0, Relaxed);
            budget.request_count.store(window.requests_before, Relaxed);
        } else {
            let in_this = window.without_retries(requests_total, retry_count);
            budget.request_count.store(in_this.max(window.requests_before), Relaxed);
        }
        budget.sampled_ms.store(now_ms, Relaxed);
    }
}

impl Window {
    /// Whether another window has begun.
    fn move_on(&mut self, requests_total: u64, retry_count: u64, now_ms: u64) -> bool {
        let age_ms = now_ms.saturating_sub(self.start_ms);
        if age_ms < WINDOW_MS {
            return false;
        }
        let in_last = self.without_retries(requests_total, retry_count);
        // Nothing was asked for in the windows between: what was counted since is no measure.
        self.requests_before = if age_ms < 2 * WINDOW_MS { in_last } else { 0 };
        self.requests_at_start = requests_total;
        self.start_ms = now_ms;
        true
    }

    /// Requests of this window. Retries are counted by their members too; they must not earn others.
    fn without_retries(&self, requests_total: u64, retry_count: u64) -> u64 {
        requests_total.saturating_sub(self.requests_at_start).saturating_sub(retry_count)
    }
}

#[cfg(test)]
mod tests;
