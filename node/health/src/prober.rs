//! The prober as the node uses it: start it, tell it what is configured, read what it found.
//!
//! Invariant: configurations are taken in order, and the newest wins; reports of an index mean that
//! everything up to it is being carried out.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use ballast_balance::{AdviceMap, PoolMap};
use ballast_model::config::Table;
use ballast_model::event::EventBody;
use ballast_model::status::{MemberStatus, PlaneStatus};
use ballast_model::{Config, MonitorSpec, Resource};
use tokio::runtime::Handle;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;

use crate::probe::{Link, probe};
use crate::scheduler::{ProbeFn, Scheduler};

/// Health events kept for a listener that is slow.
pub const EVENT_QUEUE_MAX_COUNT: usize = 1_024;
/// Probes under way at once, unless set otherwise. Each takes a file descriptor.
pub const PROBE_IN_FLIGHT_MAX_COUNT: usize = 512;

/// Reports of other nodes that wait to be adopted.
const ADOPTION_QUEUE_MAX_COUNT: usize = 64;

/// How a prober works.
#[derive(Clone, Copy, Debug)]
pub struct ProberOptions {
    /// Seeds the jitter; differs between nodes, so that they don't probe in step.
    pub seed: u64,
    /// Most probes under way at once.
    pub in_flight_max_count: usize,
}

impl ProberOptions {
    /// The usual limits.
    pub fn new(seed: u64) -> Self {
        Self { seed, in_flight_max_count: PROBE_IN_FLIGHT_MAX_COUNT }
    }
}

/// Probes the monitored members of this node.
#[derive(Debug)]
pub struct Prober {
    desired: watch::Sender<Desired>,
    applied: watch::Receiver<Applied>,
    applied_index: watch::Receiver<u64>,
    first_round_done: watch::Receiver<bool>,
    adoptions: mpsc::Sender<Adoption>,
    advice: watch::Receiver<AdviceMap>,
    events: broadcast::Sender<EventBody>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What the node shall probe.
#[derive(Clone, Debug, Default)]
struct Desired {
    index: u64,
    monitors: Table<MonitorSpec>,
    pools: PoolMap,
    stop: bool,
}

/// What another node found.
#[derive(Debug)]
struct Adoption {
    node: String,
    members: Vec<MemberStatus>,
}

/// What is carried out.
#[derive(Clone, Debug, Default)]
struct Applied {
    index: u64,
    error: Option<String>,
}

impl Prober {
    /// Starts the scheduler task on `runtime`; it probes nothing before [`Prober::apply`].
    pub fn start(options: ProberOptions, runtime: &Handle) -> Self {
        let by_socket: ProbeFn =
            Arc::new(|address: SocketAddr, link: Link, monitor: Arc<Resource<_>>| {
                Box::pin(async move { probe(address, &link, &monitor.spec).await })
            });
        Self::start_with(options, runtime, by_socket)
    }

    pub(crate) fn start_with(options: ProberOptions, runtime: &Handle, probe: ProbeFn) -> Self {
        let (desired, desired_receiver) = watch::channel(Desired::default());
        let (applied_sender, applied) = watch::channel(Applied::default());
        let (index_sender, applied_index) = watch::channel(0);
        let (events, _) = broadcast::channel(EVENT_QUEUE_MAX_COUNT);
        let ProberOptions { seed, in_flight_max_count } = options;
        let (first_round_sender, first_round_done) = watch::channel(false);
        let (adoptions, adoption_receiver) = mpsc::channel(ADOPTION_QUEUE_MAX_COUNT);
        let scheduler =
            Scheduler::new(probe, in_flight_max_count, seed, events.clone(), first_round_sender);
        let advice = scheduler.advice();
        let report = move |applied: Applied| {
            index_sender.send_replace(applied.index);
            applied_sender.send_replace(applied);
        };
        let task = runtime.spawn(run(scheduler, desired_receiver, adoption_receiver, report));
        Self {
            desired,
            applied,
            applied_index,
            first_round_done,
            adoptions,
            advice,
            events,
            task: Mutex::new(Some(task)),
        }
    }

