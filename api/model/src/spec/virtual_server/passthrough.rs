//! Where TLS connections go that are passed on unopened.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::config::{Kind, Reference};
use crate::limits::{SNI_NAME_MAX_COUNT, SNI_ROUTE_MAX_COUNT};
use crate::validate::FieldErrors;

/// Most application protocols of one route.
const ALPN_MAX_COUNT: usize = 16;

/// For `tls_passthrough`: which pool gets a connection, by what the client's first message shows
/// (`ClientHello`, RFC 8446 §4.1.2). With Encrypted Client Hello that is the outer name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct TlsPassthrough {
    /// An exact name comes before a wildcard, a longer wildcard before a shorter one; of routes with
    /// one name the first that fits counts.
    pub routes: Vec<SniRoute>,
    /// What becomes of connections that no route fits, or that name no server.
    pub unmatched: UnmatchedName,
    /// Longest wait for the client's first message, in ms.
    pub hello_timeout_ms: u64,
}

/// Server names and the pool that serves them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SniRoute {
    /// Names (SNI, RFC 6066 §3); `*.example.com` stands for every name that ends in `.example.com`.
    pub server_names: Vec<String>,
    /// Only for clients that offer one of these application protocols (ALPN, RFC 7301), such as `h2`;
    /// empty: for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alpn_protocols: Vec<String>,
    /// The pool that serves them.
    pub pool: String,
}

/// What becomes of connections that no route fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum UnmatchedName {
    /// The virtual server's own pool gets them.
    #[default]
    Pool,
    /// They are reset.
    Refuse,
}

impl Default for TlsPassthrough {
    fn default() -> Self {
        Self { routes: Vec::new(), unmatched: UnmatchedName::default(), hello_timeout_ms: 5_000 }
    }
}

impl TlsPassthrough {
    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        errors.timeout_ms("hello_timeout_ms", self.hello_timeout_ms, 100);
        errors.range("routes", self.routes.len(), 0, SNI_ROUTE_MAX_COUNT);
        let mut seen = BTreeSet::new();
        errors.within("routes", |errors| {
            for (i, route) in self.routes.iter().enumerate() {
                errors.within(i, |errors| route.validate(errors, &mut seen));
            }
        });
        errors.require(seen.len() <= SNI_NAME_MAX_COUNT, "routes", "out_of_range", || {
            format!("name more than {SNI_NAME_MAX_COUNT} servers")
        });
    }

    pub(super) fn references(&self) -> impl Iterator<Item = Reference> + '_ {
        self.routes.iter().enumerate().map(|(i, route)| {
            let pointer = format!("/spec/tls_passthrough/routes/{i}/pool");
            Reference::new(pointer, Kind::Pool, &route.pool)
        })
    }
}

impl SniRoute {
    fn validate(&self, errors: &mut FieldErrors, seen: &mut BTreeSet<(String, Vec<String>)>) {
        errors.range("server_names", self.server_names.len(), 1, SNI_NAME_MAX_COUNT);
        errors.within("server_names", |errors| {
            for (i, name) in self.server_names.iter().enumerate() {
                errors.require(is_server_name(name), i, "invalid_server_name", || {
                    "must be a host name such as www.example.com or *.example.com".to_owned()
                });
                let key = (name.to_ascii_lowercase(), self.alpn_protocols.clone());
                errors.require(seen.insert(key), i, "duplicate", || {
                    "stands in an earlier place already".to_owned()
                });
            }
        });
        errors.range("alpn_protocols", self.alpn_protocols.len(), 0, ALPN_MAX_COUNT);
        errors.within("alpn_protocols", |errors| {
            for (i, protocol) in self.alpn_protocols.iter().enumerate() {
                let fits = (1..=255).contains(&protocol.len());
                errors.require(fits, i, "out_of_range", || {
                    "must have 1 to 255 bytes (RFC 7301 §3.1)".to_owned()
                });
            }
        });
        errors.require(!self.pool.is_empty(), "pool", "required", || "names no pool".to_owned());
    }
}

fn is_server_name(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.len() <= 253 && name.split('.').all(is_label)
}
