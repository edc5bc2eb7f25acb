//! What nodes report, gathered by the node that is asked, and what is wrong, in sentences.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use ballast_model::spec::node::NodeRole;
use ballast_model::status::{ClusterStatus, Health, NodeReport, NodeStatus, RaftStatus};
use ballast_model::{AdminState, AnyResource, Config};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::app::App;
use crate::call::Call;
use crate::events::leader_name;
use crate::failure::{self, Answer, Failure};
use crate::ha;
use crate::peer::peer_status;

/// How long another node may take to answer.
const PEER_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Most problems that are listed one by one.
const PROBLEM_MAX_COUNT: usize = 100;
/// How many entries a node may lag behind before that is a problem.
const ENTRIES_BEHIND_MAX_COUNT: u64 = 100;
/// Longest reason that is repeated in a problem, in characters.
const REASON_MAX_CHARS: usize = 300;

/// `GET /status`.
pub(crate) async fn cluster(call: &Call) -> Answer {
    failure::json(StatusCode::OK, &gather(&call.app).await)
}

/// `GET /status/local`.
pub(crate) fn local(call: &Call) -> Answer {
    failure::json(StatusCode::OK, &call.app.node.status())
}

/// `GET /metrics`.
pub(crate) fn metrics(call: &Call) -> Response {
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (content_type, call.app.node.metrics()).into_response()
}

/// `GET /readyz`.
pub(crate) fn ready(call: &Call) -> Answer {
    if call.app.shutdown.is_cancelled() {
        return Err(not_ready("the node is stopping"));
    }
    let status = call.app.node.status();
    if call.app.snapshot().state.cluster.uid.is_empty() {
        return Err(not_ready("the configuration is not here yet"));
    }
    let is_waiting = |applied_index: u64| applied_index == 0;
    match status.planes.iter().find(|plane| is_waiting(plane.applied_index)) {
        Some(plane) => {
            Err(not_ready(&format!("the {} plane has not applied the configuration", plane.plane)))
        }
        None => Ok("ready\n".into_response()),
    }
}

fn not_ready(why: &str) -> Failure {
    Failure::new(503, "not_ready", "This node is not ready", why).retry_after(1)
}

async fn gather(app: &App) -> ClusterStatus {
    let snapshot = app.snapshot();
    let raft = app.store.status();
    let nodes = reports(app, &snapshot.state.config).await;
    ClusterStatus {
        cluster_name: snapshot.state.cluster.name.clone(),
        index: snapshot.index,
        leader: leader_name(app),
        writable: raft.has_quorum && raft.leader_id.is_some(),
        problems: problems(&snapshot.state.config, &raft, &nodes),
        nodes,
    }
}

/// What each node of the configuration says of itself.
pub(crate) async fn reports(app: &App, config: &Config) -> Vec<NodeReport> {
    let reports = config.nodes.iter().map(|node| async {
        let id = node.spec.node_id;
        let (status, error) = if id == app.store.node_id() {
            (Some(app.node.status()), None)
        } else {
            match peer_status(&app.store, id, PEER_TIMEOUT).await {
                Ok(status) => (Some(status), None),
                Err(error) => (None, Some(chain(&error))),
            }
        };
        NodeReport { name: node.name.clone(), role: node.spec.role, status, error }
    });
    join_all(reports).await
}

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

/// Everything that is not as it should be, in sentences, the gravest first.
pub(crate) fn problems(config: &Config, raft: &RaftStatus, nodes: &[NodeReport]) -> Vec<String> {
    let mut problems = Vec::new();
    quorum_problem(config, raft, nodes, &mut problems);
    for node in nodes {
        match &node.status {
            None => {
                let why = node.error.as_deref().unwrap_or("no reason known");
                problems.push(format!("node {} does not answer: {}", node.name, short(why)));
            }
            Some(status) => node_problems(raft, node, status, &mut problems),
        }
    }
    problems.extend(ha::problems(config, nodes));
    certificate_problems(nodes, &mut problems);
    member_problems(nodes, &mut problems);
    dns_problems(nodes, &mut problems);
    if problems.len() > PROBLEM_MAX_COUNT {
        let more = problems.len() - PROBLEM_MAX_COUNT;
        problems.truncate(PROBLEM_MAX_COUNT);
        problems.push(format!("and {more} more"));
    }
    problems
}

