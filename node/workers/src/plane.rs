//! The data plane as the rest of the node sees it, and the thread that keeps it in step.
//!
//! Invariant: `applied().index` is reached only when every slot holds what that snapshot says and
//! every listener is open, closed, or reported with the reason why not.

use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use ballast_balance::{Observed, PersistenceKey, PoolMap};
use ballast_model::explain::{ExplainReport, ExplainRequest};
use ballast_model::status::{ListenerStatus, VirtualServerStatus};
use ballast_model::{Priority, Snapshot, Transport};
use ballast_telemetry::CounterRegistry;
use tokio::sync::{mpsc, oneshot, watch};

use crate::compile::Compiler;
use crate::control::Control;
use crate::handler::Handlers;
use crate::inherited::Inheritance;
use crate::moved::MovedSession;
use crate::policy::ProviderMap;
use crate::pressure::{Pressure, PressureGauge, SAMPLE_INTERVAL};
use crate::reconcile::AnyAddress;
use crate::tls::{CertificateMap, Unseal};
use crate::worker::{self, Shared, WorkerOptions};

mod succession;

/// How often listeners that could not be opened are tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// Requests to the plane's thread that wait.
const REQUEST_MAX_COUNT: usize = 16;

/// Longest time that addresses are quiesced for.
pub const QUIESCE_MAX: Duration = Duration::from_secs(10);

/// How the data plane is set up.
pub struct DataPlaneConfig {
    /// Worker threads.
    pub worker_count: usize,
    /// The CPUs that workers stay on, in turn; empty leaves that to the kernel.
    pub pin_to_cpus: Vec<usize>,
    /// What `0.0.0.0` and `::` mean on this node.
    pub any_address: AnyAddress,
    /// Most client connections at once, all virtual servers together.
    pub connection_max_count: usize,
    /// Makes the identities of members in persistence cookies; the same on every node.
    pub persistence_key: PersistenceKey,
    /// Where traffic is counted, with a shard for each worker.
    pub counters: Arc<CounterRegistry>,
    /// Opens private keys.
    pub unseal: Unseal,
    /// Tells how short the node runs.
    pub pressure: PressureGauge,
}

impl DataPlaneConfig {
    /// For trials: no private key can be opened, and the key of persistence cookies is no secret.
    pub fn for_trial(worker_count: usize) -> Self {
        Self {
            worker_count,
            pin_to_cpus: Vec::new(),
            any_address: AnyAddress::default(),
            connection_max_count: 10_000,
            persistence_key: PersistenceKey::new(&[0; 32]),
            counters: Arc::new(CounterRegistry::new(worker_count)),
            unseal: Arc::new(|_| Err("private keys can't be opened in a trial".to_owned())),
            pressure: PressureGauge::system(),
        }
    }
}

/// What has been applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The snapshot's index.
    pub index: u64,
    /// What of it could not be carried out, in sentences; tried again every few seconds.
    pub errors: Vec<String>,
    /// Every address of every virtual server.
    pub listeners: Arc<Vec<ListenerStatus>>,
}

/// Rare events since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlaneTotals {
    /// Connections that could not be accepted for want of descriptors or memory.
    pub accept_errors_total: u64,
    /// Connections lost to a fault of ours.
    pub panics_total: u64,
    /// Connections refused by a limit.
    pub refused_total: u64,
    /// Client connections that are open now.
    pub connections: u64,
    /// Connections that no source's limit could be held against: too many sources at once.
    pub untracked_sources_total: u64,
}

/// A running data plane. Dropping it ends it at once.
#[derive(Debug)]
pub struct DataPlane {
    snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    observed: watch::Sender<Observed>,
    requests: mpsc::Sender<PlaneRequest>,
    applied: watch::Receiver<Applied>,
    pools: watch::Receiver<PoolMap>,
    providers: watch::Receiver<ProviderMap>,
    certificates: watch::Receiver<CertificateMap>,
    pressure: watch::Receiver<Pressure>,
    counters: Arc<CounterRegistry>,
    shared: Arc<Shared>,
    thread: std::sync::Mutex<Option<JoinHandle<()>>>,
}

