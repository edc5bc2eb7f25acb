//! Traffic nodes: whether each may own groups, what it hears of the others, and taking it out of
//! service.

use ballast_model::ha::{HaStatus, HeartbeatStatus};
use ballast_model::{Availability, NodeInterface, Role};
use leptos::prelude::*;

use super::Desk;
use super::actions::NodeAction;
use crate::components::{Badge, Button, Foreign, Icon, Symbol, Tone};
use crate::format;
use crate::ha::NodeRow;
use crate::i18n::texts;

/// A card for each.
#[component]
pub(super) fn NodeCards(desk: Desk) -> impl IntoView {
    let t = texts();
    let names = Memo::new(move |_| {
        desk.nodes.with(|nodes| nodes.iter().map(|node| node.name.clone()).collect::<Vec<_>>())
    });
    let alone = Memo::new(move |_| names.with(|names| names.len() == 1));
    let node = move |name: String| view! { <Node name desk /> };
    view! {
        <ul class="node-cards">
            <For each=move || names.get() key=String::clone children=node />
        </ul>
        <Show when=move || alone.get()>
            <p class="quiet small">{t.ha.no_other_node}</p>
        </Show>
    }
}

#[component]
fn Node(name: String, desk: Desk) -> impl IntoView {
    let wanted = name.clone();
    let row = Memo::new(move |_| {
        desk.nodes.with(|nodes| nodes.iter().find(|node| node.name == wanted).cloned())
    });
    let badges = move || row.with(|row| row.as_ref().map(badges));
    let facts = move || row.with(|row| row.as_ref().map(|row| facts(desk, row)));
    view! {
        <li class="node-card">
            <div class="line-head">
                <strong>{name.clone()}</strong>
                {badges}
            </div>
            {facts}
            <Show when=move || desk.session.may(Role::Operator)>
                <Buttons name=name.clone() row desk />
            </Show>
        </li>
    }
}

#[component]
fn Buttons(name: String, row: Memo<Option<NodeRow>>, desk: Desk) -> impl IntoView {
    let name = StoredValue::new(name);
    let state = Memo::new(move |_| row.with(|row| row.as_ref().map(|row| row.availability)));
    let owns = Memo::new(move |_| row.with(|r| r.as_ref().is_some_and(|r| !r.owned.is_empty())));
    let ask = move |action: NodeAction| {
        let text = action.text();
        let label = format!("{} {}", text.trim_end_matches('…'), name.get_value());
        let press = move || desk.asking.set(Some((name.get_value(), action)));
        view! { <Button text label press /> }
    };
    use Availability::{Available, Maintenance, Offline};
    let is_not = move |wanted| move || state.get().is_some_and(|state| state != wanted);
    view! {
        <div class="button-row">
            <Show when=move || owns.get()>{ask(NodeAction::Standby)}</Show>
            <Show when=is_not(Available)>{ask(NodeAction::Set(Available))}</Show>
            <Show when=is_not(Maintenance)>{ask(NodeAction::Set(Maintenance))}</Show>
            <Show when=is_not(Offline)>{ask(NodeAction::Set(Offline))}</Show>
        </div>
    }
}

/// The words for a node's availability.
pub(super) fn availability_text(availability: Availability) -> &'static str {
    let t = texts();
    match availability {
        Availability::Available => t.ha.available,
        Availability::Maintenance => t.ha.maintenance,
        Availability::Offline => t.ha.offline,
    }
}

fn badges(row: &NodeRow) -> AnyView {
    let t = texts();
    let (tone, symbol) = match row.availability {
        Availability::Available if row.error.is_some() => (Tone::Neutral, Symbol::Up),
        Availability::Available => (Tone::Good, Symbol::Up),
        Availability::Maintenance => (Tone::Warning, Symbol::Disabled),
        Availability::Offline => (Tone::Warning, Symbol::Offline),
    };
    let not_yet = row.says.as_ref().is_some_and(|says| says.availability != row.availability);
    let silent = row.error.is_some();
    view! {
        <Badge tone symbol text=availability_text(row.availability) />
        {silent.then(|| view! { <Badge tone=Tone::Bad symbol=Symbol::Down text=t.not_answering /> })}
        {not_yet.then(|| view! { <span class="pending small">{(t.not_yet_on)(&row.name)}</span> })}
    }
    .into_any()
}

