//! What carries traffic on a node: the data plane, the prober, and what they count.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use ballast_balance::{Observed, PersistenceKey};
use ballast_dns::Names;
use ballast_ha::Ha;
use ballast_health::{Prober, ProberOptions};
use ballast_l4::{TcpHandlers, UdpHandlers};
use ballast_l7::{BufferingTotals, HttpHandlers, MirrorTotals, RateLimits};
use ballast_model::event::EventBody;
use ballast_model::explain::{ExplainReport, ExplainRequest};
use ballast_model::status::{
    CertificateStatus, DnsStatus, Health, JwtProviderStatus, ListenerStatus, MemberStatus,
    PersistenceTableStatus, PlaneStatus, VirtualServerStatus,
};
use ballast_model::{Sealed, Snapshot, Transport};
use ballast_raft_store::{ClusterKey, Store};
use ballast_share::Share;
use ballast_telemetry::otlp::{SpanBatch, SpanSink, SpanTotals};
use ballast_telemetry::{AccessLog, CounterRegistry, Tail};
use ballast_workers::tls::certificate::now_s;
use ballast_workers::{
    AnyAddress, CertificateMap, DataPlane, DataPlaneConfig, Handlers, Inheritance, MovedSession,
    PressureGauge, ProviderMap, Unseal,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Handle;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::config::NodeConfig;
use crate::share;

mod metrics;

/// Most client connections at once on a node, all virtual servers together, where the limit on file
/// descriptors allows it: each may need two, and 256 are kept for everything else.
const CONNECTION_MAX_COUNT: u64 = 1_000_000;
/// How long a worker may show no sign of life before the node gives its floating addresses up.
const STALL_LIMIT: Duration = Duration::from_millis(500);
/// Shortest time between two compilations for what is seen of members.
const OBSERVE_INTERVAL: Duration = Duration::from_millis(100);
const DESCRIPTOR_RESERVE_COUNT: u64 = 256;
/// Longest wait for what the process before knew of members, and how often it is looked.
const ADOPTION_LIMIT: Duration = Duration::from_secs(2);
const ADOPTION_LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// Pause before the cluster is asked again how new its configuration is.
const SETTLE_INTERVAL: Duration = Duration::from_millis(500);

/// What became of spans, and where they come from until somebody takes that.
type Spans = (Arc<SpanTotals>, Mutex<Option<mpsc::Receiver<SpanBatch>>>);

/// What carries traffic on a node.
pub(crate) struct Traffic {
    plane: DataPlane,
    prober: Prober,
    names: Names,
    counters: Arc<CounterRegistry>,
    access_log: AccessLog,
    rate_limits: Arc<RateLimits>,
    mirrors: Arc<MirrorTotals>,
    buffering: Arc<BufferingTotals>,
    tail: Tail,
    spans: Option<Spans>,
    share: Share,
}

impl Traffic {
    /// Starts threads; nothing is served before [`follow`] brings a configuration.
    /// `seed` is the node's number; by it nodes don't probe in step.
    /// Listening sockets that were inherited are gone on with.
    pub(crate) fn start(
        config: &NodeConfig,
        keys: &ClusterKey,
        seed: u64,
        inheritance: Inheritance,
    ) -> Result<Self> {
        let access_log =
            AccessLog::start_with(config.access_log.clone()).context("log.access_log")?;
        // The process before rotates it until it has handed over.
        access_log.follow(inheritance.is_held);
        let counters = Arc::new(CounterRegistry::new(config.workers));
        let rate_limits = Arc::new(RateLimits::new(&rate_limit_key(keys)));
        let tail = Tail::default();
        let http = HttpHandlers::new(access_log.clone())
            .with_buffering(config.buffering_max_bytes)
            .with_rate_limits(Arc::clone(&rate_limits))
            .with_tail(tail.clone());
        let (http, spans) = match config.otlp {
            Some(_) => {
                let (sink, queue, totals) = SpanSink::new();
                (http.with_spans(sink), Some((totals, Mutex::new(Some(queue)))))
            }
            None => (http, None),
        };
        let (mirrors, buffering) = (http.mirror_totals(), http.buffering_totals());
        let handlers = Handlers {
            http: Arc::new(http),
            tcp: Arc::new(TcpHandlers::new(access_log.clone()).with_tail(tail.clone())),
            udp: Arc::new(UdpHandlers::new(access_log.clone()).with_tail(tail.clone())),
        };
        let plane = DataPlane::start_with(
            DataPlaneConfig {
                worker_count: config.workers,
                pin_to_cpus: if config.pin_workers { usable_cpus() } else { Vec::new() },
                any_address: any_address(config),
                connection_max_count: connection_max_count(),
                persistence_key: PersistenceKey::new(&keys.derive("persistence")).of_node(seed),
                counters: Arc::clone(&counters),
                unseal: unseal(keys.clone()),
                pressure: PressureGauge::system(),
            },
            handlers,
            inheritance,
        )
        .context("the data plane's threads can't be started")?;
        let share = share::start(plane.pools(), Arc::clone(&rate_limits));
        let prober = Prober::start(ProberOptions::new(seed), &Handle::current());
        let names = Names::start(&Handle::current());
        Ok(Self {
            plane,
            prober,
            names,
            counters,
            access_log,
            rate_limits,
            mirrors,
            buffering,
            tail,
            spans,
            share,
        })
    }

    /// What each plane carries out.
    pub(crate) fn planes(&self) -> Vec<PlaneStatus> {
        let proxy = self.plane.applied();
        let proxy = proxy.borrow();
        let error = (!proxy.errors.is_empty()).then(|| proxy.errors.join("; "));
        vec![
            PlaneStatus { plane: "proxy".to_owned(), applied_index: proxy.index, error },
            self.prober.plane_status(),
        ]
    }

    pub(crate) fn listeners(&self) -> Vec<ListenerStatus> {
        self.plane.listener_statuses()
    }

    pub(crate) fn members(&self) -> Vec<MemberStatus> {
        self.prober.statuses()
    }

    pub(crate) fn virtual_servers(&self) -> Vec<VirtualServerStatus> {
        self.plane.virtual_server_statuses()
    }

    /// Members' host names as they are resolved here.
    pub(crate) fn dns(&self) -> Vec<DnsStatus> {
        self.names.statuses()
    }

    /// The keys of JWT providers as they are had here.
    pub(crate) fn jwt_providers(&self) -> Vec<JwtProviderStatus> {
        let providers = self.plane.providers();
        let providers = providers.borrow();
        let told = providers.values().map(|provider| {
            let facts = provider.facts();
            JwtProviderStatus {
                name: provider.name.clone(),
                key_count: facts.key_count,
                skipped_count: facts.skipped_count,
                fetched_at_ms: facts.fetched_at_ms,
                error: facts.error,
                unknown_key_count: facts.unknown_key_count,
            }
        });
        told.collect()
    }

    /// The certificates in use, and when they change.
    pub(crate) fn certificates(&self) -> watch::Receiver<CertificateMap> {
        self.plane.certificates()
    }

    /// The certificates in use, by name.
    pub(crate) fn certificate_statuses(&self) -> Vec<CertificateStatus> {
        let certificates = self.plane.certificates();
        let (certificates, now_s) = (Arc::clone(&certificates.borrow()), now_s());
        let statuses = certificates.values().map(|certificate| certificate.status(now_s));
        let mut statuses: Vec<_> = statuses.collect();
        statuses.sort_by(|one, other| one.name.cmp(&other.name));
        statuses
    }

    /// What is shared with the other traffic nodes.
    pub(crate) fn sharing(&self) -> &Share {
        &self.share
    }

    pub(crate) fn persistence_tables(&self) -> Vec<PersistenceTableStatus> {
        share::tables(&self.plane.pools().borrow())
    }

    /// Tells what would become of a described request.
    pub(crate) fn explain(
        &self,
        request: ExplainRequest,
    ) -> impl Future<Output = Option<ExplainReport>> + Send + use<> {
        self.plane.explain(request)
    }

    /// The JWT providers, and when they change.
    pub(crate) fn providers(&self) -> watch::Receiver<ProviderMap> {
        self.plane.providers()
    }

    pub(crate) fn events(&self) -> broadcast::Receiver<EventBody> {
        self.prober.events()
    }

    /// Waits until both planes have taken up the configuration of `index`; returns what they could
    /// not carry out, in sentences.
    pub(crate) async fn wait_applied(&self, index: u64) -> Vec<String> {
        let mut proxy = self.plane.applied();
        let mut health = self.prober.applied();
        // An error means that the plane has ended: then nobody waits for it any more.
        let _ended = proxy.wait_for(|applied| applied.index >= index).await.map(drop);
        let _ended = health.wait_for(|applied| *applied >= index).await.map(drop);
        self.planes().into_iter().filter_map(|plane| plane.error).collect()
    }

    /// Whether floating addresses may come: the listeners are bound and members' health is known.
    ///
    /// # Errors
    /// What is being waited for, in a sentence.
    pub(crate) fn ready_for_addresses(&self) -> Result<(), String> {
        if self.plane.applied().borrow().index == 0 {
            return Err("the configuration is not carried out yet".to_owned());
        }
        if !*self.names.first_round_done().borrow() {
            return Err("the host names of members are being resolved".to_owned());
        }
        if *self.prober.applied().borrow() == 0 || !*self.prober.first_round_done().borrow() {
            return Err("the first round of probes is under way".to_owned());
        }
        Ok(())
    }

    /// The index of the configuration whose members are probed.
    pub(crate) fn health_index(&self) -> u64 {
        *self.prober.applied().borrow()
    }

    /// Whether there are members of which it is not known whether they are up.
    pub(crate) fn has_unknown_members(&self) -> bool {
        self.prober.statuses().iter().any(|member| member.health == Health::Checking)
    }

    /// Takes over what another node found of members, where nothing is known here yet.
    pub(crate) fn adopt(&self, node: &str, members: &[MemberStatus]) {
        self.prober.adopt(node, members);
    }

    /// Takes over what the process before this one knew of members, and waits until that counts.
    pub(crate) async fn adopt_from_predecessor(&self, node: &str, known: &[MemberStatus]) {
        let known: Vec<_> =
            known.iter().filter(|member| member.health != Health::Checking).cloned().collect();
        if known.is_empty() {
            return;
        }
        self.prober.adopt(node, &known);
        let named: BTreeSet<_> =
            known.iter().map(|member| (member.pool.as_str(), member.member.as_str())).collect();
        let adopted = async {
            let mut looks = tokio::time::interval(ADOPTION_LOOK_INTERVAL);
            loop {
                looks.tick().await;
                let present = self.prober.statuses();
                let mut waiting = present.iter().filter(|it| it.health == Health::Checking);
                if !waiting.any(|it| named.contains(&(it.pool.as_str(), it.member.as_str()))) {
                    return;
                }
            }
        };
        if tokio::time::timeout(ADOPTION_LIMIT, adopted).await.is_err() {
            tracing::warn!("what the process before knew of members was not taken over in time");
        }
    }

    /// Accepts clients, where that was held.
    pub(crate) async fn open(&self, transport: Transport) {
        self.plane.open(transport).await;
    }

    /// Takes in sessions of datagrams of the process before, ahead of their listeners.
    pub(crate) async fn adopt_sessions(&self, sessions: Vec<MovedSession>) {
        self.plane.adopt_sessions(sessions).await;
    }

    /// Leaves datagrams and their sessions to the process that was given the sockets.
    pub(crate) async fn give_sessions(&self) -> Vec<MovedSession> {
        self.plane.give_sessions().await
    }

    /// Whether another process rotates the access log, which both write.
    pub(crate) fn follow_access_log(&self, is_following: bool) {
        self.access_log.follow(is_following);
    }

    /// A second descriptor of every listening socket, for another process.
    pub(crate) async fn share(&self) -> Vec<OwnedFd> {
        self.plane.share().await
    }

    /// Leaves new clients to the process that was given the sockets, and lets those that are here end;
    /// returns how many were cut at the deadline.
    pub(crate) async fn leave_to_heir(&self, deadline: Duration) -> usize {
        self.plane.leave_to_heir(deadline).await
    }

    /// Whether every worker runs.
    ///
    /// # Errors
    /// Which does not, in a sentence.
    pub(crate) fn alive(&self) -> Result<(), String> {
        self.plane.stalled(STALL_LIMIT).map_or(Ok(()), Err)
    }

    /// Share of a pool's members that are up.
    pub(crate) fn pool_up_percent(&self, pool: &str) -> Option<u8> {
        self.prober.pool_up_percent(pool)
    }

    /// Lets idle clients of these addresses go.
    pub(crate) async fn quiesce(&self, addresses: &[IpAddr], limit: Duration) {
        let left = self.plane.quiesce(addresses, limit).await;
        tracing::debug!(left, "clients of floating addresses were let go");
    }

    /// Spans that were recorded and what becomes of them, where they are to be sent; once.
    pub(crate) fn take_spans(&self) -> Option<(mpsc::Receiver<SpanBatch>, Arc<SpanTotals>)> {
        let (totals, queue) = self.spans.as_ref()?;
        let queue = queue.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some((queue, Arc::clone(totals)))
    }

    /// What is served, as it is served.
    pub(crate) fn tail(&self) -> &Tail {
        &self.tail
    }

    pub(crate) fn reopen_access_log(&self) {
        self.access_log.reopen();
    }

    /// Lets clients go; returns how many were cut at the deadline.
    pub(crate) async fn drain(&self, deadline: Duration) -> usize {
        self.plane.drain(deadline).await
    }

    /// Ends the threads.
    pub(crate) async fn shutdown(&self) {
        self.names.shutdown().await;
        self.prober.shutdown().await;
        self.plane.shutdown().await;
        self.access_log.shutdown();
    }
}

/// Has the data plane go by what is seen of members, until `stop`.
pub(crate) async fn observe(traffic: Arc<Traffic>, stop: CancellationToken) {
    let mut advice = traffic.prober.advice();
    let mut resolved = traffic.names.resolved();
    let mut rounds = tokio::time::interval(OBSERVE_INTERVAL);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Cancel-safe: all branches only wait.
        tokio::select! {
            () = stop.cancelled() => return,
            changed = advice.changed() => if changed.is_err() { return },
            changed = resolved.changed() => if changed.is_err() { return },
        }
        let observed = Observed {
            advice: Arc::clone(&advice.borrow_and_update()),
            resolved: Arc::clone(&resolved.borrow_and_update()),
        };
        traffic.plane.observe(observed);
        rounds.tick().await;
    }
}

