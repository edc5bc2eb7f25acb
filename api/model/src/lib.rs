//! What a Ballast cluster is told (resources), how that is checked, compared and applied, and what
//! it answers (status, problems, events).
//!
//! Everything here is pure: no clock, no randomness, no I/O. Time and identifiers arrive as
//! arguments inside a [`Command`], so that every node that applies the same log reaches the same
//! [`State`], and so that the console can run the very checks that the server runs.

#![forbid(unsafe_code)]

pub mod api;
pub mod command;
pub mod config;
pub mod diff;
pub mod event;
pub mod explain;
pub mod ha;
pub mod limits;
pub mod plan;
pub mod problem;
pub mod resource;
pub mod spec;
pub mod state;
pub mod status;
pub mod tail;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod validate;

pub use command::{
    Command, CommandBody, Edit, EditAction, IdempotencyKey, Origin, Outcome, Precondition,
    Rejection, TicketKey,
};
pub use config::{AnyDraft, AnyResource, Config, Kind, Reference, Table};
pub use plan::{Declaration, Plan, PlanItem, PlanOptions};
pub use problem::Problem;
pub use resource::{Draft, Resource, ResourceRef, Spec};
pub use spec::certificate::{CertificateSpec, Sealed};
pub use spec::jwt_provider::{JwtAlgorithm, JwtProviderSpec};
pub use spec::monitor::agent::AgentProbe;
pub use spec::monitor::grpc::GrpcProbe;
pub use spec::monitor::tls::TlsProbe;
pub use spec::monitor::udp::UdpProbe;
pub use spec::monitor::{HttpProbe, MonitorKind, MonitorSpec, StatusRange};
pub use spec::node::{Availability, NodeInterface, NodeRole, NodeSpec};
pub use spec::policy::{Action, Cidr, Condition, PolicyRule, PolicySpec, RegionSpec, Template};
pub use spec::pool::adaptive_concurrency::AdaptiveConcurrency;
pub use spec::pool::circuit_breaker::CircuitBreaker;
pub use spec::pool::consistent_hash::{ConsistentHash, HashKey};
pub use spec::pool::dns::{AddressFamily, DnsMember, DnsRecord};
pub use spec::pool::http2::{MemberProtocol, MemberWebSockets, PoolHttp2};
pub use spec::pool::outlier::OutlierEjection;
pub use spec::pool::persistence_table::PersistenceTableSettings;
pub use spec::pool::proxy_protocol::ProxyProtocolVersion;
pub use spec::pool::queue::QueueSettings;
pub use spec::pool::retry::{RetryCause, RetryPolicy};
pub use spec::pool::tls::PoolTls;
pub use spec::pool::{AdminState, Algorithm, MemberSpec, PoolSpec};
pub use spec::tls::TlsVersion;
pub use spec::tls::suite::{CipherSuite, KeyExchangeGroup};
pub use spec::token::TokenSpec;
pub use spec::traffic_group::{
    AdvertChecksum, AdvertTransport, Failback, Placement, Signing, TrackedGateway, TrackedNetwork,
    TrackedPool, Tracking, TrafficGroupSpec, VirtualAddress,
};
pub use spec::user::{Role, UserSpec};
pub use spec::virtual_server::{
    AcceptProxyProtocol, AccessLogSettings, Buffering, ClientAuth, ClientAuthMode, ClientHalfClose,
    ForceHttps, ForwardedFor, Hsts, Http2Limits, HttpSettings, Mode, OtherSources, Persistence,
    Priority, Protocol, RequestIdSettings, ServerTls, SniRoute, SourceLimits, TcpSettings,
    TlsPassthrough, TracingSettings, Transport, UdpSettings, UnknownName, UnmatchedName,
    VirtualServerSpec,
};
pub use state::{Cluster, JoinTicket, Snapshot, State};
pub use validate::{FieldError, FieldErrors};
