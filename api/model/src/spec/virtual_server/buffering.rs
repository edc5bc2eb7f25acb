//! How much of a request or response is held here, so that a slow client does not keep a member busy.
//!
//! Invariant: what is held is bounded for each message, each connection, and each worker of a node.

use serde::{Deserialize, Serialize};

use crate::validate::FieldErrors;

/// Least that may be held of a message, in bytes.
const MESSAGE_MIN_BYTES: u32 = 1_024;
/// Most that may be held of a message, in bytes.
const MESSAGE_MAX_BYTES: u32 = 64 * 1024 * 1024;
/// Most that the messages of one connection may hold, in bytes.
const CONNECTION_MAX_BYTES: u32 = 256 * 1024 * 1024;

/// What is held of requests and responses. Off unless asked for. Where a connection, or all connections
/// of a worker thread together (`data_plane.buffering_max_bytes` in the node's file), hold as much as
/// they may, messages are passed on as they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Buffering {
    /// Request bodies of up to so many bytes, 1,024 to 67,108,864, are taken whole before a member is
    /// chosen: a client that sends slowly keeps no member waiting, and the request can be sent again as
    /// the pool's `retry` says. A body that turns out to be larger is passed on as it comes from there
    /// on, and one that says so beforehand from the start: `body_max_bytes` is what refuses bodies.
    /// Requests of gRPC and upgrades are never held. Absent: bodies are passed on as they come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_max_bytes: Option<u32>,
    /// What a client does not take at once of a response waits here, up to so many bytes, 1,024 to
    /// 67,108,864 (in steps of 20 KiB), while the member goes on: it is free as soon as it has answered,
    /// however slowly the client reads. Nothing is held back from a client that reads. Absent: a member
    /// waits for its client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_max_bytes: Option<u32>,
    /// What all messages of one connection may hold together, in bytes, up to 268,435,456; no less than
    /// either of the above. It matters for HTTP/2, where many share a connection. Default 4,194,304.
    pub connection_max_bytes: u32,
}

impl Default for Buffering {
    fn default() -> Self {
        Self {
            request_max_bytes: None,
            response_max_bytes: None,
            connection_max_bytes: 4 * 1024 * 1024,
        }
    }
}

impl Buffering {
    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        let limits = [
            ("request_max_bytes", self.request_max_bytes),
            ("response_max_bytes", self.response_max_bytes),
        ];
        let mut largest = MESSAGE_MIN_BYTES;
        for (field, bytes) in limits {
            if let Some(bytes) = bytes {
                errors.range(field, bytes, MESSAGE_MIN_BYTES, MESSAGE_MAX_BYTES);
                largest = largest.max(bytes.min(MESSAGE_MAX_BYTES));
            }
        }
        let connection_bytes = self.connection_max_bytes;
        errors.range("connection_max_bytes", connection_bytes, largest, CONNECTION_MAX_BYTES);
    }
}

#[cfg(test)]
mod tests;
