//! Pools: members and the algorithm that spreads load over them.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::config::{Kind, Reference};
use crate::limits::{
    MEMBER_CONNECTION_LIMIT_MAX, MEMBER_WEIGHT_MAX, POOL_MEMBER_MAX_COUNT, POOL_MONITOR_MAX_COUNT,
};
use crate::resource::Spec;
use crate::validate::FieldErrors;

pub mod adaptive_concurrency;
pub mod circuit_breaker;
pub mod consistent_hash;
pub mod dns;
pub mod http2;
pub mod outlier;
pub mod persistence_table;
pub mod proxy_protocol;
pub mod queue;
pub mod retry;
pub mod tls;

use adaptive_concurrency::AdaptiveConcurrency;
use circuit_breaker::CircuitBreaker;
use consistent_hash::ConsistentHash;
use dns::{DNS_MEMBER_MAX_COUNT, DnsMember};
use http2::{MemberProtocol, PoolHttp2};
use outlier::OutlierEjection;
use persistence_table::PersistenceTableSettings;
use proxy_protocol::ProxyProtocolVersion;
use queue::QueueSettings;
use retry::RetryPolicy;
use tls::PoolTls;

/// Members and the algorithm that spreads load over them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PoolSpec {
    /// How a member is chosen for a request or connection.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// For `consistent_hash`: by what, and how evenly. Absent: its defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistent_hash: Option<ConsistentHash>,
    /// Active health checks; a member is up while all of them say so. None: always up.
    #[serde(default)]
    pub monitors: Vec<String>,
    /// The backends.
    #[serde(default)]
    pub members: Vec<MemberSpec>,
    /// Backends that are named by host name, up to 64; each of their addresses is a member.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_members: Vec<DnsMember>,
    /// What happens where all members are at their `connection_limit`. Absent: the defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueSettings>,
    /// What is remembered of clients whose persistence is not a cookie of ours. Absent: the defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence_table: Option<PersistenceTableSettings>,
    /// Members of lower `priority` serve only while fewer than this many of the higher ones can, 1 to
    /// 4096. Absent: priorities are not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_min_members: Option<u32>,
    /// For how long after coming up or being enabled a member's share grows from a sixteenth to the
    /// whole, in s, 0 to 3600; 0: it gets its whole share at once.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub slow_start_s: u32,
    /// While fewer members than this are up, in percent of those that the operator has enabled, 1 to
    /// 100, health is ignored: requests go to all of them, as too few would be overrun. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub panic_threshold_percent: Option<u8>,
    /// Leaves members out that serve badly. Absent: monitors alone decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlier_ejection: Option<OutlierEjection>,
    /// For `http` and `https`: when a request that failed at a member is tried again. Absent: where no
    /// connection can be made, at three members at most; where one dies before its response, at one
    /// other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// Limits on what the pool is asked at once through one node. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<CircuitBreaker>,
    /// Finds out how many requests the pool can be asked at once, and refuses further ones with 503
    /// `concurrency_limit`. Absent: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adaptive_concurrency: Option<AdaptiveConcurrency>,
    /// Whether the metrics tell responses by class, failures by reason and the time to connect for each
    /// member, and not for the pool alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub member_metrics: bool,
    /// With every member down: true sends to all of them nonetheless, false answers 503.
    #[serde(default)]
    pub fail_open: bool,
    /// Longest wait for a connection to a member, in ms.
    #[serde(default = "default_connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// Idle connections kept to each member by each worker thread.
    #[serde(default = "default_idle_connection_max_count")]
    pub idle_connection_max_count: u32,
    /// How long an idle connection to a member is kept, in ms. Keep it below the member's own
    /// limit, so that it is not the member that closes first.
    #[serde(default = "default_idle_connection_timeout_ms")]
    pub idle_connection_timeout_ms: u64,
    /// What is spoken with the members.
    #[serde(default)]
    pub protocol: MemberProtocol,
    /// For `protocol` `http2`.
    #[serde(default)]
    pub http2: PoolHttp2,
    /// TLS to the members. Absent: plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<PoolTls>,
    /// Begins each connection to a member with a header of the PROXY protocol that names the client;
    /// health checks with one that names nobody. Connections of HTTP are then not shared between
    /// clients, and not kept. Absent: no header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_proxy_protocol: Option<ProxyProtocolVersion>,
}

/// How a member is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// By a key of the request, as `consistent_hash` says: a Maglev lookup table, the same on every
    /// node, so that a change of members moves few others' keys.
    ConsistentHash,
    /// The member with the fewest requests in flight, relative to its weight.
    LeastConnections,
    /// The member with the least product of its time to first byte, lately and on average, and its
    /// requests in flight relative to its weight. For TCP the time to connect.
    LeastTime,
    /// The less loaded, relative to weight, of two members drawn at random: "power of two choices"
    /// (Mitzenmacher, 2001).
    P2c,
    /// The better, by the product that `least_time` goes by, of two members drawn at random; a time
    /// that is worse than the average counts at once, a better one little by little (peak EWMA).
    PeakEwma,
    /// Drawn at random, as often as the weight says.
    Random,
    /// In turn, as often as the weight says, spread evenly (smooth weighted round robin).
    #[default]
    RoundRobin,
    /// By the client's address: weighted rendezvous hashing, so that a change of members moves only
    /// the clients of the members that changed.
    SourceHash,
}

