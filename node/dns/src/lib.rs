//! Members that are named by host name: asks name servers who they are, again and again, and tells the
//! pools.
//!
//! ```text
//!   pools (watch) ──► names that are wanted ── due ──► lookup (hickory-resolver, one task each)
//!                           sources      ◄── answer ──┘
//!                              │
//!     ResolvedMap (watch) ◄────┴───► statuses
//! ```
//!
//! Invariant: one task owns all sources; nothing here runs on a thread that carries traffic, and an
//! answer that is not good changes no pool.

#![forbid(unsafe_code)]

pub mod lookup;
pub mod names;
pub mod source;

pub use names::Names;
pub use source::{Answer, Shape, Source};
