//! The HTTP data plane: HTTP/1.1 (RFC 9110, RFC 9112) with clients and members, HTTP/2 (RFC 9113) with
//! clients, WebSocket upgrades, TLS towards clients.
//!
//! ```text
//! connection ── next head ──► exchange ── choose, connect ──► relay ⇄ member
//!     ▲                          │                              │
//!     └──── keep-alive ──────────┴──── tunnel (101) ◄───────────┘
//!
//! codec: bytes in, decisions out, no I/O      forward: heads on their way through
//! policy: rules, before a member is chosen
//! certificate: who clients with certificates are
//! buffering: what is held for slow clients
//! pump: a body from one side to the other     upstream: idle member connections of this worker
//! ```
//! A request on a kept connection costs four system calls (read, write, write, read), no allocation,
//! no lock shared with another thread and no timer operation.
//!
//! Invariant: what is ambiguous is refused, never repaired; see [`codec`].

#![forbid(unsafe_code)]

pub mod buffer;
mod buffering;
mod certificate;
mod client;
pub mod codec;
mod connection;
mod exchange;
mod failure;
mod forward;
pub mod http2;
mod identity;
mod key;
mod member;
mod own;
mod pace;
mod peer;
mod persistence;
mod policy;
mod pump;
mod queue;
mod record;
mod refusal;
mod relay;
mod retry;
mod tunnel;
mod upstream;
mod worker;

pub use buffering::BufferingTotals;
pub use policy::RateLimits;
pub use policy::mirror::MirrorTotals;
pub use worker::HttpHandlers;
