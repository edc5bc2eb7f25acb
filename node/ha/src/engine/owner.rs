//! What a node knows of others that own a group, and what keeps it from taking the group over.
//!
//! Pure, of values. Invariant: what was heard counts for no longer than the owner would be waited for.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ballast_vrrp::{GroupView, HEALTHY_PRIORITY_MIN, Heard, NodeId, PeerReport, State, Time};

/// RFC 9568 §6.1: so many intervals of silence, and the skew, and an owner is held for dead.
const ACTIVE_DOWN_INTERVALS_COUNT: u64 = 3;

/// A report that is older than so many of its intervals says nothing any more.
const FRESH_INTERVALS_COUNT: u32 = 3;
/// Nodes whose claims are kept; a cluster has fewer.
const CLAIM_MAX_COUNT: usize = 64;

/// The router that a Backup hears owning the group; none once it released or fell silent.
pub(crate) fn heard_owner(view: &GroupView) -> Option<Heard> {
    heard_lately(view).filter(|_| view.state == State::Backup)
}

/// What keeps a Backup from taking over, besides an owner that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Too many groups moved here lately.
    Braked,
    /// It is preferred, but not yet for long enough.
    Failback { left: Duration },
    /// It has heard nobody yet since it listens.
    Listening,
    /// That node is not heard, but reports that it serves.
    Vetoed { by: NodeId },
}

impl Wait {
    /// What a Backup waits for; `foreign` are routers outside the cluster, whose priorities say
    /// nothing of how fit they are.
    pub(crate) fn of(view: &GroupView, is_braked: bool, foreign: &[IpAddr]) -> Option<Self> {
        if view.state != State::Backup {
            return None;
        }
        if let Some(by) = view.vetoed_by {
            return Some(Self::Vetoed { by });
        }
        let Some(owner) = heard_owner(view) else {
            return view.is_listening.then_some(Self::Listening);
        };
        let is_fitter = view.priority >= HEALTHY_PRIORITY_MIN
            && owner.priority < HEALTHY_PRIORITY_MIN
            && !foreign.contains(&owner.source);
        match view.failback_in_us {
            Some(left_us) if left_us > 0 && !is_fitter => {
                Some(Self::Failback { left: Duration::from_micros(left_us) })
            }
            due => (is_braked && (is_fitter || due.is_some())).then_some(Self::Braked),
        }
    }
}

/// Who reports over the cluster's connections to own the group, since when, and until when that counts.
#[derive(Debug, Default)]
pub(crate) struct Claims(BTreeMap<NodeId, (Time, Time)>);

impl Claims {
    pub(crate) fn note(&mut self, report: &PeerReport, now: Time) {
        self.0.retain(|_, (_, until)| now <= *until);
        if report.state != State::Active {
            self.0.remove(&report.node_id);
        } else if self.0.len() < CLAIM_MAX_COUNT || self.0.contains_key(&report.node_id) {
            let interval = Duration::from_millis(report.interval_ms.into());
            let until = now + FRESH_INTERVALS_COUNT * interval;
            self.0.entry(report.node_id).or_insert((now, until)).1 = until;
        }
    }

    /// A node that has claimed to own the group for so long that it should have been heard.
    /// `interval_cs` is the group's, for where nobody was ever heard.
    pub(crate) fn unheard(&self, view: &GroupView, interval_cs: u16, now: Time) -> Option<NodeId> {
        let heard = heard_lately(view);
        // Who does not sign may be any of them.
        if heard.is_some_and(|heard| heard.node_id.is_none()) || view.state == State::Initialize {
            return None;
        }
        let last = view.instances.iter().find_map(|one| one.heard);
        let limit = active_down_interval(view, last.map_or(interval_cs, |last| last.interval_cs));
        let is_long =
            |since: Time| now.since(since).min(Duration::from_micros(view.state_lasts_us)) > limit;
        let mut claims = self.0.iter().filter(|(_, (_, until))| now <= *until);
        let unheard = claims.find(|(node, (since, _))| {
            is_long(*since) && heard.and_then(|heard| heard.node_id) != Some(**node)
        });
        unheard.map(|(node, _)| *node)
    }
}

/// Who advertised last, unless it released or has been silent for too long.
fn heard_lately(view: &GroupView) -> Option<Heard> {
    let latest = view.instances.iter().filter_map(|one| Some((one.heard?, one.heard_ago_us?)));
    let (heard, ago_us) = latest.min_by_key(|(_, ago_us)| *ago_us)?;
    let limit = active_down_interval(view, heard.interval_cs);
    (heard.priority > 0 && Duration::from_micros(ago_us) <= limit).then_some(heard)
}

/// RFC 9568 §6.1, Active_Down_Interval, as this node waits for an owner with that interval.
fn active_down_interval(view: &GroupView, interval_cs: u16) -> Duration {
    let interval_us = u64::from(interval_cs) * 10_000;
    let skew_us = interval_us * (256 - u64::from(view.priority)) / 256;
    Duration::from_micros(ACTIVE_DOWN_INTERVALS_COUNT * interval_us + skew_us)
}

#[cfg(test)]
mod tests;
