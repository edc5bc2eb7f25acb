//! What nodes ask of each other, inside the cluster's mTLS: status, whether a configuration is
//! carried out, what became of traffic groups, and to move one.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use ballast_model::ha::{HaTransition, MoveReport};
use ballast_model::status::NodeStatus;
use ballast_model::tail::TailFilter;
use ballast_raft_store::{PeerError, Store};
use serde::{Deserialize, Serialize};

use crate::NodeView;

pub(crate) mod tail_sessions;

use tail_sessions::TailSessions;

/// Path of [`status`], below `/peer/v1/`.
const STATUS: &str = "status";
/// Path of [`wait_applied`], below `/peer/v1/`.
pub(crate) const WAIT_APPLIED: &str = "wait-applied";
/// Path of [`ha_timeline`], below `/peer/v1/`.
pub(crate) const HA_TIMELINE: &str = "ha/timeline";
/// Path of [`move_group`], below `/peer/v1/`.
pub(crate) const HA_MOVE: &str = "ha/move";
/// Path of [`tail`], below `/peer/v1/`.
const TAIL: &str = "tail";
/// Longest wait that a peer may ask for, in ms.
const WAIT_MAX_MS: u64 = 60_000;

/// Asks whether a configuration is carried out.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct WaitApplied {
    pub(crate) index: u64,
    pub(crate) timeout_ms: u64,
}

/// Asks the owner of a traffic group to hand it over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MoveGroup {
    pub(crate) group: String,
    /// The node that is to own it.
    pub(crate) to: String,
}

/// Asks for records that were made since the last time that the same session asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TailAsk {
    /// Made by who asks; unlike any other.
    pub(crate) session: String,
    pub(crate) filter: TailFilter,
}

/// Records of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TailBatch {
    /// Each a JSON object.
    pub(crate) records: Vec<String>,
    /// How many more there were.
    pub(crate) left_out_count: u64,
    /// Why there can be none.
    #[serde(default)]
    pub(crate) error: Option<String>,
}

/// How far a node has come with a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Whether all its planes have taken it up.
    pub applied: bool,
    /// What they could not carry out of it, in sentences.
    #[serde(default)]
    pub errors: Vec<String>,
}

/// The routes that other nodes call; hand it to `Store::open`.
pub fn peer_router(node: Arc<dyn NodeView>) -> Router {
    Router::new()
        .route(&format!("/{STATUS}"), post(status))
        .route(&format!("/{WAIT_APPLIED}"), post(wait_applied))
        .route(&format!("/{HA_TIMELINE}"), post(ha_timeline))
        .route(&format!("/{HA_MOVE}"), post(move_group))
        .with_state(Arc::clone(&node))
        .merge(
            Router::new()
                .route(&format!("/{TAIL}"), post(tail))
                .with_state(Arc::new(TailSessions::new(node))),
        )
}

/// Asks another node for records.
pub(crate) async fn peer_tail(
    store: &Store,
    node_id: u64,
    ask: &TailAsk,
    limit: Duration,
) -> Result<TailBatch, PeerError> {
    store.peers().call(node_id, TAIL, ask, limit).await
}

/// Asks another node for its status.
///
/// # Errors
/// Where it is unknown, can't be reached, or does not answer within `limit`.
pub async fn peer_status(
    store: &Store,
    node_id: u64,
    limit: Duration,
) -> Result<NodeStatus, PeerError> {
    store.peers().call(node_id, STATUS, &(), limit).await
}

async fn status(State(node): State<Arc<dyn NodeView>>) -> Json<NodeStatus> {
    Json(node.status())
}

async fn wait_applied(
    State(node): State<Arc<dyn NodeView>>,
    Json(ask): Json<WaitApplied>,
) -> Json<Applied> {
    let timeout = Duration::from_millis(ask.timeout_ms.min(WAIT_MAX_MS));
    Json(node.wait_applied(ask.index, timeout).await)
}

async fn ha_timeline(State(node): State<Arc<dyn NodeView>>) -> Json<Vec<HaTransition>> {
    Json(node.ha_timeline())
}

async fn move_group(
    State(node): State<Arc<dyn NodeView>>,
    Json(ask): Json<MoveGroup>,
) -> Json<MoveReport> {
    Json(node.move_group(ask.group, ask.to).await)
}

async fn tail(
    State(sessions): State<Arc<TailSessions>>,
    Json(ask): Json<TailAsk>,
) -> Json<TailBatch> {
    Json(sessions.next(ask).await)
}
