//! What the nodes report, put together: one row per member, one small picture per pool.
//!
//! The operator's wish (configuration) and what nodes see (status) stay apart until here, and every
//! difference between them is shown, never hidden.

use std::collections::{BTreeMap, BTreeSet};

use ballast_model::event::{Event, EventBody};
use ballast_model::status::{ClusterStatus, Health, MemberStatus, NodeReport};
use ballast_model::{AdminState, Kind, MemberSpec, PoolSpec, Spec, VirtualServerSpec};

use crate::ha;

/// Width of the picture of a pool, in units of its own.
pub(crate) const BAR_WIDTH: usize = 240;
/// Gap between two parts of it, and the least width of a part.
const BAR_GAP: usize = 2;
/// Up to this many members, each has a part of its own.
const BAR_MEMBER_MAX_COUNT: usize = 24;

/// Whether a virtual server sends anything to that pool by itself; its policies may besides.
pub(crate) fn uses(server: &VirtualServerSpec, pool: &str) -> bool {
    let mut targets = server.references().into_iter().map(|reference| reference.target);
    targets.any(|target| target.kind == Kind::Pool && target.name == pool)
}

/// A member, as wished for and as seen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MemberRow {
    pub(crate) name: String,
    pub(crate) spec: MemberSpec,
    /// What each node that carries traffic says of it.
    pub(crate) seen: Vec<Seen>,
    pub(crate) condition: Condition,
    /// Nodes that do not yet act on the wished state.
    pub(crate) lagging: Vec<String>,
    /// Whether it is an address of a host name: the operator's wish is that of the name.
    pub(crate) is_resolved: bool,
}

/// A member as one node sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) node: String,
    pub(crate) status: MemberStatus,
}

/// The one word for a member; the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Condition {
    /// Answers as it should, everywhere.
    Up,
    /// Answers some nodes and not others.
    Partial,
    /// Answers nobody.
    Down,
    /// Not known yet.
    Checking,
    /// The operator draws its load away.
    Draining,
    /// The operator took it out of new load.
    Disabled,
    /// The operator took it out of all load.
    Offline,
}

/// How many members of a pool are in which condition.
pub(crate) type Counts = BTreeMap<Condition, usize>;

impl MemberRow {
    /// Requests or connections in flight, on all nodes.
    pub(crate) fn in_flight(&self) -> u64 {
        self.seen.iter().map(|seen| seen.status.in_flight).sum()
    }

    /// Requests sent to it by all nodes.
    pub(crate) fn requests_total(&self) -> u64 {
        self.seen.iter().map(|seen| seen.status.requests_total).sum()
    }

    /// Those that failed on its side.
    pub(crate) fn failures_total(&self) -> u64 {
        self.seen.iter().map(|seen| seen.status.failures_total).sum()
    }
}

/// The members of a pool, in the order of its configuration.
pub(crate) fn members(
    pool: &str,
    spec: &PoolSpec,
    status: Option<&ClusterStatus>,
) -> Vec<MemberRow> {
    let mut seen = BTreeMap::<&str, Vec<Seen>>::new();
    for (node, member) in status.into_iter().flat_map(|status| reported(&status.nodes)) {
        if member.pool == pool {
            seen.entry(&member.member)
                .or_default()
                .push(Seen { node: node.to_owned(), status: member.clone() });
        }
    }
    let row = |spec: &MemberSpec| {
        let name = spec.name().into_owned();
        let seen = seen.remove(name.as_str()).unwrap_or_default();
        let lagging = seen
            .iter()
            // An agent may draw load away on its own.
            .filter(|seen| {
                seen.status.admin_state != spec.admin_state && seen.status.agent.is_none()
            })
            .map(|seen| seen.node.clone())
            .collect();
        MemberRow {
            condition: condition(spec, &seen),
            lagging,
            seen,
            spec: spec.clone(),
            name,
            is_resolved: false,
        }
    };
    let mut rows: Vec<_> = spec.members.iter().map(row).collect();
    rows.extend(seen.into_iter().filter_map(|(name, seen)| resolved(spec, name, seen)));
    rows
}

/// The row of an address of a host name; none where there is no such name.
fn resolved(spec: &PoolSpec, name: &str, seen: Vec<Seen>) -> Option<MemberRow> {
    let status = &seen.first()?.status;
    let address = status.address.parse().ok()?;
    let dns = spec.dns_members.iter().find(|dns| dns.member_name(address) == name)?;
    let spec = MemberSpec {
        name: Some(name.to_owned()),
        weight: dns.weight,
        // What its name says, or that it is leaving.
        admin_state: status.admin_state,
        ..MemberSpec::new(address)
    };
    Some(MemberRow {
        condition: condition(&spec, &seen),
        lagging: Vec::new(),
        seen,
        name: name.to_owned(),
        spec,
        is_resolved: true,
    })
}

