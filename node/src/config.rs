//! The node's own file: what only this machine knows. Everything else is in the replicated
//! configuration.
//!
//! What was written ([`NodeFile`]) and what was resolved from it ([`NodeConfig`]) are two types:
//! only the second one is used by the rest of the node.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ballast_model::NodeRole;
use ballast_telemetry::AccessLogOptions;
use serde::Deserialize;

mod access_log;
mod tracing;

pub(crate) use access_log::access_log_to;
pub(crate) use tracing::OtlpConfig;
use tracing::TracingSection;

/// A file with every key, its meaning and its default; `ballastd config example` prints it.
pub(crate) const EXAMPLE: &str = include_str!("../node.example.toml");

/// Most worker threads.
const WORKER_MAX_COUNT: usize = 256;
/// Longest time that a shutdown waits for requests under way, in seconds.
const DRAIN_TIMEOUT_MAX_S: u64 = 3_600;

/// Longest time that a new process may take until it serves, in seconds.
const UPGRADE_TIMEOUT_MAX_S: u64 = 600;
/// Longest time that clients of the old process may stay, in seconds.
const UPGRADE_DRAIN_TIMEOUT_MAX_S: u64 = 7 * 86_400;
/// What messages that are held may take on each worker, in bytes.
const BUFFERING_BYTES: RangeInclusive<u64> = 1024 * 1024..=64 * 1024 * 1024 * 1024;

/// The file as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeFile {
    name: String,
    #[serde(default)]
    role: NodeRole,
    #[serde(default = "default_state_dir")]
    state_dir: PathBuf,
    cluster: ClusterSection,
    #[serde(default)]
    api: ApiSection,
    #[serde(default)]
    data_plane: DataPlaneSection,
    #[serde(default)]
    log: LogSection,
    #[serde(default)]
    tracing: TracingSection,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterSection {
    listen: SocketAddr,
    advertise: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ApiSection {
    listen: Vec<SocketAddr>,
    names: Vec<String>,
    certificate_file: Option<PathBuf>,
    private_key_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DataPlaneSection {
    workers: usize,
    pin_workers: bool,
    any_ipv4: Option<Ipv4Addr>,
    any_ipv6: Option<Ipv6Addr>,
    drain_timeout_s: u64,
    upgrade_timeout_s: u64,
    upgrade_drain_timeout_s: u64,
    buffering_max_bytes: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LogSection {
    format: LogFormat,
    level: String,
    access_log: String,
    access_log_format: String,
    access_log_max_mib: u64,
    access_log_kept_count: u32,
    access_log_facility: String,
}

/// How the node's own log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    #[default]
    Text,
}

/// What the node works with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NodeConfig {
    /// The node's name in the cluster.
    pub name: String,
    /// What it does.
    pub role: NodeRole,
    /// Where its identity, log and snapshots are.
    pub state_dir: PathBuf,
    /// Where it listens for the other nodes.
    pub cluster_listen: SocketAddr,
    /// `host:port` where the other nodes reach it.
    pub cluster_advertise: String,
    /// Where the REST API and the console are served.
    pub api_listen: Vec<SocketAddr>,
    /// Further names and addresses in the API's certificate.
    pub api_names: Vec<String>,
    /// The API's certificate and key, where it is not one of the cluster's own authority.
    pub api_certificate: Option<(PathBuf, PathBuf)>,
    /// Worker threads of the data plane.
    pub workers: usize,
    /// Whether each worker stays on one CPU.
    pub pin_workers: bool,
    /// What `0.0.0.0` in a virtual server means on this node.
    pub any_ipv4: Option<Ipv4Addr>,
    /// What `::` in a virtual server means on this node.
    pub any_ipv6: Option<Ipv6Addr>,
    /// How long a shutdown waits for requests under way.
    pub drain_timeout: Duration,
    /// How long a new process may take, at an upgrade, until it serves.
    pub upgrade_timeout: Duration,
    /// How long clients of the old process may stay after an upgrade.
    pub upgrade_drain_timeout: Duration,
    /// What requests and responses that are held may take on each worker, in bytes.
    pub buffering_max_bytes: usize,
    /// How the node's own log is written.
    pub log_format: LogFormat,
    /// What is logged, as a `tracing` filter.
    pub log_level: String,
    /// Where requests are logged, and how.
    pub access_log: AccessLogOptions,
    /// Where spans of requests go, if anywhere.
    pub otlp: Option<OtlpConfig>,
}

/// Why a node's file can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// Each thing that is wrong with it.
    Invalid {
        /// The file.
        path: PathBuf,
        /// Sentences, each starting with the key.
        faults: Vec<String>,
    },
    /// It is not TOML of the right shape.
    Parse {
        /// The file.
        path: PathBuf,
        /// What the parser said, with line and column.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// It can't be read.
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { path, faults } => {
                write!(f, "{} can't be used:", path.display())?;
                faults.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
            }
            Self::Parse { path, .. } => write!(f, "{} is not a node's file", path.display()),
            Self::Read { path, .. } => write!(f, "{} can't be read", path.display()),
        }
    }
}

