//! Hands a running node from one process to the next, which may be of another version: the private channel
//! between the two, how the next is started, what the service manager gives and is told.
//!
//! ```text
//! old process                                   new process
//! SIGUSR2 ─► start the program on the disk ───► its standard input is the channel
//!            hello ───────────────────────────►
//!            sockets ─────────────────────────► takes them in, reads its file, starts its threads
//!            ◄──────────────────────── prepared
//!            lets go of the store
//!            go, with what is known of
//!            members, clients and limits ─────► opens the store, compiles, accepts
//!            ◄───────────────────────── serving
//!            rests VRRP
//!            own these traffic groups ────────► takes the groups as they stand
//!            ◄────────────────────────── owning
//!            sessions of datagrams, done ─────► reads datagrams
//!            leaves clients to end, ends        tells the service manager who it is
//! ```
//!
//! Invariant: until the old process has heard `owning`, it can take everything back; nothing that comes over
//! the channel is larger than [`MESSAGE_MAX_BYTES`], or than [`PARCEL_MAX_BYTES`] where it is a parcel.

#![forbid(unsafe_code)]

pub mod channel;
pub mod manager;
pub mod message;
pub mod start;

pub use channel::{Channel, ChannelError, MESSAGE_MAX_BYTES, PARCEL_MAX_BYTES};
pub use message::{Hello, PROTOCOL, ToNew, ToOld};
pub use start::{CommandLine, Successor, predecessor};
