//! What requests and answers of the API hold beyond the resources themselves.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::resource::Resource;
use crate::spec::node::NodeRole;
use crate::spec::token::TokenSpec;
use crate::spec::user::Role;

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// The resources, in the order asked for.
    pub items: Vec<T>,
    /// How many match on all pages together.
    pub total: usize,
    /// What to send as `cursor` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Whom to sign in: `POST /sessions`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The user.
    pub username: String,
    /// The password.
    pub password: String,
}

/// Makes the first administrator: `POST /setup`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SetupRequest {
    /// The one-time code that the first start printed.
    pub code: String,
    /// The user to make.
    pub username: String,
    /// The user's password.
    pub password: String,
}

/// Whether the cluster waits for its first administrator: `GET /setup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetupState {
    /// True until the setup code is used.
    pub required: bool,
}

/// Who is signed in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionInfo {
    /// The user, or `token/<name>`.
    pub user: String,
    /// What the user may do.
    pub role: Role,
    /// When it ends, in ms since the Unix epoch. Absent: never by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
    /// What to send as `X-CSRF-Token` with every change, where the session's cookie is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csrf_token: Option<String>,
}

/// How a member is to be drained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct DrainRequest {
    /// When the last sessions are cut, in seconds from now. Absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_s: Option<u64>,
}

/// Asks for leave to join: `POST /cluster/join-tokens`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct JoinTokenRequest {
    /// What the node will do.
    pub role: NodeRole,
}

/// Leave to join, for `ballastd join --token`. Shown once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JoinTokenInfo {
    /// The token: it names the ticket, its secret and the fingerprint of the cluster's authority.
    pub token: String,
    /// What the node will do.
    pub role: NodeRole,
    /// When it expires, in ms since the Unix epoch.
    pub expires_at_ms: u64,
    /// Where the present nodes can be reached, for `--peer`.
    pub peers: Vec<String>,
}

/// What the cluster knows of itself: `GET /cluster`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClusterInfo {
    /// Its name.
    pub name: String,
    /// A random identifier.
    pub uid: String,
    /// Its certificate authority, in PEM.
    pub ca_certificate_pem: String,
    /// SHA-256 of that, in hexadecimal.
    pub ca_fingerprint_sha256: String,
    /// The node that answers.
    pub answered_by: String,
    /// The leader's name, as the answering node knows it.
    pub leader: Option<String>,
    /// Whether the configuration can be changed now.
    pub writable: bool,
    /// The nodes, as declared.
    pub nodes: Vec<ClusterNode>,
    /// How many join tokens wait to be used.
    pub join_tokens: usize,
}

/// A node as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClusterNode {
    /// Its name.
    pub name: String,
    /// Its number.
    pub node_id: u64,
    /// What it does.
    pub role: NodeRole,
    /// Whether it votes; a node that has just joined does not yet.
    pub voter: bool,
    /// `host:port` where the other nodes reach it.
    pub cluster_address: String,
    /// `host:port` of its API.
    pub api_addresses: Vec<String>,
}

/// What `POST /apply` did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApplyReport {
    /// Whether anything was written: false for a dry run, and where nothing was to change.
    pub applied: bool,
    /// The index of the change, or of the configuration that was left as it is.
    pub index: u64,
    /// What changed, or would.
    pub plan: Plan,
}

/// A token that was just made, with the secret that is never shown again.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewToken {
    /// The token.
    #[serde(flatten)]
    pub token: Resource<TokenSpec>,
    /// What to send as `Authorization: Bearer`.
    pub secret: String,
}

/// Shows no secret when printed for debugging.
macro_rules! debug_without_secrets {
    ($( $type:ident: $($shown:ident),* ; )*) => { $(
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type))
                    $( .field(stringify!($shown), &self.$shown) )*
                    .finish_non_exhaustive()
            }
        }
    )* };
}

debug_without_secrets! {
    Credentials: username;
    JoinTokenInfo: role, expires_at_ms, peers;
    NewToken: token;
    SessionInfo: user, role, expires_at_ms;
    SetupRequest: username;
}
