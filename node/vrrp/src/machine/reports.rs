//! What peers say over the cluster's connection. A report can keep this node from taking over,
//! shorten its wait, or make a degraded Active give way to a healthy one; its absence says nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hearing::is_time_to_note;
use super::{GroupMachine, HEALTHY_PRIORITY_MIN, State, active_down_interval, skew};
use crate::NodeId;
use crate::effect::{Effect, Note, Reason};
use crate::input::{Gateways, PeerReport};
use crate::time::Time;

/// Peers whose reports are kept at most; a cluster has fewer nodes.
const MAX_PEERS_COUNT: usize = 64;
/// A report that is older than so many of its intervals says nothing any more. An Active that lost
/// all its links reported for the last time less than an interval after its last advertisement, so
/// its last report is older than this when three intervals and the skew are over, and costs no time.
const FRESH_INTERVALS_COUNT: u32 = 2;
/// The same for a peer whose report does keep a takeover up: with the segment known to be silent,
/// one report that is lost on its way must not make a second Active.
const FRESH_VETO_INTERVALS_COUNT: u32 = 3;

/// The last report of every peer, and when it came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reports(BTreeMap<NodeId, (PeerReport, Time)>);

impl GroupMachine {
    pub(super) fn take_report(&mut self, report: PeerReport, effects: &mut Vec<Effect>) {
        let reports = &mut self.reports.0;
        if reports.len() < MAX_PEERS_COUNT || reports.contains_key(&report.node_id) {
            reports.insert(report.node_id, (report, self.now));
        }
        self.resign_to_healthier_peer(effects);
        self.note_second_active(&report, effects);
        self.look_again_without_veto(report.node_id);
    }

    /// Two Actives that hear each other settle it within an interval. Two that only report to each
    /// other cannot: no report makes a healthy Active resign. Somebody has to know of it.
    fn note_second_active(&mut self, report: &PeerReport, effects: &mut Vec<Effect>) {
        let node_id = report.node_id;
        if self.state != State::Active || report.state != State::Active {
            self.twice_since = self.twice_since.filter(|(other, _)| *other != node_id);
            return;
        }
        let (other, since) = *self.twice_since.get_or_insert((node_id, self.now));
        let is_long = self.now - since > active_down_interval(self.priority(), self.interval());
        if other == node_id && is_long && is_time_to_note(&mut self.twice_noted_at, self.now) {
            effects.push(Effect::Note(Note::ActiveTwice { node_id }));
        }
    }

    /// The kernel of a peer says that its process is gone. If that peer was the Active, three
    /// intervals of silence need not be waited for: one and a half let an advertisement that is
    /// still under way arrive.
    pub(super) fn lose_peer(&mut self, node_id: NodeId) {
        let said_active = self
            .reports
            .0
            .remove(&node_id)
            .is_some_and(|(report, _)| report.state == State::Active);
        if self.state != State::Backup {
            return;
        }
        let own_priority = self.priority();
        let since = self.since;
        for instance in &mut self.instances {
            let Some(heard) = instance.heard.filter(|heard| heard.at >= since) else { continue };
            let is_active = heard.node_id.map_or(said_active, |signer| signer == node_id);
            let deadline =
                heard.at + instance.interval() * 3 / 2 + skew(own_priority, instance.interval());
            if is_active && instance.cause == Reason::Silence && deadline < instance.active_down_at
            {
                instance.active_down_at = deadline;
                instance.cause = Reason::PeerProcessGone;
            }
        }
        self.look_again_without_veto(node_id);
    }

    /// The peer that serves, as far as its report goes, and when that report stops to count.
    pub(super) fn vetoing_peer(&self) -> Option<(NodeId, Time)> {
        // A healthy node does not wait for a degraded one.
        let worst_priority = if self.is_healthy() { HEALTHY_PRIORITY_MIN } else { 1 };
        self.serving_peers(worst_priority).max_by_key(|(_, until)| *until)
    }

    /// An Active that is degraded makes room for a healthy one, although it does not hear it.
    pub(super) fn resign_to_healthier_peer(&mut self, effects: &mut Vec<Effect>) {
        if self.state != State::Active || self.is_healthy() {
            return;
        }
        let healthier = self.serving_peers(HEALTHY_PRIORITY_MIN).next();
        if let Some((node_id, _)) = healthier {
            self.yield_to_report(node_id, effects);
        }
    }

    /// Peers with a fresh report of being Active, able to serve, and at least this fit.
    fn serving_peers(&self, worst_priority: u8) -> impl Iterator<Item = (NodeId, Time)> {
        let (now, interval) = (self.now, self.interval());
        self.reports.0.values().filter_map(move |(report, at)| {
            let until = *at + self.freshness_count(report) * freshness_unit(report, interval);
            let is_serving = report.state == State::Active
                && report.link_up
                && report.gateways != Gateways::Failed
                && report.priority >= worst_priority
                && now <= until;
            is_serving.then_some((report.node_id, until))
        })
    }

    fn freshness_count(&self, report: &PeerReport) -> u32 {
        if self.vetoed_by == Some(report.node_id) {
            FRESH_VETO_INTERVALS_COUNT
        } else {
            FRESH_INTERVALS_COUNT
        }
    }

    /// When the veto of a peer is gone, the takeover that it kept up is decided at the next tick.
    fn look_again_without_veto(&mut self, node_id: NodeId) {
        if self.vetoed_by != Some(node_id) || self.vetoing_peer().is_some() {
            return;
        }
        for instance in &mut self.instances {
            instance.active_down_at = instance.active_down_at.min(self.now);
        }
    }
}

/// Never longer than the advertisements' own interval: a dead peer's last report must not keep the
/// group from moving for longer than its last advertisement would have.
fn freshness_unit(report: &PeerReport, interval: Duration) -> Duration {
    Duration::from_millis(u64::from(report.interval_ms)).min(interval)
}
