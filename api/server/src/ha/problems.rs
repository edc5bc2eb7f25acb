//! What is wrong with high availability, in sentences.
//!
//! That a group is not on the first node of its order is no fault: nothing moves it back unless
//! failback is on.

use std::net::IpAddr;

use ballast_model::ha::{GroupState, GroupStatus, HaStatus};
use ballast_model::spec::traffic_group::TrafficGroupSpec;
use ballast_model::status::NodeReport;
use ballast_model::{Availability, Config, NodeRole};

use super::moves::unable;
use super::{owners, part};
use crate::status::short;

/// Everything that is not as it should be, groups first. Nodes that do not answer are named
/// elsewhere.
pub(crate) fn problems(config: &Config, reports: &[NodeReport]) -> Vec<String> {
    let mut problems = Vec::new();
    for group in config.traffic_groups.iter().filter(|group| group.spec.enabled) {
        let owners = owners(reports, &group.name);
        match owners.as_slice() {
            [] => no_owner(&group.name, &group.spec, config, reports, &mut problems),
            [owner] => standbys(&group.name, owner, config, reports, &mut problems),
            [..] => {
                let is_unheard = |owner: &String| {
                    let report = reports.iter().find(|report| report.name == *owner);
                    report
                        .and_then(|report| part(report, &group.name))
                        .is_some_and(|part| part.unheard_owner.is_some())
                };
                let owned_by = owners.join(" and ");
                let why = if owners.iter().any(is_unheard) {
                    ": they do not hear each other on the segment"
                } else {
                    ""
                };
                let name = &group.name;
                problems.push(format!("traffic group {name} is owned by {owned_by} at once{why}"));
            }
        }
        for report in reports {
            if let Some(part) = part(report, &group.name) {
                part_problems(config, &report.name, part, &owners, &mut problems);
            }
        }
    }
    for report in reports.iter().filter(|report| report.role == NodeRole::Traffic) {
        if let Some(ha) = report.status.as_ref().and_then(|status| status.ha.as_ref()) {
            node_problems(&report.name, ha, reports, &mut problems);
        }
    }
    problems
}

fn no_owner(
    group: &str,
    spec: &TrafficGroupSpec,
    config: &Config,
    reports: &[NodeReport],
    problems: &mut Vec<String>,
) {
    // A backup that stops hearing an owner becomes one; what any other heard last is old. A node that
    // answers and says that it is no owner has let go since.
    let answers =
        |name: &str| reports.iter().any(|report| report.name == name && report.status.is_some());
    let backups = reports.iter().filter_map(|report| part(report, group));
    let mut backups = backups.filter(|part| part.state == GroupState::Backup);
    let heard = backups.find_map(|part| part.heard.as_deref().filter(|name| !answers(name)));
    match heard {
        Some(heard) => {
            let is_foreign =
                heard.parse::<IpAddr>().is_ok_and(|ip| spec.foreign_routers.contains(&ip));
            if !is_foreign {
                problems.push(format!(
                    "traffic group {group}: its owner {heard} is heard, but does not answer"
                ));
            }
        }
        None => {
            let reasons = reports.iter().filter_map(|report| {
                let name = &report.name;
                let is_meant = report.role == NodeRole::Traffic && spec.may_run_on(name);
                let wait = || Some(part(report, group)?.wait.as_ref()?.message.clone());
                let why = unable(config, reports, group, name).or_else(wait);
                let why = why.filter(|_| is_meant)?;
                Some(format!("{name}: {}", short(&why)))
            });
            let reasons: Vec<_> = reasons.collect();
            let reasons = if reasons.is_empty() {
                "those that are able have not taken it yet".to_owned()
            } else {
                reasons.join("; ")
            };
            problems.push(format!("nobody owns traffic group {group}: {reasons}"));
        }
    }
}

/// Who would take over from the owner, and why others would not.
fn standbys(
    group: &str,
    owner: &str,
    config: &Config,
    reports: &[NodeReport],
    problems: &mut Vec<String>,
) {
    let Some(resource) = config.traffic_groups.get(group) else { return };
    let meant: Vec<_> = reports
        .iter()
        .filter(|report| report.role == NodeRole::Traffic)
        .filter(|report| report.name != owner && resource.spec.may_run_on(&report.name))
        .map(|report| (&report.name, unable(config, reports, group, &report.name)))
        .collect();
    if !meant.is_empty() && meant.iter().all(|(_, why)| why.is_some()) {
        problems.push(format!(
            "traffic group {group} has no standby left: if {owner} fails, nobody owns its addresses"
        ));
    }
    for (name, why) in meant {
        let wished = config.nodes.get(name).map(|node| node.spec.availability);
        if let Some(why) = why
            && wished == Some(Availability::Available)
            && !is_told(reports, name, group)
        {
            problems
                .push(format!("traffic group {group}: {name} can't take over: {}", short(&why)));
        }
    }
}

/// Whether a node is named for what keeps it from a group anyway: it does not answer, is held down,
/// or somebody else has the group's VRID.
fn is_told(reports: &[NodeReport], node: &str, group: &str) -> bool {
    let report = reports.iter().find(|report| report.name == node);
    let Some(status) = report.and_then(|report| report.status.as_ref()) else { return true };
    let is_held_down = status.ha.as_ref().is_some_and(|ha| ha.held_down.is_some());
    let clash = report.and_then(|report| part(report, group)?.clash.as_ref());
    is_held_down || clash.is_some()
}

fn part_problems(
    config: &Config,
    node: &str,
    part: &GroupStatus,
    owners: &[String],
    problems: &mut Vec<String>,
) {
    let group = &part.group;
    if let Some(clash) = &part.clash {
        problems.push(format!("traffic group {group}, node {node}: {}", short(clash)));
    }
    if let Some(wait) =
        part.wait.as_ref().filter(|wait| wait.kind.is_problem() && !owners.is_empty())
    {
        problems.push(format!("traffic group {group}: {node} waits: {}", short(&wait.message)));
    }
    // Where that one answers as an owner, both are named already.
    if part.state == GroupState::Active
        && let Some(other) = part.unheard_owner.as_ref().filter(|other| !owners.contains(other))
    {
        problems.push(format!(
            "traffic group {group}: {node} owns it, and {other} reports to own it too; they do not \
             hear each other on the segment"
        ));
    }
    // A node that an operator holds back is as it should be, unless it has to own the group.
    let wished = config.nodes.get(node).map(|node| node.spec.availability);
    let is_held_back = wished.is_some_and(|wished| wished != Availability::Available)
        && part.state != GroupState::Active;
    if !part.degraded.is_empty() && !is_held_back {
        let why = part.degraded.join("; ");
        problems.push(format!("traffic group {group}: {node} is degraded: {}", short(&why)));
    }
}

fn node_problems(name: &str, ha: &HaStatus, reports: &[NodeReport], problems: &mut Vec<String>) {
    if let Some(why) = &ha.held_down {
        problems.push(format!("node {name} owns nothing yet: {}", short(why)));
    }
    for heartbeat in ha.heartbeats.iter().filter(|heartbeat| !heartbeat.alive) {
        let other = &heartbeat.node;
        if reports.iter().any(|report| report.name == *other && report.status.is_some()) {
            problems.push(format!("node {name} gets no heartbeats from {other}"));
        }
    }
    for problem in &ha.problems {
        problems.push(format!("node {name}: {}", short(problem)));
    }
}
