//! What this node says of itself, to its API and to the other nodes.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ballast_api::{Applied, NodeView};
use ballast_model::NodeRole;
use ballast_model::event::EventBody;
use ballast_model::ha::{HaTransition, MoveReport};
use ballast_model::status::{NodeStatus, PlaneStatus, RaftStatus};
use ballast_raft_store::{Identity, Store};
use ballast_telemetry::Metrics;
use ballast_telemetry::process::write_process;
use futures_util::future::BoxFuture;
use tokio::sync::broadcast;

use crate::metrics::write_node;
use crate::traffic::Traffic;

/// What this node says of itself.
pub(crate) struct View {
    name: String,
    node_id: u64,
    role: NodeRole,
    started_at_ms: u64,
    /// Set once the store is open; the store needs the view to open.
    store: OnceLock<Store>,
    traffic: Option<Arc<Traffic>>,
    /// Of a witness, which sees nothing happen.
    no_events: broadcast::Sender<EventBody>,
}

impl View {
    pub(crate) fn new(identity: &Identity, traffic: Option<Arc<Traffic>>) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            name: identity.node_name().to_owned(),
            node_id: identity.node_id(),
            role: identity.role(),
            started_at_ms: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
            store: OnceLock::new(),
            traffic,
            no_events: broadcast::channel(1).0,
        }
    }

    /// Gives it the store; once.
    pub(crate) fn attach(&self, store: Store) {
        if self.store.set(store).is_err() {
            tracing::error!("a node has one store");
        }
    }

    /// A witness carries out the configuration by having it.
    fn witness_plane(raft: &RaftStatus) -> PlaneStatus {
        PlaneStatus { plane: "store".to_owned(), applied_index: raft.applied_index, error: None }
    }
}

impl NodeView for View {
    fn status(&self) -> NodeStatus {
        let raft = self.store.get().map(Store::status).unwrap_or_default();
        let traffic = self.traffic.as_deref();
        NodeStatus {
            ha: None,
            name: self.name.clone(),
            node_id: self.node_id,
            role: self.role,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at_ms: self.started_at_ms,
            planes: traffic.map_or_else(|| vec![Self::witness_plane(&raft)], Traffic::planes),
            listeners: traffic.map(Traffic::listeners).unwrap_or_default(),
            members: traffic.map(Traffic::members).unwrap_or_default(),
            virtual_servers: traffic.map(Traffic::virtual_servers).unwrap_or_default(),
            raft,
        }
    }

    fn wait_applied(&self, index: u64, timeout: Duration) -> BoxFuture<'static, Applied> {
        let store = self.store.get().cloned();
        let traffic = self.traffic.clone();
        Box::pin(async move {
            let applied = async {
                let Some(store) = store else { return Applied::default() };
                let mut snapshots = store.watch();
                let reached =
                    snapshots.wait_for(|snapshot| snapshot.index >= index).await.map(drop);
                if reached.is_err() {
                    return Applied::default();
                }
                let errors = match traffic {
                    Some(traffic) => traffic.wait_applied(index).await,
                    None => Vec::new(),
                };
                Applied { applied: true, errors }
            };
            tokio::time::timeout(timeout, applied).await.unwrap_or_default()
        })
    }

    fn metrics(&self) -> String {
        let status = self.status();
        let mut metrics = Metrics::new();
        write_node(&mut metrics, &status);
        if let Some(traffic) = &self.traffic {
            traffic.write_metrics(&mut metrics, &status);
        }
        write_process(&mut metrics);
        metrics.finish()
    }

    fn events(&self) -> broadcast::Receiver<EventBody> {
        match &self.traffic {
            Some(traffic) => traffic.events(),
            None => self.no_events.subscribe(),
        }
    }

    fn ha_timeline(&self) -> Vec<HaTransition> {
        Vec::new()
    }

    fn move_group(&self, group: String, to: String) -> BoxFuture<'static, MoveReport> {
        let error = Some("this node has no high availability".to_owned());
        Box::pin(std::future::ready(MoveReport { group, to, error, ..MoveReport::default() }))
    }
}
