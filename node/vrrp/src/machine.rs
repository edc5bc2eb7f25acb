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
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::NodeId;
use crate::config::{ConfigError, GroupConfig, InstanceConfig, centiseconds};
use crate::effect::{Effect, Reason};
use crate::input::{Input, Standing, Unable};
use crate::time::Time;
use crate::wire::Family;

mod active;
mod announcements;
mod backup;
mod change;
mod hearing;
mod reports;
mod view;

use announcements::Announcements;
use reports::Reports;

/// The lowest priority of the healthy band; below it a node is degraded.
pub const HEALTHY_PRIORITY_MIN: u8 = 128;
/// The priority of a node that gives the group away: it stops, or is in maintenance. Whoever is
/// better takes over.
pub const LEAVING_PRIORITY: u8 = 1;
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
    /// Why it is in that state, and since when.
    reason: Option<Reason>,
    since: Time,
    /// Set in Initialize and nowhere else.
    idle: Option<Idle>,
    /// The machine's clock: the caller's, plus whatever that one went back, in µs.
    now: Time,
    shift_us: u64,
    /// How far past its deadline the machine is being served.
    late: Duration,
    is_shut_down: bool,
    is_link_up: bool,
    standing: Standing,
    /// The node's own priority when an operator moved the group here.
    manual_from: Option<u8>,
    /// In the order of the configuration.
    instances: Vec<Instance>,
    /// Whether the group was heard or held since the machine listens: then it is ours, too.
    is_joined: bool,
    vrid_in_use: Option<VridInUse>,
    /// Since when, in Backup, this node is the better one.
    better_since: Option<Time>,
    vetoed_by: Option<NodeId>,
    /// What the brake keeps from happening.
    braked: Option<Reason>,
    reports: Reports,
    advertised_at: Time,
    advertise_at: Time,
    announcements: Announcements,
    conflict: Option<Conflict>,
    /// When announcements against a rival began, and when those over one that gave in.
    conflict_announced_at: Option<Time>,
    conflict_won_at: Option<Time>,
    /// The addresses that effects have put on the interface.
    held: Vec<IpAddr>,
    clash_noted_at: Option<Time>,
    difference_noted_at: Option<Time>,
    interval_noted_at: Option<Time>,
    /// The peer that reports to be Active while this node is, and since when.
    twice_since: Option<(NodeId, Time)>,
    twice_noted_at: Option<Time>,
}

/// The virtual router of one family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Instance {
    family: Family,
    source: Option<IpAddr>,
    /// Who was heard last, in any state.
    heard: Option<Heard>,
    /// The Active's interval (RFC 9568 §6.1, Active_Adver_Interval), in centiseconds.
    interval_cs: u16,
    /// The active-down timer; means something in Backup only.
    active_down_at: Time,
    /// What its expiry will mean.
    cause: Reason,
    /// Since when, in Active, an equal is heard of whom the deciding family knows nothing.
    tie_since: Option<Time>,
}

/// Another Active that is being outlived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Conflict {
    source: IpAddr,
    /// When it will be held to have given in.
    quiet_at: Time,
}

impl GroupMachine {
    /// A machine in [`State::Initialize`]. It begins when it was told that its link is up and that
    /// the node is able: [`Input::LinkUp`], [`Input::Standing`].
    ///
    /// # Errors
    /// Whatever [`GroupConfig::validate`] finds.
    pub fn new(config: GroupConfig, now: Time) -> Result<Self, ConfigError> {
        config.validate()?;
        let starting = Unable::Starting;
        Ok(Self {
            state: State::Initialize,
            reason: None,
            since: now,
            idle: Some(Idle::Unable(starting)),
            now,
            shift_us: 0,
            late: Duration::ZERO,
            is_shut_down: false,
            is_link_up: false,
            standing: Standing { unable: Some(starting), priority: 1, may_volunteer: false },
            manual_from: None,
            instances: instances_of(&config, now),
            is_joined: false,
            vrid_in_use: None,
            better_since: None,
            vetoed_by: None,
            braked: None,
            reports: Reports::default(),
            advertised_at: now,
            advertise_at: now,
            announcements: Announcements::default(),
            conflict: None,
            conflict_announced_at: None,
            conflict_won_at: None,
            held: Vec::new(),
            clash_noted_at: None,
            difference_noted_at: None,
            interval_noted_at: None,
            twice_since: None,
            twice_noted_at: None,
            config,
        })
    }

