//! How clients find back to their members: by what they bring, or by what nodes remember of them.

use serde::{Deserialize, Serialize};

use super::is_token;
use crate::validate::FieldErrors;

/// Longest time that a client is remembered without a request, in seconds (30 days).
pub const PERSISTENCE_IDLE_MAX_S: u32 = 30 * 24 * 3_600;
/// Shortest, in seconds.
const IDLE_MIN_S: u32 = 1;

/// How a client finds back to the member that served it before.
///
/// `source`, `header` and `application_cookie` remember each client in a table of the pool (see the
/// pool's `persistence_table`), which the traffic nodes share: after a failover the other node knows
/// it too. A client whose member takes no requests any more gets another one, and is remembered there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", tag = "type", deny_unknown_fields)]
pub enum Persistence {
    /// It does not.
    #[default]
    None,
    /// By a cookie that holds the member's keyed identity: no address and no index is shown, and
    /// every node of the cluster understands it.
    Cookie {
        /// The cookie's name (an RFC 9110 token).
        #[serde(default = "default_cookie_name")]
        name: String,
        /// `Max-Age`, in seconds; 0 makes a session cookie.
        #[serde(default)]
        ttl_s: u64,
    },
    /// By its address. The only one for `tcp`, `tls_passthrough` and `udp`.
    Source {
        /// Leading bits of an IPv4 address that count, 1 to 32, default 32: clients that share them
        /// share a member.
        #[serde(default = "default_ipv4_prefix_bits")]
        ipv4_prefix_bits: u8,
        /// The same for IPv6, 1 to 128, default 64: what one client is usually given.
        #[serde(default = "default_ipv6_prefix_bits")]
        ipv6_prefix_bits: u8,
        /// How long a client is remembered without a request, in seconds, 1 to 30 days, default 1800.
        #[serde(default = "default_idle_timeout_s")]
        idle_timeout_s: u32,
    },
    /// By the value of a request's header field; requests without it go to any member.
    Header {
        /// The field's name (an RFC 9110 token of 1 to 64 characters).
        name: String,
        /// As for `source`.
        #[serde(default = "default_idle_timeout_s")]
        idle_timeout_s: u32,
    },
    /// By a cookie of the application's own: whoever a member gives it to belongs to that member. One
    /// that comes and is not known is remembered with the member that serves it.
    ApplicationCookie {
        /// The cookie's name (an RFC 9110 token of 1 to 64 characters), such as `JSESSIONID`.
        name: String,
        /// As for `source`.
        #[serde(default = "default_idle_timeout_s")]
        idle_timeout_s: u32,
    },
}

impl Persistence {
    /// The name used in the API.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Cookie { .. } => "cookie",
            Self::Source { .. } => "source",
            Self::Header { .. } => "header",
            Self::ApplicationCookie { .. } => "application_cookie",
        }
    }

    /// Whether it looks into requests, so that it is for HTTP alone.
    pub fn needs_http(&self) -> bool {
        match self {
            Self::None | Self::Source { .. } => false,
            Self::Cookie { .. } | Self::Header { .. } | Self::ApplicationCookie { .. } => true,
        }
    }

    /// Notes every fault that can be seen without knowing who uses it.
    pub(in crate::spec) fn validate(&self, errors: &mut FieldErrors) {
        let token = |errors: &mut FieldErrors, name: &str, code: &'static str| {
            errors.require(is_token(name), "name", code, || {
                "must be an RFC 9110 token of 1 to 64 characters".to_owned()
            });
        };
        let idle = |errors: &mut FieldErrors, idle_timeout_s: u32| {
            errors.range("idle_timeout_s", idle_timeout_s, IDLE_MIN_S, PERSISTENCE_IDLE_MAX_S);
        };
        match self {
            Self::None => {}
            Self::Cookie { name, ttl_s } => {
                token(errors, name, "invalid_cookie_name");
                errors.range("ttl_s", *ttl_s, 0, 400 * 24 * 3_600);
            }
            Self::Source { ipv4_prefix_bits, ipv6_prefix_bits, idle_timeout_s } => {
                errors.range("ipv4_prefix_bits", *ipv4_prefix_bits, 1, 32);
                errors.range("ipv6_prefix_bits", *ipv6_prefix_bits, 1, 128);
                idle(errors, *idle_timeout_s);
            }
            Self::Header { name, idle_timeout_s } => {
                token(errors, name, "invalid_header_name");
                idle(errors, *idle_timeout_s);
            }
            Self::ApplicationCookie { name, idle_timeout_s } => {
                token(errors, name, "invalid_cookie_name");
                idle(errors, *idle_timeout_s);
            }
        }
    }
}

fn default_cookie_name() -> String {
    "BALLAST".to_owned()
}

fn default_ipv4_prefix_bits() -> u8 {
    32
}

fn default_ipv6_prefix_bits() -> u8 {
    64
}

fn default_idle_timeout_s() -> u32 {
    1_800
}

#[cfg(test)]
mod tests;