fn quorum_problem(
    config: &Config,
    raft: &RaftStatus,
    nodes: &[NodeReport],
    problems: &mut Vec<String>,
) {
    if raft.has_quorum {
        if raft.leader_id.is_none() {
            problems.push("no leader is elected at present; writes have to wait".to_owned());
        }
        return;
    }
    let is_here = |id: u64| {
        nodes.iter().any(|node| node.status.as_ref().is_some_and(|status| status.node_id == id))
    };
    let missing = raft.voters.iter().filter(|id| !is_here(**id)).map(|id| {
        let mut all = config.nodes.iter();
        let node = all.find(|node| node.spec.node_id == *id);
        node.map_or_else(|| format!("number {id}"), |node| node.name.clone())
    });
    let missing: Vec<_> = missing.collect();
    let present = raft.voters.len() - missing.len();
    let which = match missing.as_slice() {
        [] => "all answer; an election is under way".to_owned(),
        some => format!("missing: {}", some.join(", ")),
    };
    problems.push(format!(
        "the configuration is read-only, traffic flows on: {present} of {} voting nodes answer, {} \
         are needed; {which}",
        raft.voters.len(),
        raft.voters.len() / 2 + 1,
    ));
}

fn node_problems(
    raft: &RaftStatus,
    node: &NodeReport,
    status: &NodeStatus,
    problems: &mut Vec<String>,
) {
    let name = &node.name;
    let behind = raft.applied_index.saturating_sub(status.raft.applied_index);
    if behind > ENTRIES_BEHIND_MAX_COUNT {
        problems.push(format!("node {name} is {behind} entries of the log behind"));
    }
    for plane in &status.planes {
        if let Some(error) = &plane.error {
            problems.push(format!("node {name}, {} plane: {}", plane.plane, short(error)));
        } else if plane.applied_index < status.raft.applied_index {
            problems.push(format!(
                "node {name}: the {} plane carries out index {}, the newest is {}",
                plane.plane, plane.applied_index, status.raft.applied_index
            ));
        }
    }
    for listener in status.listeners.iter().filter(|listener| !listener.listening) {
        let why = listener.error.as_deref().unwrap_or("no reason known");
        problems.push(format!(
            "virtual server {}: node {name} does not listen on {}: {}",
            listener.virtual_server,
            listener.address,
            short(why)
        ));
    }
}

/// What is wrong with certificates, each once, with the nodes where not all see it.
fn certificate_problems(nodes: &[NodeReport], problems: &mut Vec<String>) {
    let mut found = BTreeMap::<(&str, &str), Vec<&str>>::new();
    let mut observers = 0;
    for node in nodes.iter().filter(|node| node.role == NodeRole::Traffic) {
        let Some(status) = &node.status else { continue };
        observers += 1;
        for certificate in &status.certificates {
            for problem in &certificate.problems {
                found.entry((&certificate.name, problem)).or_default().push(&node.name);
            }
        }
    }
    for ((name, problem), seen_by) in found {
        let seen_by = match seen_by.len() {
            count if count == observers => String::new(),
            _ => format!(" (node {})", seen_by.join(", ")),
        };
        problems.push(format!("certificate {name} {}{seen_by}", short(problem)));
    }
}

/// Members that are down, each once, with the nodes that see it so.
fn member_problems(nodes: &[NodeReport], problems: &mut Vec<String>) {
    let mut down = BTreeMap::<(&str, &str), (Vec<&str>, &str, &str)>::new();
    let mut observers = 0;
    for node in nodes.iter().filter(|node| node.role == NodeRole::Traffic) {
        let Some(status) = &node.status else { continue };
        observers += 1;
        for member in &status.members {
            if member.health == Health::Down && member.admin_state != AdminState::ForcedOffline {
                down.entry((&member.pool, &member.member))
                    .or_insert_with(|| (Vec::new(), &member.address, &member.reason))
                    .0
                    .push(&node.name);
            }
        }
    }
    for ((pool, member), (seen_by, address, reason)) in down {
        let seen_by = match seen_by.len() {
            count if count == observers => String::new(),
            _ => format!(" as seen by {}", seen_by.join(", ")),
        };
        let address = if member == address { String::new() } else { format!(" ({address})") };
        problems.push(format!(
            "pool {pool}: member {member}{address} is down{seen_by}: {}",
            short(reason)
        ));
    }
}

