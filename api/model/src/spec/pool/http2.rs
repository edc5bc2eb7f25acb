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
    /// without, members must expect it (prior knowledge, RFC 9113 §3.3). `http2.websockets` says how WebSockets go; other upgrades go
    /// over HTTP/1.1.
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
    /// How WebSockets reach members that are spoken to by HTTP/2.
    pub websockets: MemberWebSockets,
}

/// How WebSockets reach members that are spoken to by HTTP/2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum MemberWebSockets {
    /// Each as a stream of an HTTP/2 connection (extended CONNECT, RFC 8441) where the member announces
    /// that it can (`SETTINGS_ENABLE_CONNECT_PROTOCOL`), else over a connection of HTTP/1.1.
    #[default]
    Auto,
    /// Each over a connection of HTTP/1.1.
    Http1,
    /// By HTTP/2 only: for members that speak nothing else. A member that does not announce extended
    /// CONNECT is not asked, and the request fails with 502 `upstream_no_extended_connect`.
    Http2,
}

impl MemberWebSockets {
    /// The name used in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Http1 => "http1",
            Self::Http2 => "http2",
        }
    }
}

impl Default for PoolHttp2 {
    fn default() -> Self {
        Self {
            connection_max_count: 4,
            stream_max_count: 128,
            ping_interval_ms: Some(300_000),
            websockets: MemberWebSockets::default(),
        }
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
