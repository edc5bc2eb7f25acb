//! What is not as it should be, and what each node reports.

use std::fmt::Write as _;

use ballast_model::status::{ClusterStatus, Health, NodeReport};

use super::table;

pub(crate) fn text(status: &ClusterStatus) -> String {
    // Writing to a String does not fail.
    let mut text = format!("cluster {}, index {}, ", status.cluster_name, status.index);
    let _ = match (&status.leader, status.writable) {
        (Some(leader), true) => writeln!(text, "leader {leader}"),
        (Some(leader), false) => writeln!(text, "last leader {leader}, read-only"),
        (None, _) => writeln!(text, "no leader"),
    };
    if status.problems.is_empty() {
        text.push_str("no problems\n");
    }
    for problem in &status.problems {
        let _ = writeln!(text, "problem: {problem}");
    }
    text.push('\n');
    text.push_str(&nodes(&status.nodes));
    let members = members(&status.nodes);
    if !members.is_empty() {
        text.push('\n');
        text.push_str(&members);
    }
    text
}

fn nodes(nodes: &[NodeReport]) -> String {
    let rows = nodes.iter().map(|node| match &node.status {
        Some(status) => {
            let planes = status.planes.iter().map(|p| format!("{} {}", p.plane, p.applied_index));
            let connections = status.virtual_servers.iter().map(|server| server.connections);
            vec![
                node.name.clone(),
                node.role.as_str().to_owned(),
                status.raft.state.clone(),
                status.raft.applied_index.to_string(),
                planes.collect::<Vec<_>>().join(", "),
                connections.sum::<u64>().to_string(),
                status.version.clone(),
            ]
        }
        None => {
            let why = node.error.clone().unwrap_or_default();
            vec![node.name.clone(), node.role.as_str().to_owned(), format!("no answer: {why}")]
        }
    });
    table(&["node", "role", "raft", "index", "planes", "connections", "version"], rows)
}

fn members(nodes: &[NodeReport]) -> String {
    let reports = nodes.iter().filter_map(|node| Some((node, node.status.as_ref()?)));
    let rows = reports.flat_map(|(node, status)| {
        status.members.iter().map(|member| {
            let health = match member.health {
                Health::Checking => "checking",
                Health::Down => "down",
                Health::Unmonitored => "unmonitored",
                Health::Up => "up",
            };
            vec![
                member.pool.clone(),
                member.member.clone(),
                node.name.clone(),
                member.admin_state.as_str().to_owned(),
                health.to_owned(),
                member.in_flight.to_string(),
                member.requests_total.to_string(),
                member.failures_total.to_string(),
                member.reason.clone(),
            ]
        })
    });
    let mut rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    rows.sort();
    let header =
        ["pool", "member", "node", "state", "health", "in flight", "requests", "failures", "why"];
    table(&header, rows)
}