/// Host names that can't be resolved, and answers of which not all addresses are members.
fn dns_problems(nodes: &[NodeReport], problems: &mut Vec<String>) {
    for node in nodes {
        for dns in node.status.iter().flat_map(|status| &status.dns) {
            let subject = format!("pool {}: node {}: host name {}", dns.pool, node.name, dns.host);
            if let Some(error) = &dns.error {
                let stays = match dns.addresses.len() {
                    0 => "it has brought no member yet".to_owned(),
                    1 => "its last address stays".to_owned(),
                    count => format!("its last {count} addresses stay"),
                };
                problems.push(format!("{subject}: {}; {stays}", short(error)));
            }
            if dns.left_out_count > 0 {
                let count = dns.left_out_count;
                problems.push(format!("{subject}: {count} addresses more than address_max_count"));
            }
        }
    }
}

pub(crate) fn short(text: &str) -> String {
    let text = text.trim_end_matches('.');
    match text.char_indices().nth(REASON_MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What all nodes observe, to be shown with resources (`?status=true`).
pub(crate) struct Observed(ClusterStatus);

impl Observed {
    pub(crate) async fn gather(app: &App) -> Self {
        Self(gather(app).await)
    }

    /// What each node observes of a resource; none for kinds that nothing is observed of.
    pub(crate) fn of(&self, resource: &AnyResource) -> Option<Value> {
        let name = resource.name();
        let per_node = |of_node: &dyn Fn(&NodeStatus) -> Value| {
            let nodes = self.0.nodes.iter().map(|node| match &node.status {
                Some(status) => {
                    let mut value = of_node(status);
                    value["node"] = node.name.clone().into();
                    value
                }
                None => json!({ "node": node.name, "error": node.error }),
            });
            json!({ "nodes": nodes.collect::<Vec<_>>() })
        };
        match resource {
            AnyResource::Pool(_) => Some(per_node(&|status| {
                let members = status.members.iter().filter(|member| member.pool == name);
                let mut value = json!({ "members": members.collect::<Vec<_>>() });
                let dns: Vec<_> = status.dns.iter().filter(|dns| dns.pool == name).collect();
                if !dns.is_empty() {
                    value["dns"] = json!(dns);
                }
                value
            })),
            AnyResource::VirtualServer(_) => Some(per_node(&|status| {
                let listeners = status.listeners.iter().filter(|l| l.virtual_server == name);
                let traffic = status.virtual_servers.iter().find(|server| server.name == name);
                json!({ "listeners": listeners.collect::<Vec<_>>(), "traffic": traffic })
            })),
            AnyResource::TrafficGroup(_) => Some(per_node(&|status| {
                let mut groups = status.ha.iter().flat_map(|ha| &ha.groups);
                json!({ "part": groups.find(|part| part.group == name) })
            })),
            AnyResource::Node(_) => {
                let report = self.0.nodes.iter().find(|node| node.name == name)?;
                Some(json!({ "report": report.status, "error": report.error }))
            }
            AnyResource::JwtProvider(_) => Some(per_node(&|status| {
                let mut providers = status.jwt_providers.iter();
                json!({ "keys": providers.find(|provider| provider.name == name) })
            })),
            AnyResource::Certificate(_) => Some(per_node(&|status| {
                let mut certificates = status.certificates.iter();
                json!({ "certificate": certificates.find(|certificate| certificate.name == name) })
            })),
            AnyResource::Monitor(_)
            | AnyResource::Policy(_)
            | AnyResource::Region(_)
            | AnyResource::Token(_)
            | AnyResource::User(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
