//! High availability: who owns which traffic group, what became of it, what would, and moving it.
//!
//! Nothing here but [`set_availability`] needs a quorum: nodes are asked what they are, and the owner
//! is asked to hand over.

mod moves;
mod problems;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::StatusCode;
use ballast_model::ha::{
    FailoverReport, FailoverRequest, GroupOverview, GroupPart, GroupState, HaNode, HaOverview,
    HaTimeline, HaTransition, MoveReport, Preview, Situation,
};
use ballast_model::status::{NodeReport, NodeStatus};
use ballast_model::{AnyDraft, AnyResource, Availability, Config, Kind, NodeRole};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;

use crate::app::App;
use crate::call::Call;
use crate::failure::{self, Answer, Failure};
use crate::peer::{self, MoveGroup};
use crate::status::{chain, reports};
use crate::{resources, status};

pub(crate) use problems::problems;

use moves::Planned;

/// How long another node may take to tell its timeline.
const TIMELINE_TIMEOUT: Duration = Duration::from_millis(1_500);
/// How long the owner may take to hand a group over: to let connections end (1 s), to tell the new
/// owner, and to hear it.
const MOVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most groups that are moved at once.
const MOVE_AT_ONCE_MAX_COUNT: usize = 4;
/// Most changes in an answer.
const TIMELINE_MAX_COUNT: u64 = 1_000;
/// How many unless told otherwise.
const TIMELINE_DEFAULT_COUNT: u64 = 100;

/// `GET /ha`.
pub(crate) async fn overview(call: &Call) -> Answer {
    let snapshot = call.app.snapshot();
    let config = &snapshot.state.config;
    let reports = reports(&call.app, config).await;
    failure::json(StatusCode::OK, &overview_of(config, &reports))
}

/// `GET /ha/events`.
pub(crate) async fn events(call: &Call) -> Answer {
    let limit = call.number("limit", TIMELINE_DEFAULT_COUNT, 1, TIMELINE_MAX_COUNT)?;
    let (group, node) = (call.parameter("group"), call.parameter("node"));
    let snapshot = call.app.snapshot();
    let nodes = snapshot.state.config.nodes.iter();
    let asked = nodes
        .filter(|n| n.spec.role == NodeRole::Traffic && node.is_none_or(|wanted| n.name == wanted));
    let told = asked
        .map(|node| async { (node.name.clone(), timeline_of(&call.app, node.spec.node_id).await) });
    let mut timeline = HaTimeline::default();
    for (name, transitions) in join_all(told).await {
        match transitions {
            None => timeline.missing.push(name),
            Some(transitions) => timeline.items.extend(transitions),
        }
    }
    timeline.items.retain(|item| group.is_none_or(|wanted| item.group == wanted));
    timeline.items.sort_by(|a, b| {
        b.at_ms.cmp(&a.at_ms).then(a.group.cmp(&b.group)).then(a.node.cmp(&b.node))
    });
    timeline.items.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    failure::json(StatusCode::OK, &timeline)
}

async fn timeline_of(app: &App, id: u64) -> Option<Vec<HaTransition>> {
    if id == app.store.node_id() {
        return Some(app.node.ha_timeline());
    }
    app.store.peers().call(id, peer::HA_TIMELINE, &(), TIMELINE_TIMEOUT).await.ok()
}

/// `GET /ha/preview`.
pub(crate) async fn preview(call: &Call) -> Answer {
    let snapshot = call.app.snapshot();
    let config = &snapshot.state.config;
    let down = call.parameter("down").unwrap_or("").split(',').map(str::trim);
    let down: Vec<_> = down.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if let Some(unknown) = down.iter().find(|name| config.nodes.get(name).is_none()) {
        return Err(Failure::parameter("down", format!("names {unknown:?}, which is no node")));
    }
    let reports = reports(&call.app, config).await;
    let mut preview = imagine(config, &reports, &down);
    for report in reports.iter().filter(|report| report.status.is_none()) {
        if report.role == NodeRole::Traffic && !down.contains(&report.name) {
            preview.warnings.push(format!(
                "node {} does not answer: what it owns or could take is not counted",
                report.name
            ));
        }
    }
    failure::json(StatusCode::OK, &preview)
}

