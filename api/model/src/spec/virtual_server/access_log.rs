//! What of a virtual server's requests is written to the access log of the nodes, and how much of it.
//!
//! Where the log goes and what a record looks like is each node's own business: it stands in the
//! node's file.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::limits::{LOGGED_HEADER_MAX_COUNT, LOGGED_HEADER_NAME_MAX_BYTES};
use crate::validate::FieldErrors;

/// What is written to the access log. `true` and `false` stand for these settings with `enabled` as
/// it says and everything else at its default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct AccessLogSettings {
    /// Whether requests are written to the node's access log.
    pub enabled: bool,
    /// How many of the requests that did not fail are written, in percent, 0 to 100; fractions such
    /// as 0.1 are possible. Requests that failed are always written: those with a reason, and those
    /// answered with a status of 500 or more.
    pub sample_percent: f64,
    /// Only requests that failed are written.
    pub failures_only: bool,
    /// Request header fields whose values are written, by name, 0 to 16 of them. No other is: so
    /// `authorization` and `cookie` stay out of the log unless they are named here. Of each value,
    /// the first 1,024 bytes are kept; of a field that comes more than once, the first one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub request_headers: Vec<String>,
    /// The same of the response's header fields, as the member sent them, 0 to 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub response_headers: Vec<String>,
}

impl Default for AccessLogSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            sample_percent: 100.0,
            failures_only: false,
            request_headers: Vec::new(),
            response_headers: Vec::new(),
        }
    }
}

impl From<bool> for AccessLogSettings {
    fn from(enabled: bool) -> Self {
        Self { enabled, ..Self::default() }
    }
}

impl AccessLogSettings {
    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        errors.range("sample_percent", self.sample_percent, 0.0, 100.0);
        for (segment, names) in [
            ("request_headers", &self.request_headers),
            ("response_headers", &self.response_headers),
        ] {
            errors.range(segment, names.len(), 0, LOGGED_HEADER_MAX_COUNT);
            let mut seen = BTreeSet::new();
            errors.within(segment, |errors| {
                for (i, name) in names.iter().enumerate() {
                    errors.require(is_field_name(name), i, "invalid_header_name", || {
                        format!(
                            "must be a header field's name (an RFC 9110 token) of 1 to \
                             {LOGGED_HEADER_NAME_MAX_BYTES} characters"
                        )
                    });
                    errors.require(seen.insert(name.to_ascii_lowercase()), i, "duplicate", || {
                        "stands in the list already".to_owned()
                    });
                }
            });
        }
    }
}

/// RFC 9110 §5.1.
fn is_field_name(name: &str) -> bool {
    (1..=LOGGED_HEADER_NAME_MAX_BYTES).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Reads the settings, or the truth value that they were before.
pub(super) fn settings_or_bool<'de, D>(deserializer: D) -> Result<AccessLogSettings, D::Error>
where
    D: Deserializer<'de>,
{
    struct Either;

    impl<'de> Visitor<'de> for Either {
        type Value = AccessLogSettings;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the access log's settings, or true or false")
        }

        fn visit_bool<E>(self, enabled: bool) -> Result<Self::Value, E> {
            Ok(enabled.into())
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            AccessLogSettings::deserialize(MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_any(Either)
}

#[cfg(test)]
mod tests;
