//! The facade: propose commands, watch snapshots, reach the other nodes.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ballast_model::status::RaftStatus;
use ballast_model::{Command, NodeRole, Origin, Outcome, Rejection, ResourceRef, Snapshot};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{broadcast, watch};

use crate::identity::Identity;
use crate::keys::ClusterKey;

/// What a store needs to run.
pub struct StoreConfig {
    /// Who this node is.
    pub identity: Identity,
    /// Where it keeps its state; the directory that the identity was loaded from.
    pub state_dir: PathBuf,
    /// Where it listens for the other nodes.
    pub listen: Listen,
}

/// Where to listen.
pub enum Listen {
    /// Bind this address.
    Address(SocketAddr),
    /// Take this listener, bound already.
    Bound(TcpListener),
}

/// A command that was applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Its Raft index.
    pub index: u64,
    /// When its proposer made it, in ms since the Unix epoch.
    pub at_ms: u64,
    /// Who asked.
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
    /// The cluster address can't be listened on.
    #[error("can't listen for the other nodes on {address}")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
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
    #[error(transparent)]
    Rejected(Rejection),
}

/// Why a call to another node failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// There is no such node.
    #[error("there is no node {0}")]
    UnknownNode(u64),
}

/// The other nodes, over mTLS.
#[derive(Clone)]
pub struct Peers {}

impl Peers {
    /// Calls `POST /peer/v1/<path>` of another node with `body` as JSON, and reads the answer as
    /// JSON. The answer must have status 200.
    ///
    /// # Errors
    /// Where the node is unknown, can't be reached, does not answer in time, or refuses.
    pub async fn call<Req: Serialize, Res: DeserializeOwned>(
        &self,
        _node_id: u64,
        _path: &str,
        _body: &Req,
        _timeout: Duration,
    ) -> Result<Res, PeerError> {
        unimplemented!()
    }
}

/// The replicated store of one node. Cloning is cheap.
#[derive(Clone)]
pub struct Store {}

impl Store {
    /// Opens the store: reads what is on disk, starts to replicate and to listen.
    ///
    /// `peer_routes` are served to the other nodes below `/peer/v1/`.
    ///
    /// # Errors
    /// Where the store is damaged (it is then quarantined), in use, or the address is taken.
    pub async fn open(_config: StoreConfig, _peer_routes: axum::Router) -> Result<Self, OpenError> {
        unimplemented!()
    }

    /// The newest snapshot that was applied here.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        unimplemented!()
    }

    /// Follows the newest snapshot.
    pub fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        unimplemented!()
    }

    /// Follows commands as they are applied. A reader that is too slow gets `Lagged`.
    pub fn changes(&self) -> broadcast::Receiver<Arc<Change>> {
        unimplemented!()
    }

    /// Proposes a command, through the leader wherever that is, and waits for its outcome.
    ///
    /// # Errors
    /// See [`ProposeError`]. A command that was refused is an `Ok` with [`Outcome::Rejected`].
    pub async fn propose(&self, _command: Command) -> Result<Outcome, ProposeError> {
        unimplemented!()
    }

    /// Waits until everything that was acknowledged anywhere before the call is applied here;
    /// returns that index.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn read_barrier(&self) -> Result<u64, ProposeError> {
        unimplemented!()
    }

    /// This node's part in the replication.
    pub fn status(&self) -> RaftStatus {
        unimplemented!()
    }

    /// This node's number.
    pub fn node_id(&self) -> u64 {
        unimplemented!()
    }

    /// This node's name.
    pub fn node_name(&self) -> &str {
        unimplemented!()
    }

    /// The cluster's key.
    pub fn keys(&self) -> &ClusterKey {
        unimplemented!()
    }

    /// Who this node is.
    pub fn identity(&self) -> &Identity {
        unimplemented!()
    }

    /// Where this node listens for the others.
    pub fn cluster_listen_address(&self) -> SocketAddr {
        unimplemented!()
    }

    /// The other nodes.
    pub fn peers(&self) -> &Peers {
        unimplemented!()
    }

    /// Makes a token that lets one node join within 15 minutes.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn create_join_token(
        &self,
        _role: NodeRole,
        _origin: Origin,
    ) -> Result<JoinToken, TokenError> {
        unimplemented!()
    }

    /// Takes a node out of the cluster for good.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn remove_node(&self, _name: &str, _origin: Origin) -> Result<Outcome, ProposeError> {
        unimplemented!()
    }

    /// Resolves when the store has stopped by itself (its disk failed, or this node was removed
    /// from the cluster), with the reason in a sentence.
    pub async fn failed(&self) -> String {
        unimplemented!()
    }

    /// Stops replicating and listening, and closes the database.
    pub async fn shutdown(&self) {
        unimplemented!()
    }
}
