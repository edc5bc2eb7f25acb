//! Who a node is: its number, its keys, its cluster. Made by `init` or `join`, read at start.

use std::path::{Path, PathBuf};

use ballast_model::NodeRole;

use crate::keys::ClusterKey;

/// What [`init`] needs to know.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// The new cluster's name.
    pub cluster_name: String,
    /// This node's name.
    pub node_name: String,
    /// What this node does.
    pub role: NodeRole,
    /// `host:port` where the other nodes will reach it.
    pub cluster_address: String,
    /// `host:port` of its REST API.
    pub api_addresses: Vec<String>,
    /// The password of a first user called `admin`; without it, a one-time setup code is made.
    pub admin_password: Option<String>,
}

/// What [`init`] made.
#[derive(Clone, Debug)]
pub struct InitReport {
    /// The one-time code that makes the first user; none where a password was given.
    pub setup_code: Option<String>,
    /// SHA-256 of the cluster's certificate authority, in hexadecimal.
    pub ca_fingerprint_sha256: String,
    /// A random identifier of the cluster.
    pub cluster_uid: String,
    /// This node's number.
    pub node_id: u64,
}

/// What [`join`] needs to know beside the token.
#[derive(Clone, Debug)]
pub struct JoinOptions {
    /// This node's name.
    pub node_name: String,
    /// `host:port` where the other nodes will reach it.
    pub cluster_address: String,
    /// `host:port` of its REST API.
    pub api_addresses: Vec<String>,
}

/// What [`join`] got.
#[derive(Clone, Debug)]
pub struct JoinReport {
    /// The cluster's name.
    pub cluster_name: String,
    /// This node's number.
    pub node_id: u64,
    /// What this node does, as the token says.
    pub role: NodeRole,
    /// SHA-256 of the cluster's certificate authority, in hexadecimal.
    pub ca_fingerprint_sha256: String,
}

/// A certificate with its key, for a TLS server.
#[derive(Clone)]
pub struct ServerCertificate {
    /// The chain, leaf first, in PEM.
    pub chain_pem: String,
    /// The private key (PKCS #8) in PEM.
    pub private_key_pem: String,
}

/// Who this node is.
#[derive(Clone)]
pub struct Identity {}

/// Why an identity can't be made or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The directory holds an identity already.
    #[error("{} holds a node of cluster {cluster:?} already", path.display())]
    Exists {
        /// The state directory.
        path: PathBuf,
        /// The cluster that it belongs to.
        cluster: String,
    },
    /// The directory holds no identity yet.
    #[error("{} holds no node yet: run `ballastd init` or `ballastd join` first", path.display())]
    Missing {
        /// The state directory.
        path: PathBuf,
    },
}

/// Makes a cluster and its first node. Its first command is committed when the store first opens.
///
/// # Errors
/// Where the directory holds an identity already or can't be written.
pub fn init(_state_dir: &Path, _options: &InitOptions) -> Result<InitReport, IdentityError> {
    unimplemented!()
}

/// Joins the cluster that `token` was made in, through the node at `peer` (`host:port` of its
/// cluster address).
///
/// # Errors
/// Where the token is refused, the peer is not the token's cluster, or the directory is in use.
pub async fn join(
    _state_dir: &Path,
    _token: &str,
    _peer: &str,
    _options: &JoinOptions,
) -> Result<JoinReport, IdentityError> {
    unimplemented!()
}

/// Reads this node's identity.
///
/// # Errors
/// Where there is none, or a file is damaged.
pub fn load(_state_dir: &Path) -> Result<Identity, IdentityError> {
    unimplemented!()
}

impl Identity {
    /// This node's number.
    pub fn node_id(&self) -> u64 {
        unimplemented!()
    }

    /// This node's name.
    pub fn node_name(&self) -> &str {
        unimplemented!()
    }

    /// What this node does.
    pub fn role(&self) -> NodeRole {
        unimplemented!()
    }

    /// The cluster's name, as of when this node was made.
    pub fn cluster_name(&self) -> &str {
        unimplemented!()
    }

    /// The cluster's random identifier.
    pub fn cluster_uid(&self) -> &str {
        unimplemented!()
    }

    /// `host:port` where the other nodes reach this one.
    pub fn cluster_address(&self) -> &str {
        unimplemented!()
    }

    /// `host:port` of this node's REST API, as announced when it was made.
    pub fn api_addresses(&self) -> &[String] {
        unimplemented!()
    }

    /// The cluster's certificate authority, in PEM.
    pub fn ca_pem(&self) -> &str {
        unimplemented!()
    }

    /// SHA-256 of the cluster's certificate authority, in hexadecimal.
    pub fn ca_fingerprint_sha256(&self) -> &str {
        unimplemented!()
    }

    /// The cluster's key.
    pub fn keys(&self) -> &ClusterKey {
        unimplemented!()
    }

    /// A certificate for this node's REST API, signed by the cluster's authority, good for `names`
    /// (DNS names and IP addresses). Kept in the state directory and renewed when it nears its end
    /// or `names` change.
    ///
    /// # Errors
    /// Where a name is not valid or the state directory can't be written.
    pub fn api_certificate(&self, _names: &[String]) -> Result<ServerCertificate, IdentityError> {
        unimplemented!()
    }
}