    /// Takes in what happened at `now`, and appends what is to be done. The deadline may have
    /// changed after it: see [`Self::next_deadline`].
    ///
    /// A clock that goes backwards is held for one that stood still.
    pub fn handle(&mut self, now: Time, input: Input, effects: &mut Vec<Effect>) {
        self.advance(now);
        if self.is_shut_down {
            return;
        }
        // Who resumes has been served in time: by another process.
        if !matches!(input, Input::Resume { .. }) {
            self.step_down_if_late(effects);
        }
        match input {
            Input::Advertisement(received) => self.hear(received, effects),
            Input::Tick => self.tick(effects),
            Input::LinkUp => self.set_link(true, effects),
            Input::LinkDown => self.set_link(false, effects),
            Input::AddressChanged { family, source } => self.set_source(family, source, effects),
            Input::ConfigChanged(config) => self.reconfigure(*config, effects),
            Input::Standing(standing) => self.set_standing(standing, effects),
            Input::Heartbeat(report) => self.take_report(report, effects),
            Input::HeartbeatClosed { node_id } => self.lose_peer(node_id),
            Input::TakeOver => self.take_over(effects),
            Input::Resume { is_manual } => self.resume(is_manual, effects),
            Input::HandOver => self.hand_over(effects),
            Input::StepDown => self.step_down(effects),
            Input::Shutdown => self.shut_down(effects),
        }
    }

    /// When [`Input::Tick`] is due; `None` while nothing is waited for. It can be in the past.
    pub fn next_deadline(&self) -> Option<Time> {
        self.deadline().map(|at| at - Duration::from_micros(self.shift_us))
    }

    /// The state.
    pub fn state(&self) -> State {
        self.state
    }

    /// The configuration it runs on.
    pub fn config(&self) -> &GroupConfig {
        &self.config
    }

    /// The priority with which this node takes part, as its advertisements say it and its reports
    /// should: 254 for a manual owner, unless its fitness has fallen since the operator's move.
    pub fn priority(&self) -> u8 {
        let own = self.standing.priority;
        match self.manual_from {
            Some(from) if own >= from.min(HEALTHY_PRIORITY_MIN) => MANUAL_PRIORITY,
            _ => own,
        }
    }

    /// The addresses that effects have put on the interface.
    pub fn held_addresses(&self) -> &[IpAddr] {
        &self.held
    }

    fn advance(&mut self, now: Time) {
        let shifted = now + Duration::from_micros(self.shift_us);
        let backwards = self.now - shifted;
        let backwards_us = u64::try_from(backwards.as_micros()).unwrap_or(u64::MAX);
        self.shift_us = self.shift_us.saturating_add(backwards_us);
        self.now = self.now.max(shifted);
        self.late = self.deadline().map_or(Duration::ZERO, |deadline| self.now - deadline);
    }

    fn deadline(&self) -> Option<Time> {
        match self.state {
            State::Initialize => None,
            State::Backup => match self.vrid_in_use {
                Some(in_use) => Some(in_use.until),
                None => self.instances.iter().map(|one| one.active_down_at).max(),
            },
            State::Active => {
                let others = [self.announcements.deadline(), self.conflict.map(|one| one.quiet_at)];
                others.into_iter().flatten().chain([self.advertise_at]).min()
            }
        }
    }

    fn tick(&mut self, effects: &mut Vec<Effect>) {
        match self.state {
            State::Initialize => {}
            State::Backup => self.tick_backup(effects),
            State::Active => self.tick_active(effects),
        }
    }

    fn is_healthy(&self) -> bool {
        self.priority() >= HEALTHY_PRIORITY_MIN
    }

    /// The longest interval in force: by it the group's own pace is measured.
    fn interval(&self) -> Duration {
        let longest_cs = self.instances.iter().map(|one| one.interval_cs).max();
        centiseconds(longest_cs.unwrap_or(self.config.interval_cs))
    }
}

/// RFC 9568 §6.1: so many intervals of silence, and the skew.
const ACTIVE_DOWN_INTERVALS_COUNT: u32 = 3;
/// A timer served later than this has slept through what others take for death.
const LATE_INTERVALS_COUNT: u32 = 2;

/// Skew_Time (RFC 9568 §6.1): the better a Backup, the less it waits. In µs, or nothing of it would
/// be left at short intervals.
fn skew(priority: u8, interval: Duration) -> Duration {
    interval * (256 - u32::from(priority)) / 256
}

/// The time of silence after which an Active with this interval is held for dead
/// (RFC 9568 §6.1, Active_Down_Interval).
fn active_down_interval(priority: u8, interval: Duration) -> Duration {
    ACTIVE_DOWN_INTERVALS_COUNT * interval + skew(priority, interval)
}

fn instances_of(config: &GroupConfig, now: Time) -> Vec<Instance> {
    config.instances.iter().map(|one| Instance::new(one, config.interval_cs, now)).collect()
}

impl Instance {
    fn new(config: &InstanceConfig, interval_cs: u16, now: Time) -> Self {
        Self {
            family: config.family,
            source: Some(config.source),
            heard: None,
            interval_cs,
            active_down_at: now,
            cause: Reason::NobodyHeard,
            tie_since: None,
        }
    }

    fn interval(&self) -> Duration {
        centiseconds(self.interval_cs)
    }
}

impl Idle {
    /// The reason of a transition into Initialize.
    fn reason(self) -> Reason {
        match self {
            Self::Unable(unable) => Reason::Unable(unable),
            Self::LinkDown => Reason::LinkDown,
            Self::NoSource(_) => Reason::NoSource,
            Self::ShutDown => Reason::Shutdown,
        }
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

#[cfg(test)]
mod tests;
