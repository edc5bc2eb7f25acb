//! The first page: what is wrong, then what is going on.

use ballast_model::PoolSpec;
use ballast_model::Resource;
use ballast_model::status::{ClusterStatus, NodeReport};
use leptos::prelude::*;
use leptos_router::components::A;

use super::{GroupLines, grave_concern, name_page, role_text};
use crate::components::{
    Badge, Empty, Failure, Foreign, HealthBar, Icon, Loading, Sparkline, Symbol, Tone,
};
use crate::format;
use crate::i18n::texts;
use crate::live::Live;
use crate::pages::virtual_servers::Servers;
use crate::rates::Subject;
use crate::summary::{self, Condition};

/// The overview.
#[component]
pub(crate) fn Overview() -> impl IntoView {
    let t = texts();
    name_page(t.overview);
    let live = Live::here();
    let loaded = Memo::new(move |_| live.status.with(Option::is_some));
    view! {
        <h1 class="visually-hidden">{t.overview}</h1>
        {move || {
            if loaded.get() {
                view! { <Loaded /> }.into_any()
            } else {
                match live.problem.get() {
                    Some(problem) => view! { <Failure title=t.not_reached problem /> }.into_any(),
                    None => view! { <Loading /> }.into_any(),
                }
            }
        }}
    }
}

#[component]
fn Loaded() -> impl IntoView {
    let t = texts();
    view! {
        <Verdict />
        <Tiles />
        <GroupLines />
        <div class="columns">
            <section class="card" aria-labelledby="nodes-head">
                <div class="card-head">
                    <h2 id="nodes-head">{t.nodes}</h2>
                    <A href="/nodes">{t.details}</A>
                </div>
                <NodeList />
            </section>
            <section class="card" aria-labelledby="pools-head">
                <div class="card-head">
                    <h2 id="pools-head">{t.pools}</h2>
                    <A href="/pools">{t.details}</A>
                </div>
                <PoolList />
            </section>
        </div>
        <section class="card" aria-labelledby="servers-head">
            <div class="card-head">
                <h2 id="servers-head">{t.virtual_servers}</h2>
                <A href="/virtual-servers">{t.details}</A>
            </div>
            <Servers brief=true />
        </section>
    }
}

/// Whether all is well, in a sentence; if not, every problem in one.
#[component]
fn Verdict() -> impl IntoView {
    let t = texts();
    let live = Live::here();
    // A group without an owner, or with two, cuts clients off: that is no mere warning.
    let grave = grave_concern(live);
    let draw = move |status: &ClusterStatus| {
        let problems = status.problems.iter().map(String::as_str).map(format::sentence);
        let (class, symbol, title) = match (status.problems.len(), status.writable) {
            (0, true) => ("verdict good", Symbol::Up, t.all_well.to_owned()),
            (0, false) => ("verdict bad", Symbol::Warning, t.read_only.to_owned()),
            (count, true) if !grave.get() => {
                ("verdict warning", Symbol::Warning, (t.problem_count)(count))
            }
            (count, _) => ("verdict bad", Symbol::Warning, (t.problem_count)(count)),
        };
        let list = problems.map(|text| view! { <li><Foreign text /></li> });
        let writable = if status.writable { t.writable } else { t.read_only };
        let leader = status.leader.clone().unwrap_or_else(|| t.no_leader.to_owned());
        let facts = [
            ((t.node_count)(status.nodes.len()), false),
            (format!("{} {leader}", t.leader), false),
            (format!("{} {}", t.configuration_index, format::count(status.index)), false),
            (writable.to_owned(), !status.writable),
        ];
        let facts = facts.into_iter().map(|(text, bad)| view! { <li class:bad=bad>{text}</li> });
        view! {
            <section class=class aria-label=t.health_of_cluster>
                <Icon symbol />
                <div>
                    <p class="verdict-title">{title}</p>
                    <ul class="problems">{list.collect_view()}</ul>
                    <ul class="facts">{facts.collect_view()}</ul>
                </div>
            </section>
        }
    };
    move || live.status.with(|status| status.as_ref().map(draw))
}

