//! What is spoken with the members of a pool.

use serde::{Deserialize, Serialize};

use crate::validate::FieldErrors;

/// What is spoken with members by virtual servers for HTTP, and by monitors of type `http` without a
/// `port` of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum MemberProtocol {
    /// HTTP/1.1 (RFC 9112): a connection for each request under way.
    #[default]
    Http1,
    /// HTTP/2 (RFC 9113): many requests on one connection. With `tls` it is asked for by ALPN, and
    /// without, members must expect it (prior knowledge, RFC 9113 §3.3). WebSockets go over HTTP/1.1.
    Http2,
}

impl MemberProtocol {
    /// The name used in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
        }
    }
}

/// HTTP/2 with members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct PoolHttp2 {
    /// Connections to each member by each worker thread, 1 to 64. Another is opened when those there
    /// are have as many streams as they may. Once there are as many as may be, and all their streams are
    /// taken, requests wait for one for `connect_timeout_ms`, and then fail with 503 `queue_timeout`,
    /// which is not held against the member.
    pub connection_max_count: u32,
    /// Streams on each connection, 1 to 1,024; fewer where the member allows fewer.
    pub stream_max_count: u32,
    /// How often a connection with requests under way is tested by `PING`, in ms, 100 or more; what
    /// does not answer until the next is closed. Servers of gRPC take more than one in 5 min amiss.
    /// Default 300,000; `null`: never.
    pub ping_interval_ms: Option<u64>,
}

impl Default for PoolHttp2 {
    fn default() -> Self {
        Self { connection_max_count: 4, stream_max_count: 128, ping_interval_ms: Some(300_000) }
    }
}

impl PoolHttp2 {
    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        errors.range("connection_max_count", self.connection_max_count, 1, 64);
        errors.range("stream_max_count", self.stream_max_count, 1, 1_024);
        if let Some(interval_ms) = self.ping_interval_ms {
            errors.timeout_ms("ping_interval_ms", interval_ms, 100);
        }
    }
}

#[cfg(test)]
mod tests;
