//! What a rule changes or asks for besides its action.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::action::pool;
use super::syntax;
use super::template::{Place, Template};
use crate::limits::{
    POLICY_CLAIM_MAX_COUNT, POLICY_HEADER_EDIT_MAX_COUNT, POLICY_KEY_PART_MAX_COUNT,
    POLICY_RATE_INTERVAL_MAX_S, POLICY_RATE_MAX_COUNT, POLICY_TEXT_MAX_BYTES,
};
use crate::validate::{self, FieldErrors};

/// Changes to a header, done in this order: `remove`, `set`, `add`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct HeaderEdits {
    /// Fields that go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Fields that have this value and no other afterwards.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, String>))]
    pub set: BTreeMap<String, Template>,
    /// Fields that are added to those of the same name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, String>))]
    pub add: BTreeMap<String, Template>,
}

impl HeaderEdits {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        errors.range("remove", self.remove.len(), 0, POLICY_HEADER_EDIT_MAX_COUNT);
        errors.within("remove", |errors| {
            for (i, name) in self.remove.iter().enumerate().take(POLICY_HEADER_EDIT_MAX_COUNT) {
                syntax::editable_field(errors, &i.to_string(), name);
            }
        });
        for (segment, fields) in [("set", &self.set), ("add", &self.add)] {
            errors.range(segment, fields.len(), 0, POLICY_HEADER_EDIT_MAX_COUNT);
            errors.within(segment, |errors| {
                for (name, value) in fields.iter().take(POLICY_HEADER_EDIT_MAX_COUNT) {
                    syntax::editable_field(errors, name, name);
                    value.validate(errors, name, Place::FieldValue);
                }
            });
        }
    }
}

/// A pool that gets copies of requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// Its name.
    pub pool: String,
    /// The share of requests that are copied, in percent, 0 to 100, drawn for each request.
    #[serde(default = "default_mirror_percent")]
    pub percent: u8,
}

impl Mirror {
    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        pool(errors, &self.pool);
        errors.range("percent", self.percent, 0, 100);
    }
}

/// Timeouts instead of the virtual server's; what is absent stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RequestTimeouts {
    /// Longest silence in the middle of a request's or response's body, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_idle_timeout_ms: Option<u64>,
    /// Longest wait for the first byte of a member's response, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_timeout_ms: Option<u64>,
    /// Longest silence, both ways, of an upgraded connection (WebSocket), in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel_idle_timeout_ms: Option<u64>,
}

impl RequestTimeouts {
    /// Whether none is given.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        let timeouts = [
            ("body_idle_timeout_ms", self.body_idle_timeout_ms),
            ("response_timeout_ms", self.response_timeout_ms),
            ("tunnel_idle_timeout_ms", self.tunnel_idle_timeout_ms),
        ];
        for (segment, timeout_ms) in timeouts {
            if let Some(timeout_ms) = timeout_ms {
                errors.timeout_ms(segment, timeout_ms, 100);
            }
        }
    }
}

/// How many requests with the same key are let through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// What requests are counted by; all parts together are the key. A part that a request lacks
    /// counts as empty, so that leaving it out is no way around the limit.
    #[serde(default = "default_key")]
    pub key: Vec<KeyPart>,
    /// Requests in an interval, spread evenly, 1 to 10,000,000.
    pub requests: u32,
    /// The interval, in seconds, 1 to 86,400.
    #[serde(default = "default_interval_s")]
    pub interval_s: u32,
    /// Requests that may come at once, 1 to 10,000,000. Absent: as many as `requests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
}

/// A part of a rate limit's key. Written `"address"`, `{"header": "X-Api-Key"}` and so on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum KeyPart {
    /// The client's address; of an IPv6 address the first 64 bits, since a client has all that
    /// share them.
    Address,
    /// The host, in lower case and without a port.
    Host,
    /// The normalised path.
    Path,
    /// The value of the header field of that name, the first if there are several.
    Header(String),
    /// The value of the cookie of that name.
    Cookie(String),
}