/// What the plane's thread is asked.
#[derive(Debug)]
enum PlaneRequest {
    Drain { deadline: Duration, is_handed_over: bool, done: oneshot::Sender<usize> },
    Open { transport: Transport, done: oneshot::Sender<()> },
    Settle,
    Share { done: oneshot::Sender<Vec<OwnedFd>> },
    AdoptSessions { sessions: Vec<MovedSession> },
    GiveSessions { done: oneshot::Sender<Vec<MovedSession>> },
    Quiesce { addresses: Arc<[IpAddr]>, limit: Duration, done: oneshot::Sender<Quieting> },
    Explain { request: Box<ExplainRequest>, done: oneshot::Sender<Option<ExplainReport>> },
    Shutdown { done: oneshot::Sender<()> },
}

/// A worker each: when it is done with quiescing, and how many connections it has left.
type Quieting = Vec<oneshot::Receiver<usize>>;

impl DataPlane {
    /// Starts the workers, which serve nothing until the first [`apply`](Self::apply).
    ///
    /// # Errors
    /// A thread or its runtime can't be had.
    pub fn start(config: DataPlaneConfig, handlers: Handlers) -> io::Result<Self> {
        Self::start_with(config, handlers, Inheritance::default())
    }

    /// The same, with sockets that somebody else has opened.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with(
        config: DataPlaneConfig,
        handlers: Handlers,
        inheritance: Inheritance,
    ) -> io::Result<Self> {
        let worker_count = config.worker_count.max(1);
        let shared = Arc::new(Shared::new(worker_count, config.connection_max_count));
        let handlers = Arc::new(handlers);
        let channels: Vec<_> = (0..worker_count).map(|_| worker::channel()).collect();
        let peers: Vec<_> = channels.iter().map(|(commands, _)| commands.downgrade()).collect();
        let mut workers = Vec::with_capacity(worker_count);
        for (index, channel) in channels.into_iter().enumerate() {
            let options = WorkerOptions {
                index,
                cpu: config.pin_to_cpus.get(index % config.pin_to_cpus.len().max(1)).copied(),
                shared: Arc::clone(&shared),
                handlers: Arc::clone(&handlers),
            };
            workers.push(worker::spawn(options, channel, peers.clone())?);
        }
        let counters = Arc::clone(&config.counters);
        let compiler = Compiler::new(
            worker_count,
            config.persistence_key,
            Arc::clone(&counters),
            config.unseal,
        );
        let control = Control::new(compiler, config.any_address, workers, inheritance);
        let (snapshots, snapshot_receiver) = watch::channel(None);
        let (observed, observed_receiver) = watch::channel(Observed::default());
        let (requests, request_receiver) = mpsc::channel(REQUEST_MAX_COUNT);
        let (applied_sender, applied) = watch::channel(Applied::default());
        let (pressure_sender, pressure) = watch::channel(Pressure::default());
        let (pools_sender, pools) = watch::channel(PoolMap::default());
        let (providers_sender, providers) = watch::channel(ProviderMap::default());
        let (certificates_sender, certificates) = watch::channel(CertificateMap::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let plane = Plane {
            control,
            snapshots: snapshot_receiver,
            observed: observed_receiver,
            requests: request_receiver,
            applied: applied_sender,
            pools: pools_sender,
            providers: providers_sender,
            certificates: certificates_sender,
            shared: Arc::clone(&shared),
            gauge: config.pressure,
            pressure: pressure_sender,
        };
        let thread = std::thread::Builder::new()
            .name("data-plane".to_owned())
            .spawn(move || runtime.block_on(plane.run()))?;
        let thread = std::sync::Mutex::new(Some(thread));
        Ok(Self {
            snapshots,
            observed,
            requests,
            applied,
            pools,
            providers,
            certificates,
            pressure,
            counters,
            shared,
            thread,
        })
    }

    /// Has the data plane carry out `snapshot`. Returns at once; of several in quick succession only
    /// the last is carried out. [`applied`](Self::applied) tells when that is done.
    pub fn apply(&self, snapshot: Arc<Snapshot>) {
        self.snapshots.send_replace(Some(snapshot));
    }

    /// Has the data plane go by what is seen of members. Returns at once, as [`apply`](Self::apply);
    /// [`pools`](Self::pools) tells when that has changed any pool.
    pub fn observe(&self, observed: Observed) {
        self.observed.send_replace(observed);
    }

    /// What has been applied, and when that changes.
    pub fn applied(&self) -> watch::Receiver<Applied> {
        self.applied.clone()
    }

    /// The compiled pools, and when they change: what the health plane probes.
    pub fn pools(&self) -> watch::Receiver<PoolMap> {
        self.pools.clone()
    }

    /// The providers of tokens, and when they change: whose keys are to be fetched.
    pub fn providers(&self) -> watch::Receiver<ProviderMap> {
        self.providers.clone()
    }

    /// The certificates in use, and when they change: to which answers of OCSP are to be stapled.
    pub fn certificates(&self) -> watch::Receiver<CertificateMap> {
        self.certificates.clone()
    }

    /// Tells what would become of a described request; none where its virtual server is not served
    /// here, or the plane ends.
    pub fn explain(
        &self,
        request: ExplainRequest,
    ) -> impl Future<Output = Option<ExplainReport>> + Send + use<> {
        let requests = self.requests.clone();
        async move {
            let (done, told) = oneshot::channel();
            let request = Box::new(request);
            requests.send(PlaneRequest::Explain { request, done }).await.ok()?;
            told.await.ok()?
        }
    }

    /// Every address of every virtual server, and whether it is listened on.
    pub fn listener_statuses(&self) -> Vec<ListenerStatus> {
        self.applied.borrow().listeners.as_ref().clone()
    }

    /// The traffic of every virtual server.
    pub fn virtual_server_statuses(&self) -> Vec<VirtualServerStatus> {
        self.counters.statuses()
    }

    /// Rare events since the start.
    pub fn totals(&self) -> PlaneTotals {
        let events = &self.shared.events;
        PlaneTotals {
            accept_errors_total: events.accept_errors.load(Ordering::Relaxed),
            panics_total: events.panics.load(Ordering::Relaxed),
            refused_total: events.refused.load(Ordering::Relaxed),
            connections: self.shared.open_count.load(Ordering::Relaxed) as u64,
            untracked_sources_total: self.shared.sources.untracked_total(),
        }
    }

    /// How short the node ran when that was last measured.
    pub fn pressure(&self) -> Pressure {
        *self.pressure.borrow()
    }

    /// Stops accepting, ends idle connections at once and others after their current request, and
    /// cuts what is left when `deadline` has passed. Returns how many were cut.
    /// [`shutdown`](Self::shutdown) cuts it short.
    pub async fn drain(&self, deadline: Duration) -> usize {
        self.end_clients(deadline, false).await
    }

    /// As [`drain`](Self::drain), after another process was given the sockets of [`share`](Self::share):
    /// clients that wait in their queues are left to it, and so are datagrams.
    pub async fn leave_to_heir(&self, deadline: Duration) -> usize {
        self.end_clients(deadline, true).await
    }

    async fn end_clients(&self, deadline: Duration, is_handed_over: bool) -> usize {
        let (done, finished) = oneshot::channel();
        let request = PlaneRequest::Drain { deadline, is_handed_over, done };
        if self.requests.send(request).await.is_err() {
            return 0;
        }
        finished.await.unwrap_or(0)
    }

    /// Opens the listeners of streams or of datagrams of a plane that was started with them held; returns
    /// when clients are served.
    pub async fn open(&self, transport: Transport) {
        let (done, opened) = oneshot::channel();
        if self.requests.send(PlaneRequest::Open { transport, done }).await.is_ok() {
            // An error means that the plane has ended.
            let _ = opened.await;
        }
    }

    /// Closes the inherited sockets that the configuration does not want: it is known to be the newest.
    /// Until then they are kept for the one to come.
    pub async fn settle(&self) {
        // An error means that the plane has ended.
        let _ended = self.requests.send(PlaneRequest::Settle).await;
    }

    /// Prepares for these local addresses to go to another node: for `limit`, at most
    /// [`QUIESCE_MAX`], their HTTP connections are closed where they are idle, others after the
    /// answer to the request under way, which says so; new ones are accepted and treated alike. TCP
    /// connections and tunnels are left alone. Returns as soon as none is left, or after `limit`
    /// with how many then are. After `limit` everything is as it was, so that a move that does not
    /// happen costs nothing; dropping the future does not cut that short.
    pub async fn quiesce(&self, addresses: &[IpAddr], limit: Duration) -> usize {
        let addresses = addresses.iter().map(IpAddr::to_canonical).collect();
        let (done, quieting) = oneshot::channel();
        let limit = limit.min(QUIESCE_MAX);
        let request = PlaneRequest::Quiesce { addresses, limit, done };
        if self.requests.send(request).await.is_err() {
            return 0;
        }
        let mut left_count = 0;
        for quiet in quieting.await.unwrap_or_default() {
            // A worker that has ended has no connection either.
            left_count += quiet.await.unwrap_or(0);
        }
        left_count
    }

    /// How long ago each worker last showed that its thread is alive; they do so every
    /// [`BEAT_INTERVAL`](crate::BEAT_INTERVAL), idle or not. After the whole process was stopped for
    /// a while, all ages are large until the workers have run again.
    pub fn liveness(&self) -> Vec<Duration> {
        self.shared.heartbeats.ages().collect()
    }

    /// Which worker has shown no sign of life for longer than `limit`, in a sentence; none where all
    /// are well. Limits below three times [`BEAT_INTERVAL`](crate::BEAT_INTERVAL) mistake a busy
    /// machine for a dead one.
    pub fn stalled(&self, limit: Duration) -> Option<String> {
        let (index, age) = self.shared.heartbeats.ages().enumerate().max_by_key(|(_, age)| *age)?;
        (age > limit).then(|| format!("worker {index} has not run for {} ms", age.as_millis()))
    }

    /// Ends everything at once and waits for the threads.
    pub async fn shutdown(&self) {
        let (done, finished) = oneshot::channel();
        if self.requests.send(PlaneRequest::Shutdown { done }).await.is_ok() {
            // An error means that the thread has ended already.
            let _ = finished.await;
        }
        let thread = self.thread.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the data plane's thread panicked");
        }
    }
}

