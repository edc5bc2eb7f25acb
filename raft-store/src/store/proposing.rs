//! Proposing a command and reading linearizably, on the leader or through it.
//!
//! Invariant: a command without an idempotency key is handed to Raft at most once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ballast_model::{Command, CommandBody, Outcome, Rejection};
use openraft::ServerState;
use openraft::error::{CheckIsLeaderError, ClientWriteError, RaftError};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};

use super::reconciler::can_spare;
use super::status::leads_with_quorum;
use super::{ProposeError, Store};
use crate::raft::EncodedCommand;
use crate::transport::{PROPOSAL_MAX_BYTES, PROPOSE, READ_INDEX};

/// How long to look for a leader with a quorum. An election takes one to two seconds, two in a row
/// seldom more than four.
const LEADER_WAIT: Duration = Duration::from_secs(5);
/// How long the leader waits for a command to be committed and applied.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long another node waits for the leader's answer.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(12);
/// How long one may go on with a command that may be repeated.
const REPEAT_FOR: Duration = Duration::from_secs(25);
const PAUSE: Duration = Duration::from_millis(50);
/// How long to wait until what the leader has applied is applied here too.
const APPLIED_WAIT: Duration = Duration::from_secs(2);
/// How long a quorum may take to confirm who leads.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(3);
/// Commands above this size are checked on a thread that may take its time.
const INLINE_MAX_BYTES: usize = 64 * 1024;

/// What the leader answers to a command.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub(super) enum Answer {
    Done {
        outcome: Outcome,
    },
    /// Certainly not done, for it is not the leader.
    NotLeader,
    /// Certainly not done, for it has no quorum.
    NoQuorum {
        why: String,
    },
    /// Certainly not done, for the cluster could not decide on anything afterwards.
    QuorumAtRisk {
        why: String,
    },
    Unknown,
    Stopped,
}

/// What the leader answers to a question for the read index.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub(super) enum ReadAnswer {
    Index { index: u64 },
    NotLeader,
    NoQuorum { why: String },
    Stopped,
}

impl Store {
    pub(super) async fn propose_command(&self, command: Command) -> Result<Outcome, ProposeError> {
        let encoded = EncodedCommand::encode(&command).map_err(|error| {
            tracing::error!(%error, "a command can't be written as JSON");
            ProposeError::Stopped
        })?;
        let bytes = encoded.len_bytes();
        if bytes > PROPOSAL_MAX_BYTES {
            return Err(ProposeError::TooLarge { bytes, max: PROPOSAL_MAX_BYTES });
        }
        let may_repeat = command.idempotency.is_some();
        let command = Arc::new(command);
        let started = Instant::now();
        let mut is_open = false;
        loop {
            let mut why = None;
            match self.propose_once(&command, &encoded).await {
                Answer::Done { outcome } => {
                    self.wait_for_outcome(&outcome).await;
                    return Ok(outcome);
                }
                Answer::QuorumAtRisk { why } => return Err(ProposeError::QuorumAtRisk { why }),
                Answer::Unknown if !may_repeat => return Err(ProposeError::Unknown),
                Answer::Unknown => is_open = true,
                Answer::Stopped => return Err(ProposeError::Stopped),
                Answer::NotLeader => {}
                Answer::NoQuorum { why: said } => why = Some(said),
            }
            let has_waited = if is_open {
                started.elapsed() > REPEAT_FOR
            } else {
                self.has_waited_for_leader(started)
            };
            if has_waited {
                return Err(if is_open {
                    ProposeError::Unknown
                } else {
                    ProposeError::NoQuorum { why: why.unwrap_or_else(|| self.why_no_quorum()) }
                });
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = self.0.stop.cancelled() => return Err(ProposeError::Stopped),
            }
        }
    }

