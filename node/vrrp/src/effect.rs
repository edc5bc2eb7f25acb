//! What a machine wants done, in the order in which it is to be done.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::NodeId;
use crate::input::Unable;
use crate::machine::State;
use crate::wire::{Advertisement, DropReason, Family};

/// Something for the shell to do. Effects of one input are carried out in order: a new Active adds
/// its addresses, advertises, then announces; a release removes addresses before priority 0 goes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Put these virtual addresses on the interface. Never names one that is there already.
    AddAddresses(Vec<IpAddr>),
    /// Take these virtual addresses from the interface. Only names what was added.
    RemoveAddresses(Vec<IpAddr>),
    /// Send this, as it is, to the multicast group or to every unicast peer.
    SendAdvertisement(Advertisement),
    /// Announce every virtual address of the group by gratuitous ARP or neighbour advertisement.
    Announce {
        /// Frames per address, at once.
        repeat_count: u8,
    },
    /// The state changed: for events, the timeline and counters.
    Notify(Transition),
    /// Something worth an event that changed no state. Said once when it begins, not every time.
    Note(Note),
    /// An advertisement was not acted on: count it by its reason.
    CountDrop(DropReason),
}

/// A change of state, with what was known when it was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// The state before.
    pub from: State,
    /// The state now.
    pub to: State,
    /// Why.
    pub reason: Reason,
    /// What was known.
    pub facts: TransitionFacts,
}

/// The inputs of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitionFacts {
    /// The priority with which this node takes part; 254 for a manual owner.
    pub own_priority: u8,
    /// The interval the timers were running on, in µs: the Active's, where one was heard.
    pub interval_us: u64,
    /// The last advertisement of another router.
    pub heard: Option<HeardFacts>,
    /// How long after its deadline the decision was made, in µs: how late the timer was served.
    pub late_us: u64,
    /// How long the state before lasted, in µs.
    pub lasted_us: u64,
    /// The peer whose report decided, where one did.
    pub reported_by: Option<NodeId>,
}

/// An advertisement that was heard, as a fact of a later decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeardFacts {
    /// On which side of the group.
    pub family: Family,
    /// From where.
    pub source: IpAddr,
    /// The node that signed it.
    pub node_id: Option<NodeId>,
    /// Its priority.
    pub priority: u8,
    /// How long ago, in µs.
    pub ago_us: u64,
}

/// Why a group changed its state on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The node has become able to take part: it listens now.
    Able,
    /// Nobody has been heard since this node listens.
    NobodyHeard,
    /// The Active fell silent.
    Silence,
    /// The Active released the group.
    Released,
    /// The Active fell silent and its process is known to be gone.
    PeerProcessGone,
    /// The Active is degraded and this node is healthy.
    PeerDegraded,
    /// The Active gives the group away, and this node would keep it.
    PeerLeaving,
    /// This node is preferred and has been better for the failback delay.
    Failback,
    /// An operator moved the group here.
    TakenOver,
    /// The process before this one left the group to it.
    Resumed,
    /// Another router with a higher priority is Active.
    HigherPriority,
    /// Another router with the same priority and a higher address is Active.
    TieLost,
    /// This node's timer was served so late that others must hold it for dead.
    LateTick,
    /// This node is degraded and a healthy peer reports to be Active.
    HealthierPeerActive,
    /// An operator sent the group away.
    SteppedDown,
    /// The node cannot take part.
    Unable(Unable),
    /// The interface went down.
    LinkDown,
    /// The node's own address on the interface is gone.
    NoSource,
    /// The group got another VRID or other address families.
    Reconfigured,
    /// The process ends.
    Shutdown,
}

/// Something worth telling that changed no state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// Somebody who does not belong to this group uses its VRID: this node does not join.
    VridInUse {
        /// Who.
        by: IpAddr,
    },
    /// The VRID is free again: this node joins.
    VridFree,
    /// Somebody who does not belong to this group uses its VRID, and this node had joined before.
    VridClash {
        /// Who.
        by: IpAddr,
    },
    /// Another router of the group has other virtual addresses.
    AddressListDiffers {
        /// Who.
        source: IpAddr,
    },
    /// Another router of the group has another advertisement interval.
    IntervalDiffers {
        /// Who.
        source: IpAddr,
        /// Its interval, in centiseconds.
        interval_cs: u16,
    },
    /// Another router was Active at the same time and lost; addresses are announced again.
    ConflictWon {
        /// Who.
        source: IpAddr,
    },
    /// The Active is not heard, but reports over the cluster's connection that it serves.
    TakeoverVetoed {
        /// Who.
        node_id: NodeId,
    },
    /// A peer has long reported to be Active while this node is, and neither hears the other:
    /// the segment between them is silent.
    ActiveTwice {
        /// Who.
        node_id: NodeId,
    },
    /// The group would have moved here by preference, but too many moved within a minute.
    Braked {
        /// For what.
        reason: Reason,
    },
    /// An operator's move to this node was refused.
    TakeOverRefused {
        /// Why.
        refusal: Refusal,
    },
    /// A configuration was refused; the machine goes on with the one before.
    ConfigRefused(crate::config::ConfigError),
}

