//! Monitors: active health checks.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::Kind;
use crate::limits::PROBE_INTERVAL_MIN_MS;
use crate::resource::Spec;
use crate::validate::FieldErrors;

pub mod agent;
pub mod grpc;
pub mod tls;
pub mod udp;

use agent::AgentProbe;
use grpc::GrpcProbe;
use tls::TlsProbe;
use udp::UdpProbe;

/// An active health check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct MonitorSpec {
    /// What a probe does.
    #[serde(rename = "type")]
    pub kind: MonitorKind,
    /// Time between the starts of two probes of a member, in ms; each is shifted at random by up to
    /// a tenth.
    #[serde(default = "default_interval_ms")]
    pub interval_ms: u64,
    /// Longest time a probe may take, TLS included, in ms.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// Successes in a row that bring a member up.
    #[serde(default = "default_rise")]
    pub rise: u32,
    /// Failures in a row that take a member down.
    #[serde(default = "default_fall")]
    pub fall: u32,
    /// Port to probe. Absent: the member's. On another port than the member's something else listens:
    /// `http` asks it by HTTP/1.1 and `grpc` by HTTP/2, both without TLS, whatever the pool's `tls` and
    /// `protocol` say. `agent` needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// For `agent`: how it is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentProbe>,
    /// For `grpc`: which service is asked after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcProbe>,
    /// For `http`: what is asked, and which answer is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpProbe>,
    /// For `tls`: what is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsProbe>,
    /// For `udp`: what is sent, and which answer is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub udp: Option<UdpProbe>,
}

/// What a probe does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum MonitorKind {
    /// Asks an agent beside the member, which also sets its weight, its limit and whether it takes new
    /// sessions. What it says counts at once: `fall` is for an agent that can't be asked.
    Agent,
    /// Asks the gRPC health service (`grpc.health.v1.Health`), by TLS where the pool has `tls`; good is
    /// `SERVING` alone.
    Grpc,
    /// Sends a request and looks at the answer: by the pool's `protocol`, and by TLS where the pool has
    /// `tls`, so that what would fail requests fails the probe.
    Http,
    /// Opens a connection, without TLS.
    Tcp,
    /// Makes a TLS handshake and looks at the certificate.
    Tls,
    /// Sends a datagram and looks at what comes back.
    Udp,
}

impl MonitorKind {
    /// The name used in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Grpc => "grpc",
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Udp => "udp",
        }
    }
}

/// An HTTP probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct HttpProbe {
    /// `GET`, `HEAD` or `OPTIONS`.
    pub method: String,
    /// Request target, starting with `/`.
    pub path: String,
    /// `Host` header. Absent: the member's address and port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Status codes that are good, as `200` or `200-299`.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub expect_status: Vec<StatusRange>,
    /// Text that the first 64 KiB of the body must hold. Absent: any body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect_body: Option<String>,
}

impl Default for HttpProbe {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            host: None,
            expect_status: vec![StatusRange { first: 200, last: 399 }],
            expect_body: None,
        }
    }
}

/// Status codes from `first` to `last`, both included; written `200` or `200-299`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

impl StatusRange {
    /// Whether `status` lies in it.
    pub fn contains(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl FromStr for StatusRange {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let code = |text: &str| text.trim().parse::<u16>().ok();
        match (code(first), code(last)) {
            (Some(first), Some(last)) if 100 <= first && first <= last && last <= 599 => {
                Ok(Self { first, last })
            }
            _ => Err("is no status code or range of them, such as \"200\" or \"200-299\""),
        }
    }
}

impl Serialize for StatusRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StatusRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Code(u16),
            Text(String),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Code(code) => code.to_string(),
            Written::Text(text) => text,
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl MonitorSpec {
    /// A monitor with default timing.
    pub fn new(kind: MonitorKind) -> Self {
        Self {
            kind,
            interval_ms: default_interval_ms(),
            timeout_ms: default_timeout_ms(),
            rise: default_rise(),
            fall: default_fall(),
            port: None,
            agent: None,
            grpc: None,
            http: None,
            tls: None,
            udp: None,
        }
    }
}

impl Spec for MonitorSpec {
    const KIND: Kind = Kind::Monitor;

    fn validate(&self, errors: &mut FieldErrors) {
        errors.timeout_ms("interval_ms", self.interval_ms, PROBE_INTERVAL_MIN_MS);
        errors.timeout_ms("timeout_ms", self.timeout_ms, 10);
        errors.require(self.timeout_ms <= self.interval_ms, "timeout_ms", "out_of_range", || {
            format!("is longer than interval_ms ({} ms)", self.interval_ms)
        });
        errors.range("rise", self.rise, 1, 100);
        errors.range("fall", self.fall, 1, 100);
        if let Some(port) = self.port {
            errors.range("port", port, 1, u16::MAX);
        }
        let needs_port = self.kind == MonitorKind::Agent && self.port.is_none();
        errors.require(!needs_port, "port", "required", || {
            "is needed for type \"agent\": where the agent listens".to_owned()
        });
        self.validate_of(errors, MonitorKind::Agent, self.agent.as_ref(), AgentProbe::validate);
        self.validate_of(errors, MonitorKind::Grpc, self.grpc.as_ref(), GrpcProbe::validate);
        self.validate_of(errors, MonitorKind::Http, self.http.as_ref(), HttpProbe::validate);
        self.validate_of(errors, MonitorKind::Tls, self.tls.as_ref(), TlsProbe::validate);
        self.validate_of(errors, MonitorKind::Udp, self.udp.as_ref(), UdpProbe::validate);
    }
}

impl MonitorSpec {
    /// Checks what is declared for one kind, which stands under its name.
    fn validate_of<T>(
        &self,
        errors: &mut FieldErrors,
        kind: MonitorKind,
        probe: Option<&T>,
        validate: impl FnOnce(&T, &mut FieldErrors),
    ) {
        let Some(probe) = probe else { return };
        let name = kind.as_str();
        errors.require(self.kind == kind, name, "not_allowed", || {
            format!("is for type \"{name}\" only")
        });
        errors.within(name, |errors| validate(probe, errors));
    }
}

impl HttpProbe {
    fn validate(&self, errors: &mut FieldErrors) {
        let known = ["GET", "HEAD", "OPTIONS"].contains(&self.method.as_str());
        errors.require(known, "method", "invalid_method", || {
            "must be GET, HEAD or OPTIONS".to_owned()
        });
        let path_ok = self.path.starts_with('/')
            && self.path.len() <= 4_096
            && self.path.bytes().all(|b| b.is_ascii_graphic());
        errors.require(path_ok, "path", "invalid_path", || {
            "must start with '/' and hold visible ASCII only, at most 4096 bytes".to_owned()
        });
        if let Some(host) = &self.host {
            let host_ok =
                (1..=255).contains(&host.len()) && host.bytes().all(|b| b.is_ascii_graphic());
            errors.require(host_ok, "host", "invalid_host", || {
                "must be 1 to 255 visible ASCII characters".to_owned()
            });
        }
        errors.range("expect_status", self.expect_status.len(), 1, 64);
        if let Some(body) = &self.expect_body {
            errors.range("expect_body", body.len(), 1, 4_096);
        }
    }
}

fn default_interval_ms() -> u64 {
    5_000
}

fn default_timeout_ms() -> u64 {
    2_000
}

fn default_rise() -> u32 {
    2
}

fn default_fall() -> u32 {
    3
}

#[cfg(test)]
mod tests;
