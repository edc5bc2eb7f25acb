//! The machine of a traffic group: RFC 9568 §6.4 for one virtual router per address family, moved
//! as one. The group is Active in all its families or in none.
//!
//! ```text
//!              able, link up, sources            every family's active-down timer expired,
//!            ┌────────────────────────► Backup ──── VRID free, no peer's veto ────► Active
//!        Initialize                       ▲                                           │
//!            ▲                            └── a better router, a tie lost, late tick ─┤
//!            └──────────── unable, link down, source gone, shutdown ──────────────────┘
//! ```

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::NodeId;
use crate::config::{ConfigError, GroupConfig};
use crate::effect::{Effect, Reason};
use crate::input::{Input, Unable};
use crate::time::Time;
use crate::wire::Family;

/// The lowest priority of the healthy band; below it a node is degraded.
pub const HEALTHY_PRIORITY_MIN: u8 = 128;
/// The priority of a node to which an operator moved the group.
pub const MANUAL_PRIORITY: u8 = 254;

/// RFC 9568 §6.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Takes no part; [`Idle`] says why.
    Initialize,
    /// Listens.
    Backup,
    /// Holds the addresses.
    Active,
}

/// Why a group takes no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Idle {
    /// See [`Unable`].
    Unable(Unable),
    /// The interface is down.
    LinkDown,
    /// The node has no address of this family on the interface.
    NoSource(Family),
    /// [`Input::Shutdown`] was given.
    ShutDown,
}

/// Another router that was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// Where it advertises from.
    pub source: IpAddr,
    /// Who signed.
    pub node_id: Option<NodeId>,
    /// Its priority; 0: it released.
    pub priority: u8,
    /// Its interval, in centiseconds.
    pub interval_cs: u16,
    /// When, on the machine's clock, which is the caller's unless that one went backwards.
    pub at: Time,
}

/// Somebody who does not belong to the group and uses its VRID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VridInUse {
    /// Who.
    pub by: IpAddr,
    /// When it will be held to be gone, unless it is heard again.
    pub until: Time,
}

/// What status shows of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupView {
    /// The state.
    pub state: State,
    /// Why it takes no part, in [`State::Initialize`].
    pub idle: Option<Idle>,
    /// For how long, in µs.
    pub state_lasts_us: u64,
    /// Why it is in that state; `None` before the first transition.
    pub reason: Option<Reason>,
    /// The priority with which the node takes part, or would.
    pub priority: u8,
    /// Whether an operator moved the group here.
    pub is_manual: bool,
    /// In Backup: whether this node has not yet heard its group, nor held it.
    pub is_listening: bool,
    /// In Backup: who keeps this node from joining.
    pub vrid_in_use: Option<VridInUse>,
    /// In Backup: the peer whose reports keep this node from taking over.
    pub vetoed_by: Option<NodeId>,
    /// In Backup: when failback is due, in µs from now; 0 when only the brake holds it.
    pub failback_in_us: Option<u64>,
    /// One per family.
    pub instances: Vec<InstanceView>,
}

/// What status shows of one family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceView {
    /// Which.
    pub family: Family,
    /// From where this node advertises.
    pub source: Option<IpAddr>,
    /// Who was heard last.
    pub heard: Option<Heard>,
    /// How long ago, in µs.
    pub heard_ago_us: Option<u64>,
    /// In Backup: when its active-down timer expires, in µs from now.
    pub active_down_in_us: Option<u64>,
}

/// A property of the machine that does not hold: a fault of this crate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct BrokenInvariant(pub &'static str);

/// One traffic group on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMachine {
    config: GroupConfig,
    state: State,
    now: Time,
}

impl GroupMachine {
    /// A machine in [`State::Initialize`]. It begins when it was told that its link is up and that
    /// the node is able: [`Input::LinkUp`], [`Input::Standing`].
    pub fn new(config: GroupConfig, now: Time) -> Result<Self, ConfigError> {
        config.validate()?;
    }

    /// Takes in what happened at `now`, and appends what is to be done. Reading
    /// [`Self::next_deadline`] comes after it.
    pub fn handle(&mut self, now: Time, _input: Input, _effects: &mut Vec<Effect>) {
        self.now = now;
    }

    /// When [`Input::Tick`] is due; `None` while nothing is waited for. It can be in the past.
    pub fn next_deadline(&self) -> Option<Time> {
        None
    }

    /// The state.
    pub fn state(&self) -> State {
        self.state
    }

    /// The configuration it runs on.
    pub fn config(&self) -> &GroupConfig {
        &self.config
    }

    /// What the node's reports to its peers say: the priority it takes part with, 254 for a manual
    /// owner.
    pub fn priority(&self) -> u8 {
        1
    }

    /// The addresses that effects have put on the interface.
    pub fn held_addresses(&self) -> &[IpAddr] {
        &[]
    }
}

impl State {
    /// The name in status, events and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Backup => "backup",
            Self::Active => "active",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Initialize => "Initialize",
            Self::Backup => "Backup",
            Self::Active => "Active",
        })
    }
}
