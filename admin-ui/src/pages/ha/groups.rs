//! The grid: a row for each traffic group, a column for each traffic node.
//!
//! What changes by itself is drawn anew; buttons stay, so that none moves under the pointer and the
//! focus is kept.

use ballast_model::ha::{TrackedKind, TrackedState, TrackedStatus};
use ballast_model::{Placement, Role, TrafficGroupSpec};
use leptos::prelude::*;
use leptos_router::components::A;

use super::{Desk, groups_of};
use crate::components::{Badge, Button, Foreign, Icon, Look, Symbol, Tone};
use crate::form::traffic_group::TrafficGroupForm;
use crate::format;
use crate::ha::{Cell, GroupRow, Ownership, Standing};
use crate::i18n::texts;
use crate::live::Live;

/// The grid.
#[component]
pub(super) fn Groups(desk: Desk) -> impl IntoView {
    let t = texts();
    let names = Memo::new(move |_| {
        desk.groups.with(|rows| rows.iter().map(|row| row.name.clone()).collect::<Vec<_>>())
    });
    let nodes = Memo::new(move |_| {
        desk.nodes.with(|nodes| nodes.iter().map(|node| node.name.clone()).collect::<Vec<_>>())
    });
    let heads = move || {
        let head = |node: String| {
            view! { <th scope="col" role="columnheader">{node}</th> }
        };
        nodes.get().into_iter().map(head).collect_view()
    };
    let group = move |name: String| view! { <Group name desk /> };
    // The roles are said again because a narrow window lays the table out as cards, which would
    // otherwise cost it its meaning.
    view! {
        <div class="table-frame" role="group" aria-label=t.ha.groups tabindex="0">
            <table class="ha-grid" role="table" aria-label=t.ha.groups>
                <thead role="rowgroup">
                    <tr role="row">
                        <th scope="col" role="columnheader">
                            {t.ha.group}
                        </th>
                        {heads}
                        <td role="cell"></td>
                    </tr>
                </thead>
                <tbody role="rowgroup">
                    <For each=move || names.get() key=String::clone children=group />
                </tbody>
            </table>
        </div>
    }
}

#[component]
fn Group(name: String, desk: Desk) -> impl IntoView {
    let wanted = name.clone();
    let row = Memo::new(move |_| {
        desk.groups.with(|rows| rows.iter().find(|row| row.name == wanted).cloned())
    });
    let description = move || {
        let text = row.with(|row| row.as_ref().map(|row| row.description.clone()));
        text.filter(|text| !text.is_empty())
            .map(|text| view! { <div class="quiet small">{text}</div> })
    };
    let about = move || row.with(|row| row.as_ref().map(about));
    let cells = move || {
        let now_ms = desk.live.now_ms.get();
        row.with(|row| {
            let row = row.as_ref()?;
            let next = row.next.as_deref();
            let is_next = |cell: &Cell| next == Some(cell.node.as_str());
            Some(row.cells.iter().map(|cell| draw(cell, is_next(cell), now_ms)).collect_view())
        })
    };
    view! {
        <tr role="row">
            <th scope="row" role="rowheader">
                <div class="row-name">{name.clone()}</div>
                {description}
                {about}
            </th>
            {cells}
            <td role="cell" class="actions">
                <Actions name desk row />
            </td>
        </tr>
    }
}

#[component]
fn Actions(name: String, desk: Desk, row: Memo<Option<GroupRow>>) -> impl IntoView {
    let t = texts();
    let name = StoredValue::new(name);
    let label = move |text: &str| format!("{} {}", text.trim_end_matches('…'), name.get_value());
    let is_off = Signal::derive(move || {
        row.with(|row| row.as_ref().is_none_or(|row| row.ownership == Ownership::Off))
    });
    let edit = move || {
        desk.live.declared.with_untracked(|declared| {
            let mut groups = declared.iter().flat_map(|declared| &declared.traffic_groups);
            let group = groups.find(|group| group.name == *name.read_value());
            desk.form.set(group.map(TrafficGroupForm::edit));
        });
    };
    view! {
        <div class="button-row tight">
            <Show when=move || desk.session.may(Role::Operator)>
                <Button
                    symbol=Symbol::Move
                    text=t.ha.move_group
                    label=label(t.ha.move_group)
                    disabled=is_off
                    press=move || desk.moving.set(Some(name.get_value()))
                />
            </Show>
            <Show when=move || desk.session.may(Role::Editor)>
                <Button
                    look=Look::Quiet
                    symbol=Symbol::Edit
                    icon_only=true
                    text=t.ha.edit
                    label=label(t.ha.edit)
                    press=edit
                />
                <Button
                    look=Look::Quiet
                    symbol=Symbol::Remove
                    icon_only=true
                    text=t.delete
                    label=label(t.delete)
                    press=move || desk.deleting.set(Some(name.get_value()))
                />
            </Show>
        </div>
    }
}

