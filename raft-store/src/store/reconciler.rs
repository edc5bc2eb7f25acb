//! Who takes part in the replication: the leader makes Raft's membership follow the nodes of the
//! configuration.
//!
//! ```text
//! joined ──► learner ──► caught up and in contact ──► voter ──► removed from the configuration ──► out
//! ```
//!
//! Invariant: a node leaves the membership only when the log says that it was removed, never because
//! it is missing from what this node happens to know; and no step makes a set of voters that lacks a
//! quorum in contact, for such a set could never decide on anything again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::{BasicNode, ChangeMembers, Membership};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Store;
use super::proposing::ReadAnswer;
use super::status::leads_with_quorum;
use crate::raft::{LogId, RaftMetrics};

/// Entries that a learner may lack and still be called caught up.
const CAUGHT_UP_MAX_COUNT: u64 = 64;
const TICK: Duration = Duration::from_secs(1);
const STEP_TIMEOUT: Duration = Duration::from_secs(15);

/// One change of the membership.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    AddLearner {
        node_id: u64,
        address: String,
    },
    Promote {
        node_id: u64,
    },
    RemoveVoter {
        node_id: u64,
    },
    RemoveLearner {
        node_id: u64,
    },
    /// A change that a former leader left half done.
    Finish {
        voters: BTreeSet<u64>,
    },
}

/// What decides on the next step.
struct Facts<'a> {
    /// Nodes of the configuration, and where they are.
    wanted: BTreeMap<u64, &'a str>,
    removed: &'a BTreeSet<u64>,
    membership: &'a Membership<u64, BasicNode>,
    replication: &'a BTreeMap<u64, Option<LogId>>,
    last_log_index: u64,
    in_contact: &'a dyn Fn(u64) -> bool,
}

impl Store {
    /// Keeps the addresses of the nodes, and what is said of the quorum, up to date.
    pub(super) async fn follow_cluster(self) {
        let mut metrics = self.0.raft.metrics();
        let mut snapshots = self.watch();
        let mut tick = interval(TICK);
        // What was on the disk at the start is no change to be told of.
        self.learn_nodes();
        loop {
            let now = metrics.borrow_and_update().clone();
            self.0.contact.set_quorum_as_leader(leads_with_quorum(&now));
            if self.has_quorum(&now) {
                self.0.contact.note_quorum();
            }
            if snapshots.has_changed().unwrap_or(false) {
                self.learn_nodes();
                snapshots.mark_unchanged();
            }
            tokio::select! {
                changed = metrics.changed() => if changed.is_err() { return },
                changed = snapshots.changed() => {
                    if changed.is_err() { return }
                    self.learn_nodes();
                }
                _ = tick.tick() => {}
                () = self.0.stop.cancelled() => return,
            }
        }
    }

    fn learn_nodes(&self) {
        let snapshot = self.snapshot();
        let nodes = &snapshot.state.config.nodes;
        for node in nodes.iter().filter(|node| node.spec.node_id != self.node_id()) {
            self.0.peers.learn(node.spec.node_id, &node.spec.cluster_address);
        }
        let metrics = self.metrics();
        let membership = metrics.membership_config.membership();
        self.0.peers.retain(|node_id| {
            membership.get_node(&node_id).is_some()
                || nodes.iter().any(|node| node.spec.node_id == node_id)
        });
    }

