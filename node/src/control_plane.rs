//! What needs the store, started and stopped as one: replication, API, and the tasks that carry the
//! configuration to the planes. The planes themselves go on without it.
//!
//! Invariant: when it has stopped, nobody of this process holds the store, so that another process can open
//! it; and it can be started again.

use std::sync::Arc;

use anyhow::{Context, Result};
use ballast_api::{Api, ServeError};
use ballast_ha::Ha;
use ballast_raft_store::{Identity, Listen, SnapshotPolicy, Store, StoreConfig, StoreFailure};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::adopt;
use crate::assembly::Listeners;
use crate::check_network::known;
use crate::config::NodeConfig;
use crate::jwks;
use crate::ocsp;
use crate::tickets;
use crate::traffic::{self, Traffic};
use crate::view::View;

/// What lasts longer than a control plane.
pub(crate) struct Shared {
    pub(crate) config: NodeConfig,
    pub(crate) view: Arc<View>,
    /// None on a witness.
    pub(crate) traffic: Option<Arc<Traffic>>,
    /// None on a witness.
    pub(crate) ha: Option<Ha>,
    /// What the API is served with.
    pub(crate) tls: Arc<rustls::ServerConfig>,
    /// Kept, so that no client is refused while nobody accepts.
    pub(crate) listeners: Listeners,
}

/// See the module.
pub(crate) struct ControlPlane {
    shared: Arc<Shared>,
    store: Store,
    follow: Option<JoinHandle<()>>,
    adoption: Option<JoinHandle<()>>,
    /// Closes inherited sockets that nobody wants.
    settle: Option<JoinHandle<()>>,
    /// Takes what is seen of members to the data plane.
    observe: Option<JoinHandle<()>>,
    /// Fetches the keys of JWT providers.
    jwks: Option<JoinHandle<()>>,
    /// Fetches answers of OCSP.
    ocsp: Option<JoinHandle<()>>,
    /// Tells the other traffic nodes of clients and rate limits, until all clients are gone.
    sharing: Option<JoinHandle<()>>,
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

impl ControlPlane {
    /// Opens the store and starts everything over it.
    ///
    /// # Errors
    /// The store can't be opened.
    pub(crate) async fn start(shared: Arc<Shared>, identity: Identity) -> Result<Self> {
        let Shared { config, view, traffic, ha, tls, listeners } = &*shared;
        let store_config = StoreConfig {
            identity,
            state_dir: config.state_dir.clone(),
            listen: Listen::Bound(listeners.cluster.try_clone()?),
            snapshots: SnapshotPolicy::default(),
        };
        let api_listeners =
            listeners.api.iter().map(std::net::TcpListener::try_clone).collect::<Result<_, _>>()?;
        let mut peer_routes = ballast_api::peer_router(Arc::<View>::clone(view));
        if let Some(ha) = ha {
            peer_routes = peer_routes.merge(ha.peer_router());
        }
        if let Some(traffic) = traffic {
            peer_routes = peer_routes.merge(traffic.sharing().peer_router());
        }
        let store = Store::open(store_config, peer_routes).await?;
        view.attach(Some(store.clone()));
        if let Some(ha) = ha {
            ha.attach(store.clone());
        }
        let follow_stop = CancellationToken::new();
        let follow = traffic.clone().zip(ha.clone()).map(|(traffic, ha)| {
            tokio::spawn(traffic::follow(traffic, ha, store.watch(), follow_stop.clone()))
        });
        let adoption = traffic.clone().map(|traffic| {
            tokio::spawn(adopt::from_peers(store.clone(), traffic, follow_stop.clone()))
        });
        let settle = traffic.clone().map(|traffic| {
            tokio::spawn(traffic::settle(traffic, store.clone(), follow_stop.clone()))
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
        let sharing = traffic.as_ref().map(|traffic| {
            let share = traffic.sharing().clone();
            tokio::spawn(share.run(store.clone(), api_stop.clone()))
        });
        let events = tokio::spawn(Arc::clone(view).gather_events(api_stop.clone()));
        let tickets = tokio::spawn(tickets::rotate(store.clone(), api_stop.clone()));
        let known = known::keep(config.state_dir.clone(), store.watch(), api_stop.clone());
        let known = tokio::spawn(known);
        let api = Api::start(store.clone(), Arc::<View>::clone(view), api_stop.clone());
        let served =
            ballast_api::serve(api_listeners, Arc::clone(tls), api.router(), api_stop.clone());
        let server = tokio::spawn(served);
        Ok(Self {
            shared,
            store,
            follow,
            adoption,
            settle,
            observe,
            jwks,
            ocsp,
            sharing,
            events,
            tickets,
            known,
            api,
            server,
            api_stop,
            follow_stop,
        })
    }

    /// The store.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Resolves when the store can't go on.
    pub(crate) async fn failed(&self) -> StoreFailure {
        self.store.failed().await
    }

    /// Carries out no further change.
    pub(crate) fn stop_following(&self) {
        self.follow_stop.cancel();
    }

    /// Stops everything, and closes the store.
    pub(crate) async fn stop(self) {
        if let Some(ha) = &self.shared.ha {
            ha.detach();
        }
        let store = self.stop_all_but_store().await;
        store.shutdown().await;
    }

    /// Stops what is over the store.
    pub(crate) async fn stop_all_but_store(self) -> Store {
        self.follow_stop.cancel();
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
        if let Some(settle) = self.settle {
            log_failure("the task of inherited sockets", settle.await.context("it panicked"));
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
        if let Some(ocsp) = self.ocsp {
            log_failure("the task of OCSP", ocsp.await.context("it panicked"));
        }
        if let Some(sharing) = self.sharing {
            log_failure("the task of what is shared", sharing.await.context("it panicked"));
        }
        if let Some(adoption) = self.adoption {
            log_failure("the task of members' health", adoption.await.context("it panicked"));
        }
        self.shared.view.attach(None);
        self.store
    }
}

fn log_failure(what: &str, ended: Result<()>) {
    if let Err(error) = ended {
        tracing::error!("{what} failed: {error:#}");
    }
}
