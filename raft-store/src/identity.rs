//! Who a node is: its number, its keys, its cluster. Made by [`init`] or [`join`], read by [`load`].
//!
//! ```text
//! <state>/identity/   (0700; files 0600)
//!   node.json         number, name, role, cluster; the authority's key, sealed
//!   node.pem, node-key.pem    for mTLS between nodes
//!   ca.pem            the cluster's authority
//!   cluster.key       the cluster's key
//!   bootstrap.json    the first command, until it is committed (first node only)
//!   unopened          until the store was opened once
//!   api.json          certificate and key of the REST API, made on demand
//! ```
//!
//! Every node holds the cluster's key and, sealed with it, the authority's private key: any node can
//! admit another and certify its own API, with or without the replicated state at hand.
//!
//! Invariant: the directory appears whole or not at all, and is never written over.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use ballast_model::spec::user::{PASSWORD_MAX_BYTES, PASSWORD_MIN_CHARS};
use ballast_model::validate::FieldErrors;
use ballast_model::{
    AnyDraft, Command, CommandBody, Draft, Edit, NodeRole, NodeSpec, Origin, Role, UserSpec,
};

use self::authority::Authority;
use self::files::{IdentityFiles, NodeFile};
use crate::clock::now_ms;
use crate::keys::{ClusterKey, random_bytes, random_id, sha256_hex};
use crate::storage::StorageError;

pub(crate) mod authority;
pub(crate) mod files;
pub(crate) mod joining;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod token;

/// The first node's number. Others get the index of the entry that admits them.
const FIRST_NODE_ID: u64 = 1;
/// Characters of setup codes: Crockford's base 32, which has no I, L, O and U.
const CODE_ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters of a setup code; 5 bits each.
const CODE_CHARS: usize = 12;
const CODE_GROUP_CHARS: usize = 4;
/// The user that [`InitOptions::admin_password`] is for.
const ADMINISTRATOR: &str = "admin";

/// What [`init`] needs to know.
#[derive(Clone)]
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
#[derive(Clone)]
pub struct InitReport {
    /// The one-time code that makes the first user; none where a password was given. Secret.
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
    /// The private key (PKCS #8) in PEM. Secret.
    pub private_key_pem: String,
}

/// Who this node is. Cloning is cheap.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    node: NodeFile,
    files: IdentityFiles,
    ca_pem: String,
    ca_fingerprint_sha256: String,
    chain_pem: String,
    private_key_pem: String,
    keys: ClusterKey,
}

/// Why an identity can't be made or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// What was asked for breaks rules.
    #[error("{0}")]
    Invalid(String),
    /// The directory holds an identity already.
    #[error("{} holds a node already; a node's state is never written over", path.display())]
    Exists {
        /// The state directory.
        path: PathBuf,
    },
    /// The directory holds no identity yet.
    #[error("{} holds no node yet: run `ballastd init` or `ballastd join` first", path.display())]
    Missing {
        /// The state directory.
        path: PathBuf,
    },
    /// The store was damaged and set aside with the identity.
    #[error(
        "this node's store was damaged and is set aside in {}. It can't go on under its number. \
         On a healthy node, remove this one from the cluster and make a join token; then run \
         `ballastd join` here",
        path.display()
    )]
    Quarantined {
        /// Where it is.
        path: PathBuf,
    },
    /// A file of the identity is damaged.
    #[error("{} can't be used: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The state directory can't be read or written.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A key or certificate can't be made.
    #[error("a certificate can't be made: {0}")]
    Certificate(String),
    /// The join token can't be read.
    #[error("this is not a join token")]
    NotAToken,
    /// The peer can't be reached, or is not of the cluster that made the token.
    #[error("can't join through {peer}: {why}")]
    Peer {
        /// The peer's address.
        peer: String,
        /// Why.
        why: String,
    },
    /// The peer refuses.
    #[error("{peer} refuses: {why}")]
    Refused {
        /// The peer's address.
        peer: String,
        /// Why.
        why: String,
    },
}

impl From<StorageError> for IdentityError {
    fn from(error: StorageError) -> Self {
        let what = error.to_string();
        Self::Io { what, source: error.into() }
    }
}

