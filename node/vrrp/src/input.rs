//! What a machine is told. Inputs are values that can be written down and given again.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::NodeId;
use crate::config::GroupConfig;
use crate::machine::State;
use crate::wire::{Family, Received};

/// Something that happened, given to [`crate::GroupMachine::handle`].
///
/// Sockets are drained before a [`Input::Tick`] is given: an advertisement that waits in a buffer
/// has been heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// An advertisement came in on the group's interface.
    Advertisement(Received),
    /// [`crate::GroupMachine::next_deadline`] has come. Harmless at any other time.
    Tick,
    /// The group's interface can carry packets. A new machine holds its link to be down.
    LinkUp,
    /// The group's interface cannot.
    LinkDown,
    /// The node's own address on the interface is another one, or is gone.
    AddressChanged {
        /// Whose source.
        family: Family,
        /// The new one.
        source: Option<IpAddr>,
    },
    /// The group is configured otherwise. Addresses, interval and settings change in place;
    /// another VRID or other families start the machine anew.
    ConfigChanged(Box<GroupConfig>),
    /// How fit this node is has changed. A new machine holds itself to be [`Unable::Starting`].
    Standing(Standing),
    /// A peer's report arrived over the cluster's connection.
    Heartbeat(PeerReport),
    /// The kernel of a peer closed the heartbeat's connection: its process is gone.
    HeartbeatClosed {
        /// Whose.
        node_id: NodeId,
    },
    /// An operator moves the group here: at once, and with priority 254 until it leaves again.
    TakeOver,
    /// The process that owned the group here until now has left it to this one, addresses and all: go on as
    /// Active at once. An Active that rested goes on.
    Resume {
        /// Whether an operator moved the group here.
        is_manual: bool,
    },
    /// An operator moves the group away to another node, which is being told to take over: a
    /// manual owner stops insisting. Addresses stay until the other node is heard.
    HandOver,
    /// An operator sends the group away, to whoever takes it.
    StepDown,
    /// The process ends; released with priority 0. Nothing later is acted on.
    Shutdown,
}

/// How fit this node is to hold the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Why the node cannot take part at all.
    pub unable: Option<Unable>,
    /// 128–253 while healthy, 1–127 while degraded (RFC 9568 §5.2.4: 255 is the owner's, 0 means
    /// release). 0 and 255 are taken for 1 and 253.
    pub priority: u8,
    /// Whether the node's brake on takeovers that nobody's death asks for is open.
    pub may_volunteer: bool,
}

/// Why a node takes no part in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unable {
    /// Configuration is not applied yet, or the first health round is not done.
    Starting,
    /// The operator forced the node offline.
    Offline,
    /// The node is in maintenance.
    Maintenance,
    /// The workers do not forward.
    DataPlaneDead,
    /// The group's interface does not exist or is not usable.
    InterfaceMissing,
    /// The kernel refuses what the group needs (a socket, an address).
    KernelRefused,
}

impl Unable {
    /// The name in status, events and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Offline => "offline",
            Self::Maintenance => "maintenance",
            Self::DataPlaneDead => "data_plane_dead",
            Self::InterfaceMissing => "interface_missing",
            Self::KernelRefused => "kernel_refused",
        }
    }
}

impl fmt::Display for Unable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "the node is starting",
            Self::Offline => "the node is forced offline",
            Self::Maintenance => "the node is in maintenance",
            Self::DataPlaneDead => "the data plane does not forward",
            Self::InterfaceMissing => "the interface is missing",
            Self::KernelRefused => "the kernel refuses a socket or an address",
        })
    }
}

/// What a peer says of one group over the cluster's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerReport {
    /// Who says it.
    pub node_id: NodeId,
    /// Its state in the group.
    pub state: State,
    /// Its priority in the group.
    pub priority: u8,
    /// Whether its interface for the group is up.
    pub link_up: bool,
    /// What it sees of the gateways it tracks.
    pub gateways: Gateways,
    /// After how many ms its next report is due; the report is fresh for twice that, and for three times that
    /// where it keeps a takeover up.
    pub interval_ms: u32,
}

/// What a node sees of its gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gateways {
    /// None is tracked, or nothing is known yet.
    Unknown,
    /// At least one answers.
    Reachable,
    /// None answers.
    Failed,
}
