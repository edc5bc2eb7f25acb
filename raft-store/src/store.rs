//! The facade: propose commands, watch snapshots, reach the other nodes.
//!
//! ```text
//! propose ──► on the leader: check, write, wait until applied ──► outcome
//!         └─► elsewhere: forward to the leader, then wait until applied here too
//! ```
//!
//! Invariant: an error says whether the command may still take effect. Only `Unknown` leaves it
//! open.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use ballast_model::status::RaftStatus;
use ballast_model::{
    Command, CommandBody, NodeRole, Origin, Outcome, Rejection, ResourceRef, Snapshot,
};
use tokio::sync::{Semaphore, broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::contact::Contact;
use crate::clock::now_ms;
use crate::identity::token::Token;
use crate::identity::{Identity, IdentityError};
use crate::keys::ClusterKey;
use crate::raft::Raft;
use crate::storage::StorageError;
use crate::storage::machine::Published;
pub use crate::store::status::StoreFailure;
pub use crate::transport::client::{PeerError, Peers};
pub use crate::transport::following::Following;
pub use crate::transport::server::Caller;

mod admission;
pub(crate) mod contact;
mod opening;
mod proposing;
mod reconciler;
mod routes;
mod status;

/// How often the leader writes to each node.
pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(250);
/// How long a node hears nothing before it stands for election: a random time in between.
pub(crate) const ELECTION_TIMEOUT_MIN: Duration = Duration::from_secs(1);
pub(crate) const ELECTION_TIMEOUT_MAX: Duration = Duration::from_secs(2);
/// How long a join token is good for.
const JOIN_TOKEN_LIFETIME_MS: u64 = 15 * 60 * 1_000;
/// How long to wait for the thread that writes to end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a store needs to run.
pub struct StoreConfig {
    /// Who this node is.
    pub identity: Identity,
    /// Where it keeps its state; the directory that the identity was loaded from.
    pub state_dir: PathBuf,
    /// Where it listens for the other nodes.
    pub listen: Listen,
    /// How often to make snapshots.
    pub snapshots: SnapshotPolicy,
}

/// Where to listen.
pub enum Listen {
    /// Bind this address.
    Address(SocketAddr),
    /// Take this listener, bound already.
    Bound(TcpListener),
}

/// How often to make snapshots, and how much of the log to keep behind them.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotPolicy {
    /// Entries from one snapshot to the next.
    pub every_count: u64,
    /// Entries kept behind a snapshot, so that a node that was away shortly needs no snapshot.
    pub keep_count: u64,
}

impl Default for SnapshotPolicy {
    fn default() -> Self {
        Self { every_count: 1_000, keep_count: 1_000 }
    }
}

/// A command that was applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Its Raft index.
    pub index: u64,
    /// When its proposer made it, in ms since the Unix epoch.
    pub at_ms: u64,
    /// Who asked. `node/snapshot` where this node got many changes at once, as a snapshot.
    pub origin: Origin,
    /// The resources that it created, changed or deleted.
    pub changed: Vec<ResourceRef>,
}

/// A single-use token that lets one node join.
#[derive(Clone)]
pub struct JoinToken {
    /// What to give to `ballastd join --token`. Secret.
    pub text: String,
    /// Its public identifier.
    pub id: String,
    /// When it expires, in ms since the Unix epoch.
    pub expires_at_ms: u64,
}

/// Why a store can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The store is damaged. It and the identity were set aside; the node must join anew.
    #[error(
        "the store is damaged and was set aside in {}: {why}. This node can't go on under its \
         number. On a healthy node, remove this one from the cluster and make a join token; then \
         run `ballastd join` here",
        quarantine.display()
    )]
    Quarantined {
        /// Where it is now.
        quarantine: PathBuf,
        /// What is damaged.
        why: String,
    },
    /// The store can't be read or written now, is in use, or was written by a newer version.
    #[error(transparent)]
    Storage(StorageError),
    /// The identity can't be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The cluster address can't be listened on.
    #[error("can't listen for the other nodes on {address}")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The replication does not start.
    #[error("the replication does not start: {0}")]
    Raft(String),
}

/// Why a command has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// Certainly not done: too few nodes can be reached.
    #[error("the configuration can't be changed now: {why}")]
    NoQuorum {
        /// Who is missing, in a sentence.
        why: String,
    },
    /// Certainly not done: the cluster could not decide on anything afterwards.
    #[error("the cluster would lose its quorum: {why}")]
    QuorumAtRisk {
        /// Who is missing, in a sentence.
        why: String,
    },
    /// It may or may not take effect, now or later.
    #[error("no answer in time: the change may or may not take effect")]
    Unknown,
    /// Certainly not done: the command is too large.
    #[error("the change is {bytes} bytes long; the most is {max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The most that is accepted.
        max: usize,
    },
    /// The store is stopping or has failed.
    #[error("this node's store has stopped")]
    Stopped,
}

/// Why a join token can't be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It could not be stored.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// It was refused.
    #[error("the join token was refused: {0}")]
    Rejected(Rejection),
}