/// Four numbers about everything together.
#[component]
fn Tiles() -> impl IntoView {
    let t = texts();
    let live = Live::here();
    let requests = move || live.meter.with(|m| m.rates(&Subject::All).unwrap_or_default());
    let connections = move || {
        live.status.with(|status| {
            let nodes = status.iter().flat_map(|status| &status.nodes);
            let servers = nodes.filter_map(|n| n.status.as_ref()).flat_map(|n| &n.virtual_servers);
            servers.map(|server| server.connections).sum::<u64>()
        })
    };
    let members = move || {
        let mut counts = summary::Counts::new();
        for (_, pool) in pool_counts(live) {
            for (condition, count) in pool {
                *counts.entry(condition).or_default() += count;
            }
        }
        let all: usize = counts.values().sum();
        (counts.get(&Condition::Up).copied().unwrap_or(0), all)
    };
    view! {
        <div class="tiles">
            <div class="tile">
                <span class="tile-name">{t.requests_per_second}</span>
                <span class="tile-value">{move || format::rate(requests().requests)}</span>
                {move || {
                    let values = live.meter.with(|m| m.history(&Subject::All));
                    view! { <Sparkline values label=t.requests_per_second /> }
                }}
            </div>
            <div class="tile">
                <span class="tile-name">{t.failures_per_second}</span>
                <span class="tile-value" class:bad=move || { requests().failures >= 0.05 }>
                    {move || format::rate(requests().failures)}
                </span>
                <span class="tile-note">{t.failures_note}</span>
            </div>
            <div class="tile">
                <span class="tile-name">{t.connections}</span>
                <span class="tile-value">{move || format::count(connections())}</span>
                <span class="tile-note">
                    {move || {
                        let rates = requests();
                        format!(
                            "↓ {}  ↑ {}",
                            format::bit_rate(rates.received_bytes),
                            format::bit_rate(rates.sent_bytes),
                        )
                    }}
                </span>
            </div>
            <div class="tile">
                <span class="tile-name">{t.members_up}</span>
                <span class="tile-value">
                    {move || members().0} <small>{move || format!(" / {}", members().1)}</small>
                </span>
                <span class="tile-note">{move || (t.in_pools)(pool_counts(live).len())}</span>
            </div>
        </div>
    }
}

#[component]
fn NodeList() -> impl IntoView {
    let live = Live::here();
    let draw = move |status: &ClusterStatus| {
        let now_ms = live.now_ms.get();
        let leader = status.leader.clone();
        let nodes = status.nodes.iter();
        nodes.map(|node| node_line(node, leader.as_deref(), status.index, now_ms)).collect_view()
    };
    view! { <ul class="lines">{move || live.status.with(|status| status.as_ref().map(draw))}</ul> }
}

fn node_line(report: &NodeReport, leader: Option<&str>, index: u64, now_ms: u64) -> AnyView {
    let t = texts();
    let name = report.name.clone();
    let is_leader = leader == Some(name.as_str());
    let (state, facts, error) = match &report.status {
        Some(status) => {
            let behind = index.saturating_sub(status.raft.applied_index);
            let uptime = format::span(t, now_ms.saturating_sub(status.started_at_ms));
            let applied = format::count(status.raft.applied_index);
            let facts =
                format!("{} {applied} · {} {uptime} · v{}", t.index, t.up_for, status.version);
            let late = (behind > 0).then(|| (t.behind)(behind));
            ((Symbol::Up, Tone::Good, t.answering), facts, late)
        }
        None => ((Symbol::Down, Tone::Bad, t.not_answering), String::new(), report.error.clone()),
    };
    let (symbol, tone, text) = state;
    view! {
        <li>
            <div class="line-head">
                <strong>{name}</strong>
                <span class="quiet">{role_text(report.role)}</span>
                {is_leader
                    .then(|| {
                        view! { <Badge tone=Tone::Accent symbol=Symbol::Leader text=t.leader /> }
                    })}
                <span class="spacer"></span>
                <Badge tone symbol text />
            </div>
            <p class="quiet small">{facts}</p>
            {error.map(|text| view! { <p class="reason"><Foreign text /></p> })}
        </li>
    }
    .into_any()
}

#[component]
fn PoolList() -> impl IntoView {
    let t = texts();
    let live = Live::here();
    let pool = |(name, counts): (String, summary::Counts)| {
        view! {
            <li>
                <div class="line-head">
                    <A href=format!("/pools/{name}")>
                        <strong>{name.clone()}</strong>
                    </A>
                </div>
                <HealthBar counts />
            </li>
        }
    };
    move || {
        let pools = pool_counts(live);
        if pools.is_empty() {
            view! { <Empty symbol=Symbol::Pools title=t.no_pools hint=t.no_pools_hint /> }
                .into_any()
        } else {
            view! { <ul class="lines">{pools.into_iter().map(pool).collect_view()}</ul> }.into_any()
        }
    }
}

/// Every pool with its members counted, the least healthy first.
fn pool_counts(live: Live) -> Vec<(String, summary::Counts)> {
    let count = |pool: &Resource<PoolSpec>| {
        let rows = live.status.with(|s| summary::members(&pool.name, &pool.spec, s.as_ref()));
        (pool.name.clone(), summary::counts(&rows))
    };
    let mut pools: Vec<_> =
        live.declared.with(|d| d.iter().flat_map(|d| &d.pools).map(count).collect());
    let bad = |counts: &summary::Counts| {
        let of = |condition| counts.get(&condition).copied().unwrap_or(0);
        of(Condition::Down) + of(Condition::Partial)
    };
    pools.sort_by_key(|(_, counts)| std::cmp::Reverse(bad(counts)));
    pools
}
