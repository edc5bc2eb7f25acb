//! Virtual servers: what clients connect to.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

mod http2;

pub use http2::Http2Limits;

use super::pool::queue::validate_priority;
use super::yes;
use crate::config::{Kind, Reference};
use crate::limits::{
    ADDRESS_MAX_COUNT, CERTIFICATE_MAX_COUNT, PORT_MAX_COUNT, SERVER_POLICY_MAX_COUNT,
};
use crate::resource::Spec;
use crate::validate::FieldErrors;

mod access_log;
mod buffering;
mod half_close;
mod https;
mod limits;
mod min_rate;
mod passthrough;
mod persistence;
mod proxy_protocol;
mod tcp;
mod tls;
mod tracing;
mod udp;
mod upgrade;

pub use access_log::AccessLogSettings;
pub use buffering::Buffering;
pub use half_close::ClientHalfClose;
pub use https::{ForceHttps, Hsts};
pub use limits::{Priority, SourceLimits};
pub use passthrough::{SniRoute, TlsPassthrough, UnmatchedName};
pub use persistence::{PERSISTENCE_IDLE_MAX_S, Persistence};
pub use proxy_protocol::{AcceptProxyProtocol, OtherSources};
pub use tcp::TcpSettings;
pub use tls::{ClientAuth, ClientAuthMode, ServerTls, UnknownName};
pub use tracing::{RequestIdSettings, TracingSettings};
pub use udp::UdpSettings;

/// What clients connect to, and where their requests go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct VirtualServerSpec {
    /// Off: its listeners are closed and its connections ended after their current request.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// How packets reach the members.
    #[serde(default)]
    pub mode: Mode,
    /// What is spoken with clients.
    pub protocol: Protocol,
    /// Addresses to listen on; `0.0.0.0` and `::` mean every address of the node.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub addresses: Vec<IpAddr>,
    /// Ports to listen on, at each of the addresses.
    pub ports: Vec<u16>,
    /// The pool that serves it, unless a policy sends a request elsewhere.
    pub pool: String,
    /// For `http` and `https`: policies, at most 16, the first to be tried first. The rules of all of
    /// them are tried in turn as if they stood in one: the first with a final action that matches
    /// decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// For `https`: certificates, chosen by the name that the client asks for (SNI, RFC 6066 §3);
    /// the first is for clients that ask for none or for an unknown one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<String>,
    /// For `https`: versions, names, and certificates of clients. Absent: TLS 1.2 and 1.3, clients are
    /// not asked who they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
    /// How a client finds back to the member that served it before.
    #[serde(default)]
    pub persistence: Persistence,
    /// Most client connections at once on one node; more are refused. Absent: no limit of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_limit: Option<u32>,
    /// What one source of connections may do.
    #[serde(default)]
    pub source_limits: SourceLimits,
    /// How much it matters where the node runs short.
    #[serde(default)]
    pub priority: Priority,
    /// How soon its requests (TCP: connections) get room at members that are all at their
    /// `connection_limit`, -100 to 100, default 0: the higher, the sooner, whatever virtual server of the
    /// pool the others came by; among equals who has waited for longest. Datagrams do not wait.
    #[serde(default)]
    pub queue_priority: i8,
    /// For `http` and `https`.
    #[serde(default)]
    pub http: HttpSettings,
    /// For `tcp` and `tls_passthrough`.
    #[serde(default)]
    pub tcp: TcpSettings,
    /// For `udp`.
    #[serde(default)]
    pub udp: UdpSettings,
    /// For `tls_passthrough`. Absent: every connection goes to `pool`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_passthrough: Option<TlsPassthrough>,
    /// Who may say by the PROXY protocol whose connection it passes on. Absent: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_proxy_protocol: Option<AcceptProxyProtocol>,
}

/// How packets reach the members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Connections end at the node, which opens others to the members.
    #[default]
    Proxy,
}

/// What is spoken with clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1 (RFC 9112) and, by prior knowledge, HTTP/2 (RFC 9113).
    Http,
    /// HTTP/1.1 and HTTP/2 over TLS 1.2 or 1.3.
    Https,
    /// Any TCP stream.
    Tcp,
    /// TLS that is passed on unopened, by the server name that the client asks for.
    TlsPassthrough,
    /// Datagrams (RFC 768).
    Udp,
}

impl Protocol {
    /// Whether requests are understood, not only bytes passed on.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }

    /// The name used in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
            Self::TlsPassthrough => "tls_passthrough",
            Self::Udp => "udp",
        }
    }

    /// What its ports are ports of.
    pub fn transport(self) -> Transport {
        match self {
            Self::Http | Self::Https | Self::Tcp | Self::TlsPassthrough => Transport::Tcp,
            Self::Udp => Transport::Udp,
        }
    }
}

