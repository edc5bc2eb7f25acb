//! A member of a pool: what was declared of it, and the live state that all workers share.
//!
//! Invariant: [`MemberState`] belongs to one (pool, name, address) and outlives recompilation of
//! the pool, so that counts of requests in flight stay true across configuration changes.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};

use ballast_model::status::{Health, MemberError, MemberStatus};
use ballast_model::{AdminState, Algorithm};

use crate::eject::time_of_day;
use crate::eject::trial::TrialState;
use crate::latency::{Averaging, Latency};
use crate::padded::Padded;
use crate::persistence::MemberKey;
use crate::queue::PoolQueue;

mod in_flight;

pub use in_flight::{InFlight, Slot};

/// A member as compiled into a [`Pool`](crate::Pool).
#[derive(Debug)]
pub struct Member {
    /// Its name, unique in the pool.
    pub name: Arc<str>,
    /// Where it serves.
    pub address: SocketAddr,
    /// Share of the load relative to the others; 0 gets persistent sessions only.
    pub weight: u16,
    /// The higher, the sooner it serves.
    pub priority: u32,
    /// Its keyed identity, for persistence.
    pub key: MemberKey,
    /// Seeds its scores in rendezvous hashing; the same on every node.
    pub(crate) hash_seed: u64,
    /// Live state, shared by all workers and across recompilations.
    pub state: Arc<MemberState>,
}

impl Member {
    /// What this node reports of it at `now_ms`. One that is ejected is down, whatever the monitors
    /// say; the reason holds both.
    pub fn status(&self, pool: &str, now_ms: u64) -> MemberStatus {
        let HealthReport { health, reason, since_ms, last_probe_us } =
            self.state.report_with_ejection(now_ms);
        MemberStatus {
            pool: pool.to_owned(),
            member: self.name.to_string(),
            address: self.address.to_string(),
            admin_state: self.state.admin_state(),
            health,
            reason,
            since_ms,
            last_probe_us,
            in_flight: self.state.in_flight(),
            requests_total: self.state.requests_total(),
            failures_total: self.state.failures_total(),
            last_error: self.state.last_error(),
            agent: self.state.agent(),
        }
    }
}

/// What the monitors found of a member, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthReport {
    /// What they found.
    pub health: Health,
    /// Why, in a sentence with the last probe's facts.
    pub reason: String,
    /// Since when, in ms since the Unix epoch.
    pub since_ms: u64,
    /// How long the last probe took, in µs.
    pub last_probe_us: Option<u64>,
}

/// Live state of a member. Workers read it without locks; each counts into a shard of its own.
#[derive(Debug)]
pub struct MemberState {
    health: AtomicU8,
    admin_state: AtomicU8,
    removed: AtomicBool,
    key: MemberKey,
    /// Most in flight; [`NO_LIMIT`] where there is none.
    limit: AtomicU32,
    /// In flight while there is a limit; not written as long as there is none.
    taken: Padded<AtomicU32>,
    queue: Arc<PoolQueue>,
    /// [`NEVER_MS`] where there is no deadline.
    drain_until_ms: AtomicU64,
    /// Left out until then, whatever the monitors say.
    ejected_until_ms: AtomicU64,
    /// Whether it has to prove itself after that.
    trial: TrialState,
    /// Since when it takes requests: its share grows from then on, if the pool says so.
    ramp_from_ms: AtomicU64,
    /// Failures since the last success; written where there are any.
    failures_in_row: AtomicU32,
    /// Each worker's own allocation: the count of who holds it stands beside it, and moves between
    /// no caches either.
    shards: Box<[Arc<Padded<Shard>>]>,
    /// Off the request path: locked by the prober and by status reports only.
    report: Mutex<HealthReport>,
    /// Locked by status reports, and tried by workers where a connection has failed.
    last_error: Mutex<Option<MemberError>>,
    /// What its agent has changed; locked by compilation and status reports.
    agent: Mutex<Option<String>>,
    /// How often monitors found it to be up after it was down, and down after it was not.
    went_up: AtomicU64,
    went_down: AtomicU64,
    /// Locked by status reports, and where it is ejected.
    ejection: Mutex<Ejection>,
}

