//! Traffic groups over all traffic nodes, put together from what is declared and what nodes say.
//!
//! Invariant: a node that does not answer is never taken to own a group, nor to own none.

use std::net::IpAddr;

use ballast_model::event::{Event, EventBody};
use ballast_model::ha::{
    GroupState, GroupStatus, HaStatus, HaTimeline, HaTransition, NodeLoad, Preview,
};
use ballast_model::status::{ClusterStatus, NodeReport};
use ballast_model::{
    Availability, NodeInterface, NodeRole, NodeSpec, Resource, TrafficGroupSpec, VirtualServerSpec,
};

/// Most transitions that are kept.
const TIMELINE_MAX_COUNT: usize = 200;

/// A group, and what each traffic node is in it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GroupRow {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) spec: TrafficGroupSpec,
    /// One for each traffic node, by name.
    pub(crate) cells: Vec<Cell>,
    pub(crate) ownership: Ownership,
    /// Who takes over when the owner dies.
    pub(crate) next: Option<String>,
}

/// What a node is in a group.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cell {
    pub(crate) node: String,
    pub(crate) standing: Standing,
    /// Whether an operator holds the node back.
    pub(crate) held_back: bool,
    /// Why it can't own the group, or is less fit for it, in the cluster's words.
    pub(crate) hindrances: Vec<String>,
    pub(crate) status: Option<GroupStatus>,
}

/// The one word for a node in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Active,
    Backup,
    /// It takes no part, though it is meant to.
    Out,
    /// The group's order leaves it out, or the group is disabled.
    NotMeant,
    /// It does not answer.
    Silent,
    /// It answers, and has not heard of the group yet.
    Unknown,
}

/// Who owns a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// Nobody, as declared.
    Off,
    One(String),
    Several(Vec<String>),
    /// One that is heard on the network and does not answer.
    Elsewhere(String),
    Nobody,
    /// No node has said anything yet.
    Unknown,
}

/// Something about a group that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Concern {
    Nobody { group: String },
    Several { group: String, owners: Vec<String> },
    Elsewhere { group: String, heard: String },
    NoStandby { group: String, owner: String },
    Degraded { group: String, node: String },
    Out { group: String, node: String },
}

/// A traffic node as far as high availability goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NodeRow {
    pub(crate) name: String,
    /// What is declared.
    pub(crate) availability: Availability,
    pub(crate) capacity: u32,
    pub(crate) interfaces: Vec<NodeInterface>,
    /// What it says; none where it does not answer.
    pub(crate) says: Option<HaStatus>,
    /// Why it does not answer.
    pub(crate) error: Option<String>,
    /// The groups that it owns.
    pub(crate) owned: Vec<String>,
    /// Sum of their load factors.
    pub(crate) load: u32,
}

/// What became of traffic groups, the newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Timeline {
    pub(crate) items: Vec<HaTransition>,
    /// Nodes whose part is missing.
    pub(crate) missing: Vec<String>,
    /// Whether it was read, and not only added to.
    pub(crate) is_read: bool,
}

impl Concern {
    /// Whether clients are cut off now, or may be.
    pub(crate) fn is_grave(&self) -> bool {
        matches!(self, Self::Nobody { .. } | Self::Several { .. })
    }
}

impl Cell {
    /// Whether it could take the group over.
    pub(crate) fn is_able(&self) -> bool {
        matches!(self.standing, Standing::Active | Standing::Backup)
    }

    /// Whether it takes part, and something that it tracks failed.
    pub(crate) fn is_degraded(&self) -> bool {
        let degraded = self.status.as_ref().is_some_and(|status| !status.degraded.is_empty());
        self.is_able() && degraded
    }
}

