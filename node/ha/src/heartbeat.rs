//! The second path between nodes: what each says of its groups over the cluster's own connections.
//!
//! A report may keep a node from taking over what another still serves, and tells which epoch of
//! signatures is the present one. Silence here means nothing: VRRP decides. ADR 8 says what else it
//! may and may not do.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State as Extract;
use ballast_model::NodeRole;
use ballast_model::ha::HeartbeatStatus;
use ballast_vrrp::{Gateways, PeerReport, State};
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval};

use crate::Inner;
use crate::engine::Command;

/// Path below `/peer/v1/`.
pub(crate) const HEARTBEAT: &str = "ha/heartbeat";
/// Shortest time between two reports to a node.
const INTERVAL_MIN_MS: u32 = 100;
/// How often it is looked whether there is anything to report, while there is no group.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);
/// Reports that a node may miss before it counts as silent.
const MISSED_MAX_COUNT: u32 = 3;
/// Longest wait for a node to take a report.
const SEND_LIMIT: Duration = Duration::from_secs(1);
/// Most groups in a report: as many as there are VRIDs.
const GROUP_MAX_COUNT: usize = 255;

/// What a node says of its groups.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Heartbeat {
    node_id: u64,
    /// The epoch in which it signs advertisements.
    epoch: u32,
    /// When the next one is due, in ms.
    interval_ms: u32,
    groups: Vec<GroupReport>,
}

#[derive(Debug, Serialize, Deserialize)]
struct GroupReport {
    group: String,
    state: State,
    priority: u8,
    link_up: bool,
}

/// When each node was heard last, and how often it should be.
#[derive(Debug, Default)]
pub(crate) struct Heard(BTreeMap<u64, (Instant, u32)>);

/// Reports to every other traffic node until the node stops; each on its own, so that a dead one does
/// not hold up the others.
pub(crate) async fn run(inner: Arc<Inner>) {
    let mut senders: BTreeMap<u64, tokio::task::JoinHandle<()>> = BTreeMap::new();
    let mut looks = interval(IDLE_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Cancel-safe: both branches only wait.
        tokio::select! {
            () = inner.stop.cancelled() => break,
            _ = looks.tick() => {}
        }
        let peers = inner.peer_ids();
        senders.retain(|id, sender| {
            let is_kept = peers.contains(id) && !sender.is_finished();
            if !is_kept {
                sender.abort();
            }
            is_kept
        });
        for id in peers {
            let inner = &inner;
            senders
                .entry(id)
                .or_insert_with(|| inner.tasks.spawn(report_to(Arc::clone(inner), id)));
        }
    }
}

async fn report_to(inner: Arc<Inner>, id: u64) {
    let Some(store) = inner.store.get() else { return };
    loop {
        let interval_ms = inner.heartbeat_interval_ms();
        let pause = interval_ms.map_or(IDLE_INTERVAL, |ms| Duration::from_millis(ms.into()));
        let started = tokio::time::Instant::now();
        if let Some(interval_ms) = interval_ms {
            let heartbeat = inner.heartbeat(interval_ms);
            let call = store.peers().call::<_, ()>(id, HEARTBEAT, &heartbeat, SEND_LIMIT);
            // Cancel-safe: a report that is given up is followed by others, or by none.
            tokio::select! {
                () = inner.stop.cancelled() => return,
                sent = call => if let Err(error) = sent {
                    tracing::debug!(id, %error, "a report about traffic groups did not arrive");
                }
            }
        }
        tokio::select! {
            () = inner.stop.cancelled() => return,
            () = tokio::time::sleep_until(started + pause) => {}
        }
    }
}

/// A report of another node. The connection proves which nodes may speak, not which one this is; all
/// of them hold the key of the cluster.
pub(crate) async fn receive(
    Extract(inner): Extract<Arc<Inner>>,
    Json(heartbeat): Json<Heartbeat>,
) -> Json<()> {
    let node_id = heartbeat.node_id;
    if !inner.peer_ids().contains(&node_id) {
        return Json(());
    }
    {
        let mut heard = inner.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.0.insert(node_id, (Instant::now(), heartbeat.interval_ms));
    }
    inner.command(Command::Epoch { node_id, epoch: heartbeat.epoch });
    for group in heartbeat.groups.into_iter().take(GROUP_MAX_COUNT) {
        let report = PeerReport {
            node_id,
            state: group.state,
            priority: group.priority,
            link_up: group.link_up,
            gateways: Gateways::Unknown,
            interval_ms: heartbeat.interval_ms,
        };
        inner.command(Command::Heartbeat { group: group.group, report });
    }
    Json(())
}

impl Inner {
    /// Numbers of the other traffic nodes.
    fn peer_ids(&self) -> Vec<u64> {
        let snapshot = self.snapshot.load();
        let nodes = snapshot.state.config.nodes.iter();
        let others =
            nodes.filter(|node| node.spec.role == NodeRole::Traffic && node.name != self.node_name);
        others.map(|node| node.spec.node_id).collect()
    }

    /// Time between two reports; none while there is nothing to report.
    fn heartbeat_interval_ms(&self) -> Option<u32> {
        let snapshot = self.snapshot.load();
        let groups = snapshot.state.config.traffic_groups.iter().filter(|g| g.spec.enabled);
        groups.map(|group| group.spec.advert_interval_ms.max(INTERVAL_MIN_MS)).min()
    }

    fn heartbeat(&self, interval_ms: u32) -> Heartbeat {
        let published = self.published.load();
        let groups = published.groups.iter().take(GROUP_MAX_COUNT).map(|group| GroupReport {
            group: group.name.clone(),
            state: group.view.state,
            priority: group.view.priority,
            link_up: group.link_up,
        });
        Heartbeat {
            node_id: self.node_id,
            epoch: self.epoch,
            interval_ms,
            groups: groups.collect(),
        }
    }

    /// How the other nodes are heard.
    pub(crate) fn heartbeat_statuses(&self) -> Vec<HeartbeatStatus> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let status = |id: u64| {
            let node = self.node_called(id).unwrap_or_else(|| format!("number {id}"));
            let Some((at, interval_ms)) = heard.0.get(&id) else {
                return HeartbeatStatus { node, ..HeartbeatStatus::default() };
            };
            let before = at.elapsed();
            HeartbeatStatus {
                node,
                alive: before <= Duration::from_millis((MISSED_MAX_COUNT * interval_ms).into()),
                heard_before_ms: Some(u64::try_from(before.as_millis()).unwrap_or(u64::MAX)),
            }
        };
        self.peer_ids().into_iter().map(status).collect()
    }
}
