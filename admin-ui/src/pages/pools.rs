//! Pools: how healthy each is, and who uses it.

use ballast_model::{PoolSpec, Resource, Role};
use leptos::prelude::*;
use leptos_router::components::A;

use super::{algorithm_text, name_page};
use crate::components::{Button, Empty, HealthBar, Loading, Look, Symbol, Table};
use crate::form::PoolForm;
use crate::i18n::texts;
use crate::live::{Declared, Live};
use crate::pages::pool_form::PoolFormDialog;
use crate::session::Session;
use crate::summary;

/// The page.
#[component]
pub(crate) fn Pools() -> impl IntoView {
    let t = texts();
    name_page(t.pools);
    let live = Live::here();
    let session = Session::here();
    let form = RwSignal::new(None::<PoolForm>);
    let count = Memo::new(move |_| live.declared.with(|d| d.as_ref().map(|d| d.pools.len())));
    let new_pool = move || {
        session.may(Role::Editor).then(|| {
            view! {
                <Button
                    look=Look::Primary
                    symbol=Symbol::Add
                    text=t.new_pool
                    press=move || form.set(Some(PoolForm::default()))
                />
            }
        })
    };
    view! {
        <header class="page-head">
            <h1>{t.pools}</h1>
            {new_pool}
        </header>
        <section class="card">
            {move || match count.get() {
                None => view! { <Loading /> }.into_any(),
                Some(0) => {
                    view! {
                        <Empty symbol=Symbol::Pools title=t.no_pools hint=t.no_pools_hint />
                    }
                        .into_any()
                }
                Some(_) => view! { <PoolTable /> }.into_any(),
            }}
        </section>
        <PoolFormDialog form />
    }
}

#[component]
fn PoolTable() -> impl IntoView {
    let t = texts();
    let live = Live::here();
    let heads = vec![
        (t.name, ""),
        (t.members, "wide"),
        (t.algorithm, ""),
        (t.monitors, ""),
        (t.used_by, ""),
    ];
    let rows = move || {
        live.declared.with(|declared| {
            let Some(declared) = declared else { return Vec::new() };
            declared.pools.iter().map(|pool| row(live, declared, pool).into_any()).collect()
        })
    };
    view! {
        <Table caption=t.pools heads>
            {rows}
        </Table>
    }
}

fn row(live: Live, declared: &Declared, pool: &Resource<PoolSpec>) -> AnyView {
    let rows = live.status.with(|s| summary::members(&pool.name, &pool.spec, s.as_ref()));
    let users: Vec<_> = declared
        .virtual_servers
        .iter()
        .filter(|server| summary::uses(&server.spec, &pool.name))
        .map(|server| server.name.clone())
        .collect();
    let or_none = |names: Vec<String>| {
        if names.is_empty() { "–".to_owned() } else { names.join(", ") }
    };
    let (name, href) = (pool.name.clone(), format!("/pools/{}", pool.name));
    let description = (!pool.description.is_empty())
        .then(|| view! { <div class="quiet small">{pool.description.clone()}</div> });
    view! {
        <tr>
            <th scope="row">
                <A href>
                    <span class="row-name">{name}</span>
                </A>
                {description}
            </th>
            <td class="wide">
                <HealthBar counts=summary::counts(&rows) />
            </td>
            <td>{algorithm_text(pool.spec.algorithm)}</td>
            <td>{or_none(pool.spec.monitors.clone())}</td>
            <td>{or_none(users)}</td>
        </tr>
    }
    .into_any()
}
