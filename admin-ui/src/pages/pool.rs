//! One pool: its members as they are now, and everything an operator does to them.

use ballast_client::WriteOptions;
use ballast_model::{Kind, PoolSpec, Problem, Resource, Role};
use leptos::prelude::*;
use leptos::task::spawn_local;
use leptos_router::components::A;
use leptos_router::hooks::{use_navigate, use_params_map};

use super::{algorithm_text, name_page};
use crate::components::{
    Button, Dialog, Empty, Failure, HealthBar, Icon, Loading, Look, Symbol, Table, Toasts,
};
use crate::form::PoolForm;
use crate::i18n::texts;
use crate::live::Live;
use crate::pages::member::{Actions, DrainDialog, Member, OfflineDialog};
use crate::pages::pool_form::PoolFormDialog;
use crate::session::{Session, explain};
use crate::summary::{self, MemberRow};

/// The page.
#[component]
pub(crate) fn Pool() -> impl IntoView {
    let params = use_params_map();
    let name = Memo::new(move |_| params.with(|params| params.get("name").unwrap_or_default()));
    move || view! { <Named name=name.get() /> }
}

#[component]
fn Named(name: String) -> impl IntoView {
    let t = texts();
    name_page(&name);
    let live = Live::here();
    let wanted = StoredValue::new(name.clone());
    let pool = Memo::new(move |_| {
        live.declared.with(|declared| {
            let mut pools = declared.iter().flat_map(|declared| &declared.pools);
            pools.find(|pool| pool.name == *wanted.read_value()).cloned()
        })
    });
    let loaded = Memo::new(move |_| live.declared.with(Option::is_some));
    let there = Memo::new(move |_| pool.with(Option::is_some));
    view! {
        <p class="back">
            <A href="/pools">
                <Icon symbol=Symbol::Back />
                {t.pools}
            </A>
        </p>
        {move || match (loaded.get(), there.get()) {
            (false, _) => view! { <Loading /> }.into_any(),
            (true, false) => {
                view! {
                    <h1>{name.clone()}</h1>
                    <Empty symbol=Symbol::Pools title=t.pool_not_found />
                }
                    .into_any()
            }
            (true, true) => view! { <Found name=name.clone() pool /> }.into_any(),
        }}
    }
}

#[component]
fn Found(name: String, pool: Memo<Option<Resource<PoolSpec>>>) -> impl IntoView {
    let t = texts();
    let live = Live::here();
    let session = Session::here();
    let form = RwSignal::new(None::<PoolForm>);
    let deleting = RwSignal::new(false);
    let actions = Actions::new(name.clone());
    let rows = Memo::new(move |_| {
        pool.with(|pool| {
            let pool = pool.as_ref();
            pool.map(|pool| {
                live.status.with(|s| summary::members(&pool.name, &pool.spec, s.as_ref()))
            })
            .unwrap_or_default()
        })
    });
    let edit = move || form.set(pool.with(|pool| pool.as_ref().map(PoolForm::edit)));
    let description = move || pool.with(|p| p.as_ref().map(|p| p.description.clone()));
    view! {
        <header class="page-head">
            <div>
                <h1>{name.clone()}</h1>
                <p class="quiet">{description}</p>
            </div>
            <Show when=move || session.may(Role::Editor)>
                <div class="button-row">
                    <Button symbol=Symbol::Edit text=t.edit press=edit />
                    <Button
                        symbol=Symbol::Remove
                        text=t.delete
                        press=move || deleting.set(true)
                    />
                </div>
            </Show>
        </header>
        <section class="card" aria-label=t.summary>
            {move || view! { <HealthBar counts=summary::counts(&rows.read()) /> }}
            {move || pool.with(|pool| pool.as_ref().map(|pool| facts(live, pool)))}
        </section>
        <section class="card" aria-labelledby="members-head">
            <div class="card-head">
                <h2 id="members-head">{t.members}</h2>
            </div>
            <Members rows actions />
        </section>
        <DrainDialog actions />
        <OfflineDialog actions />
        <PoolFormDialog form />
        <DeleteDialog name open=deleting />
    }
}

