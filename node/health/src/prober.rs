//! The prober as the node uses it: start it, tell it what is configured, read what it found.
//!
//! Invariant: configurations are taken in order, and the newest wins; reports of an index mean that
//! everything up to it is being carried out.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use ballast_balance::PoolMap;
use ballast_model::config::Table;
use ballast_model::event::EventBody;
use ballast_model::status::{MemberStatus, PlaneStatus};
use ballast_model::{Config, MonitorSpec, Resource};
use tokio::runtime::Handle;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use crate::probe::probe;
use crate::scheduler::{ProbeFn, Scheduler};

/// Health events kept for a listener that is slow.
pub const EVENT_QUEUE_MAX_COUNT: usize = 1_024;
/// Probes under way at once, unless set otherwise. Each takes a file descriptor.
pub const PROBE_IN_FLIGHT_MAX_COUNT: usize = 512;

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

/// What is carried out.
#[derive(Clone, Debug, Default)]
struct Applied {
    index: u64,
    error: Option<String>,
}

impl Prober {
    /// Starts the scheduler task on `runtime`; it probes nothing before [`Prober::apply`].
    pub fn start(options: ProberOptions, runtime: &Handle) -> Self {
        let by_socket: ProbeFn = Arc::new(|address: SocketAddr, monitor: Arc<Resource<_>>| {
            Box::pin(async move { probe(address, &monitor.spec).await })
        });
        Self::start_with(options, runtime, by_socket)
    }

    pub(crate) fn start_with(options: ProberOptions, runtime: &Handle, probe: ProbeFn) -> Self {
        let (desired, desired_receiver) = watch::channel(Desired::default());
        let (applied_sender, applied) = watch::channel(Applied::default());
        let (index_sender, applied_index) = watch::channel(0);
        let (events, _) = broadcast::channel(EVENT_QUEUE_MAX_COUNT);
        let ProberOptions { seed, in_flight_max_count } = options;
        let scheduler = Scheduler::new(probe, in_flight_max_count, seed, events.clone());
        let report = move |applied: Applied| {
            index_sender.send_replace(applied.index);
            applied_sender.send_replace(applied);
        };
        let task = runtime.spawn(run(scheduler, desired_receiver, report));
        Self { desired, applied, applied_index, events, task: Mutex::new(Some(task)) }
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

    /// Every member, monitored or not, as this node sees it.
    pub fn statuses(&self) -> Vec<MemberStatus> {
        let pools = Arc::clone(&self.desired.borrow().pools);
        pools.values().flat_map(|pool| pool.statuses()).collect()
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
        // All branches are cancel-safe: `changed` and `join_next` by their documentation, the sleep
        // because it is made anew each round.
        tokio::select! {
            changed = desired.changed() => {
                let wanted = desired.borrow_and_update().clone();
                if changed.is_err() || wanted.stop {
                    return;
                }
                scheduler.reconcile(&wanted.pools, &wanted.monitors, now_ms());
                report(Applied { index: wanted.index, error: scheduler.error() });
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
