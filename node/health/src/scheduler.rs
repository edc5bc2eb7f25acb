//! Which target is probed when, and what becomes of the outcomes.
//!
//! Invariant: a target is either in line (its newest entry in `due` carries its turn) or under way
//! (its probe in `probes` carries its turn), never both; entries and outcomes of older turns are
//! ignored.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ballast_balance::health::combine;
use ballast_balance::{
    AdviceMap, HealthMachine, HealthReport, HealthSettings, MemberState, Pool, PoolMap,
};
use ballast_model::config::Table;
use ballast_model::event::EventBody;
use ballast_model::status::{Health, MemberStatus};
use ballast_model::{MonitorSpec, Resource};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{broadcast, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::probe::{Link, Outcome};
use crate::targets::{
    TargetDiff, TargetKey, Targets, diff, link_of, probe_address, talks_as_traffic, targets_of,
};

mod agents;

use agents::Said;

/// Most targets that one node probes.
pub(crate) const TARGET_MAX_COUNT: usize = 200_000;
/// First probes of targets that come together are spread by this much each.
const SPREAD_PER_TARGET: Duration = Duration::from_micros(200);
/// Between two warnings that probes could not be tried.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

type Monitor = Arc<Resource<MonitorSpec>>;
type TargetId = u64;
pub(crate) type ProbeFuture = Pin<Box<dyn Future<Output = Outcome> + Send>>;
/// Carries out a probe.
pub(crate) type ProbeFn = Arc<dyn Fn(SocketAddr, Link, Monitor) -> ProbeFuture + Send + Sync>;

pub(crate) struct Scheduler {
    probe: ProbeFn,
    in_flight_max_count: usize,
    events: broadcast::Sender<EventBody>,
    pools: HashMap<String, WatchedPool>,
    targets: HashMap<TargetId, Target>,
    due: BinaryHeap<Reverse<(Instant, TargetId, u64)>>,
    probes: JoinSet<Done>,
    next_id: TargetId,
    rng: SmallRng,
    warned_at: Option<Instant>,
    first_round: FirstRound,
    /// What agents advise.
    advice: watch::Sender<AdviceMap>,
}

/// Whether every monitored member has been decided once. Stays true: a member that comes later is no
/// reason to doubt the node again.
struct FirstRound {
    done: watch::Sender<bool>,
    /// Members still [`Health::Checking`]; an upper estimate, counted anew where it reaches 0.
    undecided_count: usize,
}

struct WatchedPool {
    pool: Arc<Pool>,
    monitors: Vec<Monitor>,
    targets: Targets,
    ids: HashMap<TargetKey, TargetId>,
    members: BTreeMap<(Arc<str>, SocketAddr), WatchedMember>,
    /// Targets that are not probed because there are too many.
    left_out_count: usize,
}

struct WatchedMember {
    state: Arc<MemberState>,
    targets: Vec<TargetId>,
}

struct Target {
    pool: String,
    key: TargetKey,
    monitor: Monitor,
    machine: HealthMachine,
    /// What an agent has said.
    said: Option<Said>,
    /// Counts its entries in line and its probes.
    turn: u64,
    under_way: Option<AbortHandle>,
}

/// A probe that ended.
pub(crate) struct Done {
    id: TargetId,
    turn: u64,
    begin: Instant,
    outcome: Outcome,
}

impl Scheduler {
    pub(crate) fn new(
        probe: ProbeFn,
        in_flight_max_count: usize,
        seed: u64,
        events: broadcast::Sender<EventBody>,
        first_round_done: watch::Sender<bool>,
    ) -> Self {
        Self {
            probe,
            in_flight_max_count: in_flight_max_count.max(1),
            events,
            pools: HashMap::new(),
            targets: HashMap::new(),
            due: BinaryHeap::new(),
            probes: JoinSet::new(),
            next_id: 0,
            rng: SmallRng::seed_from_u64(seed),
            warned_at: None,
            first_round: FirstRound { done: first_round_done, undecided_count: 0 },
            advice: watch::Sender::new(AdviceMap::default()),
        }
    }

    /// Probes what is desired from now on, and leaves alone what was probed already.
    pub(crate) fn reconcile(
        &mut self,
        pools: &PoolMap,
        monitors: &Table<MonitorSpec>,
        now_ms: u64,
    ) {
        let gone = self.pools.keys().filter(|name| !pools.contains_key(*name));
        for name in gone.cloned().collect::<Vec<_>>() {
            self.forget_pool(&name);
        }
        for (name, pool) in pools.iter() {
            let monitors_of = pool.spec().monitors.iter().filter_map(|name| monitors.get(name));
            let monitors_of: Vec<_> = monitors_of.cloned().collect();
            match self.pools.get(name) {
                Some(watched) if watched.is_current(pool, &monitors_of) => continue,
                // Deleted and made anew: another pool.
                Some(watched) if watched.pool.uid() != pool.uid() => self.forget_pool(name),
                Some(_) | None => {}
            }
            self.reconcile_pool(pool, targets_of(pool, monitors), monitors_of, now_ms);
        }
        self.count_undecided();
    }

    /// Takes over what `node` found of members that nothing is known of here yet.
    pub(crate) fn adopt(&mut self, node: &str, found: &[MemberStatus], now_ms: u64) {
        for status in found {
            // Without a probe of its own, the node has it from somebody else: verdicts must not go in
            // circles.
            let is_its_own = status.last_probe_us.is_some();
            if !is_its_own || !matches!(status.health, Health::Up | Health::Down) {
                continue;
            }
            let Some(watched) = self.pools.get(&status.pool) else { continue };
            let Ok(address) = status.address.parse() else { continue };
            let key = (Arc::from(status.member.as_str()), address);
            let Some(member) = watched.members.get(&key) else { continue };
            if member.targets.is_empty() || member.state.health() != Health::Checking {
                continue;
            }
            let reason = format!("{}, as node {node} sees it", status.reason);
            let report = HealthReport {
                health: status.health,
                reason,
                since_ms: now_ms,
                last_probe_us: None,
            };
            self.tell(&status.pool, &status.member, &report);
            member.state.set_health(report);
        }
        self.count_undecided();
    }

    /// Counts the monitored members of which nothing is known; none ends the first round.
    fn count_undecided(&mut self) {
        if *self.first_round.done.borrow() {
            return;
        }
        let members = self.pools.values().flat_map(|watched| watched.members.values());
        let undecided = members.filter(|member| {
            !member.targets.is_empty() && member.state.health() == Health::Checking
        });
        self.first_round.undecided_count = undecided.count();
        if self.first_round.undecided_count == 0 {
            self.first_round.done.send_replace(true);
        }
    }

    /// Notes that one more member was decided.
    fn decided(&mut self) {
        self.first_round.undecided_count = self.first_round.undecided_count.saturating_sub(1);
        if self.first_round.undecided_count == 0 {
            self.count_undecided();
        }
    }

    fn forget_pool(&mut self, name: &str) {
        if let Some(watched) = self.pools.remove(name) {
            watched.ids.values().for_each(|id| self.forget_target(*id));
            self.withdraw_advice(name);
        }
    }

    fn forget_target(&mut self, id: TargetId) {
        if let Some(probe) = self.targets.remove(&id).and_then(|target| target.under_way) {
            probe.abort();
        }
    }

    fn reconcile_pool(
        &mut self,
        pool: &Arc<Pool>,
        desired: Targets,
        monitors: Vec<Monitor>,
        now_ms: u64,
    ) {
        let mut watched = self.pools.remove(pool.name()).unwrap_or_else(|| WatchedPool {
            pool: Arc::clone(pool),
            monitors: Vec::new(),
            targets: Targets::new(),
            ids: HashMap::new(),
            members: BTreeMap::new(),
            left_out_count: 0,
        });
        let TargetDiff { added, removed, mut changed } = diff(&watched.targets, &desired);
        if talks_otherwise(&watched.pool, pool) {
            let again = desired.iter().filter(|(key, monitor)| {
                talks_as_traffic(key, &monitor.spec) && watched.targets.contains_key(*key)
            });
            changed.extend(again.map(|(key, _)| key.clone()));
            changed.sort_unstable();
            changed.dedup();
        }
        for key in removed {
            if let Some(id) = watched.ids.remove(&key) {
                self.forget_target(id);
            }
        }
        let member_states = pool.members().iter();
        let member_states: HashMap<_, _> =
            member_states.map(|m| ((Arc::clone(&m.name), m.address), &m.state)).collect();
        let added_count = u32::try_from(added.len()).unwrap_or(u32::MAX);
        for key in added {
            let (Some(monitor), Some(state)) =
                (desired.get(&key), member_states.get(&(Arc::clone(&key.member), key.address)))
            else {
                continue;
            };
            match self.add_target(pool.name(), &key, monitor, state, added_count, now_ms) {
                Some(id) => {
                    watched.ids.insert(key, id);
                }
                None => state.set_health(left_out_report(now_ms)),
            }
        }
        for key in changed {
            if let (Some(id), Some(monitor)) = (watched.ids.get(&key), desired.get(&key)) {
                self.change_target(*id, monitor);
            }
        }
        watched.pool = Arc::clone(pool);
        watched.monitors = monitors;
        watched.left_out_count = desired.len() - watched.ids.len();
        watched.targets = desired;
        // What is left out is tried again when the pool changes next.
        watched.targets.retain(|key, _| watched.ids.contains_key(key));
        watched.regroup();
        if watched.monitors.is_empty() {
            // An outcome of the last moment may have overwritten what compilation set.
            watched.set_unmonitored(now_ms);
        }
        for member in watched.members.values() {
            self.judge(&watched, member, now_ms);
        }
        self.publish_advice(&watched);
        self.pools.insert(pool.name().to_owned(), watched);
    }

    /// Puts a new target in line; none where there are too many.
    fn add_target(
        &mut self,
        pool: &str,
        key: &TargetKey,
        monitor: &Monitor,
        state: &MemberState,
        together_count: u32,
        now_ms: u64,
    ) -> Option<TargetId> {
        if self.targets.len() >= TARGET_MAX_COUNT {
            return None;
        }
        let id = self.next_id;
        self.next_id += 1;
        // One that takes traffic goes on doing so until probes say otherwise.
        let health = if state.is_up() { Health::Up } else { Health::Checking };
        let target = Target {
            pool: pool.to_owned(),
            key: key.clone(),
            monitor: Arc::clone(monitor),
            machine: HealthMachine::new(settings(&monitor.spec), health, now_ms),
            said: None,
            turn: 0,
            under_way: None,
        };
        self.targets.insert(id, target);
        let half_interval = Duration::from_millis(monitor.spec.interval_ms / 2);
        let spread = SPREAD_PER_TARGET.saturating_mul(together_count).min(half_interval);
        let delay = spread.mul_f64(self.rng.random_range(0.0..1.0));
        self.put_in_line(id, Instant::now() + delay);
        Some(id)
    }

    /// Probes by the new version of the monitor, at once; what was found so far still counts.
    fn change_target(&mut self, id: TargetId, monitor: &Monitor) {
        let Some(target) = self.targets.get_mut(&id) else { return };
        if target.monitor.spec.kind != monitor.spec.kind {
            target.said = None;
        }
        target.monitor = Arc::clone(monitor);
        target.machine.set_settings(settings(&monitor.spec));
        if let Some(probe) = target.under_way.take() {
            probe.abort();
        }
        self.put_in_line(id, Instant::now());
    }

    fn put_in_line(&mut self, id: TargetId, at: Instant) {
        if let Some(target) = self.targets.get_mut(&id) {
            target.turn += 1;
            self.due.push(Reverse((at, id, target.turn)));
        }
    }

    /// When the next probe is due; none where nothing is in line or enough are under way.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        if self.probes.len() >= self.in_flight_max_count {
            return None;
        }
        self.due.peek().map(|Reverse((at, ..))| *at)
    }

    /// Starts the probes that are due.
    pub(crate) fn start_due(&mut self) {
        let now = Instant::now();
        while self.probes.len() < self.in_flight_max_count
            && let Some(Reverse((at, id, turn))) = self.due.peek().copied()
            && at <= now
        {
            self.due.pop();
            let Some(target) = self.targets.get_mut(&id).filter(|target| target.turn == turn)
            else {
                continue;
            };
            let Some(watched) = self.pools.get(&target.pool) else { continue };
            let address = probe_address(target.key.address, &target.monitor.spec);
            let link = link_of(&watched.pool, &target.key, &target.monitor.spec);
            let probe = (self.probe)(address, link, Arc::clone(&target.monitor));
            let probe = async move {
                let begin = Instant::now();
                Done { id, turn, begin, outcome: probe.await }
            };
            target.under_way = Some(self.probes.spawn(probe));
        }
    }

    /// The next probe that ends; none while none is under way.
    pub(crate) async fn next_done(&mut self) -> Option<Done> {
        loop {
            match self.probes.join_next().await? {
                Ok(done) => return Some(done),
                Err(error) if error.is_cancelled() => {}
                Err(error) => tracing::error!(%error, "a probe panicked"),
            }
        }
    }

    /// Takes in what a probe found.
    pub(crate) fn finish(&mut self, done: Done, now_ms: u64) {
        let Done { id, turn, begin, outcome } = done;
        let Some(target) = self.targets.get_mut(&id).filter(|target| target.turn == turn) else {
            return;
        };
        target.under_way = None;
        let interval = Duration::from_millis(target.monitor.spec.interval_ms);
        let next = begin + interval.mul_f64(self.rng.random_range(0.9..1.1));
        let advises = matches!(outcome, Outcome::Said { .. });
        let heard = match outcome {
            Outcome::Found(probe) => {
                target.found(probe, now_ms);
                true
            }
            Outcome::Said { word, took_us } => {
                target.hear(word, took_us, now_ms);
                true
            }
            Outcome::NotTried { why } => {
                self.warn_not_tried(&why);
                false
            }
        };
        self.put_in_line(id, next.max(Instant::now()));
        let Some(target) = self.targets.get(&id).filter(|_| heard) else { return };
        let Some(watched) = self.pools.get(&target.pool) else { return };
        if advises {
            self.publish_advice(watched);
        }
        let member = (Arc::clone(&target.key.member), target.key.address);
        if let Some(member) = watched.members.get(&member) {
            let was_checking = member.state.health() == Health::Checking;
            self.judge(watched, member, now_ms);
            if was_checking && member.state.health() != Health::Checking {
                self.decided();
            }
        }
    }

    /// Sets a member's health to what its monitors say together, and tells if that is news.
    fn judge(&self, watched: &WatchedPool, member: &WatchedMember, now_ms: u64) {
        let targets = member.targets.iter().filter_map(|id| self.targets.get(id));
        let monitors: Vec<_> =
            targets.clone().map(|t| (t.key.monitor.as_str(), &t.machine)).collect();
        let Some(name) = targets.clone().next().map(|target| &target.key.member) else { return };
        // Nothing was heard yet: what the member started with stays.
        if targets.clone().all(|target| target.machine.report().last_probe_us.is_none()) {
            return;
        }
        let previous = member.state.health_report();
        let report = combine(&previous, &monitors, now_ms);
        if report.health != previous.health {
            self.tell(watched.pool.name(), name, &report);
        }
        member.state.set_health(report);
    }

    /// Tells that a member's health has changed.
    fn tell(&self, pool: &str, member: &str, report: &HealthReport) {
        let HealthReport { health, reason, .. } = report.clone();
        match health {
            Health::Down => tracing::warn!(pool, member, reason, "member is down"),
            _ => tracing::info!(pool, member, ?health, reason, "member's health changed"),
        }
        let event =
            EventBody::Health { pool: pool.to_owned(), member: member.to_owned(), health, reason };
        // Without listeners nobody is told.
        let _nobody_listens = self.events.send(event);
    }

    fn warn_not_tried(&mut self, why: &str) {
        let now = Instant::now();
        if self.warned_at.is_none_or(|at| now.duration_since(at) >= WARNING_INTERVAL) {
            self.warned_at = Some(now);
            tracing::warn!(why, "health probes can't be made");
        }
    }

    /// Why part of what is desired is not done.
    pub(crate) fn error(&self) -> Option<String> {
        let left_out_count: usize = self.pools.values().map(|pool| pool.left_out_count).sum();
        (left_out_count > 0).then(|| {
            format!("{left_out_count} targets too many: a node probes at most {TARGET_MAX_COUNT}")
        })
    }
}

