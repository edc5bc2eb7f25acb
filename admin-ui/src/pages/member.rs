//! A member's row, and what an operator can do to it.
//!
//! Nothing is shown before it is so: an action shows as pending until the cluster says that every
//! node carries it out.

use std::collections::BTreeMap;

use ballast_client::{MemberAction, WriteOptions};
use ballast_model::status::Health;
use ballast_model::{AdminState, Role};
use leptos::ev::SubmitEvent;
use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::components::{
    Button, ConditionBadge, Dialog, Foreign, HealthBadge, Look, SelectField, Symbol, Toasts,
};
use crate::format;
use crate::i18n::texts;
use crate::live::Live;
use crate::rates::Subject;
use crate::session::{Session, explain};
use crate::summary::{MemberRow, Seen};

/// What can be done to the members of a pool, and what is under way.
#[derive(Clone, Copy)]
pub(crate) struct Actions {
    pool: StoredValue<String>,
    pending: RwSignal<BTreeMap<String, MemberAction>>,
    /// The member that is about to be drained.
    draining: RwSignal<Option<String>>,
    /// The member that is about to be forced offline.
    forcing: RwSignal<Option<String>>,
    session: Session,
    live: Live,
    toasts: Toasts,
}

impl Actions {
    /// Actions on the members of `pool`.
    pub(crate) fn new(pool: String) -> Self {
        Self {
            pool: StoredValue::new(pool),
            pending: RwSignal::new(BTreeMap::new()),
            draining: RwSignal::new(None),
            forcing: RwSignal::new(None),
            session: Session::here(),
            live: Live::here(),
            toasts: Toasts::here(),
        }
    }

    fn run(self, member: String, action: MemberAction) {
        let t = texts();
        let pool = self.pool.get_value();
        self.pending.update(|pending| {
            pending.insert(member.clone(), action);
        });
        spawn_local(async move {
            let options = WriteOptions::new().wait_applied();
            let client = self.session.client();
            match client.member_action(&pool, &member, action, &options).await {
                Ok(written) if written.not_applied.is_empty() => {
                    self.toasts.good((t.member_changed)(&member, done_text(action)));
                }
                Ok(written) => {
                    self.toasts.good((t.member_changing)(&member, &written.not_applied.join(", ")));
                }
                Err(error) => self.toasts.bad((t.member_unchanged)(&member), &explain(&error)),
            }
            self.pending.try_update(|pending| pending.remove(&member));
            self.live.refresh();
        });
    }
}

/// One member.
#[component]
pub(crate) fn Member(
    name: String,
    row: Memo<Option<MemberRow>>,
    actions: Actions,
) -> impl IntoView {
    let pool = actions.pool.get_value();
    let subject = StoredValue::new(Subject::Member { pool, member: name.clone() });
    let rates =
        move || actions.live.meter.with(|m| m.rates(&subject.read_value()).unwrap_or_default());
    let of = move |value: fn(&MemberRow) -> u64| row.with(|row| row.as_ref().map_or(0, value));
    let address = row.with_untracked(|r| r.as_ref().map(|r| r.spec.socket_address().to_string()));
    let address = address.filter(|address| *address != name);
    let is_resolved = row.with_untracked(|row| row.as_ref().is_some_and(|row| row.is_resolved));
    let weight = move || row.with(|row| row.as_ref().map(|row| row.spec.weight));
    let seen = move || {
        let now_ms = actions.live.now_ms.get();
        row.with(|row| {
            let seen = row.iter().flat_map(|row| &row.seen);
            seen.map(|seen| seen_by(seen, now_ms)).collect_view()
        })
    };
    let shown_name = name.clone();
    view! {
        <tr>
            <th scope="row">
                <div class="row-name">{shown_name}</div>
                {address.map(|address| view! { <code class="quiet small">{address}</code> })}
            </th>
            <td class="state">
                <State name=name.clone() row actions />
            </td>
            <td class="wide">
                <ul class="seen">{seen}</ul>
            </td>
            <td class="number">{weight}</td>
            <td class="number">{move || format::count(of(MemberRow::in_flight))}</td>
            <td class="number">
                <div>{move || format!("{} /s", format::rate(rates().requests))}</div>
                <div class="quiet small">{move || format::count(of(MemberRow::requests_total))}</div>
            </td>
            <td class="number" class:bad=move || { of(MemberRow::failures_total) > 0 }>
                {move || format::count(of(MemberRow::failures_total))}
            </td>
            <td class="actions">
                <Show when=move || actions.session.may(Role::Operator) && !is_resolved>
                    <ActionButtons name=name.clone() row actions />
                </Show>
            </td>
        </tr>
    }
}

/// What the operator wants of it, and whether that is so yet.
#[component]
fn State(name: String, row: Memo<Option<MemberRow>>, actions: Actions) -> impl IntoView {
    let t = texts();
    let pending = move || actions.pending.with(|pending| pending.get(&name).copied());
    let note = move || {
        if let Some(action) = pending() {
            return Some(doing_text(action).to_owned());
        }
        row.with(|row| {
            let row = row.as_ref()?;
            if !row.lagging.is_empty() {
                return Some((t.not_yet_on)(&row.lagging.join(", ")));
            }
            let until_ms = row.spec.drain_until_ms?;
            let left_ms = until_ms.saturating_sub(actions.live.now_ms.get());
            Some(match left_ms {
                0 => t.drain_over.to_owned(),
                left_ms => (t.drain_left)(&format::span(t, left_ms)),
            })
        })
    };
    view! {
        {move || {
            row.with(|row| row.as_ref().map(|row| view! { <ConditionBadge condition=row.condition /> }))
        }}
        {move || note().map(|note| view! { <p class="pending small">{note}</p> })}
    }
}

