//! High availability: who owns which traffic group, who would take over, what became of them; and
//! everything that an operator does about it.

mod actions;
mod group_form;
mod groups;
mod move_group;
mod nodes;
mod preview;
mod timeline;
mod what_if;

use ballast_model::Role;
use leptos::prelude::*;

use super::name_page;
use crate::components::{Button, Empty, Failure, Icon, Loading, Look, Symbol};
use crate::form::traffic_group::TrafficGroupForm;
use crate::ha::{self, Concern, GroupRow, NodeRow};
use crate::i18n::texts;
use crate::live::Live;
use crate::session::Session;

use actions::{ActionDialog, NodeAction};
use group_form::{DeleteDialog, GroupFormDialog};
use groups::Groups;
use move_group::MoveDialog;
use nodes::NodeCards;
use timeline::TimelineCard;
use what_if::WhatIfCard;

pub(crate) use groups::GroupLines;

/// Whether a group has no owner, or more than one.
pub(crate) fn grave_concern(live: Live) -> Memo<bool> {
    let groups = groups_of(live);
    Memo::new(move |_| {
        groups.with(|rows| rows.iter().any(|row| row.concerns().iter().any(Concern::is_grave)))
    })
}

/// What the page shows, and what an operator is about to do.
#[derive(Clone, Copy)]
struct Desk {
    session: Session,
    live: Live,
    groups: Memo<Vec<GroupRow>>,
    nodes: Memo<Vec<NodeRow>>,
    /// The group that is about to be moved.
    moving: RwSignal<Option<String>>,
    /// What is about to be done to a node.
    asking: RwSignal<Option<(String, NodeAction)>>,
    form: RwSignal<Option<TrafficGroupForm>>,
    deleting: RwSignal<Option<String>>,
}

impl Desk {
    fn new() -> Self {
        let live = Live::here();
        Self {
            session: Session::here(),
            live,
            groups: groups_of(live),
            nodes: Memo::new(move |_| {
                live.declared.with(|declared| {
                    let Some(declared) = declared else { return Vec::new() };
                    let (groups, nodes) = (&declared.traffic_groups, &declared.nodes);
                    live.status.with(|status| ha::nodes(groups, nodes, status.as_ref()))
                })
            }),
            moving: RwSignal::new(None),
            asking: RwSignal::new(None),
            form: RwSignal::new(None),
            deleting: RwSignal::new(None),
        }
    }

    /// The form of a group that is not there yet.
    fn new_form(self) -> TrafficGroupForm {
        self.live.declared.with_untracked(|declared| {
            let groups = declared.as_ref().map(|declared| declared.traffic_groups.as_slice());
            TrafficGroupForm::new(groups.unwrap_or_default())
        })
    }

    /// Client connections on the addresses of a group.
    fn connections(self, spec: &ballast_model::TrafficGroupSpec) -> u64 {
        self.live.declared.with(|declared| {
            let servers = declared.as_ref().map(|d| d.virtual_servers.as_slice());
            self.live
                .status
                .with(|s| ha::connections(spec, servers.unwrap_or_default(), s.as_ref()))
        })
    }
}

/// Every group over all traffic nodes.
fn groups_of(live: Live) -> Memo<Vec<GroupRow>> {
    Memo::new(move |_| {
        live.declared.with(|declared| {
            let Some(declared) = declared else { return Vec::new() };
            let (groups, nodes) = (&declared.traffic_groups, &declared.nodes);
            live.status.with(|status| ha::groups(groups, nodes, status.as_ref()))
        })
    })
}

/// The page.
#[component]
pub(crate) fn HighAvailability() -> impl IntoView {
    let t = texts();
    name_page(t.ha.title);
    let desk = Desk::new();
    let live = desk.live;
    let loaded = Memo::new(move |_| {
        live.declared.with(Option::is_some) && live.status.with(Option::is_some)
    });
    let new_group = move || {
        // The form proposes what no group has: first it must be known what groups have.
        (loaded.get() && desk.session.may(Role::Editor)).then(|| {
            view! {
                <Button
                    look=Look::Primary
                    symbol=Symbol::Add
                    text=t.ha.new_group
                    press=move || desk.form.set(Some(desk.new_form()))
                />
            }
        })
    };
    view! {
        <header class="page-head">
            <h1>{t.ha.title}</h1>
            {new_group}
        </header>
        {move || {
            if loaded.get() {
                return view! { <Loaded desk /> }.into_any();
            }
            match live.problem.get() {
                Some(problem) => view! { <Failure title=t.not_reached problem /> }.into_any(),
                None => view! { <Loading /> }.into_any(),
            }
        }}
        <MoveDialog desk />
        <ActionDialog desk />
        <GroupFormDialog form=desk.form />
        <DeleteDialog desk />
    }
}

#[component]
fn Loaded(desk: Desk) -> impl IntoView {
    let t = texts();
    let is_empty = Memo::new(move |_| desk.groups.with(Vec::is_empty));
    let groups = move || {
        if is_empty.get() {
            return view! {
                <section class="card">
                    <Empty
                        symbol=Symbol::HighAvailability
                        title=t.ha.no_groups
                        hint=t.ha.no_groups_hint
                    />
                </section>
            }
            .into_any();
        }
        view! {
            <Verdict desk />
            <section class="card" aria-labelledby="groups-head">
                <div class="card-head">
                    <h2 id="groups-head">{t.ha.groups}</h2>
                </div>
                <Groups desk />
            </section>
        }
        .into_any()
    };
    view! {
        {groups}
        <section class="card" aria-labelledby="ha-nodes-head">
            <div class="card-head">
                <h2 id="ha-nodes-head">{t.ha.nodes}</h2>
            </div>
            <NodeCards desk />
        </section>
        <Show when=move || !is_empty.get()>
            <WhatIfCard desk />
        </Show>
        <TimelineCard desk />
    }
}

/// Whether every group is where it should be and can move; if not, everything that is wrong.
#[component]
fn Verdict(desk: Desk) -> impl IntoView {
    let t = texts();
    let concerns = Memo::new(move |_| {
        let all = desk
            .groups
            .with(|groups| groups.iter().flat_map(GroupRow::concerns).collect::<Vec<Concern>>());
        let (mut grave, others): (Vec<_>, Vec<_>) = all.into_iter().partition(Concern::is_grave);
        grave.extend(others);
        grave
    });
    move || {
        concerns.with(|concerns| {
            let (class, symbol, title) = match concerns.first() {
                None => ("verdict good", Symbol::Up, t.ha.all_well.to_owned()),
                Some(first) => {
                    let class = if first.is_grave() { "verdict bad" } else { "verdict warning" };
                    (class, Symbol::Warning, (t.problem_count)(concerns.len()))
                }
            };
            let list = concerns.iter().map(|c| view! { <li>{(t.ha.concern)(c)}</li> });
            view! {
                <section class=class aria-label=t.ha.title>
                    <Icon symbol />
                    <div>
                        <p class="verdict-title">{title}</p>
                        <ul class="problems">{list.collect_view()}</ul>
                    </div>
                </section>
            }
        })
    }
}
