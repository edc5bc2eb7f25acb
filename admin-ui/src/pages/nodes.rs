//! Nodes: their part in the replication, and what each has applied.

use ballast_model::status::{NodeReport, NodeStatus, PlaneStatus};
use leptos::prelude::*;

use super::{name_page, role_text};
use crate::components::{Badge, Foreign, Loading, Symbol, Table, Tone};
use crate::format;
use crate::i18n::texts;
use crate::live::Live;

/// The page.
#[component]
pub(crate) fn Nodes() -> impl IntoView {
    let t = texts();
    name_page(t.nodes);
    let live = Live::here();
    let heads = vec![
        (t.name, ""),
        (t.state, ""),
        (t.replication, ""),
        (t.applied, "number"),
        (t.planes, ""),
        (t.addresses, ""),
        (t.version, ""),
        (t.uptime, "number"),
    ];
    let rows = move || {
        live.status.with(|status| {
            let status = status.as_ref()?;
            let leader = status.leader.as_deref();
            let row = |node: &NodeReport| row(live, node, leader, status.index);
            Some(status.nodes.iter().map(row).collect_view())
        })
    };
    let loaded = Memo::new(move |_| live.status.with(Option::is_some));
    view! {
        <header class="page-head">
            <h1>{t.nodes}</h1>
        </header>
        <section class="card">
            <Show when=move || loaded.get() fallback=|| view! { <Loading /> }>
                <Table caption=t.nodes heads=heads.clone()>
                    {rows}
                </Table>
            </Show>
        </section>
    }
}

fn row(live: Live, report: &NodeReport, leader: Option<&str>, index: u64) -> AnyView {
    let t = texts();
    let is_leader = leader == Some(report.name.as_str());
    let name = report.name.clone();
    let status = report.status.as_ref();
    let (tone, symbol, text) = match status {
        Some(_) => (Tone::Good, Symbol::Up, t.answering),
        None => (Tone::Bad, Symbol::Down, t.not_answering),
    };
    let error = report.error.clone().filter(|_| status.is_none());
    let uptime = status
        .map(|status| format::span(t, live.now_ms.get().saturating_sub(status.started_at_ms)));
    let unknown = || "–".to_owned();
    view! {
        <tr>
            <th scope="row">
                <div class="row-name">{name.clone()}</div>
                <div class="row-notes">
                    <Badge tone=Tone::Neutral text=role_text(report.role) />
                    {is_leader
                        .then(|| {
                            view! { <Badge tone=Tone::Accent symbol=Symbol::Leader text=t.leader /> }
                        })}
                </div>
            </th>
            <td>
                <Badge tone symbol text />
                {error.map(|text| view! { <p class="reason"><Foreign text /></p> })}
            </td>
            <td>{status.map(replication)}</td>
            <td class="number">{status.map(|status| applied(status, index))}</td>
            <td>{status.map(|s| s.planes.iter().map(plane).collect_view())}</td>
            <td>{addresses(live, &name)}</td>
            <td>{status.map_or_else(unknown, |status| status.version.clone())}</td>
            <td class="number nowrap">{uptime.unwrap_or_else(unknown)}</td>
        </tr>
    }
    .into_any()
}

fn replication(status: &NodeStatus) -> AnyView {
    let t = texts();
    let state = match status.raft.state.as_str() {
        "leader" => t.raft_leader,
        "follower" => t.raft_follower,
        "candidate" => t.raft_candidate,
        "learner" => t.raft_learner,
        _ => t.unknown,
    };
    let quorum = (!status.raft.has_quorum).then(|| view! { <p class="reason">{t.no_quorum}</p> });
    view! {
        <div>{state}</div>
        <div class="quiet small">{format!("{} {}", t.term, status.raft.term)}</div>
        {quorum}
    }
    .into_any()
}

fn applied(status: &NodeStatus, index: u64) -> AnyView {
    let t = texts();
    let behind = index.saturating_sub(status.raft.applied_index);
    let late = (behind > 0).then(|| view! { <p class="reason">{(t.behind)(behind)}</p> });
    view! {
        <div>{format::count(status.raft.applied_index)}</div>
        {late}
    }
    .into_any()
}

fn plane(plane: &PlaneStatus) -> AnyView {
    let error = plane.error.clone();
    view! {
        <div class="nowrap">
            {plane.plane.clone()} " "
            <span class="quiet">{format::count(plane.applied_index)}</span>
        </div>
        {error.map(|text| view! { <p class="reason"><Foreign text /></p> })}
    }
    .into_any()
}

fn addresses(live: Live, node: &str) -> Option<AnyView> {
    let t = texts();
    live.declared.with(|declared| {
        let node = declared.iter().flat_map(|d| &d.nodes).find(|n| n.name == node)?;
        let cluster = (t.cluster_address, node.spec.cluster_address.clone());
        let api = node.spec.api_addresses.iter().map(|address| (t.api_address, address.clone()));
        let lines = std::iter::once(cluster).chain(api).map(|(what, address)| {
            view! {
                <div class="nowrap">
                    <code>{address}</code>
                    " "
                    <span class="quiet small">{what}</span>
                </div>
            }
        });
        Some(lines.collect_view().into_any())
    })
}
