//! Observed state: what nodes report. It never enters the log.

use serde::{Deserialize, Serialize};

use crate::ha::HaStatus;
use crate::spec::node::NodeRole;
use crate::spec::pool::AdminState;

/// What all nodes report, gathered by the node that was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClusterStatus {
    /// The cluster's name.
    pub cluster_name: String,
    /// The index up to which the answering node has applied the log.
    pub index: u64,
    /// The leader's name, as the answering node knows it.
    pub leader: Option<String>,
    /// Whether the configuration can be changed now; if not, `problems` says why.
    pub writable: bool,
    /// Everything that is not as it should be, in sentences.
    pub problems: Vec<String>,
    /// Every node of the cluster.
    pub nodes: Vec<NodeReport>,
}

/// What is known of one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeReport {
    /// Its name.
    pub name: String,
    /// What it does.
    pub role: NodeRole,
    /// What it said of itself; none where it did not answer.
    pub status: Option<NodeStatus>,
    /// Why it did not answer.
    pub error: Option<String>,
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// Its number.
    pub node_id: u64,
    /// What it does.
    pub role: NodeRole,
    /// The version of its software.
    pub version: String,
    /// When the process started, in ms since the Unix epoch.
    pub started_at_ms: u64,
    /// Its part in the replication.
    pub raft: RaftStatus,
    /// What each plane has applied.
    pub planes: Vec<PlaneStatus>,
    /// Addresses that it listens on for virtual servers.
    pub listeners: Vec<ListenerStatus>,
    /// Members as this node sees them.
    pub members: Vec<MemberStatus>,
    /// Traffic of each virtual server through this node since it started.
    pub virtual_servers: Vec<VirtualServerStatus>,
    /// The keys of JWT providers as this node has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jwt_providers: Vec<JwtProviderStatus>,
    /// The certificates that virtual servers and pools of this node use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificateStatus>,
    /// Members' host names as this node has resolved them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<DnsStatus>,
    /// Pools that remember clients on this node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub persistence_tables: Vec<PersistenceTableStatus>,
    /// How this node tells the other traffic nodes of clients and rate limits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub share_peers: Vec<SharePeerStatus>,
    /// High availability; absent on a witness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ha: Option<HaStatus>,
}

/// What a pool remembers of its clients on one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PersistenceTableStatus {
    /// The pool.
    pub pool: String,
    /// Clients that are remembered.
    pub entry_count: u64,
    /// Most that may be.
    pub entry_max_count: u64,
    /// Clients that were forgotten because others came, since the node started.
    pub evicted_total: u64,
}

/// How one node tells another of clients and rate limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SharePeerStatus {
    /// The other node.
    pub node: String,
    /// Whether it answered the last message.
    pub reachable: bool,
    /// How long it has not known of something that the node knows, in ms; 0 where it knows all.
    pub lag_ms: u64,
    /// Entries and keys that wait to be told.
    pub pending_count: u64,
    /// Those that were dropped because too many waited, or for too long, since the node started.
    pub dropped_total: u64,
    /// Times that it was sent all that is remembered, since the node started.
    pub full_transfers_total: u64,
}

/// The keys of a JWT provider as one node has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JwtProviderStatus {
    /// The provider.
    pub name: String,
    /// Keys that tokens are checked with; an RSA key that names no algorithm counts for each.
    pub key_count: usize,
    /// Keys that were skipped because they are not understood.
    pub skipped_count: usize,
    /// When the keys were last fetched, in ms since the Unix epoch; none for those in the resource.
    pub fetched_at_ms: Option<u64>,
    /// Why they could not be had the last time; those that were there are still used.
    pub error: Option<String>,
    /// Tokens that named a key that was not known, since the node started.
    pub unknown_key_count: u64,
}

/// A certificate as one node uses it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CertificateStatus {
    /// The certificate.
    pub name: String,
    /// From when it is good, in ms since the Unix epoch.
    pub not_before_ms: u64,
    /// Until when it is good, in ms since the Unix epoch.
    pub not_after_ms: u64,
    /// What that means now.
    pub state: CertificateState,
    /// Whether it says that clients should refuse it without a staple (RFC 7633).
    pub must_staple: bool,
    /// What is stapled to handshakes.
    pub staple: Option<StapleStatus>,
    /// What is not as it should be, in parts of sentences.
    pub problems: Vec<String>,
}

/// An answer of OCSP that is stapled to handshakes; it says that the certificate is good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StapleStatus {
    /// Since when that was known, in ms since the Unix epoch.
    pub this_update_ms: u64,
    /// Until when it is stapled, in ms since the Unix epoch.
    pub next_update_ms: u64,
}

