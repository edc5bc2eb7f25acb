//! Starts what a node is made of, in order, and stops it in the opposite one.
//!
//! ```text
//! store ─ snapshots ─► follow task ─► data plane ─ pools ─► prober     (witness: store and API only)
//!   │                      └────────► high availability: VRRP, addresses
//!   └────────────────► API ◄─ view: what this node says of itself
//! ```
//!
//! Invariant: clients are let go before what serves them ends: first the floating addresses go to
//! another node, then the data plane drains, then the API ends, then the store. Addresses come after
//! the listeners that serve them. After an upgrade nothing goes: another process has it (`upgrade`).

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use ballast_model::NodeRole;
use ballast_raft_store::{Identity, Store, StoreFailure};
use ballast_telemetry::otlp;
use ballast_upgrade::{CommandLine, Successor, manager};
use ballast_workers::{Inheritance, Inherited};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api_tls;
use crate::config::NodeConfig;
use crate::control_plane::{ControlPlane, Shared};
use crate::ha;
use crate::otlp::Collector;
use crate::signals::{Signals, Stop, Told};
use crate::traffic::Traffic;
use crate::upgrade::{Heir, Upgraded, death_of};
use crate::view::View;

/// Threads of the control runtime: Raft, API and probes. Traffic has threads of its own.
const CONTROL_THREAD_COUNT: usize = 2;
/// Longest wait at the end for work that blocks.
const RUNTIME_SHUTDOWN_LIMIT: Duration = Duration::from_secs(2);

/// How long idle clients of floating addresses are given before those go to another node.
const RELEASE_LIMIT: Duration = Duration::from_secs(1);

/// What a node is started with.
pub(crate) struct NodeOptions {
    pub(crate) config: NodeConfig,
    pub(crate) identity: Identity,
    pub(crate) listeners: Listeners,
    pub(crate) origin: Origin,
}

/// Where the node listens for others than the clients of virtual servers.
pub(crate) struct Listeners {
    /// For the other nodes.
    pub(crate) cluster: TcpListener,
    /// For people and programs.
    pub(crate) api: Vec<TcpListener>,
}

/// What was before this process.
pub(crate) enum Origin {
    /// Nothing, and nothing comes after it.
    Alone,
    /// Nothing; perhaps the service manager opened sockets.
    Fresh { line: CommandLine, sockets: Inherited },
    /// Another process, which this one succeeds.
    Heir { line: CommandLine, heir: Box<Heir>, sockets: Inherited },
}

/// How a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Told,
    HandedOver,
}

/// Makes the runtime of everything but traffic.
pub(crate) fn control_runtime() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREAD_COUNT)
        .thread_name("control")
        .enable_all()
        .build()?;
    Ok(runtime)
}

/// Runs a node until it is told to stop; calls `on_ready` once it serves.
pub(crate) fn block_on_node(
    runtime: tokio::runtime::Runtime,
    options: NodeOptions,
    on_ready: impl FnOnce(),
) -> Result<()> {
    let ended = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let mut node = Node::start(options).await?;
        manager::ready("serving");
        on_ready();
        let ended = node.until_stopped(&mut signals).await;
        if matches!(ended, Ok(End::HandedOver)) {
            return node.leave(&mut signals).await;
        }
        node.stop(&mut signals).await;
        ended.map(drop)
    });
    runtime.shutdown_timeout(RUNTIME_SHUTDOWN_LIMIT);
    ended
}

/// A running node.
pub(crate) struct Node {
    pub(crate) shared: Arc<Shared>,
    /// None while another process is to have the store.
    pub(crate) control: Option<ControlPlane>,
    /// How this process was started; none where it has no successor.
    pub(crate) line: Option<CommandLine>,
    /// The channel to the process that this one has taken over from.
    pub(crate) heir: Option<Box<Heir>>,
    /// The process that has taken over from this one.
    pub(crate) successor: Option<Successor>,
    /// Sends spans to a collector, for as long as there is traffic.
    otlp: Option<JoinHandle<()>>,
    otlp_stop: CancellationToken,
}