impl Algorithm {
    /// The name used in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConsistentHash => "consistent_hash",
            Self::LeastConnections => "least_connections",
            Self::LeastTime => "least_time",
            Self::P2c => "p2c",
            Self::PeakEwma => "peak_ewma",
            Self::Random => "random",
            Self::RoundRobin => "round_robin",
            Self::SourceHash => "source_hash",
        }
    }

    /// Whether it goes by how long members take.
    pub fn measures_time(self) -> bool {
        matches!(self, Self::LeastTime | Self::PeakEwma)
    }
}

/// One backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct MemberSpec {
    /// Unique in its pool. Absent: `address:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it is.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub address: IpAddr,
    /// The port it serves.
    pub port: u16,
    /// Share of the load relative to the others, 0 to 256; 0 gets none but persistent sessions.
    #[serde(default = "default_weight")]
    pub weight: u16,
    /// The group that it belongs to: the higher, the sooner it serves; see `priority_min_members`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: u32,
    /// Most requests (TCP: connections) in flight to it through one node, 1 to 1000000; others wait,
    /// see `queue`. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_limit: Option<u32>,
    /// What the operator wants of it.
    #[serde(default)]
    pub admin_state: AdminState,
    /// While draining: when the last sessions are cut, in ms since the Unix epoch. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_until_ms: Option<u64>,
}

/// What the operator wants of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AdminState {
    /// Requests of persistent sessions only.
    Disabled,
    /// As disabled until `drain_until_ms`, and forced offline from then on.
    Draining,
    /// All requests.
    #[default]
    Enabled,
    /// No requests; what is under way is finished, tunnels and TCP connections are cut.
    ForcedOffline,
}

impl AdminState {
    /// The name used in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Draining => "draining",
            Self::Enabled => "enabled",
            Self::ForcedOffline => "forced_offline",
        }
    }
}

impl MemberSpec {
    /// An enabled member of weight 1.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            name: None,
            address: address.ip(),
            port: address.port(),
            weight: default_weight(),
            priority: 0,
            connection_limit: None,
            admin_state: AdminState::Enabled,
            drain_until_ms: None,
        }
    }

    /// Its name, or `address:port` where it has none.
    pub fn name(&self) -> Cow<'_, str> {
        match &self.name {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(self.socket_address().to_string()),
        }
    }

    /// Where it serves.
    pub fn socket_address(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }
}

impl Default for PoolSpec {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::default(),
            consistent_hash: None,
            monitors: Vec::new(),
            members: Vec::new(),
            dns_members: Vec::new(),
            queue: None,
            persistence_table: None,
            priority_min_members: None,
            slow_start_s: 0,
            panic_threshold_percent: None,
            outlier_ejection: None,
            retry: None,
            circuit_breaker: None,
            adaptive_concurrency: None,
            member_metrics: false,
            fail_open: false,
            connect_timeout_ms: default_connect_timeout_ms(),
            idle_connection_max_count: default_idle_connection_max_count(),
            idle_connection_timeout_ms: default_idle_connection_timeout_ms(),
            protocol: MemberProtocol::default(),
            http2: PoolHttp2::default(),
            tls: None,
            send_proxy_protocol: None,
        }
    }
}

impl PoolSpec {
    /// The member of that name.
    pub fn member(&self, name: &str) -> Option<&MemberSpec> {
        self.members.iter().find(|member| member.name() == name)
    }

    /// The member of that name, to change.
    pub fn member_mut(&mut self, name: &str) -> Option<&mut MemberSpec> {
        self.members.iter_mut().find(|member| member.name() == name)
    }
}

impl Spec for PoolSpec {
    const KIND: Kind = Kind::Pool;