impl GroupRow {
    /// What `node` is in it.
    pub(crate) fn cell(&self, node: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.node == node)
    }

    /// Everything about it that is not as it should be, the gravest first.
    pub(crate) fn concerns(&self) -> Vec<Concern> {
        let group = || self.name.clone();
        let mut concerns = Vec::new();
        match &self.ownership {
            Ownership::Off | Ownership::Unknown => return concerns,
            Ownership::Nobody => concerns.push(Concern::Nobody { group: group() }),
            Ownership::Several(owners) => {
                concerns.push(Concern::Several { group: group(), owners: owners.clone() });
            }
            Ownership::Elsewhere(heard) => {
                concerns.push(Concern::Elsewhere { group: group(), heard: heard.clone() });
            }
            Ownership::One(owner) => {
                let mut others = self
                    .cells
                    .iter()
                    .filter(|c| c.node != *owner && c.standing != Standing::NotMeant);
                let alone = others.clone().next().is_none();
                if !alone && !others.any(Cell::is_able) {
                    concerns.push(Concern::NoStandby { group: group(), owner: owner.clone() });
                }
            }
        }
        for cell in &self.cells {
            let node = cell.node.clone();
            // What an operator holds back is as it should be, unless it has to own the group.
            if cell.is_degraded() && (!cell.held_back || cell.standing == Standing::Active) {
                concerns.push(Concern::Degraded { group: group(), node });
            } else if cell.standing == Standing::Out && !cell.held_back {
                concerns.push(Concern::Out { group: group(), node });
            }
        }
        concerns
    }
}

impl Timeline {
    /// Adds what happened just now.
    pub(crate) fn insert(&mut self, transition: HaTransition) {
        self.extend([transition]);
    }

    /// Adds what all nodes remember.
    pub(crate) fn read(&mut self, timeline: HaTimeline) {
        self.missing = timeline.missing;
        self.is_read = true;
        self.extend(timeline.items);
    }

    fn extend(&mut self, items: impl IntoIterator<Item = HaTransition>) {
        for item in items {
            if !self.items.iter().any(|known| key(known) == key(&item)) {
                self.items.push(item);
            }
        }
        self.items.sort_by(|a, b| {
            b.at_ms
                .cmp(&a.at_ms)
                .then_with(|| a.group.cmp(&b.group))
                .then_with(|| a.node.cmp(&b.node))
        });
        self.items.truncate(TIMELINE_MAX_COUNT);
    }
}

/// What tells a transition from all others.
pub(crate) fn key(item: &HaTransition) -> (u64, &str, &str, GroupState) {
    (item.at_ms, &item.group, &item.node, item.to)
}

/// The sentence of a transition without the states, which are shown beside it.
pub(crate) fn why(item: &HaTransition) -> &str {
    match item.message.split_once(": ") {
        Some((states, why)) if states.contains('→') => why,
        _ => &item.message,
    }
}

/// How long nobody had been heard owning the group when this node took it, in µs. A node that takes
/// over from one that still serves leaves no gap.
pub(crate) fn gap_us(item: &HaTransition) -> Option<u64> {
    let was_dead = matches!(item.reason.as_str(), "peer_process_gone" | "released" | "silence");
    item.silence_us.filter(|_| was_dead && item.to == GroupState::Active)
}

/// Each group over all traffic nodes.
pub(crate) fn groups(
    groups: &[Resource<TrafficGroupSpec>],
    nodes: &[Resource<NodeSpec>],
    status: Option<&ClusterStatus>,
) -> Vec<GroupRow> {
    let reports = status.map(|status| status.nodes.as_slice()).unwrap_or_default();
    groups.iter().map(|group| row(group, nodes, reports)).collect()
}

/// Each traffic node.
pub(crate) fn nodes(
    groups: &[Resource<TrafficGroupSpec>],
    nodes: &[Resource<NodeSpec>],
    status: Option<&ClusterStatus>,
) -> Vec<NodeRow> {
    let reports = status.map(|status| status.nodes.as_slice()).unwrap_or_default();
    let traffic = nodes.iter().filter(|node| node.spec.role == NodeRole::Traffic);
    let row = |node: &Resource<NodeSpec>| {
        let report = reports.iter().find(|report| report.name == node.name);
        let says = report.and_then(|report| report.status.as_ref()?.ha.clone());
        let parts = says.iter().flat_map(|says| &says.groups);
        let owned: Vec<_> = parts
            .filter(|part| part.state == GroupState::Active)
            .map(|part| part.group.clone())
            .collect();
        NodeRow {
            name: node.name.clone(),
            availability: node.spec.availability,
            capacity: node.spec.capacity,
            interfaces: node.spec.interfaces.clone(),
            error: report
                .filter(|r| r.status.is_none())
                .map(|r| r.error.clone().unwrap_or_default()),
            load: owned.iter().map(|name| load_factor(groups, name)).sum(),
            owned,
            says,
        }
    };
    traffic.map(row).collect()
}