fn facts(desk: Desk, row: &NodeRow) -> AnyView {
    let t = texts();
    let owned = match row.says {
        None => t.unknown.to_owned(),
        Some(_) if row.owned.is_empty() => t.none.to_owned(),
        Some(_) => row.owned.join(", "),
    };
    let pair = |name: &'static str, value: AnyView| {
        view! {
            <div>
                <dt>{name}</dt>
                <dd>{value}</dd>
            </div>
        }
    };
    let text = |text: String| view! { <span>{text}</span> }.into_any();
    let load = row.says.is_some().then(|| (t.ha.carries)(&row.load.to_string(), row.capacity));
    let heartbeats = row.says.as_ref().filter(|says| !says.heartbeats.is_empty()).map(|says| {
        let lines = says.heartbeats.iter().map(heartbeat);
        let lines = view! { <ul>{lines.collect_view()}</ul> };
        pair(t.ha.heartbeats, lines.into_any())
    });
    let error = row.error.clone().filter(|error| !error.is_empty());
    view! {
        {error.map(|text| view! { <p class="reason"><Foreign text /></p> })}
        {row.says.as_ref().map(faults)}
        <dl class="facts-list">
            {pair(t.ha.groups_now, text(owned))}
            {load.map(|load| pair(t.ha.load, text(load)))}
            {heartbeats}
            {interfaces(desk, row).map(|devices| pair(t.ha.interfaces, devices))}
        </dl>
        {row.says.as_ref().map(thread)}
    }
    .into_any()
}

/// What does not work, in the node's words.
fn faults(says: &HaStatus) -> AnyView {
    let held_down = says.held_down.iter();
    let lines = held_down.chain(&says.problems).map(|text| {
        view! {
            <p class="reason">
                <Foreign text=format::sentence(text) />
            </p>
        }
    });
    lines.collect_view().into_any()
}

fn heartbeat(heartbeat: &HeartbeatStatus) -> AnyView {
    let t = texts();
    let node = &heartbeat.node;
    let text = match heartbeat.heard_before_ms {
        Some(ms) if ms < 1_000 => (t.ha.heard_from)(node, &format::duration(ms * 1_000)),
        Some(ms) => (t.ha.heard_from)(node, &format::span(t, ms)),
        None => (t.ha.never_heard_from)(node),
    };
    let (class, symbol) = match heartbeat.alive {
        true => ("legend good", Symbol::Up),
        false => ("legend bad", Symbol::Down),
    };
    view! {
        <li class=class>
            <Icon symbol />
            {text}
        </li>
    }
    .into_any()
}

/// Its devices: those that are declared, else those that its groups are on.
fn interfaces(desk: Desk, row: &NodeRow) -> Option<AnyView> {
    let t = texts();
    if !row.interfaces.is_empty() {
        return Some(row.interfaces.iter().map(interface).collect_view().into_any());
    }
    let mut devices: Vec<_> = desk.groups.with(|groups| {
        let cells = groups.iter().filter_map(|group| group.cell(&row.name));
        cells.filter_map(|cell| cell.status.as_ref()?.device.clone()).collect()
    });
    devices.sort();
    devices.dedup();
    let found = view! {
        <code>{devices.join(", ")}</code>
        " "
        <span class="quiet small">{t.ha.interfaces_found}</span>
    };
    (!devices.is_empty()).then(|| found.into_any())
}

fn interface(interface: &NodeInterface) -> AnyView {
    let v4 = interface.ipv4.map(|address| address.to_string());
    let v6 = interface.ipv6.map(|address| address.to_string());
    let addresses: Vec<_> = v4.into_iter().chain(v6).collect();
    view! {
        <div>
            {interface.network.clone()} ": " <code>{interface.device.clone()}</code> " "
            <code class="quiet small">{addresses.join(" ")}</code>
        </div>
    }
    .into_any()
}

/// How well the thread that decides is shielded from the rest of the machine.
fn thread(says: &HaStatus) -> AnyView {
    let t = texts();
    let realtime = if says.realtime { t.ha.realtime } else { t.ha.not_realtime };
    let memory = if says.memory_locked { t.ha.memory_locked } else { t.ha.memory_not_locked };
    view! { <p class="quiet small">{format!("VRRP: {realtime} · {memory}")}</p> }.into_any()
}
