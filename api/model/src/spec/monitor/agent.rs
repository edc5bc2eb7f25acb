//! How a member's agent is asked.
//!
//! Invariant: what is declared can be sent as it is.

use serde::{Deserialize, Serialize};

use crate::validate::FieldErrors;

/// Longest text that an agent is sent, in bytes.
pub const AGENT_SEND_MAX_BYTES: usize = 256;

/// An agent beside the member: a small server on the monitor's `port` that answers each connection
/// with a line of words and closes. The words are those of HAProxy's agent checks, in any case, apart
/// by blanks, commas or tabs: `up`, `down`, `stopped`, `fail` (down for those); `ready`, `drain` (no
/// new sessions), `maint` (none at all); `75%` (of the configured weight); `maxconn:30` (in flight
/// through one node; 0: the configured limit again); `#` begins a text that is shown. What a line does
/// not speak of stays as it was said before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct AgentProbe {
    /// What the agent is sent first, up to 256 bytes, such as the member's name and a line break.
    /// Absent: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    /// Whether an agent that can't be asked, or says nothing that is understood, is held against the
    /// member. False: what it said last goes on, and the reason tells.
    pub required: bool,
}

impl AgentProbe {
    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        if let Some(text) = &self.send {
            errors.range("send", text.len(), 1, AGENT_SEND_MAX_BYTES);
        }
    }
}
