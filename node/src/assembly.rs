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
//! the listeners that serve them.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ballast_api::{Api, ServeError};
use ballast_ha::Ha;
use ballast_model::NodeRole;
use ballast_raft_store::{Identity, Listen, SnapshotPolicy, Store, StoreConfig, StoreFailure};
use ballast_telemetry::otlp::Origin;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::adopt;
use crate::api_tls;
use crate::check_network::known;
use crate::config::NodeConfig;
use crate::ha;
use crate::jwks;
use crate::ocsp;
use crate::otlp::Collector;
use crate::signals::{Signals, Stop};
use crate::tickets;
use crate::traffic::{self, Traffic};
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
    pub(crate) cluster_listen: Listen,
    pub(crate) api_listeners: Vec<TcpListener>,
}

/// Runs a node until it is told to stop; calls `on_ready` once it serves.
pub(crate) fn block_on_node(options: NodeOptions, on_ready: impl FnOnce()) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREAD_COUNT)
        .thread_name("control")
        .enable_all()
        .build()?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let node = Node::start(options).await?;
        on_ready();
        let ended = node.until_stopped(&mut signals).await;
        node.stop(&mut signals).await;
        ended
    });
    runtime.shutdown_timeout(RUNTIME_SHUTDOWN_LIMIT);
    ended
}

/// A running node.
struct Node {
    config: NodeConfig,
    store: Store,
    /// None on a witness.
    traffic: Option<Arc<Traffic>>,
    /// None on a witness.
    ha: Option<Ha>,
    follow: Option<JoinHandle<()>>,
    adoption: Option<JoinHandle<()>>,
    /// Takes what is seen of members to the data plane.
    observe: Option<JoinHandle<()>>,
    /// Fetches the keys of JWT providers.
    jwks: Option<JoinHandle<()>>,
    /// Sends spans to a collector.
    otlp: Option<JoinHandle<()>>,
    /// Fetches answers of OCSP.
    ocsp: Option<JoinHandle<()>>,
    events: JoinHandle<()>,
    tickets: JoinHandle<()>,
    /// Writes down what is known of the network.
    known: JoinHandle<()>,
    api: Api,
    server: JoinHandle<Result<(), ServeError>>,
    /// Ends the API.
    api_stop: CancellationToken,
    /// Ends the follow task.
    follow_stop: CancellationToken,
}

impl Node {
    async fn start(options: NodeOptions) -> Result<Self> {
        let NodeOptions { config, identity, cluster_listen, api_listeners } = options;
        let traffic = match config.role {
            NodeRole::Traffic => {
                Some(Arc::new(Traffic::start(&config, identity.keys(), identity.node_id())?))
            }
            NodeRole::Witness => None,
        };
        let ha = match &traffic {
            Some(traffic) => Some(ha::start(&config, &identity, Arc::clone(traffic))?),
            None => None,
        };
        let view = Arc::new(View::new(&identity, traffic.clone(), ha.clone()));
        let tls = api_tls::server_config(&config, &identity)?;
        let store_config = StoreConfig {
            identity,
            state_dir: config.state_dir.clone(),
            listen: cluster_listen,
            snapshots: SnapshotPolicy::default(),
        };
        let mut peer_routes = ballast_api::peer_router(Arc::<View>::clone(&view));
        if let Some(ha) = &ha {
            peer_routes = peer_routes.merge(ha.peer_router());
        }
        let store = Store::open(store_config, peer_routes).await?;
        view.attach(store.clone());
        if let Some(ha) = &ha {
            ha.attach(store.clone());
        }

        let follow_stop = CancellationToken::new();
        let follow = traffic.clone().zip(ha.clone()).map(|(traffic, ha)| {
            tokio::spawn(traffic::follow(traffic, ha, store.watch(), follow_stop.clone()))
        });
        let adoption = traffic.clone().map(|traffic| {
            tokio::spawn(adopt::from_peers(store.clone(), traffic, follow_stop.clone()))
        });
        let observe = traffic
            .clone()
            .map(|traffic| tokio::spawn(traffic::observe(traffic, follow_stop.clone())));
        let jwks = traffic
            .as_ref()
            .map(|traffic| tokio::spawn(jwks::follow(traffic.providers(), follow_stop.clone())));
        let ocsp = traffic
            .as_ref()
            .map(|traffic| tokio::spawn(ocsp::follow(traffic.certificates(), follow_stop.clone())));
        let api_stop = CancellationToken::new();
        let otlp = start_otlp(&config, traffic.as_deref(), &store, &api_stop)?;
        let events = tokio::spawn(Arc::clone(&view).gather_events(api_stop.clone()));
        let tickets = tokio::spawn(tickets::rotate(store.clone(), api_stop.clone()));
        let known = known::keep(config.state_dir.clone(), store.watch(), api_stop.clone());
        let known = tokio::spawn(known);
        let api = Api::start(store.clone(), view, api_stop.clone());
        let served = ballast_api::serve(api_listeners, tls, api.router(), api_stop.clone());
        let server = tokio::spawn(served);
        tracing::info!(node = config.name, role = config.role.as_str(), "serving");
        Ok(Self {
            config,
            store,
            traffic,
            ha,
            follow,
            adoption,
            observe,
            jwks,
            otlp,
            ocsp,
            events,
            tickets,
            known,
            api,
            server,
            api_stop,
            follow_stop,
        })
    }

