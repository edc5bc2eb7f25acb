//! What a policy makes of a request: compiled once, evaluated for each.
//!
//! ```text
//! PolicySpec ── compile ──► CompiledPolicy ── evaluate(request, scratch) ──► Decision
//!                                │  index: host → path → rules, in order        │ verdict: pool,
//!                                └── explain(request) ──► steps, in words       │ split, redirect…
//!                                                                               └ edits, limits,
//!                                                                                 token, mirror…
//! ```
//!
//! Everything here is pure: addresses, time and randomness arrive as arguments. A compiled policy
//! never changes and can be shared by all threads; what a thread needs to evaluate it is a
//! [`Scratch`] of its own.
//!
//! Invariant: the index only ever leaves out rules that can't match, so that a decision is the one
//! that trying every rule in order would have made.

#![forbid(unsafe_code)]

pub mod compile;
pub mod decision;
pub mod explain;
pub mod jwt;
pub mod limiter;
pub mod normalize;
pub mod request;
pub mod shared_limiter;

mod cidr;
mod condition;
mod hash;
mod index;
mod key;
mod split;
mod template;
mod value;
mod write;

pub use compile::{CompileError, CompiledPolicy, CompiledRegion, PoolIndex, Regions};
pub use decision::{Decision, HeaderEdit, Limit, Scratch, Verdict};
pub use explain::{Explanation, Outcome, Step};
pub use hash::KeyHasher;
pub use request::{Request, RequestView};
pub use shared_limiter::SharedLimiter;

#[cfg(test)]
mod testing;
