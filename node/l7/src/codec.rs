//! HTTP/1.1 message syntax and framing (RFC 9112), without I/O: bytes in, decisions out.
//!
//! Invariant: a message is either understood in the one way that every conforming recipient
//! understands it, or refused. Nothing is repaired: what is ambiguous between us and a member is
//! how requests are smuggled.

pub mod chunked;
pub mod framing;
pub mod head;
pub mod request;
pub mod response;
mod syntax;
pub mod trailer;