/// Carries a transition into the status that is shown, so that it is seen at once and not with the
/// next poll. Returns whether anything changed.
pub(crate) fn apply_event(status: &mut ClusterStatus, event: &Event) -> bool {
    let EventBody::Ha { transition } = &event.body else { return false };
    let report = status.nodes.iter_mut().find(|report| report.name == transition.node);
    let says = report.and_then(|report| report.status.as_mut()?.ha.as_mut());
    let parts = says.into_iter().flat_map(|says| &mut says.groups);
    let Some(part) = parts.into_iter().find(|part| part.group == transition.group) else {
        return false;
    };
    if part.since_ms > transition.at_ms || part.state == transition.to {
        return false;
    }
    part.state = transition.to;
    part.since_ms = transition.at_ms;
    part.reason.clone_from(&transition.reason);
    part.priority = if transition.to == GroupState::Initialize { 0 } else { transition.priority };
    part.manual = transition.reason == "taken_over";
    if transition.to != GroupState::Active {
        part.addresses.clear();
    }
    true
}

/// Loads as they would be with a group on the node `to`; as they are, where there is no such node.
pub(crate) fn moved(now: &Preview, row: &GroupRow, connections: u64, to: &str) -> Preview {
    let owner = match &row.ownership {
        Ownership::One(owner) => Some(owner.as_str()),
        _ => None,
    };
    let is_there = now.nodes.iter().any(|node| node.node == to);
    let nodes = now.nodes.iter().map(|node| {
        let mut node = NodeLoad {
            groups_then: node.groups.clone(),
            load_then: node.load,
            connections_then: node.connections,
            ..node.clone()
        };
        if is_there && owner == Some(node.node.as_str()) {
            drop_group(&mut node, &row.name, row.spec.load_factor, connections);
        }
        if node.node == to {
            add_group(&mut node, &row.name, row.spec.load_factor, connections);
        }
        node
    });
    Preview { nodes: nodes.collect(), ..Preview::default() }
}

/// As `preview`, where groups that nobody else takes stay on `node`, which is not dead. A node that an
/// operator holds back takes none from one that serves.
pub(crate) fn left(
    preview: &Preview,
    node: &str,
    groups: &[GroupRow],
    connections: impl Fn(&TrafficGroupSpec) -> u64,
) -> Preview {
    let mut preview = preview.clone();
    preview.warnings.clear();
    let mine = |from: &Option<String>| from.as_deref() == Some(node);
    preview.moves.retain(|moved| mine(&moved.from));
    for moved in &mut preview.moves {
        let Some(row) = groups.iter().find(|row| row.name == moved.group) else { continue };
        let takes = |to: &String| row.cell(to).is_some_and(|cell| !cell.held_back);
        if moved.to.as_ref().is_some_and(takes) {
            continue;
        }
        let (load, connections) = (row.spec.load_factor, connections(&row.spec));
        for carried in &mut preview.nodes {
            if carried.node == node {
                add_group(carried, &row.name, load, connections);
            } else if moved.to.as_ref() == Some(&carried.node) {
                drop_group(carried, &row.name, load, connections);
            }
        }
        moved.to = Some(node.to_owned());
        moved.why = String::new();
    }
    preview
}

/// Client connections of the virtual servers on a group's addresses, on all nodes.
pub(crate) fn connections(
    spec: &TrafficGroupSpec,
    servers: &[Resource<VirtualServerSpec>],
    status: Option<&ClusterStatus>,
) -> u64 {
    let floats = |address: &IpAddr| spec.addresses.iter().any(|a| a.address == *address);
    let serves = |name: &str| {
        let server = servers.iter().find(|server| server.name == name);
        server.is_some_and(|server| server.spec.addresses.iter().any(floats))
    };
    let nodes = status.into_iter().flat_map(|status| &status.nodes);
    let seen = nodes.filter_map(|node| node.status.as_ref()).flat_map(|node| &node.virtual_servers);
    seen.filter(|server| serves(&server.name)).map(|server| server.connections).sum()
}

fn drop_group(node: &mut NodeLoad, group: &str, load: u32, connections: u64) {
    node.groups_then.retain(|name| name != group);
    node.load_then = node.load_then.saturating_sub(load);
    node.connections_then = node.connections_then.saturating_sub(connections);
}

