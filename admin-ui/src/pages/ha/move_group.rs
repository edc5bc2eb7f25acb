//! Moving a group by hand: to which node, what each would carry then, and how it went.

use ballast_model::Problem;
use ballast_model::ha::{FailoverReport, GroupState, Preview};
use leptos::ev::SubmitEvent;
use leptos::prelude::*;
use leptos::task::spawn_local;

use super::Desk;
use super::actions::Moves;
use super::preview::{Answer, PreviewPane};
use super::timeline::Steps;
use crate::components::{Badge, Button, Dialog, Empty, Failure, Foreign, Look, Symbol, Tone};
use crate::format;
use crate::ha::{self, Cell, GroupRow, Standing};
use crate::i18n::texts;
use crate::live::now_ms;
use crate::session::explain;

/// How far before the request a transition may lie that is shown as its result, in ms: clocks differ.
const CLOCK_SLACK_MS: u64 = 2_000;

/// The dialog; there while a group is about to be moved.
#[component]
pub(super) fn MoveDialog(desk: Desk) -> impl IntoView {
    let t = texts();
    let dismiss = Callback::new(move |()| desk.moving.set(None));
    let title = Signal::derive(move || {
        desk.moving.get().map(|g| (t.ha.move_title)(&g)).unwrap_or_default()
    });
    let open = Memo::new(move |_| desk.moving.with(Option::is_some));
    let content = move || {
        let group = desk.moving.get()?;
        let row = desk.groups.with_untracked(|rows| rows.iter().find(|r| r.name == group).cloned());
        row.map(|row| view! { <Form desk row /> })
    };
    view! {
        <Dialog title open dismiss wide=true>
            {content}
        </Dialog>
    }
}

/// The group as it was when the dialog was opened: choices don't change under the pointer.
#[component]
fn Form(desk: Desk, row: GroupRow) -> impl IntoView {
    let t = texts();
    let fit = |node: &String| row.cell(node).is_some_and(is_fit);
    let to = RwSignal::new(row.next.clone().filter(fit));
    let busy = RwSignal::new(false);
    let problem = RwSignal::new(None::<Problem>);
    let report = RwSignal::new(None::<(FailoverReport, u64)>);
    let group = StoredValue::new(row.name.clone());
    let submit = move |event: SubmitEvent| {
        event.prevent_default();
        if busy.get_untracked() {
            return;
        }
        busy.set(true);
        problem.set(None);
        let asked_ms = now_ms();
        spawn_local(async move {
            let to = to.get_untracked();
            let client = desk.session.client();
            let moved = client.fail_over(&group.get_value(), to.as_deref()).await;
            busy.try_set(false);
            match moved {
                Ok(moved) => {
                    report.try_set(Some((moved, asked_ms)));
                    desk.live.read_timeline();
                }
                Err(error) => {
                    problem.try_set(Some(explain(&error)));
                }
            }
            desk.live.refresh();
        });
    };
    let dismiss = Callback::new(move |()| desk.moving.set(None));
    let row = StoredValue::new(row);
    move || {
        if let Some((report, asked_ms)) = report.get() {
            return view! { <Done desk report asked_ms dismiss /> }.into_any();
        }
        if row.with_value(|row| targets(row).next().is_none()) {
            return view! { <Empty symbol=Symbol::Nodes title=t.ha.no_other_node /> }.into_any();
        }
        let none = Signal::derive(move || to.with(Option::is_none));
        view! {
            <form class="stack" on:submit=submit>
                <fieldset class="targets">
                    <legend>{t.ha.choose_node}</legend>
                    {row.with_value(|row| targets(row).map(|cell| target(cell, row, to)).collect_view())}
                </fieldset>
                <Then desk row to />
                {move || {
                    problem.get().map(|problem| view! { <Failure title=t.ha.not_moved problem /> })
                }}
                <div class="dialog-foot">
                    <Button text=t.cancel press=dismiss />
                    <Button
                        look=Look::Primary
                        symbol=Symbol::Move
                        submit=true
                        busy
                        disabled=none
                        text=t.ha.move_now
                    />
                </div>
            </form>
        }
        .into_any()
    }
}

