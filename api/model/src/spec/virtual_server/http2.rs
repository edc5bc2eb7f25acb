//! HTTP/2 (RFC 9113) towards clients: what one connection may ask of a node.
//!
//! Invariant: every limit has a default that ordinary clients stay below.

use serde::{Deserialize, Serialize};

use crate::validate::FieldErrors;

/// Limits of an HTTP/2 connection. A client that goes beyond one is told so (`REFUSED_STREAM`, or
/// `GOAWAY` with `ENHANCE_YOUR_CALM`), and it is counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Http2Limits {
    /// Most requests under way at once (`SETTINGS_MAX_CONCURRENT_STREAMS`); 1 to 1,000.
    pub stream_max_count: u16,
    /// Requests served by one connection; then the client is asked to open another (`GOAWAY`), and
    /// what is under way is finished. 1 to 1,000,000,000.
    pub request_max_count: u32,
    /// Most requests broken off (`RST_STREAM`) within 10 seconds; 10 to 1,000,000.
    pub reset_max_count: u32,
    /// Most frames that only cause work (`SETTINGS`, `PING`, `PRIORITY` and unknown ones) within 10
    /// seconds; 10 to 1,000,000.
    pub control_frame_max_count: u32,
}

impl Default for Http2Limits {
    fn default() -> Self {
        Self {
            stream_max_count: 128,
            request_max_count: 100_000,
            reset_max_count: 500,
            control_frame_max_count: 500,
        }
    }
}

impl Http2Limits {
    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        errors.range("stream_max_count", self.stream_max_count, 1, 1_000);
        errors.range("request_max_count", self.request_max_count, 1, 1_000_000_000);
        errors.range("reset_max_count", self.reset_max_count, 10, 1_000_000);
        errors.range("control_frame_max_count", self.control_frame_max_count, 10, 1_000_000);
    }
}
