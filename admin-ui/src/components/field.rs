//! Labelled inputs, each with its hint and its faults beside it.

use std::sync::atomic::{AtomicUsize, Ordering};

use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::HtmlElement;

use super::{Icon, Symbol};

/// A label over anything, with a hint and the faults under it.
#[component]
fn Field(
    #[prop(into)] label: String,
    #[prop(into)] id: String,
    /// The label is for screen readers only: a column's head says it already.
    #[prop(optional)]
    bare: bool,
    hint: Option<String>,
    error: Signal<Option<String>>,
    children: Children,
) -> impl IntoView {
    let error_id = format!("{id}-error");
    view! {
        <div class="field" class:faulty=move || error.get().is_some()>
            <label for=id class:visually-hidden=bare>
                {label}
            </label>
            {children()}
            {hint.map(|hint| view! { <p class="hint">{hint}</p> })}
            {move || {
                error
                    .get()
                    .map(|text| {
                        view! {
                            <p class="fault" id=error_id.clone()>
                                <Icon symbol=Symbol::Warning />
                                {text}
                            </p>
                        }
                    })
            }}
        </div>
    }
}

/// A line of text.
#[component]
pub(crate) fn TextField(
    #[prop(into)] label: String,
    value: RwSignal<String>,
    #[prop(default = "text")] kind: &'static str,
    #[prop(default = "off")] autocomplete: &'static str,
    #[prop(optional)] bare: bool,
    #[prop(optional)] required: bool,
    #[prop(optional)] focus: bool,
    #[prop(optional)] numeric: bool,
    #[prop(optional)] readonly: bool,
    #[prop(optional, into)] placeholder: Option<String>,
    #[prop(optional, into)] hint: Option<String>,
    #[prop(optional, into)] error: Signal<Option<String>>,
) -> impl IntoView {
    let id = fresh_id();
    let error_id = format!("{id}-error");
    let input = NodeRef::<leptos::html::Input>::new();
    if focus {
        Effect::new(move |_| {
            if let Some(input) = input.get() {
                // Fails for elements that can't have the focus; an input can.
                let _ = input.focus();
            }
        });
    }
    view! {
        <Field label id=id.clone() bare hint error>
            <input
                node_ref=input
                id=id
                type=kind
                autocomplete=autocomplete
                spellcheck="false"
                autocapitalize="off"
                inputmode=numeric.then_some("numeric")
                placeholder=placeholder
                required=required
                readonly=readonly
                aria-invalid=move || error.get().map(|_| "true")
                aria-describedby=move || error.get().map(|_| error_id.clone())
                bind:value=value
            />
        </Field>
    }
}

/// One of a few choices.
#[component]
pub(crate) fn SelectField<T, L>(
    #[prop(into)] label: String,
    value: RwSignal<T>,
    choices: Vec<(T, L)>,
    /// The label is for screen readers only.
    #[prop(optional)]
    bare: bool,
    #[prop(optional, into)] hint: Option<String>,
    #[prop(optional, into)] error: Signal<Option<String>>,
) -> impl IntoView
where
    T: Clone + PartialEq + Send + Sync + 'static,
    L: Clone + Into<String> + Send + Sync + 'static,
{
    let id = fresh_id();
    let choices = StoredValue::new(choices);
    let options = choices.with_value(|choices| {
        choices
            .iter()
            .enumerate()
            .map(|(i, (choice, text))| {
                let choice = choice.clone();
                let selected = move || value.with(|value| *value == choice);
                view! {
                    <option value=i.to_string() selected=selected>
                        {text.clone().into()}
                    </option>
                }
            })
            .collect_view()
    });
    let on_change = move |event: leptos::ev::Event| {
        let chosen = event_target_value(&event).parse::<usize>().ok();
        let chosen = choices.with_value(|all| chosen.and_then(|i| all.get(i)).map(|c| c.0.clone()));
        if let Some(chosen) = chosen {
            value.set(chosen);
        }
    };
    view! {
        <Field label id=id.clone() bare hint error>
            <select id=id on:change=on_change>
                {options}
            </select>
        </Field>
    }
}

/// Brings the user to the first input that is at fault, once the page shows it.
pub(crate) fn focus_first_fault() {
    request_animation_frame(|| {
        let found = document().query_selector("[aria-invalid=true]").ok().flatten();
        if let Some(input) = found.and_then(|found| found.dyn_into::<HtmlElement>().ok()) {
            // Fails for elements that can't have the focus; an input can.
            let _ = input.focus();
        }
    });
}

/// An element identifier that no other element of this page has.
fn fresh_id() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("f{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