fn add_group(node: &mut NodeLoad, group: &str, load: u32, connections: u64) {
    if !node.groups_then.iter().any(|name| name == group) {
        node.groups_then.push(group.to_owned());
        node.groups_then.sort();
        node.load_then = node.load_then.saturating_add(load);
        node.connections_then = node.connections_then.saturating_add(connections);
    }
}

fn load_factor(groups: &[Resource<TrafficGroupSpec>], name: &str) -> u32 {
    groups.iter().find(|group| group.name == name).map_or(0, |group| group.spec.load_factor)
}

fn row(
    group: &Resource<TrafficGroupSpec>,
    nodes: &[Resource<NodeSpec>],
    reports: &[NodeReport],
) -> GroupRow {
    let traffic = nodes.iter().filter(|node| node.spec.role == NodeRole::Traffic);
    let cells: Vec<_> = traffic
        .map(|node| cell(group, node, reports.iter().find(|report| report.name == node.name)))
        .collect();
    GroupRow {
        name: group.name.clone(),
        description: group.description.clone(),
        ownership: ownership(&group.spec, &cells),
        next: next(&cells),
        spec: group.spec.clone(),
        cells,
    }
}

fn cell(
    group: &Resource<TrafficGroupSpec>,
    node: &Resource<NodeSpec>,
    report: Option<&NodeReport>,
) -> Cell {
    let says = report.and_then(|report| report.status.as_ref()?.ha.as_ref());
    let part = says.and_then(|says| says.groups.iter().find(|part| part.group == group.name));
    let is_meant = group.spec.enabled && group.spec.may_run_on(&node.name);
    let standing = match (report.map(|report| report.status.is_some()), part) {
        (Some(false), _) => Standing::Silent,
        (_, Some(part)) if part.state == GroupState::Active => Standing::Active,
        _ if !is_meant => Standing::NotMeant,
        (_, Some(part)) if part.state == GroupState::Backup => Standing::Backup,
        (_, Some(_)) => Standing::Out,
        (_, None) => Standing::Unknown,
    };
    let mut hindrances = Vec::new();
    if let Some(part) = part.filter(|_| standing != Standing::NotMeant) {
        hindrances.extend(part.clash.clone());
        if standing == Standing::Out {
            let held_down = says.and_then(|says| says.held_down.clone());
            hindrances.extend(held_down.or_else(|| part.unable.clone()));
        } else {
            hindrances.extend(part.degraded.iter().cloned());
            let wait = part.wait.iter().filter(|wait| wait.kind.is_problem());
            hindrances.extend(wait.map(|wait| wait.message.clone()));
        }
    }
    Cell {
        node: node.name.clone(),
        standing,
        held_back: node.spec.availability != Availability::Available,
        hindrances,
        status: part.cloned(),
    }
}

fn ownership(spec: &TrafficGroupSpec, cells: &[Cell]) -> Ownership {
    let owners = cells.iter().filter(|cell| cell.standing == Standing::Active);
    let owners: Vec<_> = owners.map(|cell| cell.node.clone()).collect();
    match owners.as_slice() {
        [] if !spec.enabled => Ownership::Off,
        [] => {
            let mut parts = cells.iter().filter_map(|cell| cell.status.as_ref()).peekable();
            if parts.peek().is_none() {
                return Ownership::Unknown;
            }
            // A backup that stops hearing an owner becomes one; what any other heard last is old.
            let mut backups = parts.filter(|part| part.state == GroupState::Backup);
            let heard = backups.find_map(|part| part.heard.clone());
            // A node that answers has said itself that it does not own it.
            let answers = |node: &str| {
                cells.iter().any(|cell| cell.node == node && cell.standing != Standing::Silent)
            };
            heard.filter(|heard| !answers(heard)).map_or(Ownership::Nobody, Ownership::Elsewhere)
        }
        [owner] => Ownership::One(owner.clone()),
        [..] => Ownership::Several(owners),
    }
}

/// Those with the highest priority take over first.
fn next(cells: &[Cell]) -> Option<String> {
    let backups = cells.iter().filter(|cell| cell.standing == Standing::Backup);
    let priority = |cell: &&Cell| cell.status.as_ref().map_or(0, |status| status.priority);
    // Of equals the first by name, as it is listed.
    backups.rev().max_by_key(priority).map(|cell| cell.node.clone())
}

#[cfg(test)]
mod tests;
