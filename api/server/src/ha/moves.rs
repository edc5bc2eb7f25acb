//! Who hands a traffic group to whom: decided before anything is changed.

use ballast_model::ha::GroupState;
use ballast_model::status::NodeReport;
use ballast_model::{Availability, Config, FieldErrors, NodeRole};

use super::{imagine, owners, part};
use crate::failure::{Answer, Failure};

/// A move that nothing speaks against.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) group: String,
    /// The owner, where one says that it is.
    pub(super) from: Option<String>,
    pub(super) to: String,
    /// The node to ask: the owner, or where nobody says it is, `to`. None where `to` has it.
    pub(super) ask: Option<String>,
}

/// The move of `group` to `to`, or to the node that would take over by itself.
pub(super) fn plan(
    config: &Config,
    reports: &[NodeReport],
    group: &str,
    to: Option<&str>,
) -> Answer<Planned> {
    let Some(resource) = config.traffic_groups.get(group) else {
        return Err(Failure::not_found(format!("traffic-groups/{group}")));
    };
    if !resource.spec.enabled {
        return Err(not_able(format!("traffic group {group} is disabled")));
    }
    let owners = owners(reports, group);
    let to = match to {
        Some(to) => to.to_owned(),
        None => next(config, reports, group, &owners)?,
    };
    check_named(config, &to)?;
    let from = owners.iter().find(|owner| **owner != to).cloned();
    if from.is_none() && owners.contains(&to) {
        return Ok(Planned { group: group.to_owned(), from: Some(to.clone()), to, ask: None });
    }
    if let Some(why) = unfit(config, reports, group, &to) {
        return Err(not_able(format!("node {to} can't own traffic group {group}: {why}")));
    }
    let ask = Some(from.clone().unwrap_or_else(|| to.clone()));
    Ok(Planned { group: group.to_owned(), from, to, ask })
}

/// A move that the state of things does not allow.
pub(super) fn not_able(detail: String) -> Failure {
    Failure::new(409, "not_able", "The traffic group can't be moved", detail)
}

fn next(config: &Config, reports: &[NodeReport], group: &str, owners: &[String]) -> Answer<String> {
    let preview = imagine(config, reports, owners);
    let found = preview.moves.into_iter().find(|candidate| candidate.group == group);
    let to = found.and_then(|candidate| candidate.to);
    to.filter(|to| !is_in_maintenance(config, to)).ok_or_else(|| {
        not_able(format!(
            "nobody else can own traffic group {group}: {}",
            others(config, reports, group, owners)
        ))
    })
}

/// Why each other node can't own it.
fn others(config: &Config, reports: &[NodeReport], group: &str, owners: &[String]) -> String {
    let others = reports
        .iter()
        .filter(|report| report.role == NodeRole::Traffic && !owners.contains(&report.name));
    let reasons = others.filter_map(|report| {
        let why = unfit(config, reports, group, &report.name)?;
        Some(format!("{}: {why}", report.name))
    });
    let reasons: Vec<_> = reasons.collect();
    if reasons.is_empty() {
        "there is no other traffic node".to_owned()
    } else {
        reasons.join("; ")
    }
}

fn check_named(config: &Config, to: &str) -> Answer<()> {
    let mut errors = FieldErrors::default();
    match config.nodes.get(to) {
        None => errors.at("/to", "unknown_reference", || format!("there is no nodes/{to}")),
        Some(node) if node.spec.role == NodeRole::Witness => {
            errors.at("/to", "not_allowed", || {
                format!("node {to} is a witness: it carries no traffic")
            });
        }
        Some(_) => {}
    }
    if errors.is_empty() { Ok(()) } else { Err(Failure::invalid(errors)) }
}

/// Why a group is not moved to a node on purpose; None where it may be. A node in maintenance takes a
/// group when nobody else can, by itself: to move one there is a slip.
fn unfit(config: &Config, reports: &[NodeReport], group: &str, node: &str) -> Option<String> {
    unable(config, reports, group, node).or_else(|| {
        is_in_maintenance(config, node).then(|| "it is in maintenance; end that first".to_owned())
    })
}

fn is_in_maintenance(config: &Config, node: &str) -> bool {
    let availability = config.nodes.get(node).map(|node| node.spec.availability);
    availability == Some(Availability::Maintenance)
}

/// Why a node can't own a group; None where it can.
pub(super) fn unable(
    config: &Config,
    reports: &[NodeReport],
    group: &str,
    node: &str,
) -> Option<String> {
    let spec = &config.traffic_groups.get(group)?.spec;
    if !spec.may_run_on(node) {
        return Some("it is not in the group's order".to_owned());
    }
    let offline = |availability| availability == Availability::Offline;
    if config.nodes.get(node).is_some_and(|node| offline(node.spec.availability)) {
        return Some("it is offline".to_owned());
    }
    let report = reports.iter().find(|report| report.name == node);
    let Some(status) = report.and_then(|report| report.status.as_ref()) else {
        return Some("it does not answer".to_owned());
    };
    if let Some(why) = status.ha.as_ref().and_then(|ha| ha.held_down.as_ref()) {
        return Some(why.clone());
    }
    let Some(part) = report.and_then(|report| part(report, group)) else {
        return Some("it does not know the group yet".to_owned());
    };
    let why = part.unable.clone().or_else(|| part.clash.clone());
    why.or_else(|| (part.state == GroupState::Initialize).then(|| part.reason.clone()))
}