/// What carries a protocol: a port of one has nothing to do with the same port of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Streams (RFC 9293).
    Tcp,
    /// Datagrams (RFC 768).
    Udp,
}

impl Transport {
    /// The name used in texts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// How the client's address reaches the members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ForwardedFor {
    /// The client's address is added to the `X-Forwarded-For` that came. `Forwarded` (RFC 7239) is
    /// dropped: a member must not take one that we did not write for the truth.
    #[default]
    Append,
    /// What came is dropped, `Forwarded` (RFC 7239) too: `X-Forwarded-For` holds the client's address
    /// alone.
    Replace,
    /// `X-Forwarded-*` and `Forwarded` are passed on as they came.
    Off,
}

/// Settings of a virtual server that speaks HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct HttpSettings {
    /// How the client's address reaches the members.
    pub forwarded_for: ForwardedFor,
    /// Longest time from a request's first byte to the end of its header, in ms.
    pub header_timeout_ms: u64,
    /// Longest silence between two requests of a connection, in ms.
    pub keep_alive_timeout_ms: u64,
    /// Longest silence in the middle of a request's or response's body, in ms.
    pub body_idle_timeout_ms: u64,
    /// Least rate at which a client sends a request's body, in bytes per second, 0 to 1,000,000; 0 means
    /// none. Only time in which the client is waited for counts, and calls of gRPC are free of it.
    /// Streams of an HTTP/2 connection share it. Default 240.
    pub body_min_bytes_per_s: u32,
    /// Least rate at which a client takes a response, in bytes per second, 0 to 1,000,000; 0 means none.
    /// Only time in which the client is waited for counts: not that of a member that has nothing to say.
    /// Streams of an HTTP/2 connection share it. Upgraded connections are free of it. Default 240.
    pub response_min_bytes_per_s: u32,
    /// How long a client may be below these rates, in ms, 1,000 to 600,000: time that we wait for it
    /// uses it up, bytes that it sends or takes give it back. It is never less than a second more than
    /// `body_idle_timeout_ms`. Default 30,000.
    pub min_rate_grace_ms: u64,
    /// Longest wait for the first byte of a member's response, in ms.
    pub response_timeout_ms: u64,
    /// Longest silence, both ways, of an upgraded connection (WebSocket), in ms.
    pub tunnel_idle_timeout_ms: u64,
    /// Largest request header, all its lines together, in bytes.
    pub header_max_bytes: u32,
    /// Most header fields of a request.
    pub header_max_count: u16,
    /// Longest request target, in bytes.
    pub uri_max_bytes: u32,
    /// Whether requests are served whose path has an escaped slash or backslash (`%2F`, `%5C`), an
    /// escaped zero, or a backslash, on a virtual server with policies; otherwise they are answered
    /// 400. Members disagree about such paths, so that rules for paths can be passed by. Without
    /// policies they are always served. Default false.
    pub allow_ambiguous_paths: bool,
    /// Largest request body, in bytes. Absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_max_bytes: Option<u64>,
    /// What is held of requests and responses, so that slow clients don't keep members busy.
    pub buffering: Buffering,
    /// What becomes of a request of HTTP/1.1 whose client closes its side of the connection meanwhile.
    pub client_half_close: ClientHalfClose,
    /// Whether HTTP/2 is spoken with clients that want it: with `https` by ALPN, with `http` if the
    /// connection begins with HTTP/2 (prior knowledge, RFC 9113 §3.3).
    pub http2: bool,
    /// Limits of an HTTP/2 connection.
    pub http2_limits: Http2Limits,
    /// Protocols that a client may change its connection to, if a member agrees (`Upgrade`, RFC 9110
    /// §7.8); 0 to 8. Over HTTP/2 only `websocket` (RFC 8441).
    pub upgrades: Vec<String>,
    /// What is written to the node's access log.
    #[serde(deserialize_with = "access_log::settings_or_bool")]
    pub access_log: AccessLogSettings,
    /// The identifier of each request.
    pub request_id: RequestIdSettings,
    /// W3C trace context.
    pub tracing: TracingSettings,
    /// For `http`: every client is sent to the same place with TLS. Absent: requests are served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force_https: Option<ForceHttps>,
    /// For `https`: clients are told to come with TLS only. Absent: what members say of it is passed
    /// on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hsts: Option<Hsts>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            forwarded_for: ForwardedFor::Append,
            header_timeout_ms: 10_000,
            keep_alive_timeout_ms: 60_000,
            body_idle_timeout_ms: 30_000,
            body_min_bytes_per_s: min_rate::DEFAULT_BYTES_PER_S,
            response_min_bytes_per_s: min_rate::DEFAULT_BYTES_PER_S,
            min_rate_grace_ms: min_rate::DEFAULT_GRACE_MS,
            response_timeout_ms: 60_000,
            tunnel_idle_timeout_ms: 3_600_000,
            header_max_bytes: 64 * 1024,
            header_max_count: 128,
            uri_max_bytes: 16 * 1024,
            allow_ambiguous_paths: false,
            body_max_bytes: None,
            buffering: Buffering::default(),
            client_half_close: ClientHalfClose::default(),
            http2: true,
            http2_limits: Http2Limits::default(),
            upgrades: upgrade::default_upgrades(),
            access_log: AccessLogSettings::default(),
            request_id: RequestIdSettings::default(),
            tracing: TracingSettings::default(),
            force_https: None,
            hsts: None,
        }
    }
}