/// Every node that is meant to own the group and does not.
fn targets(row: &GroupRow) -> impl Iterator<Item = &Cell> {
    row.cells.iter().filter(|c| !matches!(c.standing, Standing::Active | Standing::NotMeant))
}

/// Whether a group may be moved to it. A node in maintenance takes one by itself, where nobody else
/// can; nobody sends one there.
fn is_fit(cell: &Cell) -> bool {
    cell.is_able() && !cell.held_back
}

fn target(cell: &Cell, row: &GroupRow, to: RwSignal<Option<String>>) -> AnyView {
    let t = texts();
    let node = cell.node.clone();
    let chosen = {
        let node = node.clone();
        move || to.with(|to| to.as_ref() == Some(&node))
    };
    let choose = {
        let node = node.clone();
        move |_| to.set(Some(node.clone()))
    };
    let is_fit = is_fit(cell);
    let is_next = is_fit && row.next.as_ref() == Some(&node);
    let priority = cell.status.as_ref().filter(|status| status.priority > 0);
    let priority = priority.map(|status| (t.ha.priority)(status.priority));
    let hindrances = cell.hindrances.iter().map(|text| {
        view! {
            <span class="reason">
                <Foreign text=format::sentence(text) />
            </span>
        }
    });
    let silent = (cell.standing == Standing::Silent).then_some(t.not_answering);
    let out = (cell.standing == Standing::Out).then_some(t.ha.out);
    let held_back = (cell.held_back && cell.is_able()).then_some(t.ha.maintenance);
    view! {
        <label class="target" class:unable=!is_fit>
            <input
                type="radio"
                name="target"
                value=node.clone()
                prop:checked=chosen
                disabled=!is_fit
                on:change=choose
            />
            <span class="target-text">
                <span class="line-head">
                    <strong>{node}</strong>
                    {is_next.then(|| view! { <Badge tone=Tone::Accent text=t.ha.next /> })}
                    {(cell.is_degraded() && !cell.held_back)
                        .then(|| {
                            view! {
                                <Badge tone=Tone::Warning symbol=Symbol::Partial text=t.ha.degraded />
                            }
                        })}
                    {silent
                        .or(out)
                        .map(|text| view! { <Badge tone=Tone::Bad symbol=Symbol::Down text /> })}
                    {held_back
                        .map(|text| {
                            view! { <Badge tone=Tone::Warning symbol=Symbol::Disabled text /> }
                        })}
                    <span class="quiet small">{priority}</span>
                </span>
                {hindrances.collect_view()}
            </span>
        </label>
    }
    .into_any()
}

/// What each node would carry.
#[component]
fn Then(desk: Desk, row: StoredValue<GroupRow>, to: RwSignal<Option<String>>) -> impl IntoView {
    let answer = Answer::new(desk.session);
    answer.ask(Vec::new());
    let adapt = Callback::new(move |now: Preview| {
        let to = to.get().unwrap_or_default();
        row.with_value(|row| {
            let connections = desk.connections(&row.spec);
            ha::moved(&now, row, connections, &to)
        })
    });
    view! { <PreviewPane answer adapt /> }
}

/// What was done; the new owner's steps follow as soon as it has told them.
#[component]
fn Done(desk: Desk, report: FailoverReport, asked_ms: u64, dismiss: Callback<()>) -> impl IntoView {
    let t = texts();
    let moved = report.moves.first().cloned().unwrap_or_default();
    let steps = move || {
        desk.live.timeline.with(|timeline| {
            let taken = timeline.items.iter().find(|item| {
                item.group == moved.group
                    && item.node == moved.to
                    && item.to == GroupState::Active
                    && item.at_ms + CLOCK_SLACK_MS > asked_ms
            });
            taken.map(|item| view! { <Steps item=item.clone() /> })
        })
    };
    view! {
        <div class="stack">
            <Moves report />
            {steps}
            <div class="dialog-foot">
                <Button look=Look::Primary text=t.close press=dismiss />
            </div>
        </div>
    }
}