/// The replicated store of one node. Cloning is cheap. It runs until [`Store::shutdown`], also when
/// no clone is left.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    identity: Identity,
    raft: Raft,
    peers: Peers,
    published: Published,
    contact: Arc<Contact>,
    listen_address: SocketAddr,
    /// Joins that are decided at the same time.
    joins: Semaphore,
    stop: CancellationToken,
    tasks: TaskTracker,
    writer_thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Store {
    /// Opens the store: reads and checks what is on disk, starts to replicate and to listen. The
    /// first node of a cluster returns when its first command is committed.
    ///
    /// `peer_routes` are served to the other nodes below `/peer/v1/`, where [`Peers::call`] finds
    /// them.
    ///
    /// # Errors
    /// Where the store is damaged (it is then quarantined), in use, or the address is taken.
    pub async fn open(config: StoreConfig, peer_routes: Router) -> Result<Self, OpenError> {
        opening::open(config, peer_routes).await
    }

    /// The newest snapshot that was applied here.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.published.snapshot.borrow())
    }

    /// Follows the newest snapshot.
    pub fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.0.published.snapshot.subscribe()
    }

    /// Follows commands as they are applied, each after the snapshot that holds it. A reader that is
    /// too slow gets `Lagged`.
    pub fn changes(&self) -> broadcast::Receiver<Arc<Change>> {
        self.0.published.changes.subscribe()
    }

    /// Proposes a command, through the leader wherever that is, and waits for its outcome; then, for
    /// up to two seconds, until it is applied here too.
    ///
    /// A command that would be rejected does not enter the log. One with an idempotency key is sent
    /// again where an answer was lost, another never.
    ///
    /// # Errors
    /// See [`ProposeError`]. A command that was refused is an `Ok` with [`Outcome::Rejected`].
    pub async fn propose(&self, command: Command) -> Result<Outcome, ProposeError> {
        self.propose_command(command).await
    }

    /// Waits until everything that was acknowledged anywhere before the call is applied here;
    /// returns that index.
    ///
    /// # Errors
    /// See [`ProposeError`]; nothing is written, so `Unknown` means no more than "no answer".
    pub async fn read_barrier(&self) -> Result<u64, ProposeError> {
        self.barrier().await
    }

    /// This node's part in the replication.
    pub fn status(&self) -> RaftStatus {
        self.raft_status()
    }

    /// This node's number.
    pub fn node_id(&self) -> u64 {
        self.0.identity.node_id()
    }

    /// This node's name.
    pub fn node_name(&self) -> &str {
        self.0.identity.node_name()
    }

    /// The cluster's key.
    pub fn keys(&self) -> &ClusterKey {
        self.0.identity.keys()
    }

    /// Who this node is.
    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// Where this node listens for the others.
    pub fn cluster_listen_address(&self) -> SocketAddr {
        self.0.listen_address
    }

    /// The other nodes.
    pub fn peers(&self) -> &Peers {
        &self.0.peers
    }

    /// Makes a token that lets one node join within 15 minutes.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn create_join_token(
        &self,
        role: NodeRole,
        origin: Origin,
    ) -> Result<JoinToken, TokenError> {
        let token = Token::generate(self.0.identity.ca_fingerprint_sha256())
            .ok_or(TokenError::Propose(ProposeError::Stopped))?;
        let at_ms = now_ms();
        let expires_at_ms = at_ms + JOIN_TOKEN_LIFETIME_MS;
        let body = CommandBody::CreateJoinTicket {
            id: token.id(),
            secret_hash: token.secret_hash(),
            role,
            expires_at_ms,
        };
        match self.propose(Command { origin, at_ms, idempotency: None, body }).await? {
            Outcome::Rejected { rejection } => Err(TokenError::Rejected(rejection)),
            Outcome::Applied { .. } | Outcome::Replayed { .. } => {
                Ok(JoinToken { text: token.to_text(), id: token.id(), expires_at_ms })
            }
        }
    }

    /// Takes a node out of the cluster for good: its number is never used again and its certificate
    /// is refused from then on.
    ///
    /// # Errors
    /// See [`ProposeError`]; `QuorumAtRisk` where those that remain can't reach each other.
    pub async fn remove_node(&self, name: &str, origin: Origin) -> Result<Outcome, ProposeError> {
        let body = CommandBody::RemoveNode { name: name.to_owned() };
        self.propose(Command { origin, at_ms: now_ms(), idempotency: None, body }).await
    }

    /// Resolves when the store can't go on by itself (its disk failed, or this node was removed from
    /// the cluster). Never after [`Store::shutdown`].
    pub async fn failed(&self) -> StoreFailure {
        self.wait_for_failure().await
    }

    /// Stops replicating and listening, and closes the database.
    pub async fn shutdown(&self) {
        self.0.stop.cancel();
        if let Err(error) = self.0.raft.shutdown().await {
            tracing::warn!(%error, "the replication did not end well");
        }
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.0.peers.close().await;
        let thread = self.0.writer_thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        let closed = tokio::task::spawn_blocking(move || thread.join());
        match tokio::time::timeout(CLOSE_TIMEOUT, closed).await {
            Ok(Ok(Ok(()))) => {}
            Ok(_) => tracing::warn!("the store's writing thread panicked"),
            Err(_) => tracing::warn!("the store is still being written; leaving it to itself"),
        }
    }
}
