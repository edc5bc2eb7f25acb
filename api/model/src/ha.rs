//! High availability: what nodes report of traffic groups, how fit a node is for one, and who would
//! take what.
//!
//! Everything here is a calculation on values: the nodes that own addresses and the console that
//! asks "what if" use the same one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::spec::node::Availability;
use crate::spec::traffic_group::Placement;

mod preview;

pub use preview::{GroupMove, NodeLoad, Preview, Situation, preview};

/// Priority of a node that was told to own a group; nothing preempts it.
pub const PRIORITY_MANUAL: u8 = 254;
/// Least priority of a node at which everything that is tracked is well.
pub const PRIORITY_HEALTHY_MIN: u8 = 128;
/// Priority of the first node of an HA order.
const PRIORITY_FIRST: u8 = 220;
/// What each further place in the order takes.
const PRIORITY_STEP: u8 = 11;
/// Least priority that the order leaves.
const PRIORITY_ORDER_MIN: u8 = 132;
/// How far below a healthy node a degraded one stands, before weights.
const DEGRADED_PENALTY: u8 = 100;
/// The least of a node that serves as well as it can.
const PRIORITY_DEGRADED_MIN: u8 = 2;
/// The priority of a node in maintenance: whoever is better takes over.
const PRIORITY_LEAVING: u8 = 1;

/// How fit a node is for a group, besides being able at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fitness<'a> {
    /// The group's rule.
    pub placement: Placement,
    /// The node's place in the HA order; 0 is preferred.
    pub rank: usize,
    /// Load of the node with this group and all others that it owns, in percent of its capacity. The
    /// group counts for its owner and for who would take it: it moves only where it leaves more room.
    pub load_percent: u32,
    /// Weights of tracked things that failed.
    pub failed_weights: &'a [u8],
    /// Whether it is in maintenance.
    pub in_maintenance: bool,
}

impl Fitness<'_> {
    /// The VRRP priority, 1 to 253: at least [`PRIORITY_HEALTHY_MIN`] when nothing failed.
    pub fn priority(&self) -> u8 {
        let rank = u8::try_from(self.rank).unwrap_or(u8::MAX);
        let by_order = PRIORITY_FIRST
            .saturating_sub(rank.saturating_mul(PRIORITY_STEP))
            .max(PRIORITY_ORDER_MIN);
        let healthy = match self.placement {
            Placement::Order => by_order,
            Placement::Load => {
                // 0 % stands at 252, 100 % and more at 152; the order breaks ties within a step.
                let load = u8::try_from(self.load_percent.min(100)).unwrap_or(100);
                (252 - load).saturating_sub(rank.min(3)).max(PRIORITY_ORDER_MIN)
            }
        };
        if self.in_maintenance {
            return PRIORITY_LEAVING;
        }
        if self.failed_weights.is_empty() {
            return healthy;
        }
        let lost: u32 = self.failed_weights.iter().map(|weight| u32::from(*weight)).sum();
        let lost = u8::try_from(lost).unwrap_or(u8::MAX);
        (healthy - DEGRADED_PENALTY)
            .min(PRIORITY_HEALTHY_MIN - 1)
            .saturating_sub(lost)
            .max(PRIORITY_DEGRADED_MIN)
    }
}

/// What a node says of high availability.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HaStatus {
    /// What the configuration says.
    pub availability: Availability,
    /// Why the node owns nothing yet after its start; absent once it may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_down: Option<String>,
    /// Whether the VRRP thread runs with real-time priority.
    pub realtime: bool,
    /// Whether its memory is kept from being paged out.
    pub memory_locked: bool,
    /// Its part in each traffic group.
    pub groups: Vec<GroupStatus>,
    /// The second path to each other traffic node.
    pub heartbeats: Vec<HeartbeatStatus>,
    /// What does not work, in sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// A node's part in a traffic group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GroupStatus {
    /// The group.
    pub group: String,
    /// Its part.
    pub state: GroupState,
    /// Since when, in ms since the Unix epoch.
    pub since_ms: u64,
    /// Why it has that part, in a sentence.
    pub reason: String,
    /// Its VRRP priority, 1 to 254; 0 while it takes no part.
    pub priority: u8,
    /// Whether it owns the group because it was told to.
    pub manual: bool,
    /// Why it can't own the group at all, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unable: Option<String>,
    /// Tracked things that failed, in sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub degraded: Vec<String>,
    /// Everything that the group tracks, as this node finds it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tracked: Vec<TrackedStatus>,
    /// The router outside the group that uses its VRID, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clash: Option<String>,
    /// The device that the addresses go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Addresses of the group that are on this node now.
    pub addresses: Vec<String>,
    /// The node or router that it hears owning the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<String>,
    /// Priority of that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_priority: Option<u8>,
    /// A node that reports over the second path to own the group, and has long not been heard on the
    /// segment: it is silent between the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unheard_owner: Option<String>,
    /// What a backup waits for besides the owner's end; absent where that is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<TakeoverWait>,
    /// Times that it became or ceased to be the owner since it started.
    pub transitions_total: u64,
    /// Advertisements sent.
    pub adverts_sent_total: u64,
    /// Advertisements received and understood.
    pub adverts_received_total: u64,
    /// Gratuitous ARPs and unsolicited neighbour advertisements sent.
    pub announcements_total: u64,
    /// Advertisements dropped, by reason.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub dropped_total: std::collections::BTreeMap<String, u64>,
}

/// What keeps a backup from taking a group over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TakeoverWait {
    /// What it is.
    pub kind: WaitKind,
    /// The same in a sentence.
    pub message: String,
    /// In how many ms it ends; absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_in_ms: Option<u64>,
}

