//! What a probe by TLS looks at.
//!
//! Invariant: a certificate is warned of before it fails the probe.

use serde::{Deserialize, Serialize};

use crate::spec::tls::is_server_name;
use crate::validate::FieldErrors;

/// Longest time ahead that the end of a certificate is looked for, in days.
pub const CERTIFICATE_DAYS_MAX: u32 = 3_650;

/// A probe by TLS: a handshake with the pool's `tls`, or, where the pool has none, with any
/// certificate that has not expired.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct TlsProbe {
    /// The name that is asked for (SNI) and that the certificate must hold where the pool's `tls`
    /// verifies. Absent: the pool's `server_name`, or the member's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// The reason warns of a certificate that expires within so many days, 1 to 3650. Absent: no
    /// warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warn_days: Option<u32>,
    /// The probe fails where the certificate expires within so many days, 1 to 3650. Absent: only
    /// once it has expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_days: Option<u32>,
}

impl TlsProbe {
    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        if let Some(name) = &self.server_name {
            errors.require(is_server_name(name), "server_name", "invalid_server_name", || {
                "must be a DNS name without a final dot, or an IP address".to_owned()
            });
        }
        for (segment, days) in [("warn_days", self.warn_days), ("fail_days", self.fail_days)] {
            if let Some(days) = days {
                errors.range(segment, days, 1, CERTIFICATE_DAYS_MAX);
            }
        }
        if let (Some(warn), Some(fail)) = (self.warn_days, self.fail_days) {
            errors.require(warn > fail, "warn_days", "out_of_range", || {
                format!("is {warn}, not above fail_days, which is {fail}: nobody would be warned")
            });
        }
    }
}