/// `POST /traffic-groups/{name}/failover`.
pub(crate) async fn failover(call: &Call) -> Answer {
    let request: FailoverRequest = call.json_or_default()?;
    let snapshot = call.app.snapshot();
    let config = &snapshot.state.config;
    let reports = reports(&call.app, config).await;
    let planned = moves::plan(config, &reports, call.name(), request.to.as_deref())?;
    let report = carry_out(&call.app, config, planned).await;
    audit(call, &report);
    if let Some(error) = &report.error {
        let detail = format!("traffic group {} was not moved: {error}", report.group);
        return Err(Failure::new(409, "not_moved", "The traffic group was not moved", detail));
    }
    failure::json(StatusCode::OK, &FailoverReport { moves: vec![report] })
}

/// `POST /nodes/{name}/standby`.
pub(crate) async fn standby(call: &Call) -> Answer {
    let snapshot = call.app.snapshot();
    let config = &snapshot.state.config;
    let name = call.name();
    if config.nodes.get(name).is_none() {
        return Err(Failure::not_found(format!("nodes/{name}")));
    }
    let reports = reports(&call.app, config).await;
    let report = reports.iter().find(|report| report.name == name);
    if report.is_none_or(|report| report.status.is_none()) {
        return Err(moves::not_able(format!("node {name} does not answer")));
    }
    let moves = owned_by(&reports, name).into_iter().map(|group| async {
        match moves::plan(config, &reports, &group, None) {
            Ok(planned) => carry_out(&call.app, config, planned).await,
            Err(failure) => MoveReport {
                group,
                from: Some(name.to_owned()),
                to: String::new(),
                error: Some(failure.problem.detail.clone()),
                ..MoveReport::default()
            },
        }
    });
    let moves: Vec<_> = stream::iter(moves).buffered(MOVE_AT_ONCE_MAX_COUNT).collect().await;
    for report in &moves {
        audit(call, report);
    }
    failure::json(StatusCode::OK, &FailoverReport { moves })
}

/// `POST /nodes/{name}/availability/…`.
pub(crate) async fn set_availability(call: &Call, availability: Availability) -> Answer {
    resources::change(call, Kind::Node, |resource| {
        let AnyResource::Node(node) = resource else {
            return Err(Failure::internal("a node is not a node"));
        };
        let mut draft = node.to_draft();
        draft.spec.availability = availability;
        Ok(AnyDraft::Node(draft))
    })
    .await
}

/// Writes down what was moved whither, which the path of the request does not say.
fn audit(call: &Call, report: &MoveReport) {
    let MoveReport { group, from, to, moved_ms, error, .. } = report;
    tracing::info!(
        target: "audit",
        actor = call.actor(),
        request_id = call.request_id,
        group,
        from = from.as_deref().unwrap_or(""),
        to,
        moved_ms,
        error = error.as_deref().unwrap_or(""),
        "move of a traffic group"
    );
}

async fn carry_out(app: &App, config: &Config, planned: Planned) -> MoveReport {
    let Planned { group, from, to, ask } = planned;
    let Some(ask) = ask else {
        // It has it already.
        return MoveReport { group, from, to, ..MoveReport::default() };
    };
    let id = config.nodes.get(&ask).map(|node| node.spec.node_id);
    let asked = match id {
        Some(id) if id == app.store.node_id() => {
            let moving = app.node.move_group(group.clone(), to.clone());
            tokio::time::timeout(MOVE_TIMEOUT, moving).await.map_err(|_| "it took too long".into())
        }
        Some(id) => {
            let ask = MoveGroup { group: group.clone(), to: to.clone() };
            let called = app.store.peers().call(id, peer::HA_MOVE, &ask, MOVE_TIMEOUT).await;
            called.map_err(|error| chain(&error))
        }
        None => Err("it is no node any more".to_owned()),
    };
    asked.unwrap_or_else(|why| {
        let why = status::short(&why);
        let error = format!("node {ask} did not say that it is done: {why}; see GET /ha");
        MoveReport { group, from, to, error: Some(error), ..MoveReport::default() }
    })
}