/// What can keep a backup from taking a group over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WaitKind {
    /// It is preferred, or fitter than the owner, but too many groups moved to it lately.
    Brake,
    /// It is preferred, and has not been fit for the failback delay.
    Failback,
    /// It has just begun to listen.
    Listening,
    /// The owner is not heard, but reports over the second path that it serves.
    Veto,
}

impl WaitKind {
    /// Whether something is amiss: the others pass by themselves.
    pub fn is_problem(self) -> bool {
        matches!(self, Self::Brake | Self::Veto)
    }
}

/// Something that a traffic group tracks, as a node finds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TrackedStatus {
    /// What it is.
    pub kind: TrackedKind,
    /// The gateway's address, or the name of the pool or network.
    pub name: String,
    /// How it is found.
    pub state: TrackedState,
    /// Since when as far as this node knows, in ms since the Unix epoch.
    pub since_ms: u64,
    /// What its loss takes from the priority, 1 to 100.
    pub weight: u8,
    /// What is wrong with it, in a sentence; absent while nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What can be tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TrackedKind {
    /// A gateway that must answer.
    Gateway,
    /// A network whose device must have a link.
    Network,
    /// A pool of which enough members must be up.
    Pool,
}

impl TrackedKind {
    /// The name used in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Network => "network",
            Self::Pool => "pool",
        }
    }
}

/// How something that is tracked is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TrackedState {
    /// As it should not be: the node is less fit.
    Failed,
    /// Not known yet, or it can't be looked at; that takes nothing from the node.
    Unknown,
    /// As it should be.
    Well,
}

/// A node's part in a traffic group (RFC 9568 §6.4).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum GroupState {
    /// It owns the addresses.
    Active,
    /// It is ready to take over.
    Backup,
    /// It takes no part.
    #[default]
    Initialize,
}

impl GroupState {
    /// The name used in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Backup => "backup",
            Self::Initialize => "initialize",
        }
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The second path to another node: the cluster's own connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HeartbeatStatus {
    /// The node.
    pub node: String,
    /// Whether it was heard within three intervals.
    pub alive: bool,
    /// How long ago it was heard, in ms; absent if never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_before_ms: Option<u64>,
}

/// A change of a node's part in a traffic group, with everything that led to it; or something worth
/// telling that changed nothing: then `from` is `to`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HaTransition {
    /// When, in ms since the Unix epoch.
    pub at_ms: u64,
    /// The node.
    pub node: String,
    /// The group.
    pub group: String,
    /// Its part before.
    pub from: GroupState,
    /// Its part now.
    pub to: GroupState,
    /// Stable code of the reason, such as `active_down`.
    pub reason: String,
    /// The reason in a sentence.
    pub message: String,
    /// Its own priority then.
    pub priority: u8,
    /// Whom it heard owning the group last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<String>,
    /// Priority of that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_priority: Option<u8>,
    /// How long nothing had been heard of that one, in µs: the gap as seen from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence_us: Option<u64>,
    /// What the second path said then, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<String>,
    /// How late the thread was when it decided, in µs.
    pub late_us: u64,
    /// What was done, and how long after the decision.
    pub steps: Vec<HaStep>,
}

/// A step of taking over or letting go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HaStep {
    /// What was done, such as `addresses added`.
    pub step: String,
    /// How long after the decision it was done, in µs.
    pub after_us: u64,
    /// Why it failed, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Every traffic group and who has it: `GET /ha`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HaOverview {
    /// The groups, by name.
    pub groups: Vec<GroupOverview>,
    /// The traffic nodes, by name.
    pub nodes: Vec<HaNode>,
    /// Everything that is not as it should be, in sentences.
    pub problems: Vec<String>,
}

/// A traffic group and who has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GroupOverview {
    /// The group.
    pub group: String,
    /// Its floating addresses.
    pub addresses: Vec<String>,
    /// The nodes that own it: one, unless something is wrong.
    pub owners: Vec<String>,
    /// The node that takes over next, if one is able.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The part of each node that answered.
    pub parts: Vec<GroupPart>,
}

/// One node's part in a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GroupPart {
    /// The node.
    pub node: String,
    /// What it says.
    #[serde(flatten)]
    pub status: GroupStatus,
}

/// A traffic node as far as high availability goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HaNode {
    /// Its name.
    pub node: String,
    /// What the configuration says.
    pub availability: Availability,
    /// Whether it answered.
    pub answers: bool,
    /// Why it owns nothing yet after its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_down: Option<String>,
    /// The second path to the others.
    pub heartbeats: Vec<HeartbeatStatus>,
}

/// What became of traffic groups on all nodes: `GET /ha/events`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HaTimeline {
    /// The changes, the newest first.
    pub items: Vec<HaTransition>,
    /// Nodes that did not answer: what they did is missing.
    pub missing: Vec<String>,
}

/// Asks for a group to be moved: `POST /traffic-groups/{name}/failover`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct FailoverRequest {
    /// The node that is to own it. Absent: the one that would take over by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// What moving groups did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FailoverReport {
    /// Each group that was to be moved.
    pub moves: Vec<MoveReport>,
}

/// What moving one group did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MoveReport {
    /// The group.
    pub group: String,
    /// The node that had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The node that has it now.
    pub to: String,
    /// How long clients' idle connections were given to end, in ms.
    pub quiesced_ms: u64,
    /// From telling the new owner until the old one had let go, in ms.
    pub moved_ms: u64,
    /// Why it was not moved; the old owner has it still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[cfg(test)]
mod tests;