impl NodeConfig {
    /// Reads a node's file.
    ///
    /// # Errors
    /// Every fault at once.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Reads the text of a node's file; `path` is for error messages.
    ///
    /// # Errors
    /// Every fault at once.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let file: NodeFile = toml::from_str(text).map_err(|source| ConfigError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let faults = file.faults();
        if faults.is_empty() {
            Ok(file.resolve())
        } else {
            Err(ConfigError::Invalid { path: path.to_owned(), faults })
        }
    }

    /// `host:port` of the API, as other nodes and people are told.
    pub(crate) fn api_addresses(&self) -> Vec<String> {
        let host = self.cluster_advertise.rsplit_once(':').map_or("", |(host, _)| host);
        let shown = |address: &SocketAddr| {
            if address.ip().is_unspecified() {
                format!("{host}:{}", address.port())
            } else {
                address.to_string()
            }
        };
        self.api_listen.iter().map(shown).collect()
    }
}

impl NodeFile {
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut require = |holds: bool, fault: &str| {
            if !holds {
                faults.push(fault.to_owned());
            }
        };
        let mut name_errors = ballast_model::FieldErrors::default();
        ballast_model::validate::name(&mut name_errors, "name", &self.name);
        for error in name_errors.into_vec() {
            require(false, &format!("name: {}", error.message));
        }
        require(
            self.cluster.advertise.is_some() || !self.cluster.listen.ip().is_unspecified(),
            "cluster.advertise: must be set where cluster.listen is every address, \
             for the other nodes to know where to connect",
        );
        let advertised = self.cluster.advertise.as_deref().is_none_or(|address| {
            address.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p != 0)
            })
        });
        require(advertised, "cluster.advertise: must be host:port");
        require(
            self.api.certificate_file.is_some() == self.api.private_key_file.is_some(),
            "api.certificate_file and api.private_key_file: give both or none",
        );
        require(
            self.data_plane.workers <= WORKER_MAX_COUNT,
            "data_plane.workers: at most 256 (0 means one for each CPU)",
        );
        require(
            self.data_plane.drain_timeout_s <= DRAIN_TIMEOUT_MAX_S,
            "data_plane.drain_timeout_s: at most 3600",
        );
        require(
            (1..=UPGRADE_TIMEOUT_MAX_S).contains(&self.data_plane.upgrade_timeout_s),
            "data_plane.upgrade_timeout_s: from 1 to 600",
        );
        require(
            self.data_plane.upgrade_drain_timeout_s <= UPGRADE_DRAIN_TIMEOUT_MAX_S,
            "data_plane.upgrade_drain_timeout_s: at most 604800",
        );
        require(
            BUFFERING_BYTES.contains(&self.data_plane.buffering_max_bytes),
            "data_plane.buffering_max_bytes: from 1048576 to 68719476736",
        );
        require(
            self.log.level.parse::<tracing_subscriber::EnvFilter>().is_ok(),
            "log.level: must be error, warn, info, debug, trace or a tracing filter",
        );
        if let Err(log_faults) = self.log.access_log(&self.name) {
            faults.extend(log_faults);
        }
        faults.extend(self.tracing.faults());
        faults
    }

    fn resolve(self) -> NodeConfig {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let advertise = self.cluster.advertise.unwrap_or_else(|| self.cluster.listen.to_string());
        // Faults were told before.
        let access_log = self.log.access_log(&self.name).unwrap_or_else(|_| access_log::off());
        NodeConfig {
            role: self.role,
            state_dir: self.state_dir,
            cluster_listen: self.cluster.listen,
            cluster_advertise: advertise,
            api_listen: self.api.listen,
            api_names: self.api.names,
            api_certificate: self.api.certificate_file.zip(self.api.private_key_file),
            workers: match self.data_plane.workers {
                0 => cpus.min(WORKER_MAX_COUNT),
                given => given,
            },
            pin_workers: self.data_plane.pin_workers,
            any_ipv4: self.data_plane.any_ipv4,
            any_ipv6: self.data_plane.any_ipv6,
            drain_timeout: Duration::from_secs(self.data_plane.drain_timeout_s),
            upgrade_timeout: Duration::from_secs(self.data_plane.upgrade_timeout_s),
            upgrade_drain_timeout: Duration::from_secs(self.data_plane.upgrade_drain_timeout_s),
            // Within the bounds: see `faults`.
            buffering_max_bytes: usize::try_from(self.data_plane.buffering_max_bytes)
                .unwrap_or(usize::MAX),
            log_format: self.log.format,
            log_level: self.log.level,
            access_log,
            otlp: self.tracing.resolve(),
            name: self.name,
        }
    }
}

impl Default for ApiSection {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, 7443))],
            names: Vec::new(),
            certificate_file: None,
            private_key_file: None,
        }
    }
}

impl Default for DataPlaneSection {
    fn default() -> Self {
        Self {
            workers: 0,
            pin_workers: false,
            any_ipv4: None,
            any_ipv6: None,
            drain_timeout_s: 30,
            upgrade_timeout_s: 60,
            upgrade_drain_timeout_s: 3_600,
            buffering_max_bytes: 64 * 1024 * 1024,
        }
    }
}

impl Default for LogSection {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: "info".to_owned(),
            access_log: String::new(),
            access_log_format: "json".to_owned(),
            access_log_max_mib: 0,
            access_log_kept_count: 5,
            access_log_facility: "local0".to_owned(),
        }
    }
}

fn default_state_dir() -> PathBuf {
    PathBuf::from("/var/lib/ballast")
}

#[cfg(test)]
mod tests;