fn overview_of(config: &Config, reports: &[NodeReport]) -> HaOverview {
    // Groups of the same owner have the same "what if".
    let mut imagined = BTreeMap::<Vec<String>, Preview>::new();
    let groups = config.traffic_groups.iter().map(|group| {
        let name = &group.name;
        let owners = owners(reports, name);
        let preview =
            imagined.entry(owners.clone()).or_insert_with(|| imagine(config, reports, &owners));
        let next = preview.moves.iter().find(|m| m.group == *name).and_then(|m| m.to.clone());
        let parts = reports.iter().filter_map(|report| {
            let status = part(report, name)?.clone();
            Some(GroupPart { node: report.name.clone(), status })
        });
        GroupOverview {
            group: name.clone(),
            addresses: group.spec.addresses.iter().map(|a| a.address.to_string()).collect(),
            parts: parts.collect(),
            owners,
            next,
        }
    });
    let groups = groups.collect();
    let traffic = reports.iter().filter(|report| report.role == NodeRole::Traffic);
    let nodes = traffic.map(|report| {
        let node = config.nodes.get(&report.name);
        let ha = report.status.as_ref().and_then(|status| status.ha.as_ref());
        HaNode {
            node: report.name.clone(),
            availability: node.map(|node| node.spec.availability).unwrap_or_default(),
            answers: report.status.is_some(),
            held_down: ha.and_then(|ha| ha.held_down.clone()),
            heartbeats: ha.map(|ha| ha.heartbeats.clone()).unwrap_or_default(),
        }
    });
    let silent = reports.iter().filter(|r| r.role == NodeRole::Traffic && r.status.is_none());
    let silent = silent.map(|report| {
        let why = report.error.as_deref().unwrap_or("no reason known");
        format!("node {} does not answer: {}", report.name, status::short(why))
    });
    let mut all: Vec<_> = silent.collect();
    all.extend(problems(config, reports));
    HaOverview { groups, nodes: nodes.collect(), problems: all }
}

/// What would happen if those nodes died.
fn imagine(config: &Config, reports: &[NodeReport], down: &[String]) -> Preview {
    let statuses: Vec<NodeStatus> = reports.iter().filter_map(|r| r.status.clone()).collect();
    ballast_model::ha::preview(&Situation { config, statuses: &statuses, down })
}

/// A node's part in a group, where it told one.
fn part<'a>(report: &'a NodeReport, group: &str) -> Option<&'a ballast_model::ha::GroupStatus> {
    let ha = report.status.as_ref()?.ha.as_ref()?;
    ha.groups.iter().find(|part| part.group == group)
}

/// The nodes that say they own a group.
fn owners(reports: &[NodeReport], group: &str) -> Vec<String> {
    let owning =
        reports.iter().filter(|r| part(r, group).is_some_and(|p| p.state == GroupState::Active));
    owning.map(|report| report.name.clone()).collect()
}

/// The groups that a node says it owns.
fn owned_by(reports: &[NodeReport], node: &str) -> Vec<String> {
    let report = reports.iter().find(|report| report.name == node);
    let ha = report.and_then(|report| report.status.as_ref()?.ha.as_ref());
    let groups = ha.into_iter().flat_map(|ha| &ha.groups);
    let active = groups.filter(|part| part.state == GroupState::Active);
    active.map(|part| part.group.clone()).collect()
}

#[cfg(test)]
mod tests;
