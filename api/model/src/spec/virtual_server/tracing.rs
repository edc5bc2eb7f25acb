//! How requests are told apart and followed across machines: request identifiers and W3C trace
//! context.

use serde::{Deserialize, Serialize};

use crate::validate::FieldErrors;

/// The identifier of a request: `X-Request-ID`. It stands in the access log, and in the answer where
/// Ballast itself answers with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RequestIdSettings {
    /// Whether requests get an identifier, which members are told. Off: an `X-Request-ID` that comes
    /// is passed on like any other field.
    pub enabled: bool,
    /// Whether an identifier that the client gives is kept: of 1 to 128 letters, digits and
    /// `-._~+/=:@`. Any other, or more than one, is replaced by one of our own (UUID version 7).
    pub accept_from_client: bool,
    /// Whether the client is told, with every response.
    pub to_client: bool,
}

impl Default for RequestIdSettings {
    fn default() -> Self {
        Self { enabled: true, accept_from_client: true, to_client: false }
    }
}

/// W3C trace context: `traceparent` and `tracestate`. Where nodes send what they see is in each
/// node's file; without such a place, the context is passed on all the same.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct TracingSettings {
    /// Whether the virtual server takes part in traces. Off: both fields are passed on like any
    /// other.
    pub enabled: bool,
    /// How many of the requests that come without a valid `traceparent` begin a trace that is
    /// recorded, in percent, 0 to 100. Those that come with one are recorded as it says.
    pub sample_percent: f64,
    /// Whether a `traceparent` of the client is believed. Not: every request begins a trace, and
    /// what came is dropped.
    pub accept_from_client: bool,
}

impl Default for TracingSettings {
    fn default() -> Self {
        Self { enabled: false, sample_percent: 1.0, accept_from_client: true }
    }
}

impl TracingSettings {
    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        errors.range("sample_percent", self.sample_percent, 0.0, 100.0);
    }
}