/// Closes inherited sockets that nobody wants, once this node has caught up with the cluster's
/// configuration and carries it out.
pub(crate) async fn settle(traffic: Arc<Traffic>, store: Store, stop: CancellationToken) {
    let settled = async {
        while store.read_barrier().await.is_err() {
            tokio::time::sleep(SETTLE_INTERVAL).await;
        }
        let index = store.snapshot().index;
        let mut applied = traffic.plane.applied();
        // An error means that the plane has ended.
        let _ended = applied.wait_for(|applied| applied.index >= index).await.map(drop);
        traffic.plane.settle().await;
    };
    stop.run_until_cancelled(settled).await;
}

/// Has the planes carry out each snapshot, until `stop`.
pub(crate) async fn follow(
    traffic: Arc<Traffic>,
    ha: Ha,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    stop: CancellationToken,
) {
    let mut applied = traffic.plane.applied();
    let mut pools = traffic.plane.pools();
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        // Before the first command there is nothing to carry out.
        if snapshot.index > 0 {
            traffic.plane.apply(Arc::clone(&snapshot));
            // Cancel-safe: both branches only wait.
            tokio::select! {
                () = stop.cancelled() => return,
                // An error means that the plane has ended, which `stop` will tell of.
                _ = applied.wait_for(|applied| applied.index >= snapshot.index) => {}
            }
            let compiled = Arc::clone(&pools.borrow_and_update());
            traffic.names.apply(Arc::clone(&compiled));
            traffic.prober.apply(snapshot.index, &snapshot.state.config, compiled);
            // After the listeners: an address that arrives finds them bound. Not while another process
            // owns the addresses.
            tokio::select! {
                () = stop.cancelled() => return,
                () = ha.live() => {}
            }
            ha.apply(Arc::clone(&snapshot));
        }
        loop {
            // Cancel-safe: all branches only wait.
            tokio::select! {
                () = stop.cancelled() => return,
                changed = snapshots.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    break;
                }
                // The configuration is the same, but something else is seen of members.
                changed = pools.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let compiled = Arc::clone(&pools.borrow_and_update());
                    traffic.prober.apply(snapshot.index, &snapshot.state.config, compiled);
                }
            }
        }
    }
}