    async fn propose_once(&self, command: &Arc<Command>, encoded: &EncodedCommand) -> Answer {
        let metrics = self.metrics();
        if metrics.running_state.is_err() || self.0.stop.is_cancelled() {
            return Answer::Stopped;
        }
        match metrics.current_leader {
            Some(leader) if leader == self.node_id() => {
                self.propose_here(Arc::clone(command), encoded.clone()).await
            }
            Some(leader) => self.forward(leader, encoded).await,
            None => Answer::NotLeader,
        }
    }

    /// Proposes on this node, if it leads.
    pub(super) async fn propose_here(
        &self,
        command: Arc<Command>,
        encoded: EncodedCommand,
    ) -> Answer {
        let metrics = self.metrics();
        if metrics.state != ServerState::Leader {
            return Answer::NotLeader;
        }
        if !leads_with_quorum(&metrics) {
            return Answer::NoQuorum { why: self.why_no_quorum() };
        }
        if self.rejection(&command, &encoded).await.is_some() {
            // What is applied here may lag behind what was acknowledged, or another may lead by
            // now: a refusal counts only when a quorum has confirmed this leader.
            match self.read_index_here().await {
                ReadAnswer::Index { .. } => {}
                ReadAnswer::NotLeader => return Answer::NotLeader,
                ReadAnswer::NoQuorum { why } => return Answer::NoQuorum { why },
                ReadAnswer::Stopped => return Answer::Stopped,
            }
            if let Some(rejection) = self.rejection(&command, &encoded).await {
                return Answer::Done { outcome: Outcome::Rejected { rejection } };
            }
        }
        if let Some(why) = self.quorum_risk(&command.body) {
            return Answer::QuorumAtRisk { why };
        }
        match timeout(COMMIT_TIMEOUT, self.0.raft.client_write(encoded)).await {
            Ok(Ok(written)) => match written.data {
                Some(outcome) => Answer::Done { outcome },
                None => Answer::Unknown,
            },
            // Raft says so only before it takes the command, or when the entry was overwritten.
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => Answer::NotLeader,
            Ok(Err(error)) => {
                tracing::warn!(%error, "a command has an open end");
                Answer::Unknown
            }
            Err(_) => Answer::Unknown,
        }
    }

    /// Why the command would be rejected as things stand here.
    async fn rejection(
        &self,
        command: &Arc<Command>,
        encoded: &EncodedCommand,
    ) -> Option<Rejection> {
        let snapshot = self.snapshot();
        if encoded.len_bytes() <= INLINE_MAX_BYTES {
            return snapshot.state.check(command).err();
        }
        let command = Arc::clone(command);
        let checking = tokio::task::spawn_blocking(move || snapshot.state.check(&command).err());
        // Where checking fails, applying decides.
        checking.await.unwrap_or_default()
    }

    /// Why the cluster would lose its quorum by this, on the leader, which hears of all voters.
    fn quorum_risk(&self, body: &CommandBody) -> Option<String> {
        let CommandBody::RemoveNode { name } = body else { return None };
        let snapshot = self.snapshot();
        let leaving = snapshot.state.config.nodes.get(name)?.spec.node_id;
        let metrics = self.metrics();
        let membership = metrics.membership_config.membership();
        let removed = &snapshot.state.cluster.removed_node_ids;
        // Of those that are on their way out already, none can be counted on.
        let voters = membership.get_joint_config().last()?;
        let staying: BTreeSet<u64> = voters.difference(removed).copied().collect();
        if !staying.contains(&leaving)
            || can_spare(&staying, leaving, |node_id| self.is_in_contact(node_id))
        {
            return None;
        }
        let silent = snapshot.state.config.nodes.iter().filter(|node| {
            let node_id = node.spec.node_id;
            node_id != leaving && staying.contains(&node_id) && !self.is_in_contact(node_id)
        });
        let silent: Vec<_> = silent.map(|node| node.name.as_str()).collect();
        Some(format!(
            "without {name}, {} of {} voting nodes must reach each other, but {} can't be \
             reached; bring it back or remove it first",
            (staying.len() - 1) / 2 + 1,
            staying.len() - 1,
            silent.join(", ")
        ))
    }

