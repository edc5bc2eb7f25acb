//! What became of traffic groups, the newest first, with everything that led to it.

use ballast_model::ha::{GroupState, HaStep, HaTransition};
use leptos::prelude::*;

use super::Desk;
use super::groups::reason;
use crate::components::{Badge, Empty, Failure, Foreign, Icon, Loading, SelectField, Symbol, Tone};
use crate::format;
use crate::ha;
use crate::i18n::texts;
use crate::live;

/// The card.
#[component]
pub(super) fn TimelineCard(desk: Desk) -> impl IntoView {
    let t = texts();
    // Events tell what this node did; what others did shows in the status, and is asked for then.
    let parts = Memo::new(move |_| {
        desk.groups.with(|rows| {
            let cells = rows.iter().flat_map(|row| &row.cells);
            cells.map(|cell| cell.status.as_ref().map(|part| part.state)).collect::<Vec<_>>()
        })
    });
    Effect::new(move |_| {
        // Reading it is what makes it count as used.
        parts.with(|_| ());
        desk.live.read_timeline();
    });
    let filter = RwSignal::new(String::new());
    let names = Memo::new(move |_| {
        desk.groups.with(|rows| rows.iter().map(|row| row.name.clone()).collect::<Vec<_>>())
    });
    let select = move || {
        let all = std::iter::once((String::new(), t.ha.all_groups.to_owned()));
        let choices: Vec<_> = all.chain(names.get().into_iter().map(|n| (n.clone(), n))).collect();
        view! { <SelectField label=t.ha.group value=filter choices bare=true /> }
    };
    view! {
        <section class="card" aria-labelledby="timeline-head">
            <div class="card-head">
                <h2 id="timeline-head">{t.ha.timeline}</h2>
                <div class="filter">{select}</div>
            </div>
            <Transitions desk filter />
        </section>
    }
}

#[component]
fn Transitions(desk: Desk, filter: RwSignal<String>) -> impl IntoView {
    let t = texts();
    let live = desk.live;
    let items = Memo::new(move |_| {
        live.timeline.with(|timeline| {
            let wanted = filter.get();
            let all = timeline.items.iter();
            all.filter(|item| wanted.is_empty() || item.group == wanted)
                .cloned()
                .collect::<Vec<_>>()
        })
    });
    let missing = Memo::new(move |_| live.timeline.with(|timeline| timeline.missing.join(", ")));
    let is_read = Memo::new(move |_| live.timeline.with(|timeline| timeline.is_read));
    let is_empty = Memo::new(move |_| items.with(Vec::is_empty));
    let notice = move || {
        missing.with(|missing| {
            (!missing.is_empty()).then(|| {
                view! {
                    <div class="notice warning">
                        <Icon symbol=Symbol::Warning />
                        <p>{(t.ha.silent_nodes)(missing)}</p>
                    </div>
                }
            })
        })
    };
    let key = |item: &HaTransition| {
        let (at_ms, group, node, to) = ha::key(item);
        (at_ms, group.to_owned(), node.to_owned(), to)
    };
    let item = move |item: HaTransition| view! { <Transition item live /> };
    view! {
        {notice}
        {move || {
            let problem = live.timeline_problem.get();
            problem.map(|problem| view! { <Failure title=t.ha.timeline_failed problem /> })
        }}
        {move || {
            if !is_empty.get() {
                return view! {
                    <ol class="timeline">
                        <For each=move || items.get() key children=item />
                    </ol>
                }
                    .into_any();
            }
            match (is_read.get(), live.timeline_problem.with(Option::is_some)) {
                (true, _) => {
                    view! { <Empty symbol=Symbol::Waiting title=t.ha.nothing_happened /> }.into_any()
                }
                (false, false) => view! { <Loading /> }.into_any(),
                (false, true) => ().into_any(),
            }
        }}
    }
}