    /// Probes the members of `pools` by the monitors of `config`, which is that of `index`. Returns
    /// at once; [`Prober::applied`] tells when that is carried out. Probes that both
    /// configurations ask for go on undisturbed.
    pub fn apply(&self, index: u64, config: &Config, pools: PoolMap) {
        let monitors = config.monitors.clone();
        self.desired.send_modify(|desired| {
            let stop = desired.stop;
            *desired = Desired { index, monitors, pools, stop };
        });
    }

    /// Tells which index is carried out.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.applied_index.clone()
    }

    /// What this plane has applied, and why part of it could not be.
    pub fn plane_status(&self) -> PlaneStatus {
        let Applied { index, error } = self.applied.borrow().clone();
        PlaneStatus { plane: "health".to_owned(), applied_index: index, error }
    }

    /// Changes of members' health from now on. A listener that falls behind by more than
    /// [`EVENT_QUEUE_MAX_COUNT`] is told that it lost some.
    pub fn events(&self) -> broadcast::Receiver<EventBody> {
        self.events.subscribe()
    }

    /// What members' agents advise, and when that changes: for
    /// [`PoolRegistry::observe`](ballast_balance::PoolRegistry::observe).
    pub fn advice(&self) -> watch::Receiver<AdviceMap> {
        self.advice.clone()
    }

    /// Every member, monitored or not, as this node sees it.
    pub fn statuses(&self) -> Vec<MemberStatus> {
        let pools = Arc::clone(&self.desired.borrow().pools);
        pools.values().flat_map(|pool| pool.statuses(now_ms())).collect()
    }

    /// Turns true, for good, when every monitored member is known to be up or down: by a probe of
    /// ours or by [`Prober::adopt`]. False until the first configuration is carried out; true with
    /// it where that has nothing to probe. Probes that can't even be tried keep it false, so whoever
    /// waits sets a limit.
    pub fn first_round_done(&self) -> watch::Receiver<bool> {
        self.first_round_done.clone()
    }

    /// Takes over what `node` found of members that are still [`Checking`] here, until our own first
    /// probe of them has ended; their reason names the node. Only what the node
    /// found by probes of its own counts. What is older than a few seconds is
    /// not worth adopting. Ignored where 64 reports wait already: probes
    /// will tell soon.
    ///
    /// [`Checking`]: ballast_model::status::Health::Checking
    pub fn adopt(&self, node: &str, members: &[MemberStatus]) {
        let adoption = Adoption { node: node.to_owned(), members: members.to_vec() };
        if self.adoptions.try_send(adoption).is_err() {
            tracing::debug!(node, "what a node found of members is not adopted");
        }
    }

    /// How many of a pool's members take traffic, in percent, rounded down: those that are up or
    /// unmonitored among those that are not disabled or forced offline. None where there is no such
    /// pool or nothing in it counts.
    pub fn pool_up_percent(&self, pool: &str) -> Option<u8> {
        let pools = Arc::clone(&self.desired.borrow().pools);
        pools.get(pool)?.up_percent()
    }

    /// Ends all probes and the scheduler.
    pub async fn shutdown(&self) {
        self.desired.send_modify(|desired| desired.stop = true);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the prober failed");
        }
    }
}

/// The scheduler task. Ends when told to, or when the [`Prober`] is gone; probes under way end with
/// it, because the scheduler owns them.
async fn run(
    mut scheduler: Scheduler,
    mut desired: watch::Receiver<Desired>,
    mut adoptions: mpsc::Receiver<Adoption>,
    report: impl Fn(Applied),
) {
    loop {
        let due = scheduler.next_due();
        let sleep = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        // All branches are cancel-safe: `changed`, `recv` and `join_next` by their documentation, the
        // sleep because it is made anew each round.
        tokio::select! {
            changed = desired.changed() => {
                let wanted = desired.borrow_and_update().clone();
                if changed.is_err() || wanted.stop {
                    return;
                }
                scheduler.reconcile(&wanted.pools, &wanted.monitors, now_ms());
                report(Applied { index: wanted.index, error: scheduler.error() });
            }
            Some(Adoption { node, members }) = adoptions.recv() => {
                scheduler.adopt(&node, &members, now_ms());
            }
            Some(done) = scheduler.next_done() => scheduler.finish(done, now_ms()),
            () = sleep => scheduler.start_due(),
        }
    }
}

fn now_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