/// Makes a cluster and its first node. Its first command is committed when the store first opens.
///
/// # Errors
/// Where the directory holds an identity already or can't be written, or the options break rules.
pub fn init(state_dir: &Path, options: &InitOptions) -> Result<InitReport, IdentityError> {
    let files = IdentityFiles::vacant(state_dir)?;
    let cluster_uid = random_id();
    let keys = ClusterKey::generate();
    let authority = Authority::generate(&options.cluster_name)?;
    let node_key = authority::generate_key()?;
    let node = NodeFile {
        version: files::VERSION,
        node_id: FIRST_NODE_ID,
        node_name: options.node_name.clone(),
        role: options.role,
        cluster_name: options.cluster_name.clone(),
        cluster_uid: cluster_uid.clone(),
        cluster_address: options.cluster_address.clone(),
        api_addresses: options.api_addresses.clone(),
        ca_key_sealed: keys.seal(authority.private_key_pem().as_bytes()),
    };
    let setup_code = options.admin_password.is_none().then(generate_setup_code);
    let bootstrap = bootstrap(options, &node, &authority, setup_code.as_deref())?;
    let csr = authority::signing_request(&node_key)?;
    let chain_pem = authority.certify_node(&csr, FIRST_NODE_ID, &cluster_uid)?;
    files.create(&files::Contents {
        node: &node,
        chain_pem: &chain_pem,
        private_key_pem: &node_key.serialize_pem(),
        ca_pem: authority.ca_pem(),
        keys: &keys,
        bootstrap: Some(&bootstrap),
    })?;
    Ok(InitReport {
        setup_code,
        ca_fingerprint_sha256: authority.fingerprint().to_owned(),
        cluster_uid,
        node_id: FIRST_NODE_ID,
    })
}

/// Joins the cluster that `token` was made in, through the node at `peer` (`host:port` of its
/// cluster address). The node's private key never leaves this machine.
///
/// # Errors
/// Where the token is refused, the peer is not of the token's cluster, or the directory is in use.
pub async fn join(
    state_dir: &Path,
    token: &str,
    peer: &str,
    options: &JoinOptions,
) -> Result<JoinReport, IdentityError> {
    joining::join(state_dir, token, peer, options).await
}

/// Reads this node's identity.
///
/// # Errors
/// Where there is none, or a file is damaged.
pub fn load(state_dir: &Path) -> Result<Identity, IdentityError> {
    let files = IdentityFiles::existing(state_dir)?;
    let node = files.read_node()?;
    let ca_pem = files.read_text(files::CA)?;
    let keys = ClusterKey::from_base64(&files.read_text(files::CLUSTER_KEY)?)
        .ok_or_else(|| files.damaged(files::CLUSTER_KEY, "it is not a key"))?;
    let ca_fingerprint_sha256 = authority::fingerprint(&ca_pem)?;
    Ok(Identity(Arc::new(Inner {
        chain_pem: files.read_text(files::CERTIFICATE)?,
        private_key_pem: files.read_text(files::PRIVATE_KEY)?,
        node,
        files,
        ca_pem,
        ca_fingerprint_sha256,
        keys,
    })))
}

/// The SHA-256 by which the cluster knows a one-time setup code, whatever case, dashes and spaces it
/// was typed with.
pub fn setup_code_hash(code: &str) -> String {
    let canonical: String = code
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .map(|c| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        })
        .collect();
    sha256_hex(canonical.as_bytes())
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({} {})", self.node_id(), self.node_name())
    }
}

impl Identity {
    /// This node's number.
    pub fn node_id(&self) -> u64 {
        self.0.node.node_id
    }

    /// This node's name.
    pub fn node_name(&self) -> &str {
        &self.0.node.node_name
    }

    /// What this node does.
    pub fn role(&self) -> NodeRole {
        self.0.node.role
    }

    /// The cluster's name, as of when this node was made.
    pub fn cluster_name(&self) -> &str {
        &self.0.node.cluster_name
    }

    /// The cluster's random identifier.
    pub fn cluster_uid(&self) -> &str {
        &self.0.node.cluster_uid
    }

    /// `host:port` where the other nodes reach this one.
    pub fn cluster_address(&self) -> &str {
        &self.0.node.cluster_address
    }

    /// `host:port` of this node's REST API, as announced when it was made.
    pub fn api_addresses(&self) -> &[String] {
        &self.0.node.api_addresses
    }

    /// The cluster's certificate authority, in PEM.
    pub fn ca_pem(&self) -> &str {
        &self.0.ca_pem
    }

    /// SHA-256 of the cluster's certificate authority, in hexadecimal.
    pub fn ca_fingerprint_sha256(&self) -> &str {
        &self.0.ca_fingerprint_sha256
    }

    /// The cluster's key.
    pub fn keys(&self) -> &ClusterKey {
        &self.0.keys
    }