/// How long a certificate is still good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CertificateState {
    /// Clients refuse it.
    Expired,
    /// Its end is nearer than its `expiry_warning_days`.
    Expiring,
    /// Its time has not begun.
    NotYetValid,
    /// It is good for a while.
    Valid,
}

impl CertificateState {
    /// The name used in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Expiring => "expiring",
            Self::NotYetValid => "not_yet_valid",
            Self::Valid => "valid",
        }
    }
}

/// A member's host name as one node has resolved it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DnsStatus {
    /// The pool.
    pub pool: String,
    /// The name.
    pub host: String,
    /// The port that was declared; none for SRV records.
    pub port: Option<u16>,
    /// The addresses that are members, as `address:port`.
    pub addresses: Vec<String>,
    /// Those that are no longer in the answer and are being drained.
    pub leaving: Vec<String>,
    /// Addresses of the answer that are not members: more than `address_max_count`.
    pub left_out_count: u32,
    /// How long the last good answer was to be held for, in s, within `ttl_min_s` and `ttl_max_s`.
    pub ttl_s: u32,
    /// When the last good answer came, in ms since the Unix epoch; none where none has come yet.
    pub resolved_at_ms: Option<u64>,
    /// When it is asked for again, in ms since the Unix epoch.
    pub next_at_ms: u64,
    /// Why it could not be resolved the last time; the last good answer stays in use.
    pub error: Option<String>,
    /// Good answers since the node started.
    pub answers_total: u64,
    /// Questions without a good answer since the node started.
    pub failures_total: u64,
}

/// A node's part in the replication.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RaftStatus {
    /// `leader`, `follower`, `candidate` or `learner`.
    pub state: String,
    /// The leader's number, as this node knows it.
    pub leader_id: Option<u64>,
    /// The term.
    pub term: u64,
    /// The last entry in its log.
    pub last_log_index: u64,
    /// The last entry that it applied.
    pub applied_index: u64,
    /// Numbers of the voters; while the membership is being changed, of those that vote before and
    /// after it.
    pub voters: Vec<u64>,
    /// Whether a quorum has been heard lately, so that writes can succeed.
    pub has_quorum: bool,
}

/// What a plane has applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PlaneStatus {
    /// `proxy`, `health` or `ha`.
    pub plane: String,
    /// The index of the configuration that it carries out.
    pub applied_index: u64,
    /// Why part of that could not be carried out.
    pub error: Option<String>,
}

/// An address that a node listens on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ListenerStatus {
    /// The virtual server.
    pub virtual_server: String,
    /// `address:port`.
    pub address: String,
    /// Whether it is listening.
    pub listening: bool,
    /// Why not.
    pub error: Option<String>,
}

/// A member as one node sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MemberStatus {
    /// The pool.
    pub pool: String,
    /// The member's name.
    pub member: String,
    /// `address:port`.
    pub address: String,
    /// What the operator wants of it.
    pub admin_state: AdminState,
    /// What the monitors found.
    pub health: Health,
    /// Why, in a sentence with the last probe's facts.
    pub reason: String,
    /// Since when, in ms since the Unix epoch.
    pub since_ms: u64,
    /// How long the last probe took, in µs.
    pub last_probe_us: Option<u64>,
    /// Requests or connections in flight through this node.
    pub in_flight: u64,
    /// Requests or connections sent to it by this node.
    pub requests_total: u64,
    /// Those that failed on its side.
    pub failures_total: u64,
    /// Why a connection of traffic to it failed last, where the reason alone does not say it, such
    /// as in a TLS handshake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<MemberError>,
    /// What its agent has changed of it, in a sentence, as `the agent says 50 % of the weight`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

/// Why a connection to a member failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MemberError {
    /// In a sentence.
    pub text: String,
    /// When, in ms since the Unix epoch.
    pub at_ms: u64,
}

/// What the monitors found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Not known yet: the first probes are under way. It gets traffic only while no member is up.
    #[default]
    Checking,
    /// It does not answer as it should.
    Down,
    /// It has no monitor; it is taken to be up.
    Unmonitored,
    /// It answers as it should.
    Up,
}

/// Traffic of a virtual server through one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VirtualServerStatus {
    /// The virtual server.
    pub name: String,
    /// Client connections open now.
    pub connections: u64,
    /// Client connections accepted.
    pub connections_total: u64,
    /// Requests answered (connections, for `tcp`).
    pub requests_total: u64,
    /// Requests that failed, for any reason.
    pub failures_total: u64,
    /// Bytes received from clients.
    pub received_bytes_total: u64,
    /// Bytes sent to clients.
    pub sent_bytes_total: u64,
}
