//! `status`: everything that is not as it should be, then the nodes, then the members.

use std::fmt::Write;

use ballast_model::AdminState;
use ballast_model::NodeRole;
use ballast_model::status::{ClusterStatus, Health, MemberStatus, NodeReport, NodeStatus};
use clap::Args;

use super::Context;
use super::events::health_word;
use crate::failure::Failure;
use crate::output::{Field, Table, Tone};
use crate::text::{safe, utc};

/// Print what is wrong, then the nodes, then members that get no traffic, with the reasons
#[derive(Debug, Args)]
pub(crate) struct Status {}

impl Status {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let status = context.client()?.status().await?;
        if context.output.is_json() {
            context.output.json(&status)
        } else {
            context.output.print(&render(&status, context.output.colours()))
        }
    }
}

pub(super) fn render(status: &ClusterStatus, colours: bool) -> String {
    let mut text = String::new();
    if status.problems.is_empty() {
        text.push_str(&Tone::Good.paint("all is as it should be", colours));
        text.push('\n');
    }
    for problem in &status.problems {
        let line = format!("! {}", safe(problem));
        let _infallible = writeln!(text, "{}", Tone::Bad.paint(&line, colours));
    }
    let writable = if status.writable { "writable" } else { "read-only" };
    let leader = status.leader.as_deref().unwrap_or("nobody");
    let _infallible = writeln!(
        text,
        "\ncluster {}: index {}, {writable}, {} leads",
        safe(&status.cluster_name),
        status.index,
        safe(leader)
    );
    let _infallible = write!(text, "\n{}", nodes(status).render(colours));
    let members = members(status);
    if members.len() > 0 {
        let _infallible = write!(text, "\n\n{}", members.render(colours));
    }
    text
}

fn nodes(status: &ClusterStatus) -> Table {
    let mut table =
        Table::new(&["NODE", "ROLE", "STATE", "APPLIED", "MEMBERS UP", "REQUESTS", "VERSION"]);
    for report in &status.nodes {
        table.row(match &report.status {
            Some(node) => node_row(report, node),
            None => silent_row(report),
        });
    }
    table
}

fn node_row(report: &NodeReport, node: &NodeStatus) -> Vec<Field> {
    let planes = node.planes.iter().map(|plane| plane.applied_index);
    let applied = planes.fold(node.raft.applied_index, u64::min);
    let up = node.members.iter().filter(|m| matches!(m.health, Health::Up | Health::Unmonitored));
    let (up, all) = (up.count(), node.members.len());
    let tone = if up == all { Tone::Good } else { Tone::Between };
    let requests = node.virtual_servers.iter().map(|server| server.requests_total).sum::<u64>();
    let is_traffic = report.role == NodeRole::Traffic;
    vec![
        report.name.as_str().into(),
        report.role.as_str().into(),
        Field::toned(&node.raft.state, Tone::Good),
        applied.into(),
        if is_traffic { Field::toned(format!("{up}/{all}"), tone) } else { "".into() },
        if is_traffic { requests.into() } else { "".into() },
        node.version.as_str().into(),
    ]
}

fn silent_row(report: &NodeReport) -> Vec<Field> {
    let mut row: Vec<Field> = vec![
        report.name.as_str().into(),
        report.role.as_str().into(),
        Field::toned("no answer", Tone::Bad),
    ];
    row.extend((0..4).map(|_| Field::from("")));
    row
}

/// Members that do not get all traffic, as each node sees them.
fn members(status: &ClusterStatus) -> Table {
    let mut table = Table::new(&["POOL", "MEMBER", "WANTED", "HEALTH", "SINCE", "NODE", "REASON"]);
    for report in &status.nodes {
        let members = report.status.iter().flat_map(|node| &node.members);
        for member in members.filter(|member| !gets_traffic(member)) {
            table.row(member_row(report, member));
        }
    }
    table
}

fn gets_traffic(member: &MemberStatus) -> bool {
    member.admin_state == AdminState::Enabled
        && matches!(member.health, Health::Up | Health::Unmonitored)
}

fn member_row(report: &NodeReport, member: &MemberStatus) -> Vec<Field> {
    let (health, tone) = health_word(member.health);
    vec![
        member.pool.as_str().into(),
        member.member.as_str().into(),
        match member.admin_state {
            AdminState::Enabled => Field::from("enabled"),
            other => Field::toned(other.as_str().replace('_', " "), Tone::Between),
        },
        Field::toned(health, tone),
        utc(member.since_ms).into(),
        report.name.as_str().into(),
        member.reason.as_str().into(),
    ]
}