impl Node {
    async fn start(options: NodeOptions) -> Result<Self> {
        let NodeOptions { config, identity, listeners, origin } = options;
        let (line, heir, sockets) = match origin {
            Origin::Alone => (None, None, Inherited::default()),
            Origin::Fresh { line, sockets } => (Some(line), None, sockets),
            Origin::Heir { line, heir, sockets } => (Some(line), Some(heir), sockets),
        };
        let traffic = match config.role {
            NodeRole::Traffic => {
                let inheritance = Inheritance { sockets, is_held: heir.is_some() };
                let (keys, seed) = (identity.keys(), identity.node_id());
                Some(Arc::new(Traffic::start(&config, keys, seed, inheritance)?))
            }
            NodeRole::Witness => None,
        };
        let ha = match &traffic {
            Some(traffic) => {
                Some(ha::start(&config, &identity, Arc::clone(traffic), heir.is_some())?)
            }
            None => None,
        };
        let view = Arc::new(View::new(&identity, traffic.clone(), ha.clone()));
        let tls = api_tls::server_config(&config, &identity)?;
        let shared = Arc::new(Shared { config, view, traffic, ha, tls, listeners });
        let go = match &heir {
            Some(heir) => Some(heir.wait_for_store().await?),
            None => None,
        };
        let control = ControlPlane::start(Arc::clone(&shared), identity).await?;
        let otlp_stop = CancellationToken::new();
        let otlp = start_otlp(&shared, control.store(), &otlp_stop)?;
        let (control, successor) = (Some(control), None);
        let node = Self { shared, control, line, heir, successor, otlp, otlp_stop };
        if let (Some(heir), Some(go)) = (&node.heir, go) {
            heir.take_over(&node, go).await?;
        }
        let config = &node.shared.config;
        tracing::info!(node = config.name, role = config.role.as_str(), "serving");
        Ok(node)
    }

