//! What this node knows of the replication, honestly.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use ballast_model::Snapshot;
use ballast_model::status::RaftStatus;
use openraft::ServerState;

use super::{ELECTION_TIMEOUT_MAX, Store};
use crate::raft::RaftMetrics;

/// A leader that was not answered by a quorum for this long has none.
const QUORUM_SILENT_AFTER: Duration = ELECTION_TIMEOUT_MAX;

impl Store {
    pub(super) fn metrics(&self) -> RaftMetrics {
        self.0.raft.metrics().borrow().clone()
    }

    pub(super) fn raft_status(&self) -> RaftStatus {
        let metrics = self.metrics();
        RaftStatus {
            state: state_name(metrics.state).to_owned(),
            leader_id: metrics.current_leader,
            term: metrics.current_term,
            last_log_index: metrics.last_log_index.unwrap_or(0),
            applied_index: self.snapshot().index,
            voters: settled_voters(&metrics),
            has_quorum: self.has_quorum(&metrics),
        }
    }

    /// On the leader: a quorum has answered lately. Elsewhere: a leader that said so has written
    /// lately.
    pub(super) fn has_quorum(&self, metrics: &RaftMetrics) -> bool {
        if metrics.running_state.is_err() {
            return false;
        }
        if metrics.state == ServerState::Leader {
            return leads_with_quorum(metrics);
        }
        metrics.current_leader.is_some() && self.0.contact.leader_has_quorum()
    }

    /// Why there is no quorum, in a sentence.
    pub(super) fn why_no_quorum(&self) -> String {
        let metrics = self.metrics();
        let snapshot = self.snapshot();
        let name_of = |node_id: u64| {
            let mut nodes = snapshot.state.config.nodes.iter();
            let node = nodes.find(|node| node.spec.node_id == node_id);
            node.map_or_else(
                || format!("node {node_id}"),
                |node| format!("{} ({})", node.name, node.spec.cluster_address),
            )
        };
        let voters: Vec<u64> = metrics.membership_config.membership().voter_ids().collect();
        if voters.is_empty() {
            return "this node has not heard from its cluster yet".to_owned();
        }
        let mut why = format!(
            "{} of the {} voting nodes must reach each other",
            voters.len() / 2 + 1,
            voters.len()
        );
        let others = voters.iter().filter(|voter| **voter != self.node_id());
        let silent: Vec<_> = others
            .filter_map(|voter| {
                let silence = self.0.contact.silence(*voter)?;
                Some(match silence {
                    Some(silence) => format!("{} for {} s", name_of(*voter), silence.as_secs()),
                    None => format!("{} since this node started", name_of(*voter)),
                })
            })
            .collect();
        // Writing to a string can't fail.
        let _ = if silent.is_empty() {
            write!(why, "; they do, but have not elected a leader yet")
        } else {
            write!(why, "; not reached from here: {}", silent.join(", "))
        };
        why
    }

    /// Resolves when this node can't go on.
    pub(super) async fn wait_for_failure(&self) -> StoreFailure {
        let mut metrics = self.0.raft.metrics();
        let mut memberships = self.0.raft.metrics();
        let mut removed = self.0.contact.removed();
        let mut snapshots = self.watch();
        let node_id = self.node_id();
        let stopped = async {
            let fatal = metrics.wait_for(|metrics| metrics.running_state.is_err()).await;
            match fatal {
                Ok(metrics) => match &metrics.running_state {
                    Err(fatal) => format!("the store has failed: {fatal}"),
                    Ok(()) => String::new(),
                },
                Err(_) => "the store has failed".to_owned(),
            }
        };
        let gone = async {
            let told = removed.wait_for(|removed| *removed);
            // Removed from the configuration, it takes part until it is out of the membership: its
            // vote may be needed for that.
            let seen = async {
                let is_removed = |snapshot: &Arc<Snapshot>| {
                    snapshot.state.cluster.removed_node_ids.contains(&node_id)
                };
                let _ = snapshots.wait_for(is_removed).await;
                let is_out = |metrics: &RaftMetrics| {
                    metrics.membership_config.membership().get_node(&node_id).is_none()
                };
                let _ = memberships.wait_for(is_out).await;
            };
            tokio::select! {
                _ = told => {}
                () = seen => {}
            }
        };
        let why = tokio::select! {
            why = stopped => StoreFailure::Broken(why),
            () = gone => StoreFailure::Removed,
        };
        if self.0.stop.is_cancelled() {
            std::future::pending::<()>().await;
        }
        why
    }
}

/// Who votes whichever way a change of the membership ends: while one is on its way, both the old
/// and the new voters must agree (Raft dissertation §4.3), and a node that is only in one of them
/// can't be counted on to replace another yet.
fn settled_voters(metrics: &RaftMetrics) -> Vec<u64> {
    let membership = metrics.membership_config.membership();
    let votes_everywhere =
        |voter: &u64| membership.get_joint_config().iter().all(|config| config.contains(voter));
    membership.voter_ids().filter(votes_everywhere).collect()
}

/// Why a store can't go on by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreFailure {
    /// Its disk failed, or is full: what it knows is still true, and gets old.
    #[error("{0}")]
    Broken(String),
    /// The node was removed from the cluster.
    #[error(
        "this node was removed from the cluster; it can come back only by joining anew, with an empty \
         state directory"
    )]
    Removed,
}

pub(super) fn leads_with_quorum(metrics: &RaftMetrics) -> bool {
    let silence = metrics.millis_since_quorum_ack.map(Duration::from_millis);
    metrics.state == ServerState::Leader
        && silence.is_some_and(|silence| silence < QUORUM_SILENT_AFTER)
}

fn state_name(state: ServerState) -> &'static str {
    match state {
        ServerState::Learner => "learner",
        ServerState::Follower => "follower",
        ServerState::Candidate => "candidate",
        ServerState::Leader => "leader",
        ServerState::Shutdown => "stopped",
    }
}