#[component]
fn Transition(item: HaTransition, live: live::Live) -> impl IntoView {
    let t = texts();
    let at_ms = item.at_ms;
    let age = move || {
        let age_ms = live.now_ms.get().saturating_sub(at_ms);
        (t.ha.ago)(&format::span(t, age_ms))
    };
    let failed = item.steps.iter().any(|step| step.error.is_some());
    let (tone, symbol) = match item.to {
        _ if failed => (Tone::Bad, Symbol::Warning),
        // Told, not a change: why a group did not move, or has two owners.
        _ if item.from == item.to => (Tone::Neutral, Symbol::Warning),
        GroupState::Active => (Tone::Good, Symbol::Up),
        GroupState::Backup => (Tone::Neutral, Symbol::Waiting),
        GroupState::Initialize => (Tone::Neutral, Symbol::Offline),
    };
    let gap = ha::gap_us(&item)
        .map(|us| format!("{} {}", t.ha.silence.to_lowercase(), format::duration(us)));
    view! {
        <li>
            <p class="when">
                <span class="nowrap">{live::clock(at_ms)}</span>
                <span class="quiet small">{age}</span>
            </p>
            <div>
                <div class="line-head">
                    <strong>{item.group.clone()}</strong>
                    <span>{item.node.clone()}</span>
                    {(item.from != item.to).then(|| view! {
                        <span class="quiet small nowrap">{format!("{} →", state_text(item.from))}</span>
                    })}
                    <Badge tone symbol text=state_text(item.to) />
                    <span class="quiet small">{gap}</span>
                </div>
                <p>{reason(&item.reason, Some(ha::why(&item)))}</p>
                <details>
                    <summary>{t.details}</summary>
                    <Steps item=item.clone() />
                </details>
            </div>
        </li>
    }
}

fn state_text(state: GroupState) -> &'static str {
    let t = texts();
    match state {
        GroupState::Active => t.ha.active,
        GroupState::Backup => t.ha.backup,
        GroupState::Initialize => t.ha.initialize,
    }
}

/// What was known when it was decided, and what was done then.
#[component]
pub(super) fn Steps(item: HaTransition) -> impl IntoView {
    let t = texts();
    let heard = item.heard.as_ref().map(|heard| match item.heard_priority {
        Some(priority) => format!("{heard} ({})", (t.ha.priority)(priority)),
        None => heard.clone(),
    });
    let heard = heard.map(|heard| match item.silence_us.filter(|us| *us > 0) {
        Some(us) => (t.ha.since_heard)(&heard, &format::duration(us)),
        None => heard,
    });
    let took = item.steps.iter().map(|step| step.after_us).max();
    let facts = [
        (t.ha.silence, ha::gap_us(&item).map(format::duration)),
        (t.ha.heard, heard),
        (t.ha.own_priority, (item.priority > 0).then(|| item.priority.to_string())),
        (t.ha.decided_late, (item.late_us > 0).then(|| format::duration(item.late_us))),
    ];
    let facts = facts.into_iter().filter_map(|(name, value)| {
        let value = value?;
        Some(view! {
            <div>
                <dt>{name}</dt>
                <dd>{value}</dd>
            </div>
        })
    });
    let heartbeat = item.heartbeat.clone().map(|text| {
        view! {
            <p class="small">
                <span class="quiet">{t.ha.second_path} ": "</span>
                <Foreign text />
            </p>
        }
    });
    let steps = item.steps.iter().map(step).collect_view();
    view! {
        <div class="steps">
            <p class="small">
                <span class="quiet">{t.ha.in_full} ": "</span>
                <Foreign text=format::sentence(ha::why(&item)) />
            </p>
            {heartbeat}
            <dl class="facts-list">{facts.collect_view()}</dl>
            {took
                .map(|took| {
                    view! {
                        <p class="quiet small">
                            {(t.ha.steps_took)(&format::duration(took))}
                        </p>
                        <ol>{steps}</ol>
                    }
                })}
        </div>
    }
}

fn step(step: &HaStep) -> AnyView {
    let error = step.error.clone().map(|text| {
        view! {
            <span class="reason">
                <Foreign text />
            </span>
        }
    });
    view! {
        <li>
            <span class="offset">{format!("+{}", format::duration(step.after_us))}</span>
            <Foreign text=step.step.clone() />
            {error}
        </li>
    }
    .into_any()
}
