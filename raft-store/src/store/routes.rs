//! What this node answers to the others.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use ballast_model::Command;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::Store;
use super::proposing::{Answer, ReadAnswer};
use crate::identity::joining::{JoinAnswer, JoinRequest};
use crate::raft::{EncodedCommand, TypeConfig};
use crate::transport::network::decode_chunk;
use crate::transport::server::{Admission, Caller, Guard, demand_node};
use crate::transport::{
    APPEND, JOIN, MESSAGE_MAX_BYTES, PEER_PREFIX, PROPOSE, QUORUM_HEADER, READ_INDEX, SNAPSHOT,
    VOTE,
};

const JOIN_MAX_BYTES: usize = 64 * 1024;
/// How long to look for the newest state before one that is not known is refused.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(3);

impl Store {
    pub(super) fn router(&self, peer_routes: Router) -> Router {
        let replication = Router::new()
            .route(APPEND, post(append))
            .route(VOTE, post(vote))
            .route(SNAPSHOT, post(snapshot))
            .layer(from_fn_with_state(self.guard(true), demand_node));
        let others = Router::new()
            .route(PROPOSE, post(propose))
            .route(READ_INDEX, post(read_index))
            .with_state(self.clone())
            .nest(PEER_PREFIX, peer_routes)
            .layer(from_fn_with_state(self.guard(false), demand_node));
        let joining =
            Router::new().route(JOIN, post(join)).layer(DefaultBodyLimit::max(JOIN_MAX_BYTES));
        replication
            .merge(joining)
            .with_state(self.clone())
            .merge(others)
            .layer(DefaultBodyLimit::max(MESSAGE_MAX_BYTES))
    }

    /// Who may ask.
    fn guard(&self, is_replication: bool) -> Guard {
        let store = self.clone();
        Arc::new(move |node_id| {
            let store = store.clone();
            Box::pin(async move {
                match store.standing(node_id, is_replication) {
                    Standing::Decided(admission) => admission,
                    // The replication itself is how this node gets to know of others, also of a
                    // leader that joined since; Raft's terms and votes guard it.
                    Standing::Newer if is_replication => Admission::Admitted,
                    Standing::Newer => {
                        let looked_up = timeout(LOOK_UP_TIMEOUT, store.read_barrier()).await;
                        match store.standing(node_id, is_replication) {
                            Standing::Decided(admission) => admission,
                            Standing::Newer => {
                                tracing::debug!(node_id, ?looked_up, "a node is not known");
                                Admission::Unknown
                            }
                        }
                    }
                }
            })
        })
    }

    /// What is known here of a node that showed its certificate. One that was removed may take part
    /// in the replication until the membership says so too: its vote may be needed to decide just
    /// that.
    fn standing(&self, node_id: u64, is_replication: bool) -> Standing {
        let snapshot = self.snapshot();
        let (cluster, nodes) = (&snapshot.state.cluster, &snapshot.state.config.nodes);
        if cluster.removed_node_ids.contains(&node_id) {
            let metrics = self.metrics();
            let is_member = metrics.membership_config.membership().get_node(&node_id).is_some();
            return Standing::Decided(match is_replication && is_member {
                true => Admission::Admitted,
                false => Admission::Removed,
            });
        }
        let is_known = nodes.iter().any(|node| node.spec.node_id == node_id);
        // A node that has just joined knows nobody yet.
        if is_known || cluster.uid.is_empty() {
            return Standing::Decided(Admission::Admitted);
        }
        // A number is the index of the entry that made the node.
        match node_id > snapshot.index {
            true => Standing::Newer,
            false => Standing::Decided(Admission::Unknown),
        }
    }
}

/// What is known here of a node.
enum Standing {
    Decided(Admission),
    /// It may have joined by an entry that is not applied here yet.
    Newer,
}

async fn append(
    State(store): State<Store>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let rpc: AppendEntriesRequest<TypeConfig> = match read(&body) {
        Ok(rpc) => rpc,
        Err(refusal) => return refusal,
    };
    let leader = rpc.vote.leader_id.node_id;
    if let Err(refusal) = demand_caller(caller, leader) {
        return refusal;
    }
    let answer = store.0.raft.append_entries(rpc).await;
    store.0.contact.heard(leader);
    if matches!(&answer, Ok(answer) if !matches!(answer, AppendEntriesResponse::HigherVote(_))) {
        let has_quorum = headers.get(QUORUM_HEADER).is_some_and(|value| value == "1");
        store.0.contact.heard_leader(has_quorum);
    }
    Json(answer).into_response()
}

async fn vote(
    State(store): State<Store>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Response {
    let rpc: VoteRequest<u64> = match read(&body) {
        Ok(rpc) => rpc,
        Err(refusal) => return refusal,
    };
    let candidate = rpc.vote.leader_id.node_id;
    if let Err(refusal) = demand_caller(caller, candidate) {
        return refusal;
    }
    store.0.contact.heard(candidate);
    Json(store.0.raft.vote(rpc).await).into_response()
}

async fn snapshot(
    State(store): State<Store>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Response {
    let Some(rpc) = decode_chunk(&body) else {
        return (StatusCode::BAD_REQUEST, "not a part of a snapshot").into_response();
    };
    let leader = rpc.vote.leader_id.node_id;
    if let Err(refusal) = demand_caller(caller, leader) {
        return refusal;
    }
    store.0.contact.heard(leader);
    Json(store.0.raft.install_snapshot(rpc).await).into_response()
}

async fn propose(State(store): State<Store>, body: Bytes) -> Response {
    let encoded: EncodedCommand = match read(&body) {
        Ok(encoded) => encoded,
        Err(refusal) => return refusal,
    };
    let command: Command = match encoded.decode() {
        Ok(command) => command,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    let answer: Answer = store.propose_here(Arc::new(command), encoded).await;
    Json(answer).into_response()
}

async fn read_index(State(store): State<Store>) -> Json<ReadAnswer> {
    Json(store.read_index_here().await)
}

async fn join(State(store): State<Store>, Json(request): Json<JoinRequest>) -> Json<JoinAnswer> {
    Json(store.admit(request).await)
}

#[expect(clippy::result_large_err, reason = "the error is the answer, returned at once")]
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Response> {
    serde_json::from_slice(body)
        .map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()).into_response())
}

/// A node speaks for itself only.
#[expect(clippy::result_large_err, reason = "the error is the answer, returned at once")]
fn demand_caller(caller: Caller, node_id: u64) -> Result<(), Response> {
    if caller.0 == Some(node_id) {
        return Ok(());
    }
    let why = "this speaks for another node than the certificate's";
    Err((StatusCode::FORBIDDEN, why).into_response())
}
