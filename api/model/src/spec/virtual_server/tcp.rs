//! Settings of virtual servers that pass streams on.

use serde::{Deserialize, Serialize};

use crate::validate::FieldErrors;

/// Settings for `tcp` and `tls_passthrough`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct TcpSettings {
    /// Longest silence, both ways, of a connection, in ms.
    pub idle_timeout_ms: u64,
    /// Longest life of a connection, however busy, in ms. Absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime_max_ms: Option<u64>,
    /// Members that are tried, one after another, before the client is turned away, 1 to 16.
    pub connect_attempt_max_count: u8,
    /// Silence after which the kernel asks clients and members whether they are still there
    /// (`SO_KEEPALIVE`, RFC 9293 §3.8.4), in seconds, 1 to 32,767. Absent: it does not ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive_s: Option<u32>,
}

impl Default for TcpSettings {
    fn default() -> Self {
        Self {
            idle_timeout_ms: 3_600_000,
            lifetime_max_ms: None,
            connect_attempt_max_count: 3,
            keep_alive_s: None,
        }
    }
}

impl TcpSettings {
    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        errors.timeout_ms("idle_timeout_ms", self.idle_timeout_ms, 100);
        if let Some(lifetime_max_ms) = self.lifetime_max_ms {
            errors.timeout_ms("lifetime_max_ms", lifetime_max_ms, 1_000);
        }
        errors.range("connect_attempt_max_count", self.connect_attempt_max_count, 1, 16);
        if let Some(keep_alive_s) = self.keep_alive_s {
            errors.range("keep_alive_s", keep_alive_s, 1, 32_767);
        }
    }
}
