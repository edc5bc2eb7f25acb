//! Members that are named by host name.
//!
//! Invariant: how many members a name can bring is bounded by what is declared, not by what a name
//! server answers.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{AdminState, default_weight, is_zero};
use crate::limits::{MEMBER_CONNECTION_LIMIT_MAX, MEMBER_WEIGHT_MAX};
use crate::validate::FieldErrors;

/// Most names in one pool.
pub const DNS_MEMBER_MAX_COUNT: usize = 64;
/// Most addresses that one name may bring.
pub const DNS_ADDRESS_MAX_COUNT: u32 = 256;
/// Most name servers that one name may be asked of.
pub const DNS_RESOLVER_MAX_COUNT: usize = 4;
/// Longest time that an answer may be held for, in s.
pub const DNS_TTL_MAX_S: u32 = 86_400;

/// A host name each address of which is a member, called `host@address:port`. Each traffic node
/// resolves it for itself, again when the answer's time to live has passed. An address that is no
/// longer in the answer is drained: it gets no new sessions, and is gone after `drain_s`, while
/// connections through it go on. Where no answer can be had, the last good one stays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DnsMember {
    /// The name, whole: no search list of the system is appended.
    pub host: String,
    /// What is asked for.
    #[serde(default)]
    pub record: DnsRecord,
    /// The port that all addresses serve. For `address` only, which needs it; `srv` brings its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Which addresses count.
    #[serde(default)]
    pub family: AddressFamily,
    /// The weight of each address, 0 to 256; see `weight` of members. For `srv` it stands for records
    /// that say 0; others have their record's, scaled so that the heaviest has at most 256.
    #[serde(default = "default_weight")]
    pub weight: u16,
    /// The group that all addresses belong to; see `priority` of members. For `srv` the records'
    /// priorities count upwards from this one: the lower a record's, the higher.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: u32,
    /// See `connection_limit` of members: that of each address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_limit: Option<u32>,
    /// What the operator wants of all its addresses.
    #[serde(default)]
    pub admin_state: AdminState,
    /// While draining: when the last sessions are cut, in ms since the Unix epoch. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_until_ms: Option<u64>,
    /// Most addresses that are members at once, 1 to 256; of more, those that are members already and
    /// then the lowest. As many again may be draining.
    #[serde(default = "default_address_max_count")]
    pub address_max_count: u32,
    /// Shortest time between two answers, in s, 1 to 86400, whatever time to live they have.
    #[serde(default = "default_ttl_min_s")]
    pub ttl_min_s: u32,
    /// Longest time that an answer is held for, in s, `ttl_min_s` to 86400.
    #[serde(default = "default_ttl_max_s")]
    pub ttl_max_s: u32,
    /// How long an address that is no longer in the answer is drained, in s, 0 to 86400.
    #[serde(default = "default_drain_s")]
    pub drain_s: u32,
    /// Name servers, as `10.0.0.53:53`, up to 4, asked in turn where one fails. None: those of the
    /// node's `/etc/resolv.conf`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub resolvers: Vec<SocketAddr>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DnsRecord {
    /// Addresses: A and AAAA records.
    #[default]
    Address,
    /// Hosts with ports and weights: SRV records (RFC 2782), and the addresses of each.
    Srv,
}

impl DnsRecord {
    /// The name used in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Srv => "srv",
        }
    }
}

/// Which addresses count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AddressFamily {
    /// Both.
    #[default]
    Any,
    /// A records.
    Ipv4,
    /// AAAA records.
    Ipv6,
}

impl DnsMember {
    /// The addresses of `host`, all serving `port`, with the defaults.
    pub fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            record: DnsRecord::Address,
            port: Some(port),
            family: AddressFamily::Any,
            weight: default_weight(),
            priority: 0,
            connection_limit: None,
            admin_state: AdminState::Enabled,
            drain_until_ms: None,
            address_max_count: default_address_max_count(),
            ttl_min_s: default_ttl_min_s(),
            ttl_max_s: default_ttl_max_s(),
            drain_s: default_drain_s(),
            resolvers: Vec::new(),
        }
    }

    /// The name of the member at `address`.
    pub fn member_name(&self, address: SocketAddr) -> String {
        format!("{}@{address}", self.host)
    }

    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        let is_address = self.host.parse::<std::net::IpAddr>().is_ok();
        errors.require(!is_address && is_host_name(&self.host), "host", "invalid_host", || {
            "must be a DNS name of up to 253 characters, without a final dot".to_owned()
        });
        match (self.record, self.port) {
            (DnsRecord::Address, Some(port)) => errors.range("port", port, 1, u16::MAX),
            (DnsRecord::Srv, None) => {}
            (DnsRecord::Address, None) => {
                errors.push("port", "required", "is needed for record \"address\"");
            }
            (DnsRecord::Srv, Some(_)) => {
                errors.push("port", "not_allowed", "is for record \"address\" only");
            }
        }
        errors.range("weight", self.weight, 0, MEMBER_WEIGHT_MAX);
        if let Some(limit) = self.connection_limit {
            errors.range("connection_limit", limit, 1, MEMBER_CONNECTION_LIMIT_MAX);
        }
        let drains = self.admin_state == AdminState::Draining;
        errors.require(
            drains || self.drain_until_ms.is_none(),
            "drain_until_ms",
            "not_allowed",
            || "is for admin_state \"draining\" only".to_owned(),
        );
        errors.range("address_max_count", self.address_max_count, 1, DNS_ADDRESS_MAX_COUNT);
        errors.range("ttl_min_s", self.ttl_min_s, 1, DNS_TTL_MAX_S);
        errors.range("ttl_max_s", self.ttl_max_s, self.ttl_min_s.max(1), DNS_TTL_MAX_S);
        errors.range("drain_s", self.drain_s, 0, DNS_TTL_MAX_S);
        errors.range("resolvers", self.resolvers.len(), 0, DNS_RESOLVER_MAX_COUNT);
        errors.within("resolvers", |errors| {
            for (i, resolver) in self.resolvers.iter().enumerate() {
                let ip = resolver.ip();
                let usable = !ip.is_unspecified() && !ip.is_multicast() && resolver.port() > 0;
                errors.require(usable, i.to_string(), "invalid_address", || {
                    format!("{resolver} is no address of a name server")
                });
            }
        });
    }
}

/// RFC 1123 §2.1, and the underscores of RFC 2782.
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

fn default_address_max_count() -> u32 {
    32
}

fn default_ttl_min_s() -> u32 {
    5
}

fn default_ttl_max_s() -> u32 {
    300
}

fn default_drain_s() -> u32 {
    60
}

#[cfg(test)]
mod tests;