    /// Takes one step after the other while this node leads.
    pub(super) async fn reconcile_membership(self) {
        let mut metrics = self.0.raft.metrics();
        let mut snapshots = self.watch();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = metrics.changed() => if changed.is_err() { return },
                changed = snapshots.changed() => if changed.is_err() { return },
                _ = tick.tick() => {}
                () = self.0.stop.cancelled() => return,
            }
            if self.next_step().is_none() {
                continue;
            }
            // What is known here may be old news; a quorum's word makes it current.
            let confirmed = self.0.stop.run_until_cancelled(self.read_index_here()).await;
            if !matches!(confirmed, Some(ReadAnswer::Index { .. })) {
                self.pause().await;
                continue;
            }
            let Some(step) = self.next_step() else { continue };
            tracing::info!(?step, "changing the membership");
            let taken = timeout(STEP_TIMEOUT, self.take(&step));
            match self.0.stop.run_until_cancelled(taken).await {
                None => return,
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(why))) => {
                    tracing::warn!(?step, why, "the membership did not change");
                    self.pause().await;
                }
                Some(Err(_)) => {
                    tracing::warn!(?step, "changing the membership takes too long");
                }
            }
        }
    }

    async fn pause(&self) {
        self.0.stop.run_until_cancelled(tokio::time::sleep(TICK)).await;
    }

    fn next_step(&self) -> Option<Step> {
        let metrics: RaftMetrics = self.metrics();
        let replication = metrics.replication.as_ref()?;
        if !leads_with_quorum(&metrics) {
            return None;
        }
        let snapshot = self.snapshot();
        let nodes = snapshot.state.config.nodes.iter();
        next_step(&Facts {
            wanted: nodes
                .map(|node| (node.spec.node_id, node.spec.cluster_address.as_str()))
                .collect(),
            removed: &snapshot.state.cluster.removed_node_ids,
            membership: metrics.membership_config.membership(),
            replication,
            last_log_index: metrics.last_log_index.unwrap_or(0),
            in_contact: &|node_id| self.is_in_contact(node_id),
        })
    }

    /// Whether a node was heard of lately; this one is always.
    pub(super) fn is_in_contact(&self, node_id: u64) -> bool {
        node_id == self.node_id() || self.0.contact.silence(node_id).is_none()
    }

    async fn take(&self, step: &Step) -> Result<(), String> {
        let raft = &self.0.raft;
        let taken = match step {
            Step::AddLearner { node_id, address } => {
                raft.add_learner(*node_id, BasicNode::new(address), false).await
            }
            Step::Promote { node_id } => {
                let voters = BTreeSet::from([*node_id]);
                raft.change_membership(ChangeMembers::AddVoterIds(voters), true).await
            }
            Step::RemoveVoter { node_id } => {
                let voters = BTreeSet::from([*node_id]);
                raft.change_membership(ChangeMembers::RemoveVoters(voters), false).await
            }
            Step::RemoveLearner { node_id } => {
                let nodes = BTreeSet::from([*node_id]);
                raft.change_membership(ChangeMembers::RemoveNodes(nodes), false).await
            }
            Step::Finish { voters } => {
                let voters = voters.clone();
                raft.change_membership(ChangeMembers::ReplaceAllVoters(voters), true).await
            }
        };
        taken.map(|_| ()).map_err(|e| e.to_string())
    }
}

fn next_step(facts: &Facts<'_>) -> Option<Step> {
    let configs = facts.membership.get_joint_config();
    let voters = configs.last()?;
    if configs.len() > 1 {
        return Some(Step::Finish { voters: voters.clone() });
    }
    let members: BTreeSet<u64> = facts.membership.nodes().map(|(node_id, _)| *node_id).collect();
    for &node_id in members.intersection(facts.removed) {
        if !voters.contains(&node_id) {
            return Some(Step::RemoveLearner { node_id });
        }
        // What can't be now waits, and nothing else waits for it.
        if can_spare(voters, node_id, facts.in_contact) {
            return Some(Step::RemoveVoter { node_id });
        }
    }
    for (&node_id, address) in &facts.wanted {
        if !members.contains(&node_id) {
            return Some(Step::AddLearner { node_id, address: (*address).to_owned() });
        }
        if !voters.contains(&node_id) && is_caught_up(facts, node_id) {
            return Some(Step::Promote { node_id });
        }
    }
    None
}

/// Whether a quorum of the voters that remain without `node_id` is in contact.
pub(super) fn can_spare(
    voters: &BTreeSet<u64>,
    node_id: u64,
    in_contact: impl Fn(u64) -> bool,
) -> bool {
    let remaining = voters.iter().filter(|voter| **voter != node_id);
    let live_count = remaining.clone().filter(|voter| in_contact(**voter)).count();
    live_count > remaining.count() / 2
}

/// A learner becomes a voter when it counts at once: a quorum that waits for one who has yet to read
/// the log is no quorum.
fn is_caught_up(facts: &Facts<'_>, node_id: u64) -> bool {
    let matched = facts.replication.get(&node_id).copied().flatten();
    matched.is_some_and(|matched| matched.index + CAUGHT_UP_MAX_COUNT >= facts.last_log_index)
        && (facts.in_contact)(node_id)
}

#[cfg(test)]
mod tests;
