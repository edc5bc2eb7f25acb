//! What an operator does to a node: shown what would happen first, then done, then told what
//! happened.

use ballast_client::WriteOptions;
use ballast_model::ha::{FailoverReport, MoveReport, Preview};
use ballast_model::{Availability, Problem};
use leptos::prelude::*;
use leptos::task::spawn_local;

use super::Desk;
use super::nodes::availability_text;
use super::preview::{Answer, PreviewPane};
use crate::components::{Button, Dialog, Failure, Foreign, Icon, Look, Symbol, Toasts};
use crate::format;
use crate::ha;
use crate::i18n::texts;
use crate::session::explain;

/// What is done to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeAction {
    /// Its groups are moved away, once.
    Standby,
    /// It may own groups, or may not, from now on.
    Set(Availability),
}

impl NodeAction {
    /// What its button says.
    pub(super) fn text(self) -> &'static str {
        let t = texts();
        match self {
            Self::Standby => t.ha.standby,
            Self::Set(Availability::Available) => t.ha.make_available,
            Self::Set(Availability::Maintenance) => t.ha.maintain,
            Self::Set(Availability::Offline) => t.ha.make_offline,
        }
    }

    fn hint(self) -> &'static str {
        let t = texts();
        match self {
            Self::Standby => t.ha.standby_hint,
            Self::Set(Availability::Available) => t.ha.make_available_hint,
            Self::Set(Availability::Maintenance) => t.ha.maintain_hint,
            Self::Set(Availability::Offline) => t.ha.make_offline_hint,
        }
    }

    fn look(self) -> Look {
        match self {
            Self::Set(Availability::Offline) => Look::Danger,
            _ => Look::Primary,
        }
    }

    /// Whether groups leave the node.
    fn empties(self) -> bool {
        self != Self::Set(Availability::Available)
    }
}

/// Asks whether it is to be done; there while something is about to be.
#[component]
pub(super) fn ActionDialog(desk: Desk) -> impl IntoView {
    let t = texts();
    let dismiss = Callback::new(move |()| desk.asking.set(None));
    let title = Signal::derive(move || {
        let asking = desk.asking.get();
        asking.map(|(node, action)| (t.ha.action_title)(&node, action.text())).unwrap_or_default()
    });
    let open = Memo::new(move |_| desk.asking.with(Option::is_some));
    let content =
        move || desk.asking.get().map(|(node, action)| view! { <Asking desk node action /> });
    view! {
        <Dialog title open dismiss wide=true>
            {content}
        </Dialog>
    }
}

#[component]
fn Asking(desk: Desk, node: String, action: NodeAction) -> impl IntoView {
    let t = texts();
    let node = StoredValue::new(node);
    let busy = RwSignal::new(false);
    let problem = RwSignal::new(None::<Problem>);
    let report = RwSignal::new(None::<FailoverReport>);
    let toasts = Toasts::here();
    let confirm = Callback::new(move |()| {
        busy.set(true);
        problem.set(None);
        spawn_local(async move {
            let done = carry_out(desk, &node.get_value(), action).await;
            busy.try_set(false);
            match done {
                Ok(Some(moved)) => {
                    report.try_set(Some(moved));
                }
                Ok(None) => {
                    let NodeAction::Set(availability) = action else { return };
                    let state = availability_text(availability);
                    toasts.good((t.ha.action_done)(&node.get_value(), state));
                    desk.asking.try_set(None);
                }
                Err(found) => {
                    problem.try_set(Some(found));
                }
            }
            desk.live.refresh();
        });
    });
    let dismiss = Callback::new(move |()| desk.asking.set(None));
    let title = move || (t.ha.node_failed)(&node.read_value());
    move || {
        if let Some(report) = report.get() {
            return view! {
                <div class="stack">
                    <Moves report />
                    <div class="dialog-foot">
                        <Button look=Look::Primary text=t.close press=dismiss />
                    </div>
                </div>
            }
            .into_any();
        }
        view! {
            <div class="stack">
                <p>{action.hint()}</p>
                {action
                    .empties()
                    .then(|| view! { <Emptied desk node=node.get_value() action /> })}
                {move || problem.get().map(|problem| view! { <Failure title=title() problem /> })}
                <div class="dialog-foot">
                    <Button text=t.cancel press=dismiss />
                    <Button
                        look=action.look()
                        text=action.text().trim_end_matches('…').to_owned()
                        busy
                        press=confirm
                    />
                </div>
            </div>
        }
        .into_any()
    }
}

/// Does it; answers what was moved where groups were moved by the call itself.
async fn carry_out(
    desk: Desk,
    node: &str,
    action: NodeAction,
) -> Result<Option<FailoverReport>, Problem> {
    let client = desk.session.client();
    match action {
        NodeAction::Standby => client.standby(node).await.map(Some),
        NodeAction::Set(availability) => {
            let options = WriteOptions::new().wait_applied();
            client.set_availability(node, availability, &options).await.map(|_| None)
        }
    }
    .map_err(|error| explain(&error))
}

/// Who takes the groups of a node that is emptied.
#[component]
fn Emptied(desk: Desk, node: String, action: NodeAction) -> impl IntoView {
    let answer = Answer::new(desk.session);
    answer.ask(vec![node.clone()]);
    let adapt = move |preview: Preview| {
        if action == NodeAction::Set(Availability::Offline) {
            return preview;
        }
        desk.groups.with(|groups| ha::left(&preview, &node, groups, |spec| desk.connections(spec)))
    };
    view! { <PreviewPane answer adapt /> }
}

/// What was moved, and what was not.
#[component]
pub(super) fn Moves(report: FailoverReport) -> impl IntoView {
    let t = texts();
    if report.moves.is_empty() {
        return view! { <p>{t.ha.nothing_moves}</p> }.into_any();
    }
    let lines = report.moves.iter().map(line);
    view! {
        <div role="status">
            <ul class="moves done">{lines.collect_view()}</ul>
        </div>
    }
    .into_any()
}

fn line(moved: &MoveReport) -> AnyView {
    let t = texts();
    let group = &moved.group;
    if let Some(error) = &moved.error {
        let from = moved.from.as_deref().unwrap_or(t.ha.nobody);
        return view! {
            <li class="bad">
                <Icon symbol=Symbol::Warning />
                <strong>{group.clone()}</strong>
                <span>{(t.ha.stays_on)(from)}</span>
                <p class="reason">
                    <Foreign text=error.clone() />
                </p>
            </li>
        }
        .into_any();
    }
    let to = &moved.to;
    let ms = |ms: u64| format::duration(ms * 1_000);
    let (title, note) = match &moved.from {
        Some(from) if from == to => ((t.ha.has_it_already)(group, to), None),
        Some(from) => {
            let path = (t.ha.took_from)(from, to);
            let note = (moved.quiesced_ms > 0).then(|| (t.ha.quiesced)(&ms(moved.quiesced_ms)));
            ((t.ha.moved_in)(group, &path, &ms(moved.moved_ms)), note)
        }
        None => ((t.ha.moved_in)(group, to, &ms(moved.moved_ms)), None),
    };
    view! {
        <li class="good">
            <Icon symbol=Symbol::Up />
            <strong>{title}</strong>
            <span class="quiet small">{note}</span>
        </li>
    }
    .into_any()
}
