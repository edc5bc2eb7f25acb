//! What this node says of itself, to its API and to the other nodes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ballast_api::{Applied, NodeView, TailFeed};
use ballast_ha::Ha;
use ballast_model::NodeRole;
use ballast_model::event::EventBody;
use ballast_model::explain::{ExplainReport, ExplainRequest};
use ballast_model::ha::{HaTransition, MoveReport};
use ballast_model::status::{NodeStatus, PlaneStatus, RaftStatus};
use ballast_model::tail::TailFilter;
use ballast_raft_store::{Identity, Store};
use ballast_telemetry::process::write_process;
use ballast_telemetry::{Metrics, TailReader};
use futures_util::future::BoxFuture;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::metrics::write_node;
use crate::share;
use crate::traffic::Traffic;

/// Events that a slow reader may be behind.
const EVENT_MAX_COUNT: usize = 1_024;

/// Somebody who watches requests.
struct Feed(TailReader);

impl TailFeed for Feed {
    fn next(&mut self) -> BoxFuture<'_, Option<String>> {
        Box::pin(self.0.next())
    }

    fn take_left_out(&self) -> u64 {
        self.0.take_left_out()
    }
}

/// What this node says of itself.
pub(crate) struct View {
    name: String,
    node_id: u64,
    role: NodeRole,
    started_at_ms: u64,
    /// While the store is open; the store needs the view to open.
    store: Mutex<Option<Store>>,
    traffic: Option<Arc<Traffic>>,
    /// None on a witness.
    ha: Option<Ha>,
    /// What is seen to happen here; nothing on a witness.
    events: broadcast::Sender<EventBody>,
}

impl View {
    pub(crate) fn new(identity: &Identity, traffic: Option<Arc<Traffic>>, ha: Option<Ha>) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            name: identity.node_name().to_owned(),
            node_id: identity.node_id(),
            role: identity.role(),
            started_at_ms: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
            store: Mutex::default(),
            traffic,
            ha,
            events: broadcast::channel(EVENT_MAX_COUNT).0,
        }
    }

    /// Gives it the store, or takes it away before that is closed.
    pub(crate) fn attach(&self, store: Option<Store>) {
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = store;
    }

    fn store(&self) -> Option<Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Brings together what the planes see happen, until `stop`.
    pub(crate) async fn gather_events(self: Arc<Self>, stop: CancellationToken) {
        let (Some(traffic), Some(ha)) = (&self.traffic, &self.ha) else { return };
        let (mut health, mut moves) = (traffic.events(), ha.events());
        loop {
            // Cancel-safe: all branches only wait.
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = health.recv() => event,
                event = moves.recv() => event,
            };
            let event = match event {
                Ok(event) => event,
                Err(RecvError::Lagged(_)) => EventBody::Lagged,
                Err(RecvError::Closed) => return,
            };
            // No reader is no error.
            let _readers = self.events.send(event);
        }
    }

    fn planes(&self, raft: &RaftStatus) -> Vec<PlaneStatus> {
        let Some(traffic) = &self.traffic else { return vec![Self::witness_plane(raft)] };
        let mut planes = traffic.planes();
        planes.extend(self.ha.as_ref().map(Ha::plane_status));
        planes
    }

    /// A witness carries out the configuration by having it.
    fn witness_plane(raft: &RaftStatus) -> PlaneStatus {
        PlaneStatus { plane: "store".to_owned(), applied_index: raft.applied_index, error: None }
    }
}

impl NodeView for View {
    fn status(&self) -> NodeStatus {
        let raft = self.store().as_ref().map(Store::status).unwrap_or_default();
        let traffic = self.traffic.as_deref();
        NodeStatus {
            ha: self.ha.as_ref().map(Ha::status),
            dns: traffic.map(Traffic::dns).unwrap_or_default(),
            jwt_providers: traffic.map(Traffic::jwt_providers).unwrap_or_default(),
            certificates: traffic.map(Traffic::certificate_statuses).unwrap_or_default(),
            persistence_tables: traffic.map(Traffic::persistence_tables).unwrap_or_default(),
            share_peers: traffic.map(|t| share::peers(t.sharing())).unwrap_or_default(),
            name: self.name.clone(),
            node_id: self.node_id,
            role: self.role,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at_ms: self.started_at_ms,
            planes: self.planes(&raft),
            listeners: traffic.map(Traffic::listeners).unwrap_or_default(),
            members: traffic.map(Traffic::members).unwrap_or_default(),
            virtual_servers: traffic.map(Traffic::virtual_servers).unwrap_or_default(),
            raft,
        }
    }

    fn wait_applied(&self, index: u64, timeout: Duration) -> BoxFuture<'static, Applied> {
        let store = self.store();
        let traffic = self.traffic.clone();
        let ha = self.ha.clone();
        Box::pin(async move {
            let applied = async {
                let Some(store) = store else { return Applied::default() };
                let mut snapshots = store.watch();
                let reached =
                    snapshots.wait_for(|snapshot| snapshot.index >= index).await.map(drop);
                if reached.is_err() {
                    return Applied::default();
                }
                let mut errors = match traffic {
                    Some(traffic) => traffic.wait_applied(index).await,
                    None => Vec::new(),
                };
                if let Some(ha) = ha {
                    let mut carried_out = ha.applied();
                    // An error means that the plane has ended: then nobody waits for it any more.
                    let _ended = carried_out.wait_for(|at| *at >= index).await.map(drop);
                    errors.extend(ha.plane_status().error);
                }
                Applied { applied: true, errors }
            };
            tokio::time::timeout(timeout, applied).await.unwrap_or_default()
        })
    }

    fn explain(
        &self,
        request: ExplainRequest,
    ) -> BoxFuture<'static, Result<ExplainReport, String>> {
        let told = self.traffic.as_ref().map(|traffic| traffic.explain(request));
        Box::pin(async move {
            let Some(told) = told else {
                return Err("this node is a witness and carries no traffic".to_owned());
            };
            told.await.ok_or_else(|| "this node does not serve that virtual server".to_owned())
        })
    }

    fn tail(&self, filter: TailFilter) -> Result<Box<dyn TailFeed>, String> {
        let Some(traffic) = &self.traffic else {
            return Err("this node is a witness and carries no traffic".to_owned());
        };
        let reader = traffic.tail().watch(filter).map_err(|error| error.to_string())?;
        Ok(Box::new(Feed(reader)))
    }

    fn metrics(&self) -> String {
        let status = self.status();
        let mut metrics = Metrics::new();
        write_node(&mut metrics, &status);
        if let Some(traffic) = &self.traffic {
            traffic.write_metrics(&mut metrics, &status);
        }
        if let Some(ha) = &self.ha {
            ha.write_metrics(&mut metrics);
        }
        write_process(&mut metrics);
        metrics.finish()
    }

    fn events(&self) -> broadcast::Receiver<EventBody> {
        self.events.subscribe()
    }

    fn ha_timeline(&self) -> Vec<HaTransition> {
        self.ha.as_ref().map(Ha::timeline).unwrap_or_default()
    }

    fn move_group(&self, group: String, to: String) -> BoxFuture<'static, MoveReport> {
        let ha = self.ha.clone();
        Box::pin(async move {
            match ha {
                Some(ha) => ha.move_group(&group, &to).await,
                None => {
                    let error = Some("a witness owns no traffic group".to_owned());
                    MoveReport { group, to, error, ..MoveReport::default() }
                }
            }
        })
    }
}
