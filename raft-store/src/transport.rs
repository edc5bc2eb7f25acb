//! How nodes talk: HTTP/1.1 over TLS 1.3, both sides certified by the cluster's own authority.
//!
//! ```text
//! POST /join                no certificate needed: a token admits
//! POST /raft/v1/append      ┐
//! POST /raft/v1/vote        │ certificate of a node of this cluster
//! POST /raft/v1/snapshot    │ that was not removed
//! POST /raft/v1/propose     │
//! POST /raft/v1/read-index  │
//! POST /peer/v1/…           ┘
//! ```
//!
//! Invariant: a node talks to the node whose number it means (the certificate names it), and
//! listens to no node that was removed.

pub(crate) mod client;
pub(crate) mod following;
pub(crate) mod network;
pub(crate) mod server;
pub(crate) mod tls;

/// The largest command that is accepted, in bytes of JSON.
pub(crate) const PROPOSAL_MAX_BYTES: usize = 32 * 1024 * 1024;
/// The largest message between nodes: a command, or many entries of the log, and what is around.
pub(crate) const MESSAGE_MAX_BYTES: usize = PROPOSAL_MAX_BYTES + 4 * 1024 * 1024;
/// Bytes of a snapshot in one message.
pub(crate) const SNAPSHOT_CHUNK_BYTES: u64 = 1024 * 1024;

pub(crate) const APPEND: &str = "/raft/v1/append";
pub(crate) const VOTE: &str = "/raft/v1/vote";
pub(crate) const SNAPSHOT: &str = "/raft/v1/snapshot";
pub(crate) const PROPOSE: &str = "/raft/v1/propose";
pub(crate) const READ_INDEX: &str = "/raft/v1/read-index";
pub(crate) const PEER_PREFIX: &str = "/peer/v1";
pub(crate) const JOIN: &str = "/join";

/// On an append: whether the leader that sends it has heard a quorum lately.
pub(crate) const QUORUM_HEADER: &str = "x-ballast-quorum";
/// On a refusal: why, for programs.
pub(crate) const REFUSAL_HEADER: &str = "x-ballast-refusal";
/// [`REFUSAL_HEADER`] where the caller was removed from the cluster.
pub(crate) const REFUSAL_REMOVED: &str = "removed";
