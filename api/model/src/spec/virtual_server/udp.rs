//! Settings of virtual servers that pass datagrams on.

use serde::{Deserialize, Serialize};

use crate::validate::FieldErrors;

/// Settings for `udp`. What a client sends from one port to one address is a session: one member serves
/// it. A session counts as a connection wherever those are limited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct UdpSettings {
    /// Longest silence, both ways, of a session, in ms; 5 s at most while its member has not answered
    /// yet.
    pub idle_timeout_ms: u64,
    /// Datagrams that a member sends for each that it gets, 1 to 1,000,000: once they have passed, the
    /// session has ended, and the next datagram goes to whichever member is chosen then. For DNS: 1.
    /// Absent: sessions end by silence only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub responses: Option<u32>,
}

impl Default for UdpSettings {
    fn default() -> Self {
        Self { idle_timeout_ms: 30_000, responses: None }
    }
}

impl UdpSettings {
    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        errors.timeout_ms("idle_timeout_ms", self.idle_timeout_ms, 100);
        if let Some(responses) = self.responses {
            errors.range("responses", responses, 1, 1_000_000);
        }
    }
}