/// The last time that a member was ejected.
#[derive(Debug, Default)]
struct Ejection {
    /// How often in a row; what the time grows by.
    count: u32,
    since_ms: u64,
    text: String,
}

const NEVER_MS: u64 = u64::MAX;
const NO_LIMIT: u32 = 0;

/// Counters that one worker writes.
#[derive(Debug, Default)]
struct Shard {
    in_flight: AtomicU32,
    requests_total: AtomicU64,
    failures_total: AtomicU64,
    /// Attempts that were observed, and those of them that failed.
    observed: AtomicU64,
    observed_failed: AtomicU64,
    latency: Latency,
}

impl MemberState {
    /// The state of a new, enabled member, counted by `worker_count` workers; those that wait for it
    /// do so in `queue`.
    pub fn new(
        worker_count: usize,
        key: MemberKey,
        queue: Arc<PoolQueue>,
        report: HealthReport,
    ) -> Self {
        Self {
            key,
            limit: AtomicU32::new(NO_LIMIT),
            taken: Padded::default(),
            queue,
            health: AtomicU8::new(health_code(report.health)),
            admin_state: AtomicU8::new(admin_code(AdminState::Enabled)),
            removed: AtomicBool::new(false),
            drain_until_ms: AtomicU64::new(NEVER_MS),
            shards: (0..worker_count.max(1)).map(|_| Arc::default()).collect(),
            report: Mutex::new(report),
            last_error: Mutex::default(),
            agent: Mutex::default(),
            ejected_until_ms: AtomicU64::new(0),
            trial: TrialState::default(),
            ramp_from_ms: AtomicU64::new(0),
            failures_in_row: AtomicU32::new(0),
            went_up: AtomicU64::new(0),
            went_down: AtomicU64::new(0),
            ejection: Mutex::default(),
        }
    }

    /// What the monitors found.
    pub fn health(&self) -> Health {
        match self.health.load(Relaxed) {
            HEALTH_DOWN => Health::Down,
            HEALTH_UNMONITORED => Health::Unmonitored,
            HEALTH_UP => Health::Up,
            _ => Health::Checking,
        }
    }

