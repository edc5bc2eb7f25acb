//! "If this node dies: who takes what, and what does each then carry?"

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Fitness, GroupState, PRIORITY_HEALTHY_MIN};
use crate::config::Config;
use crate::spec::node::{Availability, NodeRole};
use crate::status::NodeStatus;

/// What there is now, and what is to be imagined.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// What the nodes that answer say.
    pub statuses: &'a [NodeStatus],
    /// The nodes that are imagined dead.
    pub down: &'a [String],
}

/// What would happen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Preview {
    /// The nodes that are imagined dead.
    pub down: Vec<String>,
    /// Groups that would move.
    pub moves: Vec<GroupMove>,
    /// What each traffic node carries now and would carry then.
    pub nodes: Vec<NodeLoad>,
    /// What would be wrong then, in sentences.
    pub warnings: Vec<String>,
}

/// A group that would move.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GroupMove {
    /// The group.
    pub group: String,
    /// Who has it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Who would have it; absent if nobody can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Why that one, in a sentence.
    pub why: String,
}

/// What a node carries now and would carry then.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeLoad {
    /// The node.
    pub node: String,
    /// Its capacity, in the unit of the groups' load factors.
    pub capacity: u32,
    /// Groups that it owns now.
    pub groups: Vec<String>,
    /// Groups that it would own.
    pub groups_then: Vec<String>,
    /// Sum of their load factors now.
    pub load: u32,
    /// Sum of their load factors then.
    pub load_then: u32,
    /// Client connections on their addresses now.
    pub connections: u64,
    /// Client connections expected then, if every client comes back.
    pub connections_then: u64,
}

/// One who could own a group.
struct Candidate {
    node: String,
    priority: u8,
    rank: usize,
    in_maintenance: bool,
}

/// Who would take what.
pub fn preview(situation: &Situation<'_>) -> Preview {
    let Situation { config, down, .. } = situation;
    let mut preview = Preview { down: down.to_vec(), ..Preview::default() };
    let owners = situation.owners();
    // Groups that stay count before those that move, so that load-aware placement sees them.
    let mut then: BTreeMap<&str, &str> =
        owners.iter().filter(|(_, node)| !situation.is_down(node)).map(|(g, n)| (*g, *n)).collect();
    for group in config.traffic_groups.iter().filter(|group| group.spec.enabled) {
        let name = group.name.as_str();
        if then.contains_key(name) {
            continue;
        }
        let from = owners.get(name).map(|node| (*node).to_owned());
        let candidates = situation.candidates(name, &then);
        let best = candidates.first();
        let why = match best {
            None => "no other node of its order answers and is able".to_owned(),
            Some(best) if best.in_maintenance => {
                "nobody else is left, though it is in maintenance".to_owned()
            }
            Some(best) if best.priority < PRIORITY_HEALTHY_MIN => {
                format!("the fittest left, though degraded (priority {})", best.priority)
            }
            Some(best) => {
                format!("place {} of its order, priority {}", best.rank + 1, best.priority)
            }
        };
        if let Some(best) = best
            && let Some(node) = config.nodes.get(&best.node)
        {
            then.insert(name, &node.name);
        }
        if best.is_none() {
            preview.warnings.push(format!("nobody would own traffic group {name}: {why}"));
        }
        let to = best.map(|best| best.node.clone());
        preview.moves.push(GroupMove { group: name.to_owned(), from, to, why });
    }
    preview.nodes = situation.loads(&owners, &then);
    for node in &preview.nodes {
        if node.load_then > node.capacity {
            preview.warnings.push(format!(
                "node {} would carry a load of {}, over its capacity of {}",
                node.node, node.load_then, node.capacity
            ));
        }
    }
    preview
}

impl<'a> Situation<'a> {
    fn is_down(&self, node: &str) -> bool {
        self.down.iter().any(|down| down == node)
    }

    /// Who owns each group now.
    fn owners(&self) -> BTreeMap<&'a str, &'a str> {
        let owned = self.statuses.iter().flat_map(|status| {
            let groups = status.ha.iter().flat_map(|ha| &ha.groups);
            let active = groups.filter(|group| group.state == GroupState::Active);
            active.map(|group| (group.group.as_str(), status.name.as_str()))
        });
        owned.collect()
    }

