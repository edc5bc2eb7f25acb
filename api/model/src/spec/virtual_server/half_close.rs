//! What becomes of a request whose client has said that it sends no more.

use serde::{Deserialize, Serialize};

/// What becomes of a request of HTTP/1.1 whose client closes its side of the connection (FIN) while the
/// request is under way. The node can't tell a client that has left from one that only sends no more
/// (half-close) and waits for its answer. A connection that is reset ends its request in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ClientHalfClose {
    /// The request is served, and its client gets the answer if it is still there.
    Continue,
    /// A request that waits for a member with room leaves the queue: nobody has begun to work on it.
    /// One that a member has is served. This is the default: it costs clients that do half-close
    /// nothing but where members are all busy, and keeps members from working for nobody just there.
    #[default]
    AbortQueued,
    /// The request ends within about a second wherever it is, and the member is told by the end of its
    /// connection or stream. For answers that are dear to make, and clients that never half-close.
    Abort,
}

impl ClientHalfClose {
    /// The name used in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::AbortQueued => "abort_queued",
            Self::Abort => "abort",
        }
    }
}