    /// What the monitors found, and why.
    pub fn health_report(&self) -> HealthReport {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets what the monitors found.
    pub fn set_health(&self, report: HealthReport) {
        let mut held = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        if report.health == Health::Up && held.health == Health::Down {
            self.ramp_from(report.since_ms);
            self.went_up.fetch_add(1, Relaxed);
        }
        if report.health == Health::Down && held.health != Health::Down {
            self.went_down.fetch_add(1, Relaxed);
        }
        self.health.store(health_code(report.health), Relaxed);
        *held = report;
    }

    /// How often monitors found it to be up after it was down, and down after it was not.
    pub fn health_changes(&self) -> (u64, u64) {
        (self.went_up.load(Relaxed), self.went_down.load(Relaxed))
    }

    /// Notes why a connection to it failed. Waits for nobody: where somebody reads the last one, or
    /// notes another, this one is not noted.
    pub fn note_error(&self, text: String, at_ms: u64) {
        if let Ok(mut held) = self.last_error.try_lock() {
            *held = Some(MemberError { text, at_ms });
        }
    }

    /// Why the last connection to it failed that did so in a way that is not plain from the reason.
    pub fn last_error(&self) -> Option<MemberError> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What its agent has changed of it, in a sentence.
    pub fn agent(&self) -> Option<String> {
        self.agent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_agent(&self, text: Option<String>) {
        *self.agent.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    /// What the operator wants of it.
    pub fn admin_state(&self) -> AdminState {
        match self.admin_state.load(Relaxed) {
            ADMIN_ENABLED => AdminState::Enabled,
            ADMIN_DISABLED => AdminState::Disabled,
            ADMIN_DRAINING => AdminState::Draining,
            _ => AdminState::ForcedOffline,
        }
    }

    /// Sets what the operator wants of it.
    pub fn set_admin_state(&self, admin_state: AdminState, drain_until_ms: Option<u64>) {
        self.drain_until_ms.store(drain_until_ms.unwrap_or(NEVER_MS), Relaxed);
        self.admin_state.store(admin_code(admin_state), Relaxed);
    }

    /// Whether the operator lets it take requests of anybody.
    pub fn takes_new(&self) -> bool {
        self.admin_state.load(Relaxed) == ADMIN_ENABLED
    }

    /// Whether the operator lets it take requests of persistent sessions at `now_ms`.
    pub fn takes_persistent(&self, now_ms: u64) -> bool {
        match self.admin_state.load(Relaxed) {
            ADMIN_ENABLED | ADMIN_DISABLED => true,
            ADMIN_DRAINING => now_ms < self.drain_until_ms.load(Relaxed),
            _ => false,
        }
    }

    /// Whether tunnels and TCP connections through it are to be cut at `now_ms`: it was forced
    /// offline, or its drain deadline has passed.
    pub fn is_cut(&self, now_ms: u64) -> bool {
        !self.takes_persistent(now_ms)
    }

    /// Whether the monitors let it take requests.
    pub fn is_up(&self) -> bool {
        self.health.load(Relaxed) >= HEALTH_UNMONITORED
    }

    /// Whether it is no longer in any pool: what is under way is finished, idle connections to it
    /// can be closed.
    pub fn is_removed(&self) -> bool {
        self.removed.load(Relaxed)
    }

    pub(crate) fn remove(&self) {
        self.removed.store(true, Relaxed);
    }

    /// Whether it takes requests at `now_ms`, as far as monitors and its answers tell.
    pub fn is_available(&self, now_ms: u64) -> bool {
        self.is_up() && !self.is_ejected(now_ms)
    }

    /// Whether it is left out at `now_ms` because it served badly.
    pub fn is_ejected(&self, now_ms: u64) -> bool {
        now_ms < self.ejected_until_ms.load(Relaxed)
    }

    /// Leaves it out for `base_ms` longer than the last time, at most `max_ms`; the whole reason.
    pub(crate) fn eject(&self, now_ms: u64, base_ms: u64, max_ms: u64, why: &str) -> String {
        let mut ejection = self.ejection.lock().unwrap_or_else(PoisonError::into_inner);
        let ended_ms = self.ejected_until_ms.load(Relaxed);
        let was_well_for_long = now_ms.saturating_sub(ended_ms) >= max_ms;
        ejection.count = if was_well_for_long { 1 } else { ejection.count.saturating_add(1) };
        let for_ms = base_ms.saturating_mul(ejection.count.into()).min(max_ms);
        let until_ms = now_ms.saturating_add(for_ms);
        ejection.since_ms = now_ms;
        ejection.text = format!("ejected: {why}, until {} UTC", time_of_day(until_ms));
        self.ejected_until_ms.store(until_ms, Relaxed);
        self.trial.require();
        self.failures_in_row.store(0, Relaxed);
        // It comes back little by little, if the pool says so.
        self.ramp_from(until_ms);
        ejection.text.clone()
    }

    /// What the monitors found, or that it is ejected.
    fn report_with_ejection(&self, now_ms: u64) -> HealthReport {
        let report = self.health_report();
        if !self.is_ejected(now_ms) {
            return self.report_on_trial(report);
        }
        let ejection = self.ejection.lock().unwrap_or_else(PoisonError::into_inner);
        HealthReport {
            health: Health::Down,
            reason: format!("{}; monitors: {}", ejection.text, report.reason),
            since_ms: ejection.since_ms,
            // No probe says so: other nodes must not take it for one's verdict.
            last_probe_us: None,
        }
    }

    /// What the monitors found, and that it has to prove itself, if it has.
    fn report_on_trial(&self, mut report: HealthReport) -> HealthReport {
        if self.trial.is_required() && self.is_up() {
            let monitors = std::mem::take(&mut report.reason);
            report.reason = format!("on trial after an ejection; monitors: {monitors}");
        }
        report
    }

    /// Whether it has to prove itself.
    pub(crate) fn trial(&self) -> &TrialState {
        &self.trial
    }

    /// Counts what came of an attempt of `worker`; how many failed since the last that did not.
    pub(crate) fn count_outcome(&self, worker: usize, failed: bool) -> u32 {
        let shard = self.shard(worker);
        shard.observed.fetch_add(1, Relaxed);
        if failed {
            shard.observed_failed.fetch_add(1, Relaxed);
            return self.failures_in_row.fetch_add(1, Relaxed) + 1;
        }
        if self.failures_in_row.load(Relaxed) != 0 {
            self.failures_in_row.store(0, Relaxed);
        }
        0
    }

    /// Attempts that were observed: those that succeeded, and those that failed.
    pub(crate) fn outcomes(&self) -> (u64, u64) {
        let sum = |of: fn(&Shard) -> &AtomicU64| -> u64 {
            self.shards.iter().map(|shard| of(shard).load(Relaxed)).sum()
        };
        // In this order: one that is counted in between is no failure without an attempt.
        let failed = sum(|shard| &shard.observed_failed);
        (sum(|shard| &shard.observed).saturating_sub(failed), failed)
    }

    /// Has its share grow from then on.
    pub(crate) fn ramp_from(&self, since_ms: u64) {
        self.ramp_from_ms.store(since_ms, Relaxed);
    }

    /// Since when its share grows.
    pub(crate) fn ramps_from_ms(&self) -> u64 {
        self.ramp_from_ms.load(Relaxed)
    }

    /// Its keyed identity, for persistence.
    pub fn key(&self) -> MemberKey {
        self.key
    }

    /// Sets how many requests or connections may be in flight to it, all workers together. What was
    /// begun while there was no limit is not counted against one that is set later.
    pub fn set_limit(&self, limit: Option<u32>) {
        self.limit.store(limit.unwrap_or(NO_LIMIT), SeqCst);
    }

    /// Whether one more may be in flight to it.
    pub fn has_room(&self) -> bool {
        let limit = self.limit.load(Relaxed);
        limit == NO_LIMIT || self.taken.load(Relaxed) < limit
    }

    /// Counts a request or connection that `worker` sends to it, as in flight until the guard goes;
    /// none where it is at its limit.
    pub fn begin(self: &Arc<Self>, worker: usize) -> Option<InFlight> {
        let slot = match self.limit.load(Relaxed) {
            NO_LIMIT => None,
            limit => Some(self.take_slot(limit)?),
        };
        Some(self.count_in(worker, slot))
    }

    pub(crate) fn take_slot(self: &Arc<Self>, limit: u32) -> Option<Slot> {
        let take = |taken| (taken < limit).then_some(taken + 1);
        self.taken.fetch_update(SeqCst, SeqCst, take).ok()?;
        Some(Slot::of(self))
    }

    fn count_in(&self, worker: usize, slot: Option<Slot>) -> InFlight {
        let shard = self.shard(worker);
        shard.in_flight.fetch_add(1, Relaxed);
        shard.requests_total.fetch_add(1, Relaxed);
        InFlight::new(Arc::clone(shard), slot)
    }

    /// Hands room that it has, if it has a limit, to who waits for it; whether there was any.
    pub(crate) fn offer_room(self: &Arc<Self>) -> bool {
        let limit = self.limit.load(Relaxed);
        if limit == NO_LIMIT || !self.has_room() || !self.queue.awaits(self) {
            return false;
        }
        // Dropping it gives it to who is first in line.
        self.take_slot(limit).map(drop).is_some()
    }

    /// Makes room for one more, or hands the room to who waits for it.
    ///
    /// Who waits has made that known before it looked for room a last time, and we look whether
    /// anybody waits after having made room: one of us sees the other.
    fn give_back(self: &Arc<Self>) {
        loop {
            let limit = self.limit.load(SeqCst);
            let may_pass_on = limit != NO_LIMIT && self.taken.load(SeqCst) <= limit;
            if may_pass_on && self.queue.waiting_count() > 0 {
                match self.queue.hand_over(self, Slot::of(self)) {
                    Ok(()) => return,
                    Err(slot) => slot.forget(),
                }
            }
            self.taken.fetch_sub(1, SeqCst);
            if self.queue.waiting_count() == 0 || !may_pass_on {
                return;
            }
            if !self.queue.awaits(self) {
                return;
            }
            match self.take_slot(limit) {
                // Somebody else has it, and will give it back.
                None => return,
                // It is ours again, to be passed on: not by `drop`, which would begin anew.
                Some(slot) => slot.forget(),
            }
        }
    }

    /// Takes in how long it took to answer `worker`, for the algorithms that go by that: the time to
    /// the first byte, or to connect. `now_ms` is the time of [`PickInput`](crate::PickInput).
    pub fn observe_latency(&self, worker: usize, algorithm: Algorithm, took_us: u64, now_ms: u64) {
        let averaging = match algorithm {
            Algorithm::PeakEwma => Averaging::Peak,
            _ => Averaging::Mean,
        };
        self.shard(worker).latency.observe(took_us, averaging, now_ms);
    }

    /// Takes in that an attempt of `worker` failed after `took_us`: as one of a second at least.
    pub fn observe_failed_attempt(&self, worker: usize, took_us: u64, now_ms: u64) {
        self.shard(worker).latency.observe_failure(took_us, now_ms);
    }

    /// How long it takes, in µs, as of all workers that have measured it: their mean, or the worst
    /// for [`Algorithm::PeakEwma`]. None where nothing was measured lately.
    pub fn latency_us(&self, algorithm: Algorithm, now_ms: u64) -> Option<u64> {
        let values = self.shards.iter().filter_map(|shard| shard.latency.value(now_ms));
        let (sum, max, count) = values.fold((0.0, 0.0_f64, 0_u32), |(sum, max, count), value| {
            (sum + value, max.max(value), count + 1)
        });
        let value = if algorithm == Algorithm::PeakEwma { max } else { sum / f64::from(count) };
        (count > 0).then_some(value as u64)
    }

    fn shard(&self, worker: usize) -> &Arc<Padded<Shard>> {
        &self.shards[worker % self.shards.len()]
    }

    /// Requests or connections in flight, of all workers.
    pub fn in_flight(&self) -> u64 {
        self.shards.iter().map(|shard| u64::from(shard.in_flight.load(Relaxed))).sum()
    }

    /// Requests or connections sent to it.
    pub fn requests_total(&self) -> u64 {
        self.shards.iter().map(|shard| shard.requests_total.load(Relaxed)).sum()
    }

    /// Those that failed on its side.
    pub fn failures_total(&self) -> u64 {
        self.shards.iter().map(|shard| shard.failures_total.load(Relaxed)).sum()
    }
}

const HEALTH_CHECKING: u8 = 0;
const HEALTH_DOWN: u8 = 1;
// From here on a member takes requests.
const HEALTH_UNMONITORED: u8 = 2;
const HEALTH_UP: u8 = 3;

fn health_code(health: Health) -> u8 {
    match health {
        Health::Checking => HEALTH_CHECKING,
        Health::Down => HEALTH_DOWN,
        Health::Unmonitored => HEALTH_UNMONITORED,
        Health::Up => HEALTH_UP,
    }
}

const ADMIN_ENABLED: u8 = 0;
const ADMIN_DISABLED: u8 = 1;
const ADMIN_DRAINING: u8 = 2;
const ADMIN_FORCED_OFFLINE: u8 = 3;

fn admin_code(admin_state: AdminState) -> u8 {
    match admin_state {
        AdminState::Enabled => ADMIN_ENABLED,
        AdminState::Disabled => ADMIN_DISABLED,
        AdminState::Draining => ADMIN_DRAINING,
        AdminState::ForcedOffline => ADMIN_FORCED_OFFLINE,
    }
}

#[cfg(test)]
mod tests;