/// What is declared of a group, and whether somebody owns it.
fn about(row: &GroupRow) -> AnyView {
    let addresses = row.spec.addresses.iter().map(|address| {
        let prefix = address.prefix_length.map(|length| format!("/{length}")).unwrap_or_default();
        view! {
            <div>
                <code>{format!("{}{prefix}", address.address)}</code>
            </div>
        }
    });
    let addresses = addresses.collect_view();
    view! {
        <div class="row-notes">{ownership_badge(&row.ownership, false)}</div>
        {addresses}
        <p class="quiet small">{facts(&row.spec)}</p>
    }
    .into_any()
}

/// VRID, interval, order, failback, in a line.
fn facts(spec: &TrafficGroupSpec) -> String {
    let t = texts();
    let mut facts =
        vec![(t.ha.vrid_is)(spec.virtual_router_id), (t.ha.adverts)(spec.advert_interval_ms)];
    if spec.placement == Placement::Load {
        facts.push(t.ha.by_load.to_lowercase());
    } else if !spec.nodes.is_empty() {
        facts.push((t.ha.ordered)(&spec.nodes.join(" → ")));
    }
    if spec.failback.enabled {
        let delay = format::span(t, u64::from(spec.failback.delay_s) * 1_000);
        facts.push((t.ha.failback_after)(&delay));
    }
    facts.join(" · ")
}

/// A badge where nobody, or more than one, owns a group; else one with the owner if `always`.
fn ownership_badge(ownership: &Ownership, always: bool) -> Option<AnyView> {
    let t = texts();
    let (tone, symbol, text) = match ownership {
        Ownership::One(owner) if always => (Tone::Good, Symbol::Up, owner.clone()),
        Ownership::One(_) => return None,
        Ownership::Off => (Tone::Neutral, Symbol::Disabled, t.disabled.to_owned()),
        Ownership::Unknown => (Tone::Neutral, Symbol::Checking, t.ha.not_known.to_owned()),
        Ownership::Several(_) => (Tone::Bad, Symbol::Warning, t.ha.several_owners.to_owned()),
        Ownership::Elsewhere(_) => (Tone::Warning, Symbol::Warning, t.ha.owner_silent.to_owned()),
        Ownership::Nobody => (Tone::Bad, Symbol::Down, t.ha.no_owner.to_owned()),
    };
    Some(view! { <Badge tone symbol text /> }.into_any())
}

/// What a node is in a group, and why.
fn draw(cell: &Cell, is_next: bool, now_ms: u64) -> AnyView {
    let t = texts();
    let (tone, symbol, text) = look(cell);
    // What an operator holds back is not found wanting; the reason stands below.
    let degraded = cell.is_degraded() && (!cell.held_back || cell.standing == Standing::Active);
    let status = cell.status.as_ref().filter(|_| cell.standing != Standing::NotMeant);
    let priority = status.filter(|s| s.priority > 0).map(|s| (t.ha.priority)(s.priority));
    let manual = status.is_some_and(|status| status.manual);
    let since = status
        .filter(|status| status.since_ms > 0)
        .map(|status| (t.since)(&format::span(t, now_ms.saturating_sub(status.since_ms))));
    let facts: Vec<_> = priority.into_iter().chain(since).collect();
    let reason =
        status.filter(|_| cell.hindrances.is_empty()).map(|status| reason(&status.reason, None));
    let class = if cell.held_back { "quiet small" } else { "reason" };
    let hindrances = cell.hindrances.iter().map(|text| {
        view! {
            <p class=class>
                <Foreign text=format::sentence(text) />
            </p>
        }
    });
    let tracked = status.map(|status| status.tracked.iter().map(tracked).collect_view());
    let owns = if cell.standing == Standing::Active { "owns" } else { "" };
    view! {
        <td role="cell" class=owns>
            <div class="cell-node">
                {cell.node.clone()}
            </div>
            <div class="badges">
                <Badge tone symbol text />
                {is_next.then(|| view! { <Badge tone=Tone::Accent text=t.ha.next /> })}
                {degraded
                    .then(|| {
                        view! {
                            <Badge tone=Tone::Warning symbol=Symbol::Partial text=t.ha.degraded />
                        }
                    })}
                {manual.then(|| view! { <Badge tone=Tone::Neutral text=t.ha.manual /> })}
            </div>
            <p class="small">{facts.join(" · ")}</p>
            {reason.map(|reason| view! { <p class="quiet small">{reason}</p> })}
            {hindrances.collect_view()}
            <ul class="legends">{tracked}</ul>
        </td>
    }
    .into_any()
}