impl WatchedPool {
    fn is_current(&self, pool: &Pool, monitors: &[Monitor]) -> bool {
        let same = |(a, b): (&Monitor, &Monitor)| a.revision == b.revision && a.uid == b.uid;
        self.pool.generation() == pool.generation()
            && self.monitors.len() == monitors.len()
            && self.monitors.iter().zip(monitors).all(same)
    }

    /// Groups the targets by member.
    fn regroup(&mut self) {
        let member = |member: &Arc<ballast_balance::Member>| {
            let state = Arc::clone(&member.state);
            ((Arc::clone(&member.name), member.address), WatchedMember { state, targets: vec![] })
        };
        self.members = self.pool.members().iter().map(member).collect();
        // In the order of the monitors' names, so that the reason names the same one each time.
        for key in self.targets.keys() {
            let member = self.members.get_mut(&(Arc::clone(&key.member), key.address));
            if let (Some(member), Some(id)) = (member, self.ids.get(key)) {
                member.targets.push(*id);
            }
        }
    }

    fn set_unmonitored(&self, now_ms: u64) {
        for member in self.members.values() {
            if member.state.health() != Health::Unmonitored {
                member.state.set_health(HealthReport {
                    health: Health::Unmonitored,
                    reason: "the pool has no monitor".to_owned(),
                    since_ms: now_ms,
                    last_probe_us: None,
                });
            }
        }
    }
}

/// Whether what a probe by HTTP found of the pool as it was says little of the pool as it is.
fn talks_otherwise(was: &Pool, is: &Pool) -> bool {
    !was.security().is_same(is.security()) || was.spec().protocol != is.spec().protocol
}

fn settings(monitor: &MonitorSpec) -> HealthSettings {
    HealthSettings { rise: monitor.rise, fall: monitor.fall }
}

fn left_out_report(now_ms: u64) -> HealthReport {
    HealthReport {
        health: Health::Unmonitored,
        reason: format!("not probed: a node probes at most {TARGET_MAX_COUNT} targets"),
        since_ms: now_ms,
        last_probe_us: None,
    }
}