/// The plane's thread.
struct Plane {
    control: Control,
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    observed: watch::Receiver<Observed>,
    requests: mpsc::Receiver<PlaneRequest>,
    applied: watch::Sender<Applied>,
    pools: watch::Sender<PoolMap>,
    providers: watch::Sender<ProviderMap>,
    certificates: watch::Sender<CertificateMap>,
    shared: Arc<Shared>,
    gauge: PressureGauge,
    pressure: watch::Sender<Pressure>,
}

impl Plane {
    async fn run(mut self) {
        let mut retry = tokio::time::interval(RETRY_INTERVAL);
        retry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut samples = tokio::time::interval(SAMPLE_INTERVAL);
        samples.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Cancel-safe: each branch only waits.
            tokio::select! {
                changed = self.snapshots.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let snapshot = self.snapshots.borrow_and_update().clone();
                    if let Some(snapshot) = snapshot {
                        self.apply(&snapshot).await;
                    }
                }
                // Its end is that of the snapshots.
                Ok(()) = self.observed.changed() => {
                    let observed = self.observed.borrow_and_update().clone();
                    self.control.observe(observed);
                    self.publish_pools();
                }
                request = self.requests.recv() => match request {
                    Some(PlaneRequest::Open { transport, done }) => {
                        self.control.release(transport).await;
                        self.report();
                        // Nobody may be waiting any more, here and below.
                        let _ = done.send(());
                    }
                    Some(PlaneRequest::Settle) => self.control.settle().await,
                    Some(PlaneRequest::Share { done }) => {
                        let _ = done.send(self.control.share().await);
                    }
                    Some(PlaneRequest::AdoptSessions { sessions }) => {
                        self.control.adopt_sessions(sessions);
                    }
                    Some(PlaneRequest::GiveSessions { done }) => {
                        let _ = done.send(self.control.give_sessions().await);
                    }
                    Some(PlaneRequest::Drain { deadline, is_handed_over, done }) => {
                        let drained = self.drain(deadline, is_handed_over, done).await;
                        if let ControlFlow::Break(told) = drained {
                            return self.end(told);
                        }
                    }
                    Some(PlaneRequest::Quiesce { addresses, limit, done }) => {
                        // Nobody may be waiting any more.
                        let _ = done.send(self.control.quiesce(&addresses, limit).await);
                    }
                    Some(PlaneRequest::Explain { request, done }) => {
                        // Nobody may be waiting any more.
                        let _ = done.send(self.control.explain(&request));
                    }
                    Some(PlaneRequest::Shutdown { done }) => return self.end(Some(done)),
                    None => break,
                },
                _ = retry.tick(), if self.control.has_failures() => {
                    self.control.reconcile().await;
                    self.report();
                }
                _ = samples.tick() => self.measure(),
            }
        }
        self.end(None);
    }

    /// Drains, unless the end comes first; breaks with whoever asked for that.
    async fn drain(
        &mut self,
        deadline: Duration,
        is_handed_over: bool,
        done: oneshot::Sender<usize>,
    ) -> ControlFlow<Option<oneshot::Sender<()>>> {
        let mut waiting = vec![done];
        let cut_count = {
            let mut drain = std::pin::pin!(self.control.drain(deadline, is_handed_over));
            loop {
                // Cancel-safe: `drain` is kept, and where it is not, everything ends at once.
                tokio::select! {
                    cut_count = &mut drain => break cut_count,
                    request = self.requests.recv() => match request {
                        Some(PlaneRequest::Drain { done, .. }) => waiting.push(done),
                        // Every connection is asked to end already.
                        Some(PlaneRequest::Quiesce { .. }) => {}
                        // Nothing is served any more.
                        Some(PlaneRequest::Explain { .. }) => {}
                        Some(
                            PlaneRequest::Open { .. }
                            | PlaneRequest::Settle
                            | PlaneRequest::AdoptSessions { .. }
                            | PlaneRequest::GiveSessions { .. }
                            | PlaneRequest::Share { .. },
                        ) => {}
                        Some(PlaneRequest::Shutdown { done }) => {
                            return ControlFlow::Break(Some(done));
                        }
                        None => return ControlFlow::Break(None),
                    },
                }
            }
        };
        for done in waiting {
            // Nobody may be waiting any more.
            let _ = done.send(cut_count);
        }
        self.report();
        ControlFlow::Continue(())
    }

    fn end(mut self, told: Option<oneshot::Sender<()>>) {
        self.control.shutdown();
        if let Some(told) = told {
            // Nobody may be waiting any more.
            let _ = told.send(());
        }
    }

    async fn apply(&mut self, snapshot: &Arc<Snapshot>) {
        self.control.apply(snapshot).await;
        // Before the index is reported, for whoever waits for it looks at the pools next.
        self.providers.send_if_modified(|providers| {
            let present = self.control.providers();
            // A revision that changed is no other slot: who fetches looks into each.
            let has_changed = (**providers != *present)
                | present.values().fold(false, |any, slot| slot.take_changed() | any);
            *providers = present;
            has_changed
        });
        self.certificates.send_if_modified(|certificates| {
            let present = self.control.certificates();
            let is_new = !Arc::ptr_eq(certificates, &present);
            *certificates = present;
            is_new
        });
        self.publish_pools();
        self.report();
    }

    fn publish_pools(&self) {
        self.pools.send_if_modified(|pools| {
            let compiled = self.control.pools();
            let is_new = !Arc::ptr_eq(pools, &compiled);
            *pools = compiled;
            is_new
        });
    }

    /// Measures how short the node runs, for the workers to act on.
    fn measure(&self) {
        let mut pressure = self.gauge.measure();
        pressure.lag_ms = pressure.lag_ms.max(self.shared.heartbeats.lag_ms());
        let percent = pressure.percent();
        let before = self.shared.pressure_percent.swap(percent, Ordering::Relaxed);
        for priority in [Priority::Low, Priority::Normal] {
            let limit = priority.shed_at_percent();
            if before < limit && percent >= limit {
                let priority = priority.as_str();
                tracing::warn!(?pressure, priority, "the node runs short: no new connections");
            }
        }
        self.pressure.send_replace(pressure);
    }

    fn report(&self) {
        let applied = self.control.applied();
        self.applied.send_if_modified(|present| {
            let is_new = *present != applied;
            *present = applied;
            is_new
        });
    }
}

#[cfg(test)]
mod tests;
