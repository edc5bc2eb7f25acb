//! Active health probes: asks every monitored member whether it works, and writes what it found
//! where the data planes read it.
//!
//! ```text
//!   apply(index, config, pools) ──watch──► scheduler task ── due ──► probe task (one per probe)
//!                                           machines   ◄── outcome ──┘
//!                                              │
//!                          MemberState ◄───────┴──────► events (bounded broadcast)
//! ```
//!
//! Invariant: one task owns all health machines and is the only one to write the health of monitored
//! members; an outcome of a probe that is no longer wanted is never heard.

#![forbid(unsafe_code)]

pub mod probe;
pub mod prober;
pub mod targets;

mod scheduler;

pub use prober::{Prober, ProberOptions};