/// Something that the group tracks, as the node finds it; why stands among the hindrances.
fn tracked(tracked: &TrackedStatus) -> AnyView {
    let t = texts();
    let kind = match tracked.kind {
        TrackedKind::Gateway => t.ha.gateway,
        TrackedKind::Network => t.ha.network,
        TrackedKind::Pool => t.pool,
    };
    let (class, symbol, word) = match tracked.state {
        TrackedState::Failed => ("legend bad", Symbol::Down, t.down),
        TrackedState::Unknown => ("legend neutral", Symbol::Checking, t.unknown),
        TrackedState::Well => ("legend good", Symbol::Up, t.up),
    };
    view! {
        <li class=class title=word>
            <Icon symbol />
            {format!("{} {}", kind.to_lowercase(), tracked.name)}
            <span class="visually-hidden">{word}</span>
        </li>
    }
    .into_any()
}

fn look(cell: &Cell) -> (Tone, Symbol, &'static str) {
    let t = texts();
    match cell.standing {
        Standing::Active => (Tone::Good, Symbol::Up, t.ha.active),
        Standing::Backup => (Tone::Neutral, Symbol::Waiting, t.ha.backup),
        Standing::Out if cell.held_back => (Tone::Neutral, Symbol::Offline, t.ha.out),
        Standing::Out => (Tone::Bad, Symbol::Offline, t.ha.out),
        Standing::NotMeant => (Tone::Neutral, Symbol::Offline, t.ha.not_in_order),
        Standing::Silent => (Tone::Bad, Symbol::Down, t.not_answering),
        Standing::Unknown => (Tone::Neutral, Symbol::Checking, t.ha.not_known),
    }
}

/// A reason, in the language that was chosen where its code is known; else in the cluster's words.
pub(super) fn reason(code: &str, sentence: Option<&str>) -> AnyView {
    match (texts().ha.reason)(code) {
        Some(text) => view! { <span>{format::sentence(text)}</span> }.into_any(),
        None => {
            let text = sentence.map_or_else(|| code.replace('_', " "), str::to_owned);
            view! { <Foreign text=format::sentence(&text) /> }.into_any()
        }
    }
}

/// Every group with its owner, in a line each: for the overview.
#[component]
pub(crate) fn GroupLines() -> impl IntoView {
    let t = texts();
    let groups = groups_of(Live::here());
    let is_empty = Memo::new(move |_| groups.with(Vec::is_empty));
    let lines = move || groups.with(|rows| rows.iter().map(line).collect_view());
    view! {
        <Show when=move || !is_empty.get()>
            <section class="card" aria-labelledby="ha-head">
                <div class="card-head">
                    <h2 id="ha-head">{t.ha.title}</h2>
                    <A href="/ha">{t.details}</A>
                </div>
                <ul class="group-lines">{lines}</ul>
            </section>
        </Show>
    }
}

fn line(row: &GroupRow) -> AnyView {
    let t = texts();
    let addresses: Vec<_> = row.spec.addresses.iter().map(|a| a.address.to_string()).collect();
    let next = row.next.clone().map(|next| format!("{} {next}", t.ha.next));
    let concerns = row.concerns().into_iter().map(|concern| {
        let class = if concern.is_grave() { "reason" } else { "quiet small" };
        view! { <p class=class>{(t.ha.concern)(&concern)}</p> }
    });
    view! {
        <li>
            <div class="line-head">
                <strong>{row.name.clone()}</strong>
                {ownership_badge(&row.ownership, true)}
                <span class="quiet small">{next}</span>
            </div>
            <p class="quiet small">
                <code>{addresses.join("  ")}</code>
            </p>
            {concerns.collect_view()}
        </li>
    }
    .into_any()
}