    /// A certificate for this node's REST API, signed by the cluster's authority, good for `names`
    /// (DNS names and IP addresses). Kept in the state directory and renewed when it nears its end
    /// or `names` change.
    ///
    /// # Errors
    /// Where a name is not valid or the state directory can't be written.
    pub fn api_certificate(&self, names: &[String]) -> Result<ServerCertificate, IdentityError> {
        if let Some(kept) = self.0.files.read_api_certificate(names, now_ms()) {
            return Ok(kept);
        }
        let made = self.authority()?.issue_server(names)?;
        self.0.files.write_api_certificate(names, &made, now_ms())?;
        Ok(made)
    }

    /// This node's certificate and key for mTLS.
    pub(crate) fn node_certificate(&self) -> (&str, &str) {
        (&self.0.chain_pem, &self.0.private_key_pem)
    }

    /// The cluster's authority, with its private key.
    pub(crate) fn authority(&self) -> Result<Authority, IdentityError> {
        let key = self.0.keys.open(&self.0.node.ca_key_sealed).map_err(|e| {
            self.0.files.damaged(files::NODE, &format!("the authority's key in it: {e}"))
        })?;
        Authority::open(&self.0.ca_pem, &key)
    }

    pub(crate) fn node_file(&self) -> &NodeFile {
        &self.0.node
    }

    /// The first command, until it is committed.
    pub(crate) fn read_bootstrap(&self) -> Result<Option<Command>, IdentityError> {
        self.0.files.read_bootstrap()
    }

    /// Whether the store was never opened yet, so that there need not be one.
    pub(crate) fn is_unopened(&self) -> bool {
        self.0.files.is_unopened()
    }

    pub(crate) fn mark_opened(&self) -> Result<(), IdentityError> {
        self.0.files.mark_opened()
    }

    pub(crate) fn remove_bootstrap(&self) -> Result<(), IdentityError> {
        self.0.files.remove_bootstrap()
    }
}

fn bootstrap(
    options: &InitOptions,
    node: &NodeFile,
    authority: &Authority,
    setup_code: Option<&str>,
) -> Result<Command, IdentityError> {
    let spec = NodeSpec::new(
        node.node_id,
        options.role,
        &options.cluster_address,
        options.api_addresses.clone(),
    );
    let mut drafts = vec![AnyDraft::Node(Draft::new(&options.node_name, spec))];
    if let Some(password) = &options.admin_password {
        drafts.push(AnyDraft::User(Draft::new(ADMINISTRATOR, administrator(password)?)));
    }
    let mut errors = FieldErrors::default();
    ballast_model::validate::name(&mut errors, "cluster_name", &options.cluster_name);
    drafts.iter().for_each(|draft| draft.validate(&mut errors));
    check(errors)?;
    Ok(Command {
        origin: Origin { actor: format!("node/{}", options.node_name), ..Origin::default() },
        at_ms: now_ms(),
        idempotency: None,
        body: CommandBody::Bootstrap {
            cluster_name: options.cluster_name.clone(),
            cluster_uid: node.cluster_uid.clone(),
            ca_certificate_pem: authority.ca_pem().to_owned(),
            ca_key_sealed: node.ca_key_sealed.clone(),
            setup_code_hash: setup_code.map(setup_code_hash),
            edits: drafts.into_iter().map(|draft| Edit::put(draft, random_id())).collect(),
        },
    })
}

fn check(errors: FieldErrors) -> Result<(), IdentityError> {
    let faults: Vec<_> = errors
        .into_vec()
        .iter()
        .map(|fault| format!("{} {}", fault.pointer.trim_start_matches('/'), fault.message))
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(IdentityError::Invalid(faults.join("; "))) }
}

fn administrator(password: &str) -> Result<UserSpec, IdentityError> {
    if password.chars().count() < PASSWORD_MIN_CHARS || password.len() > PASSWORD_MAX_BYTES {
        return Err(IdentityError::Invalid(format!(
            "the administrator's password must have {PASSWORD_MIN_CHARS} characters to \
             {PASSWORD_MAX_BYTES} bytes"
        )));
    }
    let hash = Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(|e| IdentityError::Invalid(format!("the password can't be hashed: {e}")))?;
    Ok(UserSpec {
        role: Role::Admin,
        password: None,
        password_hash: Some(hash.to_string()),
        disabled: false,
    })
}

fn generate_setup_code() -> String {
    let random: [u8; CODE_CHARS] = random_bytes();
    let chars: Vec<char> = random
        .iter()
        // 32 divides 256: every character is as likely as the others.
        .map(|byte| char::from(CODE_ALPHABET[usize::from(*byte) % CODE_ALPHABET.len()]))
        .collect();
    let groups = chars.chunks(CODE_GROUP_CHARS).map(|group| group.iter().collect::<String>());
    groups.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests;
