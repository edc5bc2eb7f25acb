//! Keeping clients on TLS: sent there by redirect, and told to stay by HSTS (RFC 6797).

use serde::{Deserialize, Serialize};

use crate::validate::FieldErrors;

/// Longest that clients are told to stay with TLS, in seconds (10 years).
const MAX_AGE_MAX_S: u64 = 10 * 365 * 24 * 3_600;
/// What browsers ask of whoever wants to stand in their lists, in seconds (a year).
const PRELOAD_MAX_AGE_MIN_S: u64 = 365 * 24 * 3_600;

/// Sends every client of a virtual server without TLS to the same place with TLS. Nothing reaches a
/// member or a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ForceHttps {
    /// 308, 307, 301 or 302. 308 and 307 keep method and body (RFC 9110 §15.4); 301 and 308 may be
    /// remembered by clients.
    pub status: u16,
    /// The port to be sent to, 1 to 65535.
    pub port: u16,
}

impl Default for ForceHttps {
    fn default() -> Self {
        Self { status: 308, port: 443 }
    }
}

impl ForceHttps {
    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        let is_redirect = matches!(self.status, 301 | 302 | 307 | 308);
        errors.require(is_redirect, "status", "out_of_range", || {
            format!("is {}; 301, 302, 307 and 308 are possible", self.status)
        });
        errors.range("port", self.port, 1, u16::MAX);
    }
}

/// Tells clients to come with TLS only (`Strict-Transport-Security`, RFC 6797), in every answer: what
/// a member says of it itself is replaced, unless a policy says otherwise for the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Hsts {
    /// For how long, in seconds, 0 to 315,360,000 (10 years); 0 has clients forget it.
    pub max_age_s: u64,
    /// For the names below the host's, too.
    #[serde(default)]
    pub include_subdomains: bool,
    /// That browsers may put the host into the lists that they come with. They ask for
    /// `include_subdomains` and a year at least, and getting out of the lists takes months.
    #[serde(default)]
    pub preload: bool,
}

impl Hsts {
    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        errors.range("max_age_s", self.max_age_s, 0, MAX_AGE_MAX_S);
        let may_preload = self.include_subdomains && self.max_age_s >= PRELOAD_MAX_AGE_MIN_S;
        errors.require(!self.preload || may_preload, "preload", "not_allowed", || {
            format!("needs include_subdomains, and max_age_s of {PRELOAD_MAX_AGE_MIN_S} or more")
        });
    }

    /// The field's value (RFC 6797 §6.1).
    pub fn value(&self) -> String {
        let subdomains = if self.include_subdomains { "; includeSubDomains" } else { "" };
        let preload = if self.preload { "; preload" } else { "" };
        format!("max-age={}{subdomains}{preload}", self.max_age_s)
    }
}

#[cfg(test)]
mod tests;