    /// Those who could own `group`, the fittest first.
    fn candidates(&self, group: &str, then: &BTreeMap<&str, &str>) -> Vec<Candidate> {
        let mut candidates: Vec<_> =
            self.statuses.iter().filter_map(|status| self.candidate(group, status, then)).collect();
        candidates.sort_by(|a, b| {
            b.priority.cmp(&a.priority).then(a.rank.cmp(&b.rank)).then(a.node.cmp(&b.node))
        });
        candidates
    }

    fn candidate(
        &self,
        group: &str,
        status: &NodeStatus,
        then: &BTreeMap<&str, &str>,
    ) -> Option<Candidate> {
        let node = self.config.nodes.get(&status.name)?;
        let spec = &self.config.traffic_groups.get(group)?.spec;
        let part = status.ha.as_ref()?.groups.iter().find(|part| part.group == group)?;
        let is_out = self.is_down(&node.name)
            || node.spec.role == NodeRole::Witness
            || node.spec.availability == Availability::Offline
            || !spec.may_run_on(&node.name)
            || part.unable.is_some()
            || part.clash.is_some();
        if is_out {
            return None;
        }
        let rank = self.config.rank(group, &node.name)?;
        let fitness = Fitness {
            placement: spec.placement,
            rank,
            load_percent: self
                .load_of(&node.name, then)
                .saturating_add(spec.load_factor)
                .saturating_mul(100)
                / node.spec.capacity.max(1),
            // What exactly failed is known to the node alone; how bad it takes that to be is in
            // the priority that it reports.
            failed_weights: &[],
            in_maintenance: node.spec.availability == Availability::Maintenance,
        };
        let priority =
            if part.degraded.is_empty() { fitness.priority() } else { part.priority.max(1) };
        let in_maintenance = fitness.in_maintenance;
        Some(Candidate { node: node.name.clone(), priority, rank, in_maintenance })
    }

    fn load_of(&self, node: &str, owners: &BTreeMap<&str, &str>) -> u32 {
        let owned = owners.iter().filter(|(_, owner)| **owner == node);
        owned
            .filter_map(|(group, _)| self.config.traffic_groups.get(group))
            .map(|group| group.spec.load_factor)
            .sum()
    }

    fn loads(&self, owners: &BTreeMap<&str, &str>, then: &BTreeMap<&str, &str>) -> Vec<NodeLoad> {
        let traffic = self.config.nodes.iter().filter(|n| n.spec.role == NodeRole::Traffic);
        let connections = |node: &str, owners: &BTreeMap<&str, &str>| -> u64 {
            let owned = owners.iter().filter(|(_, owner)| **owner == node);
            owned.map(|(group, _)| self.connections(group)).sum()
        };
        let groups = |node: &str, owners: &BTreeMap<&str, &str>| -> Vec<String> {
            let owned = owners.iter().filter(|(_, owner)| **owner == node);
            owned.map(|(group, _)| (*group).to_owned()).collect()
        };
        traffic
            .map(|node| NodeLoad {
                node: node.name.clone(),
                capacity: node.spec.capacity,
                groups: groups(&node.name, owners),
                groups_then: groups(&node.name, then),
                load: self.load_of(&node.name, owners),
                load_then: self.load_of(&node.name, then),
                connections: connections(&node.name, owners),
                connections_then: connections(&node.name, then),
            })
            .collect()
    }

    /// Client connections of the virtual servers on a group's addresses, on all nodes.
    fn connections(&self, group: &str) -> u64 {
        let Some(group) = self.config.traffic_groups.get(group) else { return 0 };
        let floating: BTreeSet<_> = group.spec.addresses.iter().map(|a| a.address).collect();
        let serves = |name: &str| {
            let server = self.config.virtual_servers.get(name);
            server.is_some_and(|server| {
                server.spec.addresses.iter().any(|address| floating.contains(address))
            })
        };
        let servers = self.statuses.iter().flat_map(|status| &status.virtual_servers);
        servers.filter(|server| serves(&server.name)).map(|server| server.connections).sum()
    }
}

impl Config {
    /// The place of `node` in the HA order of `group`: 0 is preferred. None where it has none.
    pub fn rank(&self, group: &str, node: &str) -> Option<usize> {
        let spec = &self.traffic_groups.get(group)?.spec;
        if spec.nodes.is_empty() {
            let traffic = self.nodes.iter().filter(|node| node.spec.role == NodeRole::Traffic);
            traffic.map(|node| node.name.as_str()).position(|name| name == node)
        } else {
            spec.nodes.iter().position(|name| name == node)
        }
    }
}
