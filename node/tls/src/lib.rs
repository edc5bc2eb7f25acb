//! TLS settings made ready for use: whom members of a pool are taken for, what they are shown, and
//! why a handshake with one failed. No sockets: the planes and the prober bring their own.
//!
//! Invariant: nothing here falls back to plain text or to less verification than was declared; what
//! can't be made ready is [`Security::Unusable`], and no connection is made with it.

#![forbid(unsafe_code)]

pub mod fault;
pub mod leaf;
pub mod member;
pub mod ocsp;
pub mod roots;
pub mod suite;

pub use fault::TlsFault;
pub use member::{Alpn, MemberTls, MemberTlsError, Security};
pub use roots::SystemRoots;
