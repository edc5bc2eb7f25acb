//! Who is turned away at the door: by source, and by priority where the node runs short.

use serde::{Deserialize, Serialize};

use crate::validate::FieldErrors;

/// How much a virtual server matters beside the others of its node, where the node runs short of
/// descriptors, memory or time: those of lower priority are refused new connections first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Refused from 80 % of what the node has.
    Low,
    /// Refused from 95 % of what the node has.
    #[default]
    Normal,
    /// Refused only where nothing is left.
    High,
}

impl Priority {
    /// How short the node may run, in percent, before new connections are refused.
    pub fn shed_at_percent(self) -> u8 {
        match self {
            Self::Low => 80,
            Self::Normal => 95,
            Self::High => 100,
        }
    }

    /// The name used in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

/// What one source of a virtual server's connections may do, on each node. A source is an address, or
/// all addresses that share its first bits. A node counts up to 262,144 sources at once, all its
/// virtual servers together; of further ones connections are let in, and
/// `ballast_untracked_sources_total` tells how many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct SourceLimits {
    /// Most connections (UDP: sessions) of one source at once, 1 to 1,000,000. Absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_max_count: Option<u32>,
    /// Most new connections of one source per second in the long run, 1 to 1,000,000. Absent: no
    /// limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_rate_per_s: Option<u32>,
    /// How many new connections may come at once after a time of silence, 1 to 1,000,000; needs
    /// `connection_rate_per_s`. Absent: as many as may come in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_burst_count: Option<u32>,
    /// First bits of an IPv4 address that make a source, 8 to 32.
    pub ipv4_prefix_length: u8,
    /// First bits of an IPv6 address that make a source, 16 to 128. One subscriber usually has a /64.
    pub ipv6_prefix_length: u8,
}

impl Default for SourceLimits {
    fn default() -> Self {
        Self {
            connection_max_count: None,
            connection_rate_per_s: None,
            connection_burst_count: None,
            ipv4_prefix_length: 32,
            ipv6_prefix_length: 64,
        }
    }
}

impl SourceLimits {
    const MAX: u32 = 1_000_000;

    /// Whether anything is limited at all.
    pub fn is_set(&self) -> bool {
        self.connection_max_count.is_some() || self.connection_rate_per_s.is_some()
    }

    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        let counts = [
            ("connection_max_count", self.connection_max_count),
            ("connection_rate_per_s", self.connection_rate_per_s),
            ("connection_burst_count", self.connection_burst_count),
        ];
        for (field, count) in counts {
            if let Some(count) = count {
                errors.range(field, count, 1, Self::MAX);
            }
        }
        let has_rate = self.connection_rate_per_s.is_some();
        errors.require(
            has_rate || self.connection_burst_count.is_none(),
            "connection_burst_count",
            "not_allowed",
            || "means nothing without connection_rate_per_s".to_owned(),
        );
        errors.range("ipv4_prefix_length", self.ipv4_prefix_length, 8, 32);
        errors.range("ipv6_prefix_length", self.ipv6_prefix_length, 16, 128);
    }
}