impl RateLimit {
    /// A limit by the client's address.
    pub fn new(requests: u32, interval_s: u32) -> Self {
        Self { key: default_key(), requests, interval_s, burst: None }
    }

    /// Requests that may come at once.
    pub fn burst(&self) -> u32 {
        self.burst.unwrap_or(self.requests)
    }

    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        errors.range("key", self.key.len(), 1, POLICY_KEY_PART_MAX_COUNT);
        errors.within("key", |errors| {
            for (i, part) in self.key.iter().enumerate().take(POLICY_KEY_PART_MAX_COUNT) {
                let repeats = self.key[..i].contains(part);
                errors.require(!repeats, i, "duplicate", || "stands in the key already".to_owned());
                errors.within(i, |errors| match part {
                    KeyPart::Address | KeyPart::Host | KeyPart::Path => {}
                    KeyPart::Header(name) => syntax::field_name(errors, "header", name),
                    KeyPart::Cookie(name) => syntax::cookie_name(errors, "cookie", name),
                });
            }
        });
        errors.range("requests", self.requests, 1, POLICY_RATE_MAX_COUNT);
        errors.range("interval_s", self.interval_s, 1, POLICY_RATE_INTERVAL_MAX_S);
        errors.range("burst", self.burst(), 1, POLICY_RATE_MAX_COUNT);
    }
}

/// The token (RFC 7519) that a request must carry as `Authorization: Bearer`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RequireJwt {
    /// Who must have issued it: the name of a provider, which has the keys, the issuer and the
    /// audience.
    pub provider: String,
    /// What its claims must be, each by name; a name that starts with `/` is a JSON pointer into
    /// the claims, as `/realm_access/roles`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, ClaimMatch>,
    /// Scopes it must have, all of them: of `scope` (RFC 8693 §4.2) or `scp`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
}

/// What a claim must be. Written `{"equals": "x"}` or `{"contains": "x"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ClaimMatch {
    /// This value.
    Equals(ClaimValue),
    /// A list that has this value.
    Contains(ClaimValue),
}

/// A text, a number or a truth value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum ClaimValue {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A text.
    Text(String),
}

impl RequireJwt {
    /// Any valid token of that provider.
    pub fn new(provider: impl Into<String>) -> Self {
        Self { provider: provider.into(), claims: BTreeMap::new(), scopes: Vec::new() }
    }

    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        validate::name(errors, "provider", &self.provider);
        errors.range("claims", self.claims.len(), 0, POLICY_CLAIM_MAX_COUNT);
        errors.within("claims", |errors| {
            for (name, wanted) in self.claims.iter().take(POLICY_CLAIM_MAX_COUNT) {
                let (ClaimMatch::Equals(value) | ClaimMatch::Contains(value)) = wanted;
                let short = !matches!(value, ClaimValue::Text(t) if t.len() > POLICY_TEXT_MAX_BYTES);
                let named = !name.is_empty() && name.len() <= POLICY_TEXT_MAX_BYTES;
                errors.require(named && short, name, "invalid_claim", || {
                    format!("name and value have at most {POLICY_TEXT_MAX_BYTES} bytes, the name at least one")
                });
            }
        });
        errors.range("scopes", self.scopes.len(), 0, POLICY_CLAIM_MAX_COUNT);
        errors.within("scopes", |errors| {
            for (i, scope) in self.scopes.iter().enumerate().take(POLICY_CLAIM_MAX_COUNT) {
                errors.require(syntax::is_scope(scope), i, "invalid_scope", || {
                    "must be 1 to 256 visible ASCII characters without '\"' and '\\'".to_owned()
                });
            }
        });
    }
}

fn default_mirror_percent() -> u8 {
    100
}

fn default_key() -> Vec<KeyPart> {
    vec![KeyPart::Address]
}

fn default_interval_s() -> u32 {
    1
}
