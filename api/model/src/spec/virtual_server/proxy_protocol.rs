//! Who may tell whose connection it passes on.

use serde::{Deserialize, Serialize};

use crate::Cidr;
use crate::limits::TRUSTED_SOURCE_MAX_COUNT;
use crate::validate::FieldErrors;

/// Connections come through another load balancer, which says by the PROXY protocol (version 1 or 2)
/// who the client is. That address is then the client's everywhere: in logs, `X-Forwarded-For`,
/// hashing, policies and limits per source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AcceptProxyProtocol {
    /// Networks whose connections must begin with a header, which is believed; 1 to 256.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub trusted_sources: Vec<Cidr>,
    /// What becomes of connections from elsewhere.
    #[serde(default)]
    pub other_sources: OtherSources,
    /// Longest wait for the whole header, in ms.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
}

/// What becomes of connections from sources that are not trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OtherSources {
    /// They are served as clients of their own; a header of theirs is content, and not believed.
    Direct,
    /// They are reset.
    #[default]
    Refuse,
}

impl AcceptProxyProtocol {
    /// From those networks and no others.
    pub fn from(trusted_sources: Vec<Cidr>) -> Self {
        let other_sources = OtherSources::default();
        Self { trusted_sources, other_sources, timeout_ms: default_timeout_ms() }
    }

    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        let count = self.trusted_sources.len();
        errors.range("trusted_sources", count, 1, TRUSTED_SOURCE_MAX_COUNT);
        errors.timeout_ms("timeout_ms", self.timeout_ms, 100);
    }
}

fn default_timeout_ms() -> u64 {
    3_000
}
