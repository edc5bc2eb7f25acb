//! Leaving out members that serve badly: judged by what came of requests, not by monitors.
//!
//! Invariant: no more members are ejected at once than the pool allows, and never the last that takes
//! requests: every ejection is decided under one lock, off the path of requests that go well.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use ballast_model::OutlierEjection;

use crate::member::Member;
use crate::persistence::MemberKey;
use crate::pool::Pool;

pub(crate) mod trial;

/// What came of one attempt to have a member answer.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// Whose attempt it was.
    pub worker: usize,
    /// From its beginning to the first byte of the response, to the connection for TCP, or to its
    /// failure, in µs.
    pub took_us: u64,
    /// Whether it counts as one that failed.
    pub failed: bool,
    /// The time of [`PickInput`](crate::PickInput).
    pub now_ms: u64,
}

/// Why a member is ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EjectionCause {
    /// Failures in a row.
    ConsecutiveFailures,
    /// It takes much longer than the others.
    Latency,
    /// It fails more often than the others.
    SuccessRate,
}

impl EjectionCause {
    /// All of them.
    pub const ALL: &[Self] = &[Self::ConsecutiveFailures, Self::Latency, Self::SuccessRate];

    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConsecutiveFailures => "consecutive_failures",
            Self::Latency => "latency",
            Self::SuccessRate => "success_rate",
        }
    }
}

/// What is remembered of a pool to judge its members; outlives recompilation.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    compared_at_ms: AtomicU64,
    /// Successes and failures of each member at the last comparison.
    counts: Mutex<HashMap<MemberKey, (u64, u64)>>,
    /// Ejections so far, in the order of [`EjectionCause::ALL`].
    ejections: [AtomicU64; EjectionCause::ALL.len()],
}

impl Pool {
    /// Whether it wants to know what comes of attempts: [`Pool::observe`] does nothing otherwise.
    pub fn observes(&self) -> bool {
        let spec = self.spec();
        self.measures_time()
            || spec.outlier_ejection.is_some()
            || spec.adaptive_concurrency.is_some()
    }

    /// Takes in what came of an attempt; why the member is ejected for it, if it is.
    pub fn observe(&self, member: &Member, attempt: Attempt) -> Option<String> {
        let Attempt { worker, took_us, failed, now_ms } = attempt;
        let state = &member.state;
        if failed {
            state.observe_failed_attempt(worker, took_us, now_ms);
        } else {
            state.observe_latency(worker, self.spec().algorithm, took_us, now_ms);
            self.sample_time(took_us, now_ms);
        }
        let settings = self.spec().outlier_ejection.as_ref()?;
        let in_a_row = state.count_outcome(worker, failed);
        let is_on_trial = state.trial().is_required() && !state.is_ejected(now_ms);
        if is_on_trial && !failed {
            state.trial().pass();
        }
        let limit = settings.consecutive_failures;
        if limit == 0 {
            // Then a failure on trial is no reason either: another trial follows.
            return None;
        }
        let why = match is_on_trial && failed {
            true => "it failed on trial".to_owned(),
            false if in_a_row < limit => return None,
            false => format!("{in_a_row} failures in a row"),
        };
        self.eject(member, settings, now_ms, (EjectionCause::ConsecutiveFailures, &why))
    }