    /// Waits for a reason to stop. An error is one that the node has itself. A disk that fails is
    /// none while there is traffic.
    async fn until_stopped(&self, signals: &mut Signals) -> Result<()> {
        // Cancel-safe: both branches only wait.
        tokio::select! {
            stop = self.until_told(signals) => {
                tracing::info!(reason = stop.as_str(), "stopping");
                Ok(())
            }
            failure = self.store.failed() => {
                if let (StoreFailure::Broken(why), Some(ha)) = (&failure, &self.ha) {
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
        }
    }

    async fn until_told(&self, signals: &mut Signals) -> Stop {
        loop {
            if let Some(stop) = signals.next().await {
                return stop;
            }
            // SIGHUP: log files were rotated.
            if let Some(traffic) = &self.traffic {
                traffic.reopen_access_log();
            }
        }
    }

    /// Stops in order; a second signal cuts the draining short.
    async fn stop(self, signals: &mut Signals) {
        self.follow_stop.cancel();
        if let Some(ha) = &self.ha {
            ha.release_all(RELEASE_LIMIT.min(self.config.drain_timeout)).await;
        }
        if let Some(traffic) = &self.traffic {
            let drain = traffic.drain(self.config.drain_timeout);
            // Cancel-safe: what is not drained when the second signal comes is cut below.
            tokio::select! {
                cut = drain => tracing::info!(cut, "drained"),
                _ = self.until_told(signals) => tracing::warn!("told again: not waiting for clients"),
            }
        }
        self.api_stop.cancel();
        log_failure(
            "the API",
            self.server.await.context("its task failed").and_then(|end| Ok(end?)),
        );
        self.api.stop().await;
        log_failure("the task of ticket keys", self.tickets.await.context("it panicked"));
        log_failure("the task of the known network", self.known.await.context("it panicked"));
        log_failure("the event task", self.events.await.context("it panicked"));
        if let Some(follow) = self.follow {
            log_failure("the follow task", follow.await.context("it panicked"));
        }
        if let Some(observe) = self.observe {
            log_failure(
                "the task of what is seen of members",
                observe.await.context("it panicked"),
            );
        }
        if let Some(jwks) = self.jwks {
            log_failure("the task of JWT providers' keys", jwks.await.context("it panicked"));
        }
        if let Some(otlp) = self.otlp {
            log_failure("the exporter of spans", otlp.await.context("it panicked"));
        }
        if let Some(ocsp) = self.ocsp {
            log_failure("the task of OCSP", ocsp.await.context("it panicked"));
        }
        if let Some(adoption) = self.adoption {
            log_failure("the task of members' health", adoption.await.context("it panicked"));
        }
        if let Some(ha) = &self.ha {
            ha.shutdown().await;
        }
        if let Some(traffic) = &self.traffic {
            traffic.shutdown().await;
        }
        self.store.shutdown().await;
        tracing::info!("stopped");
    }
}

/// Has spans of requests sent where the node's file says.
fn start_otlp(
    config: &NodeConfig,
    traffic: Option<&Traffic>,
    store: &Store,
    stop: &CancellationToken,
) -> Result<Option<JoinHandle<()>>> {
    let Some((otlp, (queue, totals))) =
        config.otlp.as_ref().zip(traffic.and_then(Traffic::take_spans))
    else {
        return Ok(None);
    };
    let origin = Origin {
        node: config.name.clone(),
        cluster: store.snapshot().state.cluster.name.clone(),
        version: env!("CARGO_PKG_VERSION"),
    };
    let collector = Collector::new(otlp, origin)?;
    Ok(Some(tokio::spawn(collector.follow(queue, totals, stop.clone()))))
}

fn log_failure(what: &str, ended: Result<()>) {
    if let Err(error) = ended {
        tracing::error!("{what} failed: {error:#}");
    }
}
