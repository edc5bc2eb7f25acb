//! Virtual servers: where they listen, which pool serves them, and their traffic.

use std::collections::BTreeMap;

use ballast_model::status::{ClusterStatus, ListenerStatus, NodeStatus, VirtualServerStatus};
use ballast_model::{Persistence, Resource, VirtualServerSpec};
use leptos::prelude::*;
use leptos_router::components::A;

use super::name_page;
use crate::components::{Badge, Empty, Foreign, Loading, Sparkline, Symbol, Table, Tone};
use crate::format;
use crate::i18n::texts;
use crate::live::Live;
use crate::rates::Subject;

/// The page.
#[component]
pub(crate) fn VirtualServers() -> impl IntoView {
    let t = texts();
    name_page(t.virtual_servers);
    view! {
        <header class="page-head">
            <h1>{t.virtual_servers}</h1>
        </header>
        <section class="card">
            <Servers brief=false />
        </section>
    }
}

/// The table; `brief` leaves out what does not change by itself.
#[component]
pub(crate) fn Servers(brief: bool) -> impl IntoView {
    let t = texts();
    let live = Live::here();
    let count = Memo::new(move |_| {
        live.declared.with(|d| d.as_ref().map(|declared| declared.virtual_servers.len()))
    });
    move || match count.get() {
        None => view! { <Loading /> }.into_any(),
        Some(0) => view! {
            <Empty
                symbol=Symbol::VirtualServers
                title=t.no_virtual_servers
                hint=t.no_virtual_servers_hint
            />
        }
        .into_any(),
        Some(_) => view! { <ServerTable brief /> }.into_any(),
    }
}

#[component]
fn ServerTable(brief: bool) -> impl IntoView {
    let t = texts();
    let live = Live::here();
    let mut heads = vec![(t.name, ""), (t.listeners, ""), (t.pool, "")];
    if !brief {
        heads.push((t.certificates, ""));
    }
    heads.extend([
        (t.connections, "number"),
        (t.requests_per_second, "number"),
        (t.throughput, "number"),
        (t.requests, "number"),
        (t.failures, "number"),
    ]);
    let rows = move || {
        live.declared.with(|declared| {
            let servers = declared.iter().flat_map(|d| &d.virtual_servers);
            servers.map(|server| row(live, server, brief)).collect_view()
        })
    };
    view! {
        <Table caption=t.virtual_servers heads>
            {rows}
        </Table>
    }
}

fn row(live: Live, server: &Resource<VirtualServerSpec>, brief: bool) -> AnyView {
    let t = texts();
    let name = server.name.clone();
    let subject = Subject::VirtualServer(name.clone());
    let (rates, history) =
        live.meter.with(|m| (m.rates(&subject).unwrap_or_default(), m.history(&subject)));
    let totals = live.status.with(|status| totals(status.as_ref(), &name));
    let listeners = live.status.with(|status| listeners(status.as_ref(), server));
    let protocol = server.spec.protocol.as_str().replace('_', " ").to_uppercase();
    let (tone, symbol, text) = state(server, &listeners);
    let (pool, href) = (server.spec.pool.clone(), format!("/pools/{}", server.spec.pool));
    let certificates = (!brief).then(|| certificates(&server.spec));
    view! {
        <tr>
            <th scope="row">
                <div class="row-name">{name}</div>
                <div class="row-notes">
                    <Badge tone symbol text />
                    <Badge tone=Tone::Neutral text=protocol />
                    {persistence(&server.spec)}
                </div>
            </th>
            <td>{listeners.into_iter().map(listener).collect_view()}</td>
            <td>
                <A href>{pool}</A>
            </td>
            {certificates}
            <td class="number">{format::count(totals.connections)}</td>
            <td class="number">
                <div class="with-chart">
                    <Sparkline values=history label=t.requests_per_second />
                    <span class="rate">{format::rate(rates.requests)}</span>
                </div>
            </td>
            <td class="number">
                <div class="nowrap">"↓ " {format::bit_rate(rates.received_bytes)}</div>
                <div class="nowrap">"↑ " {format::bit_rate(rates.sent_bytes)}</div>
            </td>
            <td class="number">{format::count(totals.requests_total)}</td>
            <td class="number" class:bad=totals.failures_total != 0>
                {format::count(totals.failures_total)}
            </td>
        </tr>
    }
    .into_any()
}

