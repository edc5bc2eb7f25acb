//! A member of a pool: what was declared of it, and the live state that all workers share.
//!
//! Invariant: [`MemberState`] belongs to one (pool, name, address) and outlives recompilation of
//! the pool, so that counts of requests in flight stay true across configuration changes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use ballast_model::status::{Health, MemberError, MemberStatus};
use ballast_model::{AdminState, Algorithm};

use crate::latency::{Averaging, Latency};
use crate::padded::Padded;
use crate::persistence::MemberKey;

/// A member as compiled into a [`Pool`](crate::Pool).
#[derive(Debug)]
pub struct Member {
    /// Its name, unique in the pool.
    pub name: Arc<str>,
    /// Where it serves.
    pub address: SocketAddr,
    /// Share of the load relative to the others; 0 gets persistent sessions only.
    pub weight: u16,
    /// Its keyed identity, for persistence.
    pub key: MemberKey,
    /// Seeds its scores in rendezvous hashing; the same on every node.
    pub(crate) hash_seed: u64,
    /// Live state, shared by all workers and across recompilations.
    pub state: Arc<MemberState>,
}

impl Member {
    /// What this node reports of it.
    pub fn status(&self, pool: &str) -> MemberStatus {
        let HealthReport { health, reason, since_ms, last_probe_us } = self.state.health_report();
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
    /// [`NEVER_MS`] where there is no deadline.
    drain_until_ms: AtomicU64,
    /// Each worker's own allocation: the count of who holds it stands beside it, and moves between
    /// no caches either.
    shards: Box<[Arc<Padded<Shard>>]>,
    /// Off the request path: locked by the prober and by status reports only.
    report: Mutex<HealthReport>,
    /// Locked by status reports, and tried by workers where a connection has failed.
    last_error: Mutex<Option<MemberError>>,
}

const NEVER_MS: u64 = u64::MAX;

/// Counters that one worker writes.
#[derive(Debug, Default)]
struct Shard {
    in_flight: AtomicU32,
    requests_total: AtomicU64,
    failures_total: AtomicU64,
    latency: Latency,
}

impl MemberState {
    /// The state of a new, enabled member, counted by `worker_count` workers.
    pub fn new(worker_count: usize, report: HealthReport) -> Self {
        Self {
            health: AtomicU8::new(health_code(report.health)),
            admin_state: AtomicU8::new(admin_code(AdminState::Enabled)),
            removed: AtomicBool::new(false),
            drain_until_ms: AtomicU64::new(NEVER_MS),
            shards: (0..worker_count.max(1)).map(|_| Arc::default()).collect(),
            report: Mutex::new(report),
            last_error: Mutex::default(),
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
        self.health.store(health_code(report.health), Relaxed);
        *held = report;
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

    /// Counts a request or connection that `worker` sends to it, as in flight until the guard goes.
    pub fn begin(&self, worker: usize) -> InFlight {
        let shard = self.shard(worker);
        shard.in_flight.fetch_add(1, Relaxed);
        shard.requests_total.fetch_add(1, Relaxed);
        InFlight { shard: Arc::clone(shard) }
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

/// Keeps a request or connection counted as in flight. Dropping it ends that, on any thread.
#[derive(Debug)]
pub struct InFlight {
    shard: Arc<Padded<Shard>>,
}

impl InFlight {
    /// Counts that this one failed on the member's side.
    pub fn count_failure(&self) {
        self.shard.failures_total.fetch_add(1, Relaxed);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.shard.in_flight.fetch_sub(1, Relaxed);
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
