//! A node that has just started takes over what the others know of members, so that it does not start
//! blind. Its own probes decide as soon as each has ended.
//!
//! Invariant: nothing is adopted that a node does not say of itself at this moment.

use std::sync::Arc;
use std::time::Duration;

use ballast_model::NodeRole;
use ballast_model::status::NodeStatus;
use ballast_raft_store::Store;
use futures_util::future::join_all;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::traffic::Traffic;

/// How long a node may take to answer. What it says is no older than that.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// How often the others are asked: they may be starting too.
const ASK_INTERVAL: Duration = Duration::from_millis(500);
/// How long they are asked at most: the probes of this node should have told by then.
const ASK_LIMIT: Duration = Duration::from_secs(30);

/// Asks until every member is known to be up or down, or for long enough, or until `stop`.
pub(crate) async fn from_peers(store: Store, traffic: Arc<Traffic>, stop: CancellationToken) {
    // Cancel-safe: what was adopted so far stays.
    tokio::select! {
        () = stop.cancelled() => {}
        asked = timeout(ASK_LIMIT, ask_until_known(&store, &traffic)) => {
            if asked.is_err() {
                tracing::debug!("the other nodes are not asked about members any longer");
            }
        }
    }
}

async fn ask_until_known(store: &Store, traffic: &Traffic) {
    let mut looks = interval(ASK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let caught_up = caught_up(store);
    tokio::pin!(caught_up);
    let mut newest_index = None;
    loop {
        // Cancel-safe: the first branch goes on where it was, the second only waits.
        tokio::select! {
            index = &mut caught_up, if newest_index.is_none() => newest_index = Some(index),
            _ = looks.tick() => {}
        }
        if traffic.has_unknown_members() {
            ask_all(store, traffic).await;
        } else if newest_index.is_some_and(|index| traffic.health_index() >= index) {
            return;
        }
    }
}

/// The index that the cluster's configuration has once this node has caught up with it: until then
/// there may be members that it has not heard of.
async fn caught_up(store: &Store) -> u64 {
    while store.read_barrier().await.is_err() {
        tokio::time::sleep(ASK_INTERVAL).await;
    }
    store.snapshot().index
}

async fn ask_all(store: &Store, traffic: &Traffic) {
    let snapshot = store.snapshot();
    let others =
        snapshot.state.config.nodes.iter().filter(|node| {
            node.spec.role == NodeRole::Traffic && node.spec.node_id != store.node_id()
        });
    let asked = others.map(|node| async {
        match ballast_api::peer_status(store, node.spec.node_id, ANSWER_LIMIT).await {
            Ok(NodeStatus { members, .. }) => traffic.adopt(&node.name, &members),
            Err(error) => {
                tracing::debug!(node = node.name, %error, "it tells nothing of members");
            }
        }
    });
    join_all(asked).await;
}