    async fn forward(&self, leader: u64, encoded: &EncodedCommand) -> Answer {
        let body = encoded.as_str().to_owned().into();
        match self.0.peers.exchange(leader, PROPOSE, body, FORWARD_TIMEOUT).await {
            Ok(answer) => serde_json::from_slice(&answer).unwrap_or(Answer::Unknown),
            Err(error) if error.is_certainly_not_sent() => Answer::NotLeader,
            Err(crate::PeerError::Refused { .. }) => Answer::NotLeader,
            Err(error) => {
                tracing::warn!(%error, "a forwarded command has an open end");
                Answer::Unknown
            }
        }
    }

    /// Lets a caller who goes on to read here find what it wrote.
    async fn wait_for_outcome(&self, outcome: &Outcome) {
        if let Outcome::Applied { index, .. } | Outcome::Replayed { index } = outcome {
            self.wait_applied(*index, APPLIED_WAIT).await;
        }
    }

    /// Whether `index` was applied here in time.
    pub(super) async fn wait_applied(&self, index: u64, within: Duration) -> bool {
        let mut snapshots = self.watch();
        let applied = snapshots.wait_for(|snapshot| snapshot.index >= index);
        matches!(timeout(within, applied).await, Ok(Ok(_)))
    }

    pub(super) async fn barrier(&self) -> Result<u64, ProposeError> {
        let started = Instant::now();
        loop {
            let mut why = None;
            match self.read_index().await {
                ReadAnswer::Index { index } => {
                    let applied = self.wait_applied(index, COMMIT_TIMEOUT).await;
                    return if applied { Ok(index) } else { Err(ProposeError::Unknown) };
                }
                ReadAnswer::Stopped => return Err(ProposeError::Stopped),
                ReadAnswer::NotLeader => {}
                ReadAnswer::NoQuorum { why: said } => why = Some(said),
            }
            if self.has_waited_for_leader(started) {
                let why = why.unwrap_or_else(|| self.why_no_quorum());
                return Err(ProposeError::NoQuorum { why });
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = self.0.stop.cancelled() => return Err(ProposeError::Stopped),
            }
        }
    }

    /// Whether looking for a leader any longer is in vain; at once where there has been none for
    /// long.
    fn has_waited_for_leader(&self, started: Instant) -> bool {
        started.elapsed() > LEADER_WAIT || self.0.contact.without_quorum() > LEADER_WAIT
    }

    async fn read_index(&self) -> ReadAnswer {
        let metrics = self.metrics();
        if metrics.running_state.is_err() || self.0.stop.is_cancelled() {
            return ReadAnswer::Stopped;
        }
        match metrics.current_leader {
            Some(leader) if leader == self.node_id() => self.read_index_here().await,
            Some(leader) => {
                let asked = self.0.peers.call_path(leader, READ_INDEX, &(), CONFIRM_TIMEOUT).await;
                asked.unwrap_or(ReadAnswer::NotLeader)
            }
            None => ReadAnswer::NotLeader,
        }
    }

    /// The index up to which a linearizable read must have been applied, if this node leads; it has
    /// been applied here on return.
    pub(super) async fn read_index_here(&self) -> ReadAnswer {
        let no_quorum = || ReadAnswer::NoQuorum { why: self.why_no_quorum() };
        match timeout(CONFIRM_TIMEOUT, self.0.raft.ensure_linearizable()).await {
            Ok(Ok(read)) => ReadAnswer::Index { index: read.map_or(0, |read| read.index) },
            Ok(Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(_)))) => {
                ReadAnswer::NotLeader
            }
            Ok(Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_)))) | Err(_) => {
                no_quorum()
            }
            Ok(Err(RaftError::Fatal(_))) => ReadAnswer::Stopped,
        }
    }
}
