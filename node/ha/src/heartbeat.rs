//! The second path between nodes: what each says of its groups over the cluster's own connections.
//!
//! A report may keep a node from taking over what another still serves, and tells which epoch of
//! signatures is the present one. A connection that the other kernel closes shortens the wait for a
//! dead process. Silence here means nothing: VRRP decides. ADR 9 says what it may and may not do.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State as Extract;
use ballast_model::NodeRole;
use ballast_model::ha::HeartbeatStatus;
use ballast_raft_store::{Following, PeerError, Store};
use ballast_vrrp::{Gateways, PeerReport, State};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval};

use crate::engine::Command;
use crate::{Attached, Inner};

/// Path below `/peer/v1/`.
pub(crate) const HEARTBEAT: &str = "ha/heartbeat";
/// Shortest time between two reports to a node.
const INTERVAL_MIN_MS: u32 = 100;
/// Time between two reports while there is no group.
const IDLE_INTERVAL_MS: u32 = 1_000;
/// How often it is looked which nodes there are.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Reports that a node may miss before it counts as silent.
const MISSED_MAX_COUNT: u32 = 3;
/// How long one answer goes on: then it is asked for again, and refused where the node was removed.
const ANSWER_LIFE: Duration = Duration::from_secs(60);
/// Longest wait for an answer to begin, and for a report after another. Longer than any interval.
const SILENCE_LIMIT: Duration = Duration::from_secs(3);
/// Pause before a node is asked again that did not answer, or whose answer broke off.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// Most groups in a report: as many as there are VRIDs.
const GROUP_MAX_COUNT: usize = 255;

/// What a node says of its groups.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Heartbeat {
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
    gateways: Gateways,
}

/// When each node was heard last, and how often it should be.
#[derive(Debug, Default)]
pub(crate) struct Heard(BTreeMap<u64, (Instant, u32)>);

/// Follows every other traffic node until this one stops; each on its own, so that a dead one does not
/// hold up the others.
pub(crate) async fn run(inner: Arc<Inner>, attached: Arc<Attached>) {
    let mut followers: BTreeMap<u64, tokio::task::JoinHandle<()>> = BTreeMap::new();
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Cancel-safe: both branches only wait.
        tokio::select! {
            () = attached.stop.cancelled() => break,
            _ = looks.tick() => {}
        }
        let peers = inner.peer_ids();
        followers.retain(|id, follower| {
            let is_kept = peers.contains(id) && !follower.is_finished();
            if !is_kept {
                follower.abort();
            }
            is_kept
        });
        for id in peers {
            let (inner, attached) = (&inner, &attached);
            followers.entry(id).or_insert_with(|| {
                let (inner, attached) = (Arc::clone(inner), Arc::clone(attached));
                inner.tasks.clone().spawn(async move {
                    attached.stop.run_until_cancelled(follow(&inner, &attached.store, id)).await;
                })
            });
        }
    }
}

async fn follow(inner: &Inner, store: &Store, id: u64) {
    loop {
        let ended = match store.peers().follow(id, HEARTBEAT, &(), SILENCE_LIMIT).await {
            Ok(reports) => take_reports(inner, id, reports).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::debug!(id, %error, "a node does not report of its traffic groups");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}

async fn take_reports(inner: &Inner, id: u64, mut reports: Following) -> Result<(), PeerError> {
    loop {
        match reports.next::<Heartbeat>(SILENCE_LIMIT).await {
            Ok(Some(heartbeat)) => inner.take_heartbeat(id, heartbeat),
            Ok(None) => return Ok(()),
            Err(error) => {
                if matches!(error, PeerError::Gone { .. }) {
                    inner.command(Command::HeartbeatClosed { node_id: id });
                }
                return Err(error);
            }
        }
    }
}

/// Answers another node with a report per interval, for as long as an answer goes on.
pub(crate) async fn report(Extract(inner): Extract<Arc<Inner>>) -> Body {
    let first = tokio::time::Instant::now();
    let until = first + ANSWER_LIFE;
    // None: the store is being closed.
    let stop = inner.attached.load_full().map(|attached| attached.stop.clone());
    let stop = stop.unwrap_or_else(|| inner.stop.clone());
    let lines = stream::unfold((inner, stop, first), move |(inner, stop, due)| async move {
        // Who does not speak for the node yet says nothing.
        stop.run_until_cancelled(inner.is_live.cancelled()).await?;
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep_until(due) => {}
        }
        if due > until {
            return None;
        }
        let heartbeat = inner.heartbeat();
        let next =
            tokio::time::Instant::now() + Duration::from_millis(u64::from(heartbeat.interval_ms));
        let mut line = match serde_json::to_vec(&heartbeat) {
            Ok(line) => line,
            Err(error) => return Some((Err(error), (inner, stop, next))),
        };
        line.push(b'\n');
        Some((Ok(line), (inner, stop, next)))
    });
    Body::from_stream(lines)
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

    /// Time between two reports.
    fn heartbeat_interval_ms(&self) -> u32 {
        let snapshot = self.snapshot.load();
        let groups = snapshot.state.config.traffic_groups.iter().filter(|g| g.spec.enabled);
        let shortest = groups.map(|group| group.spec.advert_interval_ms.max(INTERVAL_MIN_MS)).min();
        shortest.unwrap_or(IDLE_INTERVAL_MS).min(IDLE_INTERVAL_MS)
    }

    /// What node `id` said; its certificate says that it was that one.
    fn take_heartbeat(&self, id: u64, heartbeat: Heartbeat) {
        {
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.0.insert(id, (Instant::now(), heartbeat.interval_ms));
        }
        self.command(Command::Epoch { node_id: id, epoch: heartbeat.epoch });
        for group in heartbeat.groups.into_iter().take(GROUP_MAX_COUNT) {
            let report = PeerReport {
                node_id: id,
                state: group.state,
                priority: group.priority,
                link_up: group.link_up,
                gateways: group.gateways,
                interval_ms: heartbeat.interval_ms,
            };
            self.command(Command::Heartbeat { group: group.group, report });
        }
    }

    fn heartbeat(&self) -> Heartbeat {
        let published = self.published.load();
        let interval_ms = self.heartbeat_interval_ms();
        // Who is not served sends no advertisements, and must not keep others from taking over.
        let is_alive = self.pulse.is_alive(Duration::from_millis(interval_ms.into()));
        let groups = published.groups.iter().take(GROUP_MAX_COUNT).map(|group| GroupReport {
            group: group.name.clone(),
            state: if is_alive { group.view.state } else { State::Initialize },
            priority: group.view.priority,
            link_up: group.link_up,
            gateways: self.gateways_of(&group.name),
        });
        Heartbeat { epoch: self.epoch, interval_ms, groups: groups.collect() }
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