impl VirtualServerSpec {
    /// A virtual server with default settings.
    pub fn new(protocol: Protocol, listen: SocketAddr, pool: impl Into<String>) -> Self {
        Self {
            enabled: true,
            mode: Mode::Proxy,
            protocol,
            addresses: vec![listen.ip()],
            ports: vec![listen.port()],
            pool: pool.into(),
            policies: Vec::new(),
            certificates: Vec::new(),
            tls: None,
            persistence: Persistence::None,
            connection_limit: None,
            source_limits: SourceLimits::default(),
            priority: Priority::default(),
            queue_priority: 0,
            http: HttpSettings::default(),
            tcp: TcpSettings::default(),
            udp: UdpSettings::default(),
            tls_passthrough: None,
            accept_proxy_protocol: None,
        }
    }

    /// Every address and port it listens on while enabled; of a spec that breaks the bounds on
    /// them, those within.
    pub fn listeners(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let ports = &self.ports[..self.ports.len().min(PORT_MAX_COUNT)];
        self.addresses
            .iter()
            .take(ADDRESS_MAX_COUNT)
            .flat_map(|address| ports.iter().map(|port| SocketAddr::new(*address, *port)))
    }

    /// How many [`listeners`](Self::listeners) it has.
    pub fn listener_count(&self) -> usize {
        self.addresses.len().min(ADDRESS_MAX_COUNT) * self.ports.len().min(PORT_MAX_COUNT)
    }
}

impl Spec for VirtualServerSpec {
    const KIND: Kind = Kind::VirtualServer;

    fn validate(&self, errors: &mut FieldErrors) {
        list_without_repeats(errors, "addresses", &self.addresses, ADDRESS_MAX_COUNT);
        errors.within("addresses", |errors| {
            for (i, address) in self.addresses.iter().enumerate() {
                errors.require(!address.is_multicast(), i, "invalid_address", || {
                    "is a multicast address; a virtual server listens on unicast ones".to_owned()
                });
            }
        });
        list_without_repeats(errors, "ports", &self.ports, PORT_MAX_COUNT);
        errors.within("ports", |errors| {
            for (i, port) in self.ports.iter().enumerate() {
                errors.require(*port != 0, i, "out_of_range", || {
                    "is 0; the range is 1 to 65535".to_owned()
                });
            }
        });
        errors.require(!self.pool.is_empty(), "pool", "required", || {
            "names no pool; every virtual server needs one".to_owned()
        });
        if !self.policies.is_empty() {
            list_without_repeats(errors, "policies", &self.policies, SERVER_POLICY_MAX_COUNT);
            errors.require(self.protocol.is_http(), "policies", "not_allowed", || {
                "policies need protocol http or https".to_owned()
            });
        }
        match self.protocol {
            Protocol::Https => list_without_repeats(
                errors,
                "certificates",
                &self.certificates,
                CERTIFICATE_MAX_COUNT,
            ),
            Protocol::Http | Protocol::Tcp | Protocol::TlsPassthrough | Protocol::Udp => {
                errors.require(self.certificates.is_empty(), "certificates", "not_allowed", || {
                    format!("protocol {} takes no certificates", self.protocol.as_str())
                });
            }
        }
        errors.within("persistence", |errors| {
            let needs_http = self.persistence.needs_http();
            errors.require(!needs_http || self.protocol.is_http(), "type", "not_allowed", || {
                let kind = self.persistence.as_str();
                format!("persistence {kind} needs protocol http or https; \"source\" does not")
            });
            self.persistence.validate(errors);
        });
        if let Some(limit) = self.connection_limit {
            errors.range("connection_limit", limit, 1, 10_000_000);
        }
        validate_priority(errors, self.queue_priority);
        let waits = self.protocol.transport() == Transport::Tcp;
        errors.require(waits || self.queue_priority == 0, "queue_priority", "not_allowed", || {
            "means nothing for datagrams, which do not wait".to_owned()
        });
        errors.within("source_limits", |errors| self.source_limits.validate(errors));
        errors.within("http", |errors| self.http.validate(errors, self.protocol));
        errors.within("tcp", |errors| self.tcp.validate(errors));
        if let Some(tls) = &self.tls {
            errors.require(self.protocol == Protocol::Https, "tls", "not_allowed", || {
                format!("protocol {} has no TLS", self.protocol.as_str())
            });
            errors.within("tls", |errors| tls.validate(errors));
        }
        errors.within("udp", |errors| self.udp.validate(errors));
        if let Some(passthrough) = &self.tls_passthrough {
            let fits = self.protocol == Protocol::TlsPassthrough;
            errors.require(fits, "tls_passthrough", "not_allowed", || {
                format!("protocol {} opens no ClientHello", self.protocol.as_str())
            });
            errors.within("tls_passthrough", |errors| passthrough.validate(errors));
        }
        if let Some(accept) = &self.accept_proxy_protocol {
            let fits = self.protocol.transport() == Transport::Tcp;
            errors.require(fits, "accept_proxy_protocol", "not_allowed", || {
                "is for streams only".to_owned()
            });
            errors.within("accept_proxy_protocol", |errors| accept.validate(errors));
        }
    }

