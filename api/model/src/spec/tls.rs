//! What TLS settings of virtual servers and pools have in common.

use serde::{Deserialize, Serialize};

pub mod suite;

use crate::limits::{CA_CERTIFICATE_MAX_COUNT, PEM_MAX_BYTES};
use crate::validate::FieldErrors;

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246), with forward secrecy and AEAD suites only.
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    #[serde(rename = "1.3")]
    Tls13,
}

impl TlsVersion {
    /// The name used in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }
}

/// Checks that `min` is not above `max`.
pub(crate) fn validate_versions(errors: &mut FieldErrors, min: TlsVersion, max: TlsVersion) {
    errors.require(min <= max, "min_version", "out_of_range", || {
        format!("is {}, above max_version, which is {}", min.as_str(), max.as_str())
    });
}

/// Checks a text that holds certificates of authorities.
pub(crate) fn validate_ca_pem(errors: &mut FieldErrors, segment: &str, pem: &str) {
    errors.range(segment, pem.len(), 1, PEM_MAX_BYTES);
    let count = pem.matches("-----BEGIN CERTIFICATE-----").count();
    errors.require(count > 0, segment, "invalid_pem", || {
        "holds no \"BEGIN CERTIFICATE\" block".to_owned()
    });
    no_private_key(errors, segment, pem);
    errors.require(count <= CA_CERTIFICATE_MAX_COUNT, segment, "out_of_range", || {
        format!("holds {count} certificates; {CA_CERTIFICATE_MAX_COUNT} are allowed")
    });
}

/// Checks that no secret stands in a text that everybody may read.
pub(crate) fn no_private_key(errors: &mut FieldErrors, segment: &str, pem: &str) {
    errors.require(!pem.contains("PRIVATE KEY-----"), segment, "secret_key", || {
        "holds a private key; only certificates may stand here".to_owned()
    });
}

/// Whether `name` may stand in a certificate: a DNS name without a final dot, or an IP address.
pub(crate) fn is_server_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.parse::<std::net::IpAddr>().is_ok() || (name.len() <= 253 && name.split('.').all(is_label))
}