#[component]
fn ActionButtons(name: String, row: Memo<Option<MemberRow>>, actions: Actions) -> impl IntoView {
    let t = texts();
    let state = Memo::new(move |_| row.with(|row| row.as_ref().map(|row| row.spec.admin_state)));
    let member = StoredValue::new(name);
    let busy = Signal::derive(move || {
        actions.pending.with(|pending| pending.contains_key(&member.get_value()))
    });
    let button = move |text: &'static str, press: Callback<()>| {
        let label = format!("{text} {}", member.get_value());
        view! { <Button text label press disabled=busy /> }
    };
    let run = move |action| Callback::new(move |()| actions.run(member.get_value(), action));
    let enable = move || button(t.enable, run(MemberAction::Enable));
    let disable = move || button(t.disable, run(MemberAction::Disable));
    let drain = move || {
        let press = move |()| actions.draining.set(Some(member.get_value()));
        button(t.drain, Callback::new(press))
    };
    let offline = move || {
        let press = move |()| actions.forcing.set(Some(member.get_value()));
        button(t.force_offline, Callback::new(press))
    };
    let is = move |wanted: &'static [AdminState]| {
        move || state.get().is_some_and(|state| wanted.contains(&state))
    };
    use AdminState::{Disabled, Draining, Enabled, ForcedOffline};
    view! {
        <div class="button-row">
            <Show when=is(&[Disabled, Draining, ForcedOffline])>{enable()}</Show>
            <Show when=is(&[Enabled, Draining, ForcedOffline])>{disable()}</Show>
            <Show when=is(&[Enabled, Disabled])>{drain()}</Show>
            <Show when=is(&[Enabled, Disabled, Draining])>{offline()}</Show>
        </div>
    }
}

/// What one node says of a member.
fn seen_by(seen: &Seen, now_ms: u64) -> AnyView {
    let t = texts();
    let status = &seen.status;
    let since = (t.since)(&format::span(t, now_ms.saturating_sub(status.since_ms)));
    let probe = status.last_probe_us.map(|us| (t.last_probe)(&format::duration(us)));
    let facts: Vec<_> = std::iter::once(since).chain(probe).collect();
    let reason = (!status.reason.is_empty()).then(|| {
        let class = if status.health == Health::Down { "reason" } else { "quiet small" };
        let text = status.reason.clone();
        view! {
            <p class=class>
                <Foreign text />
            </p>
        }
    });
    view! {
        <li>
            <div class="line-head">
                <HealthBadge health=status.health />
                <span class="seen-node">{seen.node.clone()}</span>
                <span class="quiet small">{facts.join(" · ")}</span>
            </div>
            {reason}
        </li>
    }
    .into_any()
}

/// Asks when a draining member's last sessions are to be cut.
#[component]
pub(crate) fn DrainDialog(actions: Actions) -> impl IntoView {
    let t = texts();
    let dismiss = Callback::new(move |()| actions.draining.set(None));
    let member = move || actions.draining.get().unwrap_or_default();
    let title = Signal::derive(move || (t.drain_title)(&member()));
    let content = move || {
        let deadline = RwSignal::new(Some(300_u64));
        let submit = move |event: SubmitEvent| {
            event.prevent_default();
            let deadline_s = deadline.get_untracked();
            if let Some(member) = actions.draining.get_untracked() {
                actions.draining.set(None);
                actions.run(member, MemberAction::Drain { deadline_s });
            }
        };
        let choices = vec![
            (Some(30), t.after_30_s),
            (Some(60), t.after_1_min),
            (Some(300), t.after_5_min),
            (Some(900), t.after_15_min),
            (Some(3_600), t.after_1_h),
            (None, t.never),
        ];
        view! {
            <form class="stack" on:submit=submit>
                <p>{t.drain_hint}</p>
                <SelectField label=t.drain_deadline value=deadline choices />
                <div class="dialog-foot">
                    <Button text=t.cancel press=dismiss />
                    <Button look=Look::Primary symbol=Symbol::Draining submit=true text=t.drain_now />
                </div>
            </form>
        }
    };
    view! {
        <Dialog title open=Signal::derive(move || actions.draining.get().is_some()) dismiss>
            {content()}
        </Dialog>
    }
}

/// Asks whether connections may be cut.
#[component]
pub(crate) fn OfflineDialog(actions: Actions) -> impl IntoView {
    let t = texts();
    let dismiss = Callback::new(move |()| actions.forcing.set(None));
    let member = move || actions.forcing.get().unwrap_or_default();
    let title = Signal::derive(move || (t.offline_title)(&member()));
    let confirm = Callback::new(move |()| {
        if let Some(member) = actions.forcing.get_untracked() {
            actions.forcing.set(None);
            actions.run(member, MemberAction::ForceOffline);
        }
    });
    view! {
        <Dialog title open=Signal::derive(move || actions.forcing.get().is_some()) dismiss>
            <div class="stack">
                <p>{t.offline_hint}</p>
                <div class="dialog-foot">
                    <Button text=t.cancel press=dismiss />
                    <Button look=Look::Danger symbol=Symbol::Offline text=t.force_offline press=confirm />
                </div>
            </div>
        </Dialog>
    }
}

fn doing_text(action: MemberAction) -> &'static str {
    let t = texts();
    match action {
        MemberAction::Disable => t.disabling,
        MemberAction::Drain { .. } => t.starting_drain,
        MemberAction::Enable => t.enabling,
        MemberAction::ForceOffline => t.forcing_offline,
    }
}

fn done_text(action: MemberAction) -> &'static str {
    let t = texts();
    match action {
        MemberAction::Disable => t.disabled,
        MemberAction::Drain { .. } => t.draining,
        MemberAction::Enable => t.enabled,
        MemberAction::ForceOffline => t.forced_offline,
    }
}