fn state(
    server: &Resource<VirtualServerSpec>,
    listeners: &[Listener],
) -> (Tone, Symbol, &'static str) {
    let t = texts();
    if !server.spec.enabled {
        (Tone::Neutral, Symbol::Disabled, t.disabled)
    } else if listeners.iter().any(|listener| !listener.faults.is_empty()) {
        (Tone::Bad, Symbol::Down, t.not_listening)
    } else if listeners.iter().all(|listener| listener.nodes > 0) {
        (Tone::Good, Symbol::Up, t.listening)
    } else {
        (Tone::Neutral, Symbol::Checking, t.starting)
    }
}

fn certificates(spec: &VirtualServerSpec) -> AnyView {
    if spec.certificates.is_empty() {
        return view! { <td class="quiet">"–"</td> }.into_any();
    }
    view! { <td>{spec.certificates.join(", ")}</td> }.into_any()
}

fn persistence(spec: &VirtualServerSpec) -> Option<AnyView> {
    let text = match &spec.persistence {
        Persistence::None => return None,
        Persistence::Cookie { name, .. } => format!("{} {name}", texts().cookie),
        Persistence::Source { .. } => texts().source_persistence.to_owned(),
        Persistence::Header { name, .. } => format!("{} {name}", texts().header_persistence),
        Persistence::ApplicationCookie { name, .. } => {
            format!("{} {name}", texts().application_cookie)
        }
    };
    Some(view! { <Badge tone=Tone::Neutral text /> }.into_any())
}

/// A declared address, and what the nodes say of it.
struct Listener {
    address: String,
    nodes: usize,
    faults: Vec<(String, String)>,
}

fn listener(listener: Listener) -> impl IntoView {
    let faults = listener.faults.into_iter().map(|(node, why)| {
        view! {
            <p class="reason">
                {node} ": " <Foreign text=why />
            </p>
        }
    });
    view! {
        <div class="nowrap">
            <code>{listener.address}</code>
        </div>
        {faults.collect_view()}
    }
}

fn listeners(
    status: Option<&ClusterStatus>,
    server: &Resource<VirtualServerSpec>,
) -> Vec<Listener> {
    let reported: Vec<(&NodeStatus, &ListenerStatus)> = nodes(status)
        .flat_map(|node| node.listeners.iter().map(move |listener| (node, listener)))
        .filter(|(_, listener)| listener.virtual_server == server.name)
        .collect();
    let mut found = BTreeMap::new();
    for address in server.spec.listeners() {
        let address = address.to_string();
        let here = reported.iter().filter(|(_, listener)| listener.address == address);
        let faults = here
            .clone()
            .filter(|(_, listener)| !listener.listening)
            .map(|(node, listener)| {
                let why = listener.error.clone().unwrap_or_else(|| "is not listening".to_owned());
                (node.name.clone(), why)
            })
            .collect();
        found.insert(address.clone(), Listener { nodes: here.count(), address, faults });
    }
    found.into_values().collect()
}

fn totals(status: Option<&ClusterStatus>, name: &str) -> VirtualServerStatus {
    let mut sum = VirtualServerStatus::default();
    let servers = nodes(status).flat_map(|node| &node.virtual_servers);
    for server in servers.filter(|server| server.name == name) {
        sum.connections += server.connections;
        sum.requests_total += server.requests_total;
        sum.failures_total += server.failures_total;
    }
    sum
}

fn nodes(status: Option<&ClusterStatus>) -> impl Iterator<Item = &NodeStatus> {
    status.into_iter().flat_map(|status| &status.nodes).filter_map(|node| node.status.as_ref())
}
