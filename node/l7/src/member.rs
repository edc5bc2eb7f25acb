//! The member side of an exchange: how a member is reached, and the stream that it is spoken to over.
//!
//! Invariant: a connection is made only as the pool's security says, as of the moment that the member
//! was chosen.

pub(crate) mod connect;
pub(crate) mod http2;
pub(crate) mod stream;

pub(crate) use connect::{ConnectError, Way, connect, tls_reason, tls_text};
pub(crate) use http2::{Http2Connections, Http2Stream};
pub(crate) use stream::MemberStream;
