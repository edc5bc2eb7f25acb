//! What a pool remembers of its clients.

use serde::{Deserialize, Serialize};

use crate::validate::FieldErrors;

/// Most clients that a pool may remember.
pub const PERSISTENCE_ENTRY_MAX_COUNT: u32 = 2_000_000;

/// The table in which a pool remembers which member its clients belong to, for virtual servers and
/// rules whose persistence is `source`, `header` or `application_cookie`. Traffic nodes share it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct PersistenceTableSettings {
    /// Most clients that are remembered at once, 1 to 2000000, default 100000; one more takes the
    /// place of one not seen for long. Each takes about 130 bytes on each traffic node.
    pub entry_max_count: u32,
    /// Clients that were remembered up to then are forgotten, in ms since the Unix epoch. Absent: none
    /// are. The action `forget-clients` sets it to now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forgotten_until_ms: Option<u64>,
}

impl Default for PersistenceTableSettings {
    fn default() -> Self {
        Self { entry_max_count: 100_000, forgotten_until_ms: None }
    }
}

impl PersistenceTableSettings {
    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        errors.range("entry_max_count", self.entry_max_count, 1, PERSISTENCE_ENTRY_MAX_COUNT);
    }
}

#[cfg(test)]
mod tests;