    /// How often members were ejected so far, by cause.
    pub fn ejections(&self) -> impl Iterator<Item = (EjectionCause, u64)> + '_ {
        let counts = &self.judgement().ejections;
        EjectionCause::ALL.iter().zip(counts).map(|(cause, count)| (*cause, count.load(Relaxed)))
    }

    /// Compares the members with each other, if it is time to; call it now and then. Which were
    /// ejected, and why.
    pub fn compare(&self, now_ms: u64) -> Vec<(Arc<Member>, String)> {
        let Some(settings) = &self.spec().outlier_ejection else { return Vec::new() };
        let judgement = self.judgement();
        let last_ms = judgement.compared_at_ms.load(Relaxed);
        let is_due = now_ms.saturating_sub(last_ms) >= settings.interval_ms;
        let claim = || judgement.compared_at_ms.compare_exchange(last_ms, now_ms, Relaxed, Relaxed);
        if !is_due || claim().is_err() {
            return Vec::new();
        }
        let found = [
            (EjectionCause::SuccessRate, self.by_success(settings)),
            (EjectionCause::Latency, self.by_latency(settings, now_ms)),
        ];
        let mut ejected = Vec::new();
        for (cause, members) in found {
            for (member, why) in members {
                if let Some(text) = self.eject(&member, settings, now_ms, (cause, &why)) {
                    ejected.push((member, text));
                }
            }
        }
        ejected
    }

    /// Members whose success rate lies too far below the others'.
    fn by_success(&self, settings: &OutlierEjection) -> Vec<(Arc<Member>, String)> {
        let mut counts = self.judgement().counts.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *counts);
        let mut rates = Vec::new();
        for member in self.members() {
            let (successes, failures) = member.state.outcomes();
            counts.insert(member.key, (successes, failures));
            let (old_successes, old_failures) = before.get(&member.key).copied().unwrap_or((0, 0));
            let successes = successes.saturating_sub(old_successes);
            let total = successes + failures.saturating_sub(old_failures);
            if total >= u64::from(settings.min_requests) {
                rates.push((member, successes as f64 / total as f64));
            }
        }
        let deviations = f64::from(settings.success_rate_deviations_percent) / 100.0;
        if rates.len() < settings.min_members as usize || deviations == 0.0 {
            return Vec::new();
        }
        let count = rates.len() as f64;
        let mean = rates.iter().map(|(_, rate)| rate).sum::<f64>() / count;
        let variance = rates.iter().map(|(_, rate)| (rate - mean).powi(2)).sum::<f64>() / count;
        let lowest = mean - deviations * variance.sqrt();
        let outliers = rates.into_iter().filter(|(_, rate)| *rate < lowest);
        let text = |rate: f64| {
            format!("{:.1} % of requests succeeded, {:.1} % on average", rate * 100.0, mean * 100.0)
        };
        outliers.map(|(member, rate)| (Arc::clone(member), text(rate))).collect()
    }

    /// Members whose time to first byte lies too far above the others'.
    fn by_latency(&self, settings: &OutlierEjection, now_ms: u64) -> Vec<(Arc<Member>, String)> {
        let Some(percent) = settings.latency_percent else { return Vec::new() };
        let measured = self.members().iter().filter_map(|member| {
            Some((member, member.state.latency_us(self.spec().algorithm, now_ms)?))
        });
        let mut times: Vec<_> = measured.collect();
        if times.len() < settings.min_members as usize {
            return Vec::new();
        }
        times.sort_by_key(|(_, time_us)| *time_us);
        let median_us = times[(times.len() - 1) / 2].1;
        let is_outlier =
            |time_us: u64| time_us.saturating_mul(100) > median_us.saturating_mul(percent.into());
        let outliers = times.into_iter().filter(|(_, time_us)| is_outlier(*time_us));
        let text = |time_us: u64| {
            let ms = |us: u64| us as f64 / 1_000.0;
            format!("{:.1} ms to first byte, {:.1} ms in the middle", ms(time_us), ms(median_us))
        };
        outliers.map(|(member, time_us)| (Arc::clone(member), text(time_us))).collect()
    }

    /// Ejects a member, unless too many are; the whole reason.
    fn eject(
        &self,
        member: &Member,
        settings: &OutlierEjection,
        now_ms: u64,
        (cause, why): (EjectionCause, &str),
    ) -> Option<String> {
        // One decision at a time, as each counts those before it.
        let _deciding = self.judgement().counts.lock().unwrap_or_else(PoisonError::into_inner);
        if member.state.is_ejected(now_ms) {
            return None;
        }
        let serving = self.members().iter().filter(|m| m.weight > 0 && m.state.takes_new());
        let (mut total, mut ejected, mut others) = (0, 0, 0);
        for other in serving {
            total += 1;
            ejected += usize::from(other.state.is_ejected(now_ms));
            let is_other = !Arc::ptr_eq(&other.state, &member.state);
            others += usize::from(is_other && other.state.is_available(now_ms));
        }
        let allowed = (total * settings.max_ejected_percent as usize / 100).max(1);
        if others == 0 || ejected >= allowed {
            return None;
        }
        self.judgement().ejections[cause as usize].fetch_add(1, Relaxed);
        let base_ms = settings.base_ejection_ms;
        Some(member.state.eject(now_ms, base_ms, settings.max_ejection_ms, why))
    }
}

/// The time of day, in UTC, as `12:00:03`.
pub(crate) fn time_of_day(unix_ms: u64) -> String {
    let second = unix_ms / 1_000 % 86_400;
    format!("{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests;