#[component]
fn Members(rows: Memo<Vec<MemberRow>>, actions: Actions) -> impl IntoView {
    let t = texts();
    let names = Memo::new(move |_| {
        rows.with(|rows| rows.iter().map(|row| row.name.clone()).collect::<Vec<_>>())
    });
    let is_empty = Memo::new(move |_| names.with(Vec::is_empty));
    let heads = vec![
        (t.member, ""),
        (t.state, ""),
        (t.health_by_node, "wide"),
        (t.weight, "number"),
        (t.in_flight, "number"),
        (t.requests, "number"),
        (t.failures, "number"),
        ("", "actions"),
    ];
    let member = move |name: String| {
        let wanted = name.clone();
        let row = Memo::new(move |_| {
            rows.with(|rows| rows.iter().find(|row| row.name == wanted).cloned())
        });
        view! { <Member name row actions /> }
    };
    move || {
        if is_empty.get() {
            return view! { <Empty symbol=Symbol::Pools title=t.no_members hint=t.no_members_hint /> }
                .into_any();
        }
        view! {
            <Table caption=t.members heads=heads.clone()>
                <For each=move || names.get() key=String::clone children=member />
            </Table>
        }
        .into_any()
    }
}

/// What is declared of a pool besides its members.
fn facts(live: Live, pool: &Resource<PoolSpec>) -> AnyView {
    let t = texts();
    let users = live.declared.with(|declared| {
        let servers = declared.iter().flat_map(|declared| &declared.virtual_servers);
        let names = servers
            .filter(|server| summary::uses(&server.spec, &pool.name))
            .map(|s| s.name.clone());
        names.collect::<Vec<_>>().join(", ")
    });
    let or_none = |text: String| if text.is_empty() { t.none.to_owned() } else { text };
    let when_all_down = if pool.spec.fail_open { t.fail_open } else { t.fail_closed };
    let pairs = [
        (t.algorithm, algorithm_text(pool.spec.algorithm).to_owned()),
        (t.monitors, or_none(pool.spec.monitors.join(", "))),
        (t.used_by, or_none(users)),
        (t.when_all_down, when_all_down.to_owned()),
        (t.revision, crate::format::count(pool.revision)),
    ];
    let names = live.status.with(|s| summary::host_names(&pool.name, &pool.spec, s.as_ref()));
    let names = names.into_iter().map(|name| {
        let addresses: Vec<_> = name.addresses.into_iter().collect();
        let faults = name.faults.into_iter();
        let faults: Vec<_> = faults.map(|(node, why)| (t.unresolved_on)(&node, &why)).collect();
        let addresses = or_none(addresses.join(", "));
        (t.host_name, [vec![format!("{}: {addresses}", name.host)], faults].concat().join("; "))
    });
    let pairs = pairs.into_iter().chain(names).map(|(name, value)| {
        view! {
            <div>
                <dt>{name}</dt>
                <dd>{value}</dd>
            </div>
        }
    });
    view! { <dl class="facts-list">{pairs.collect_view()}</dl> }.into_any()
}

#[component]
fn DeleteDialog(name: String, open: RwSignal<bool>) -> impl IntoView {
    let t = texts();
    let (session, live, toasts) = (Session::here(), Live::here(), Toasts::here());
    let navigate = StoredValue::new_local(use_navigate());
    let name = StoredValue::new(name);
    let busy = RwSignal::new(false);
    let problem = RwSignal::new(None::<Problem>);
    let dismiss = Callback::new(move |()| {
        open.set(false);
        problem.set(None);
    });
    let confirm = Callback::new(move |()| {
        busy.set(true);
        problem.set(None);
        spawn_local(async move {
            let name = name.get_value();
            let deleted = session.client().delete(Kind::Pool, &name, &WriteOptions::new()).await;
            busy.try_set(false);
            match deleted {
                Ok(_) => {
                    toasts.good((t.pool_deleted)(&name));
                    open.try_set(false);
                    navigate.with_value(|navigate| navigate("/pools", Default::default()));
                    live.refresh();
                }
                Err(error) => {
                    problem.try_set(Some(explain(&error)));
                }
            }
        });
    });
    let title = Signal::derive(move || (t.delete_title)(&name.read_value()));
    view! {
        <Dialog title open dismiss>
            <div class="stack">
                <p>{t.delete_hint}</p>
                {move || {
                    problem.get().map(|problem| view! { <Failure title=t.not_deleted problem /> })
                }}
                <div class="dialog-foot">
                    <Button text=t.cancel press=dismiss />
                    <Button
                        look=Look::Danger
                        symbol=Symbol::Remove
                        text=t.delete
                        busy
                        press=confirm
                    />
                </div>
            </div>
        </Dialog>
    }
}