    fn references(&self) -> Vec<Reference> {
        let pool = Reference::new("/spec/pool", Kind::Pool, &self.pool);
        let certificates = self.certificates.iter().enumerate().map(|(i, name)| {
            Reference::new(format!("/spec/certificates/{i}"), Kind::Certificate, name)
        });
        let policies = self
            .policies
            .iter()
            .enumerate()
            .map(|(i, name)| Reference::new(format!("/spec/policies/{i}"), Kind::Policy, name));
        let routes = self.tls_passthrough.iter().flat_map(TlsPassthrough::references);
        std::iter::once(pool).chain(policies).chain(certificates).chain(routes).collect()
    }
}

impl HttpSettings {
    fn validate(&self, errors: &mut FieldErrors, protocol: Protocol) {
        errors.timeout_ms("header_timeout_ms", self.header_timeout_ms, 100);
        errors.timeout_ms("keep_alive_timeout_ms", self.keep_alive_timeout_ms, 100);
        errors.timeout_ms("body_idle_timeout_ms", self.body_idle_timeout_ms, 100);
        min_rate::validate(errors, self);
        errors.timeout_ms("response_timeout_ms", self.response_timeout_ms, 100);
        errors.timeout_ms("tunnel_idle_timeout_ms", self.tunnel_idle_timeout_ms, 100);
        errors.range("header_max_bytes", self.header_max_bytes, 1_024, 1_048_576);
        errors.range("header_max_count", self.header_max_count, 8, 1_024);
        errors.range("uri_max_bytes", self.uri_max_bytes, 64, self.header_max_bytes.max(64));
        errors.within("buffering", |errors| self.buffering.validate(errors));
        errors.within("http2_limits", |errors| self.http2_limits.validate(errors));
        upgrade::validate(errors, &self.upgrades);
        errors.within("access_log", |errors| self.access_log.validate(errors));
        errors.within("tracing", |errors| self.tracing.validate(errors));
        if let Some(force) = &self.force_https {
            errors.require(protocol == Protocol::Http, "force_https", "not_allowed", || {
                "is for protocol http: nobody else comes without TLS".to_owned()
            });
            errors.within("force_https", |errors| force.validate(errors));
        }
        if let Some(hsts) = &self.hsts {
            errors.require(protocol == Protocol::Https, "hsts", "not_allowed", || {
                "is for protocol https: clients believe it over TLS only (RFC 6797 §7.2)".to_owned()
            });
            errors.within("hsts", |errors| hsts.validate(errors));
        }
    }
}

fn list_without_repeats<T: Ord>(errors: &mut FieldErrors, segment: &str, list: &[T], max: usize) {
    errors.range(segment, list.len(), 1, max);
    let mut seen = BTreeSet::new();
    errors.within(segment, |errors| {
        for (i, item) in list.iter().enumerate() {
            errors.require(seen.insert(item), i, "duplicate", || {
                "stands in the list already".to_owned()
            });
        }
    });
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests;