    /// A second descriptor of every listening socket.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub(crate) async fn share(&self) -> std::io::Result<Vec<OwnedFd>> {
        let Listeners { cluster, api } = &self.shared.listeners;
        let mut sockets = vec![cluster.try_clone()?.into()];
        for listener in api {
            sockets.push(listener.try_clone()?.into());
        }
        if let Some(traffic) = &self.shared.traffic {
            sockets.extend(traffic.share().await);
        }
        Ok(sockets)
    }

    /// Waits for a reason to stop. An error is one that the node has itself. A disk that fails is
    /// none while there is traffic.
    async fn until_stopped(&mut self, signals: &mut Signals) -> Result<End> {
        loop {
            // Cancel-safe: both branches only wait.
            let told = tokio::select! {
                told = signals.next() => told,
                failure = self.store_failed() => return self.outlast(&failure, signals).await,
            };
            match told {
                Told::ReopenLogs => self.reopen_logs(),
                Told::Upgrade => match self.upgrade(signals).await {
                    Upgraded::Done => return Ok(End::HandedOver),
                    Upgraded::Failed => {}
                    Upgraded::Told(stop) => {
                        tracing::info!(reason = stop.as_str(), "stopping");
                        return Ok(End::Told);
                    }
                },
                Told::Stop(stop) => {
                    tracing::info!(reason = stop.as_str(), "stopping");
                    return Ok(End::Told);
                }
            }
        }
    }

    async fn store_failed(&self) -> StoreFailure {
        match &self.control {
            Some(control) => control.failed().await,
            // It was lost in an upgrade that failed.
            None => StoreFailure::Broken("it could not be opened again".to_owned()),
        }
    }

    /// Goes on without a store while there is traffic.
    async fn outlast(&self, failure: &StoreFailure, signals: &mut Signals) -> Result<End> {
        if let (StoreFailure::Broken(why), Some(ha)) = (failure, &self.shared.ha) {
            tracing::error!(
                why,
                "the configuration can't be stored any more: traffic goes on with the one that there is, \
                 and no change comes through; see to the disk, then restart ballastd"
            );
            ha.store_failed(why);
            let stop = self.until_told(signals).await;
            tracing::info!(reason = stop.as_str(), "stopping");
        }
        bail!("the store has stopped: {failure}")
    }

    async fn until_told(&self, signals: &mut Signals) -> Stop {
        loop {
            match signals.next().await {
                Told::Stop(stop) => return stop,
                Told::ReopenLogs => self.reopen_logs(),
                Told::Upgrade => tracing::warn!("no upgrade now: this process is ending or broken"),
            }
        }
    }

    pub(crate) fn reopen_logs(&self) {
        if let Some(traffic) = &self.shared.traffic {
            traffic.reopen_access_log();
        }
    }

    /// Ends after another process has taken over; its clients may stay for a while. A signal cuts that
    /// short, and so does the death of that process: nobody serves then, and who starts ballastd again
    /// waits for this one.
    async fn leave(mut self, signals: &mut Signals) -> Result<()> {
        let mut successor = self.successor.take();
        let mut died = None;
        // The thread has departed: what is left of it must not speak for the node.
        if let Some(ha) = &self.shared.ha {
            ha.shutdown().await;
        }
        if let Some(traffic) = &self.shared.traffic {
            traffic.follow_access_log(true);
            let drain = traffic.leave_to_heir(self.shared.config.upgrade_drain_timeout);
            // Cancel-safe: what is not drained when a signal comes is cut below.
            tokio::select! {
                cut = drain => tracing::info!(cut, "the last client of the old process has ended"),
                _ = self.until_told(signals) => tracing::warn!("told to stop: not waiting for clients"),
                status = death_of(successor.as_mut()) => {
                    tracing::error!(%status, "the new process has died: not waiting for clients");
                    manager::is_main();
                    died = Some(status);
                }
            }
        }
        self.end_planes().await;
        tracing::info!("the old process ends");
        match died {
            None => Ok(()),
            Some(status) => bail!("the process that had taken over has ended with {status}"),
        }
    }

    /// Stops in order; a second signal cuts the draining short.
    async fn stop(mut self, signals: &mut Signals) {
        manager::stopping();
        if let Some(control) = &self.control {
            control.stop_following();
        }
        if let Some(ha) = &self.shared.ha {
            ha.release_all(RELEASE_LIMIT.min(self.shared.config.drain_timeout)).await;
        }
        if let Some(traffic) = &self.shared.traffic {
            let drain = traffic.drain(self.shared.config.drain_timeout);
            // Cancel-safe: what is not drained when the second signal comes is cut below.
            tokio::select! {
                cut = drain => tracing::info!(cut, "drained"),
                _ = self.until_told(signals) => tracing::warn!("told again: not waiting for clients"),
            }
        }
        // The store ends last of all: other nodes hear of the addresses until they are gone.
        let store = match self.control.take() {
            Some(control) => Some(control.stop_all_but_store().await),
            None => None,
        };
        self.end_planes().await;
        if let Some(store) = store {
            store.shutdown().await;
        }
        tracing::info!("stopped");
    }

    async fn end_planes(&mut self) {
        self.otlp_stop.cancel();
        if let Some(otlp) = self.otlp.take()
            && otlp.await.is_err()
        {
            tracing::error!("the exporter of spans failed: it panicked");
        }
        if let Some(ha) = &self.shared.ha {
            ha.shutdown().await;
        }
        if let Some(traffic) = &self.shared.traffic {
            traffic.shutdown().await;
        }
    }
}

/// Has spans of requests sent where the node's file says.
fn start_otlp(
    shared: &Shared,
    store: &Store,
    stop: &CancellationToken,
) -> Result<Option<JoinHandle<()>>> {
    let spans = shared.traffic.as_deref().and_then(Traffic::take_spans);
    let Some((settings, (queue, totals))) = shared.config.otlp.as_ref().zip(spans) else {
        return Ok(None);
    };
    let origin = otlp::Origin {
        node: shared.config.name.clone(),
        cluster: store.snapshot().state.cluster.name.clone(),
        version: env!("CARGO_PKG_VERSION"),
    };
    let collector = Collector::new(settings, origin)?;
    Ok(Some(tokio::spawn(collector.follow(queue, totals, stop.clone()))))
}
