//! Ballast's replicated configuration store: openraft and sled behind a facade, mTLS between nodes.
//!
//! A node has an [`Identity`] (made by [`identity::init`] or [`identity::join`], read by
//! [`identity::load`]) and, while it runs, one [`Store`]. The library behind it never shows in the
//! public types: commands and snapshots are those of `ballast-model`.
//!
//! Invariant: nothing is acknowledged to anybody before it is on this node's disk, and a store that
//! can't prove that it still has everything it acknowledged is never used again.

#![forbid(unsafe_code)]

mod clock;
pub mod identity;
pub mod keys;
mod raft;
mod storage;
mod store;
mod transport;

pub use identity::{Identity, IdentityError, ServerCertificate};
pub use keys::{ClusterKey, KeyError};
pub use storage::StorageError;
pub use store::{
    Caller, Change, Following, JoinToken, Listen, OpenError, PeerError, Peers, ProposeError,
    SnapshotPolicy, Store, StoreConfig, StoreFailure, TokenError,
};
