//! VRRPv3 (RFC 9568) for IPv4 and IPv6: the messages, the machine that moves a traffic group, the
//! frames that announce a move, and recordings that can be replayed.
//!
//! Everything here is pure: time arrives as [`Time`], what happens as [`Input`], and what is to be
//! done leaves as [`Effect`]. The same code runs in production, in simulation and in a replay.
//!
//! ```text
//! bytes ── wire::decode ──► Received ─┐
//! kernel: link, addresses ────────────┤               ┌─► SendAdvertisement ── wire::encode ─► bytes
//! heartbeat of the cluster ───────────┼─► GroupMachine┼─► AddAddresses, RemoveAddresses
//! operator, configuration ────────────┤  (one group)  ├─► Announce ── announce::* ─► frames
//! the one timer ──────────────────────┘               └─► Notify, Note, CountDrop
//! ```

#![forbid(unsafe_code)]

pub mod announce;
pub mod record;
pub mod wire;

mod config;
mod effect;
mod input;
mod machine;
mod time;

pub use config::{
    AnnounceConfig, ConfigError, GroupConfig, InstanceConfig, MAX_ADDRESSES_COUNT,
    MAX_ANNOUNCE_REPEAT_COUNT, MAX_INTERVAL_CS, Preempt,
};
pub use effect::{Effect, HeardFacts, Note, Reason, Refusal, Transition, TransitionFacts};
pub use input::{Gateways, Input, PeerReport, Standing, Unable};
pub use machine::{
    BrokenInvariant, GroupMachine, GroupView, HEALTHY_PRIORITY_MIN, Heard, Idle, InstanceView,
    LEAVING_PRIORITY, MANUAL_PRIORITY, State, VridInUse,
};
pub use time::Time;
pub use wire::Family;

/// A node of the cluster, as its configuration numbers them.
pub type NodeId = u64;