/// Why an operator's move to this node cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The node takes no part in the group.
    NotTakingPart,
    /// The VRID is in use by somebody else.
    VridInUse,
}

impl Reason {
    /// The name in status, events and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Able => "able",
            Self::NobodyHeard => "nobody_heard",
            Self::Silence => "silence",
            Self::Released => "released",
            Self::PeerProcessGone => "peer_process_gone",
            Self::PeerDegraded => "peer_degraded",
            Self::PeerLeaving => "peer_leaving",
            Self::Failback => "failback",
            Self::TakenOver => "taken_over",
            Self::Resumed => "resumed",
            Self::HigherPriority => "higher_priority",
            Self::TieLost => "tie_lost",
            Self::LateTick => "late_tick",
            Self::HealthierPeerActive => "healthier_peer_active",
            Self::SteppedDown => "stepped_down",
            Self::Unable(unable) => unable.as_str(),
            Self::LinkDown => "link_down",
            Self::NoSource => "no_source",
            Self::Reconfigured => "reconfigured",
            Self::Shutdown => "shutdown",
        }
    }

    /// Whether becoming Active for this reason counts against the node's brake: nobody died, and
    /// nobody asked for it.
    pub fn is_voluntary(self) -> bool {
        matches!(self, Self::PeerDegraded | Self::Failback)
    }

    /// Whether this reason is that of two nodes that could serve this one is the better.
    pub(crate) fn is_preference(self) -> bool {
        self.is_voluntary() || self == Self::PeerLeaving
    }
}

impl Transition {
    /// The change in one sentence, for people.
    pub fn sentence(&self) -> String {
        format!("{} → {}: {}", self.from, self.to, Because(self))
    }
}

struct Because<'a>(&'a Transition);

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = &self.0.facts;
        let own = facts.own_priority;
        let heard = Who(facts.heard);
        match self.0.reason {
            Reason::Able => write!(f, "the node is able and listens, with priority {own}"),
            Reason::NobodyHeard => f.write_str("nobody was heard on the segment"),
            Reason::Silence => write!(f, "the Active fell silent; last heard was {heard}"),
            Reason::Released => write!(f, "the Active released the group; last heard was {heard}"),
            Reason::PeerProcessGone => {
                write!(f, "the Active's process is gone; last heard was {heard}")
            }
            Reason::PeerDegraded => {
                write!(f, "the Active is degraded and this node, with {own}, is not: {heard}")
            }
            Reason::PeerLeaving => {
                write!(f, "the Active stops or is in maintenance, this node is not: {heard}")
            }
            Reason::Failback => {
                write!(f, "this node is preferred with priority {own} over {heard}")
            }
            Reason::TakenOver => f.write_str("an operator moved the group here"),
            Reason::Resumed => f.write_str("the process before left the group to this one"),
            Reason::HigherPriority => write!(f, "another router outranks priority {own}: {heard}"),
            Reason::TieLost => {
                write!(f, "another router has priority {own} too and a higher address: {heard}")
            }
            Reason::LateTick => write!(
                f,
                "the timer was served {} ms late, so others may have taken over",
                facts.late_us / 1_000
            ),
            Reason::HealthierPeerActive => match facts.reported_by {
                Some(node_id) => write!(f, "degraded to {own}, and node {node_id} serves healthy"),
                None => write!(f, "degraded to {own}, and a healthy node serves"),
            },
            Reason::SteppedDown => f.write_str("an operator sent the group away"),
            Reason::Unable(unable) => write!(f, "{unable}"),
            Reason::LinkDown => f.write_str("the interface went down"),
            Reason::NoSource => f.write_str("the node's own address on the interface is gone"),
            Reason::Reconfigured => f.write_str("the group got another VRID"),
            Reason::Shutdown => f.write_str("the process ends"),
        }
    }
}

/// Who was heard, and how long ago.
struct Who(Option<HeardFacts>);

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(heard) = self.0 else { return f.write_str("nobody") };
        write!(f, "{} with priority {}", heard.source, heard.priority)?;
        if let Some(node_id) = heard.node_id {
            write!(f, " (node {node_id})")?;
        }
        write!(f, ", {} ms ago", heard.ago_us / 1_000)
    }
}

#[cfg(test)]
mod tests;
