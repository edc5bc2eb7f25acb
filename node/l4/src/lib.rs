//! The TCP data plane in userspace: passes bytes between clients and members, both ways, until both
//! have ended.
//!
//! ```text
//!  client ──► up ────► member      connection: connect to a member, or to another
//!         ◄── down ◄──             relay:      the two directions, each ended on its own
//!                                  watch:      ends connections whose member is taken offline
//! ```
//!
//! Invariant: what a side sent before its FIN arrives, and the FIN after it (half-close). A
//! connection that ends any other way is reset, so that a cut never looks like a proper end.

#![forbid(unsafe_code)]

mod buffer;
mod choice;
pub mod client_hello;
mod connection;
mod persistence;
mod queue;
mod relay;
mod udp;
mod watch;
mod worker;

pub use udp::UdpHandlers;
pub use worker::TcpHandlers;