fn any_address(config: &NodeConfig) -> AnyAddress {
    let default = AnyAddress::default();
    AnyAddress {
        ipv4: config.any_ipv4.unwrap_or(default.ipv4),
        ipv6: config.any_ipv6.unwrap_or(default.ipv6),
    }
}

fn unseal(keys: ClusterKey) -> Unseal {
    Arc::new(move |sealed: &Sealed| keys.open(sealed).map_err(|error| error.to_string()))
}

/// The CPUs that this process may use.
fn usable_cpus() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return Vec::new() };
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()
}

fn connection_max_count() -> usize {
    let descriptors = raise_descriptor_limit().unwrap_or(u64::MAX);
    let connections = descriptors.saturating_sub(DESCRIPTOR_RESERVE_COUNT) / 2;
    usize::try_from(connections.clamp(64, CONNECTION_MAX_COUNT)).unwrap_or(usize::MAX)
}

/// Raises the limit on file descriptors as far as we may; what it is then. It is low by default for
/// the sake of programs that use `select(2)`.
fn raise_descriptor_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(error) => {
            tracing::warn!(%error, "the limit on file descriptors can't be raised");
            limit.current
        }
    }
}

/// The key of rate limits' keys: the same on every node.
fn rate_limit_key(keys: &ClusterKey) -> [u8; 16] {
    let derived = keys.derive("rate-limits");
    std::array::from_fn(|at| derived[at])
}