    fn validate(&self, errors: &mut FieldErrors) {
        errors.range("monitors", self.monitors.len(), 0, POOL_MONITOR_MAX_COUNT);
        errors.range("members", self.members.len(), 0, POOL_MEMBER_MAX_COUNT);
        errors.timeout_ms("connect_timeout_ms", self.connect_timeout_ms, 10);
        errors.range("idle_connection_max_count", self.idle_connection_max_count, 0, 4_096);
        let shares = self.protocol == MemberProtocol::Http2;
        errors.require(
            !shares || self.send_proxy_protocol.is_none(),
            "send_proxy_protocol",
            "not_allowed",
            || "names one client, and clients share connections of protocol http2".to_owned(),
        );
        errors.timeout_ms("idle_connection_timeout_ms", self.idle_connection_timeout_ms, 100);
        if let Some(hash) = &self.consistent_hash {
            let applies = self.algorithm == Algorithm::ConsistentHash;
            errors.require(applies, "consistent_hash", "not_allowed", || {
                "is for algorithm \"consistent_hash\" only".to_owned()
            });
            errors.within("consistent_hash", |errors| {
                hash.validate(errors);
                let table_size = hash.table_size as usize;
                let member_count = self.member_max_count();
                errors.require(member_count <= table_size, "table_size", "out_of_range", || {
                    format!(
                        "is {table_size}, less than there may be members, which are {member_count}"
                    )
                });
            });
        }
        errors.within("http2", |errors| self.http2.validate(errors));
        if let Some(tls) = &self.tls {
            errors.within("tls", |errors| tls.validate(errors));
        }
        self.validate_health(errors);
        if let Some(retry) = &self.retry {
            errors.within("retry", |errors| retry.validate(errors));
        }
        if let Some(breaker) = &self.circuit_breaker {
            errors.within("circuit_breaker", |errors| breaker.validate(errors));
        }
        if let Some(adaptive) = &self.adaptive_concurrency {
            errors.within("adaptive_concurrency", |errors| adaptive.validate(errors));
        }
        if let Some(queue) = &self.queue {
            errors.within("queue", |errors| queue.validate(errors));
        }
        if let Some(table) = &self.persistence_table {
            errors.within("persistence_table", |errors| table.validate(errors));
        }
        let mut names = BTreeSet::new();
        errors.within("members", |errors| {
            for (i, member) in self.members.iter().enumerate() {
                errors.within(i, |errors| {
                    member.validate(errors);
                    let name = member.name().into_owned();
                    if !names.insert(name.clone()) {
                        errors.push("name", "duplicate", format!("member {name} stands above"));
                    }
                });
            }
        });
        self.validate_dns(errors);
    }

    fn references(&self) -> Vec<Reference> {
        let monitors = self.monitors.iter().enumerate();
        monitors
            .map(|(i, name)| Reference::new(format!("/spec/monitors/{i}"), Kind::Monitor, name))
            .chain(self.tls.iter().flat_map(PoolTls::references))
            .collect()
    }
}

impl PoolSpec {
    /// Most members that take new sessions: those declared, and as many as names may bring.
    pub fn member_max_count(&self) -> usize {
        let of_name = |dns: &DnsMember| dns.address_max_count as usize;
        self.members.len() + self.dns_members.iter().map(of_name).sum::<usize>()
    }

    /// Checks the members that are named by host name.
    fn validate_dns(&self, errors: &mut FieldErrors) {
        errors.range("dns_members", self.dns_members.len(), 0, DNS_MEMBER_MAX_COUNT);
        let member_count = self.member_max_count();
        errors.require(
            self.dns_members.is_empty() || member_count <= POOL_MEMBER_MAX_COUNT,
            "dns_members",
            "out_of_range",
            || {
                format!(
                    "may bring the pool to {member_count} members, by address_max_count; \
                     {POOL_MEMBER_MAX_COUNT} are allowed"
                )
            },
        );
        let mut names = BTreeSet::new();
        errors.within("dns_members", |errors| {
            for (i, dns) in self.dns_members.iter().enumerate() {
                errors.within(i, |errors| {
                    dns.validate(errors);
                    if !names.insert((dns.host.to_ascii_lowercase(), dns.port)) {
                        let text = format!("{} stands above with the same port", dns.host);
                        errors.push("host", "duplicate", text);
                    }
                });
            }
        });
    }

    /// Checks what decides which members can serve.
    fn validate_health(&self, errors: &mut FieldErrors) {
        if let Some(count) = self.priority_min_members {
            errors.range("priority_min_members", count as usize, 1, POOL_MEMBER_MAX_COUNT);
        }
        errors.range("slow_start_s", self.slow_start_s, 0, 3_600);
        if let Some(percent) = self.panic_threshold_percent {
            errors.range("panic_threshold_percent", percent, 1, 100);
        }
        if let Some(ejection) = &self.outlier_ejection {
            errors.within("outlier_ejection", |errors| ejection.validate(errors));
        }
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl MemberSpec {
    fn validate(&self, errors: &mut FieldErrors) {
        if let Some(name) = &self.name
            && *name != self.socket_address().to_string()
        {
            crate::validate::name(errors, "name", name);
        }
        errors.range("port", self.port, 1, u16::MAX);
        errors.range("weight", self.weight, 0, MEMBER_WEIGHT_MAX);
        if let Some(limit) = self.connection_limit {
            errors.range("connection_limit", limit, 1, MEMBER_CONNECTION_LIMIT_MAX);
        }
        let usable = !self.address.is_unspecified() && !self.address.is_multicast();
        errors.require(usable, "address", "invalid_address", || {
            format!("{} is no address of one host", self.address)
        });
        let drains = self.admin_state == AdminState::Draining;
        errors.require(
            drains || self.drain_until_ms.is_none(),
            "drain_until_ms",
            "not_allowed",
            || "is for admin_state \"draining\" only".to_owned(),
        );
    }
}

fn default_weight() -> u16 {
    1
}

fn default_connect_timeout_ms() -> u64 {
    3_000
}

fn default_idle_connection_max_count() -> u32 {
    256
}

fn default_idle_connection_timeout_ms() -> u64 {
    50_000
}
