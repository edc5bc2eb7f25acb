//! "What if these nodes died": answered while nodes are ticked.

use ballast_model::ha::Preview;
use leptos::prelude::*;

use super::Desk;
use super::preview::{Answer, PreviewPane};
use crate::i18n::texts;

/// The card.
#[component]
pub(super) fn WhatIfCard(desk: Desk) -> impl IntoView {
    let t = texts();
    let down = RwSignal::new(Vec::<String>::new());
    let answer = Answer::new(desk.session);
    // The answer changes with what is declared and with who owns what, not with every poll.
    let situation = Memo::new(move |_| {
        let owners = desk.groups.with(|rows| {
            rows.iter().map(|row| (row.name.clone(), row.ownership.clone())).collect::<Vec<_>>()
        });
        let able = desk.groups.with(|rows| {
            let cells = rows.iter().flat_map(|row| &row.cells);
            cells.map(|cell| (cell.standing, cell.is_degraded())).collect::<Vec<_>>()
        });
        let index = desk.live.declared.with(|d| d.as_ref().map(|d| d.index));
        (owners, able, index)
    });
    Effect::new(move |_| {
        situation.with(|_| ());
        let down = down.get();
        if !down.is_empty() {
            answer.ask(down);
        }
    });
    let names = Memo::new(move |_| {
        desk.nodes.with(|nodes| nodes.iter().map(|node| node.name.clone()).collect::<Vec<_>>())
    });
    let choice = move |name: String| {
        let (shown, toggled) = (name.clone(), name.clone());
        let chosen = move || down.with(|down| down.contains(&name));
        let toggle = move |event| {
            let on = event_target_checked(&event);
            down.update(|down| {
                down.retain(|node| *node != toggled);
                if on {
                    down.push(toggled.clone());
                }
            });
        };
        view! {
            <label class="check">
                <input type="checkbox" prop:checked=chosen on:change=toggle />
                <span>{shown}</span>
            </label>
        }
    };
    let none = Memo::new(move |_| down.with(Vec::is_empty));
    view! {
        <section class="card" aria-labelledby="what-if-head">
            <div class="card-head">
                <h2 id="what-if-head">{t.ha.what_if}</h2>
            </div>
            <div class="stack">
                <fieldset class="choices">
                    <legend>{t.ha.what_if_nodes}</legend>
                    <For each=move || names.get() key=String::clone children=choice />
                </fieldset>
                <div aria-live="polite">
                    {move || {
                        if none.get() {
                            view! { <p class="quiet small">{t.ha.what_if_hint}</p> }.into_any()
                        } else {
                            view! { <PreviewPane answer adapt=|preview: Preview| preview /> }
                                .into_any()
                        }
                    }}
                </div>
            </div>
        </section>
    }
}