/// The host names of a pool, each with what the nodes say of it: a node, and a fault or none.
pub(crate) fn host_names(
    pool: &str,
    spec: &PoolSpec,
    status: Option<&ClusterStatus>,
) -> Vec<HostName> {
    let nodes = status.into_iter().flat_map(|status| &status.nodes);
    let told: Vec<_> = nodes
        .filter_map(|report| report.status.as_ref())
        .flat_map(|node| node.dns.iter().map(|dns| (node.name.as_str(), dns)))
        .filter(|(_, dns)| dns.pool == pool)
        .collect();
    let names = spec.dns_members.iter().map(|declared| {
        let of_it =
            told.iter().filter(|(_, dns)| dns.host == declared.host && dns.port == declared.port);
        HostName {
            host: declared.host.clone(),
            addresses: of_it.clone().flat_map(|(_, dns)| dns.addresses.clone()).collect(),
            faults: of_it
                .filter_map(|(node, dns)| Some(((*node).to_owned(), dns.error.clone()?)))
                .collect(),
        }
    });
    names.collect()
}

/// A host name of a pool.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HostName {
    pub(crate) host: String,
    /// What any node resolved it to.
    pub(crate) addresses: BTreeSet<String>,
    /// Nodes that can't resolve it now, and why.
    pub(crate) faults: Vec<(String, String)>,
}

/// Counts members by condition.
pub(crate) fn counts(rows: &[MemberRow]) -> Counts {
    let mut counts = Counts::new();
    for row in rows {
        *counts.entry(row.condition).or_default() += 1;
    }
    counts
}

/// The parts of the picture of a pool: condition, start, width. Each member has a part of its own
/// where they are few, each condition where they are many.
pub(crate) fn bar(counts: &Counts) -> Vec<(Condition, usize, usize)> {
    let total: usize = counts.values().sum();
    let each_alone = total <= BAR_MEMBER_MAX_COUNT;
    let mut parts = Vec::new();
    let mut before = 0;
    for (condition, count) in counts {
        let sizes = if each_alone { vec![1; *count] } else { vec![*count] };
        for size in sizes {
            let start = before * (BAR_WIDTH + BAR_GAP) / total;
            before += size;
            let end = before * (BAR_WIDTH + BAR_GAP) / total;
            // The smallest part of a long bar still shows.
            parts.push((*condition, start, (end - start).saturating_sub(BAR_GAP).max(BAR_GAP)));
        }
    }
    parts
}

/// Carries an event into the status that is shown, so that it is seen at once and not with
/// the next poll. Returns whether anything changed.
pub(crate) fn apply_event(status: &mut ClusterStatus, event: &Event) -> bool {
    let (pool, member, health, reason) = match &event.body {
        EventBody::Health { pool, member, health, reason } => (pool, member, *health, reason),
        EventBody::Leader { leader } => {
            let changed = status.leader != *leader;
            status.leader.clone_from(leader);
            return changed;
        }
        EventBody::Ha { .. } => return ha::apply_event(status, event),
        EventBody::Config { .. } | EventBody::Lagged => return false,
    };
    let node = status.nodes.iter_mut().find(|report| report.name == event.node);
    let members = node.and_then(|report| report.status.as_mut()).map(|node| &mut node.members);
    let found = members.into_iter().flatten().find(|m| m.pool == *pool && m.member == *member);
    let Some(found) = found else { return false };
    if found.since_ms > event.at_ms || (found.health == health && found.reason == *reason) {
        return false;
    }
    if found.health != health {
        found.since_ms = event.at_ms;
    }
    found.health = health;
    found.reason.clone_from(reason);
    true
}

fn reported(nodes: &[NodeReport]) -> impl Iterator<Item = (&str, &MemberStatus)> {
    nodes
        .iter()
        .filter_map(|report| report.status.as_ref())
        .flat_map(|node| node.members.iter().map(|member| (node.name.as_str(), member)))
}

fn condition(spec: &MemberSpec, seen: &[Seen]) -> Condition {
    match spec.admin_state {
        AdminState::ForcedOffline => return Condition::Offline,
        AdminState::Draining => return Condition::Draining,
        AdminState::Disabled => return Condition::Disabled,
        AdminState::Enabled => {}
    }
    let any = |wanted: &[Health]| seen.iter().any(|seen| wanted.contains(&seen.status.health));
    let (up, down) = (any(&[Health::Up, Health::Unmonitored]), any(&[Health::Down]));
    match (up, down) {
        (true, true) => Condition::Partial,
        (false, true) => Condition::Down,
        _ if seen.is_empty() || any(&[Health::Checking]) => Condition::Checking,
        _ => Condition::Up,
    }
}

#[cfg(test)]
mod tests;
