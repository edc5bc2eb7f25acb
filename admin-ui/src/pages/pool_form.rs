//! The form of a pool: name, algorithm, monitors, members.
//!
//! It is saved under the revision that it was filled from, so that nobody's change is lost; faults,
//! found here or by the server, stand beside their inputs.

use ballast_model::{Algorithm, PoolSpec, Resource};
use leptos::ev::SubmitEvent;
use leptos::prelude::*;

use super::algorithm_text;
use super::saving::{Refusal, Saving, unplaced};
use crate::components::{Button, Dialog, Look, SelectField, Symbol, TextField, Toasts};
use crate::form::{MemberForm, PoolForm};
use crate::i18n::texts;
use crate::live::Live;

/// The dialog with the form; there while `form` holds one.
#[component]
pub(crate) fn PoolFormDialog(form: RwSignal<Option<PoolForm>>) -> impl IntoView {
    let t = texts();
    let dismiss = Callback::new(move |()| form.set(None));
    let title = Signal::derive(move || {
        form.with(|form| match form {
            Some(form) if form.revision().is_some() => (t.edit_title)(&form.name),
            _ => t.new_pool.to_owned(),
        })
    });
    let open = Memo::new(move |_| form.with(Option::is_some));
    // A newer revision makes a new form.
    let content = move || form.get().map(|filled| view! { <Form filled form /> });
    view! {
        <Dialog title open dismiss wide=true>
            {content}
        </Dialog>
    }
}

/// The inputs as signals.
#[derive(Clone, Copy)]
struct Inputs {
    filled: StoredValue<PoolForm>,
    name: RwSignal<String>,
    description: RwSignal<String>,
    algorithm: RwSignal<Algorithm>,
    monitors: RwSignal<Vec<String>>,
    fail_open: RwSignal<bool>,
    members: RwSignal<Vec<MemberInputs>>,
    saving: Saving,
}

#[derive(Clone, Copy)]
struct MemberInputs {
    filled: StoredValue<MemberForm>,
    name: RwSignal<String>,
    address: RwSignal<String>,
    port: RwSignal<String>,
    weight: RwSignal<String>,
}

impl Inputs {
    fn new(filled: PoolForm) -> Self {
        Self {
            name: RwSignal::new(filled.name.clone()),
            description: RwSignal::new(filled.description.clone()),
            algorithm: RwSignal::new(filled.algorithm),
            monitors: RwSignal::new(filled.monitors.clone()),
            fail_open: RwSignal::new(filled.fail_open),
            members: RwSignal::new(filled.members.iter().cloned().map(MemberInputs::new).collect()),
            saving: Saving::new(),
            filled: StoredValue::new(filled),
        }
    }

    fn read(self) -> PoolForm {
        let mut form = self.filled.get_value();
        form.name = self.name.get_untracked();
        form.description = self.description.get_untracked();
        form.algorithm = self.algorithm.get_untracked();
        form.monitors = self.monitors.get_untracked();
        form.fail_open = self.fail_open.get_untracked();
        form.members = self.members.get_untracked().into_iter().map(MemberInputs::read).collect();
        form
    }

    fn add_member(self) {
        let key = self.members.with_untracked(|members| {
            members.iter().map(|member| member.key() + 1).max().unwrap_or(0)
        });
        self.members.update(|members| members.push(MemberInputs::new(MemberForm::new(key))));
    }

    fn remove_member(self, key: usize) {
        // Faults name rows by position, which changes now.
        self.saving.errors.set(Vec::new());
        self.members.update(|members| members.retain(|member| member.key() != key));
    }
}

impl MemberInputs {
    fn new(filled: MemberForm) -> Self {
        Self {
            name: RwSignal::new(filled.name.clone()),
            address: RwSignal::new(filled.address.clone()),
            port: RwSignal::new(filled.port.clone()),
            weight: RwSignal::new(filled.weight.clone()),
            filled: StoredValue::new(filled),
        }
    }

    fn key(self) -> usize {
        self.filled.with_value(|filled| filled.key)
    }

    fn read(self) -> MemberForm {
        let mut form = self.filled.get_value();
        form.name = self.name.get_untracked();
        form.address = self.address.get_untracked();
        form.port = self.port.get_untracked();
        form.weight = self.weight.get_untracked();
        form
    }
}

#[component]
fn Form(filled: PoolForm, form: RwSignal<Option<PoolForm>>) -> impl IntoView {
    let t = texts();
    let toasts = Toasts::here();
    let exists = filled.revision().is_some();
    let inputs = Inputs::new(filled);
    let saving = inputs.saving;
    let save = move |event: SubmitEvent| {
        event.prevent_default();
        let read = inputs.read();
        saving.put(read.declare(), read.revision(), move |saved: Resource<PoolSpec>| {
            toasts.good((t.pool_saved)(&saved.name));
            form.try_set(None);
        });
    };
    let refill = Callback::new(move |newest| {
        form.try_set(Some(PoolForm::edit(&newest)));
    });
    let refusal = move || {
        let problem = saving.problem.get()?;
        let name = inputs.name.get_untracked();
        Some(view! { <Refusal<PoolSpec> problem name refill /> })
    };
    view! {
        <form class="stack" novalidate=true on:submit=save>
            <div class="grid">
                <TextField
                    label=t.name
                    value=inputs.name
                    readonly=exists
                    focus=!exists
                    error=saving.error_at(|| "/name".to_owned())
                />
                <SelectField
                    label=t.algorithm
                    value=inputs.algorithm
                    choices=algorithms()
                    error=saving.error_at(|| "/spec/algorithm".to_owned())
                />
            </div>
            <TextField
                label=t.description
                value=inputs.description
                error=saving.error_at(|| "/description".to_owned())
            />
            <MonitorChoices inputs />
            <label class="check">
                <input
                    type="checkbox"
                    prop:checked=inputs.fail_open
                    on:change=move |event| inputs.fail_open.set(event_target_checked(&event))
                />
                <span>{t.fail_open_choice}</span>
            </label>
            <MemberInputsTable inputs />
            {refusal}
            {move || unplaced(&saving.errors.read(), is_placed)}
            <div class="dialog-foot">
                <Button text=t.cancel press=move || form.set(None) />
                <Button look=Look::Primary submit=true busy=saving.busy text=t.save />
            </div>
        </form>
    }
}

#[component]
fn MonitorChoices(inputs: Inputs) -> impl IntoView {
    let t = texts();
    let live = Live::here();
    let names = Memo::new(move |_| {
        live.declared.with(|declared| {
            let monitors = declared.iter().flat_map(|declared| &declared.monitors);
            monitors.map(|monitor| monitor.name.clone()).collect::<Vec<_>>()
        })
    });
    let choice = move |name: String| {
        let (shown, toggled) = (name.clone(), name.clone());
        let chosen = move || inputs.monitors.with(|monitors| monitors.contains(&name));
        let toggle = move |event| {
            let on = event_target_checked(&event);
            inputs.monitors.update(|monitors| {
                monitors.retain(|monitor| *monitor != toggled);
                if on {
                    monitors.push(toggled.clone());
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
    let is_empty = Memo::new(move |_| names.with(Vec::is_empty));
    move || {
        if is_empty.get() {
            return view! { <p class="quiet small">{t.no_monitors}</p> }.into_any();
        }
        view! {
            <fieldset class="choices">
                <legend>{t.monitors}</legend>
                <For each=move || names.get() key=String::clone children=choice />
            </fieldset>
        }
        .into_any()
    }
}

#[component]
fn MemberInputsTable(inputs: Inputs) -> impl IntoView {
    let t = texts();
    let row = move |member: MemberInputs| {
        let key = member.key();
        let position = move || {
            inputs.members.with(|members| {
                members.iter().position(|member| member.key() == key).unwrap_or_default()
            })
        };
        let error = move |field: &'static str| {
            inputs.saving.error_at(move || format!("/spec/members/{}/{field}", position()))
        };
        view! {
            <div class="member-inputs">
                <TextField bare=true label=t.address value=member.address error=error("address") placeholder="10.0.0.10" />
                <TextField bare=true label=t.port value=member.port error=error("port") placeholder="8080" numeric=true />
                <TextField bare=true label=t.weight value=member.weight error=error("weight") numeric=true />
                <TextField bare=true label=t.name value=member.name error=error("name") placeholder=t.optional />
                <Button
                    look=Look::Quiet
                    symbol=Symbol::Remove
                    icon_only=true
                    text=t.remove_member
                    press=move || inputs.remove_member(key)
                />
            </div>
        }
    };
    view! {
        <fieldset class="members-form">
            <legend>{t.members}</legend>
            <div class="member-inputs heads" aria-hidden="true">
                <span>{t.address}</span>
                <span>{t.port}</span>
                <span>{t.weight}</span>
                <span>{t.name}</span>
                <span></span>
            </div>
            <For each=move || inputs.members.get() key=|member| member.key() children=row />
            <Button symbol=Symbol::Add text=t.add_member press=move || inputs.add_member() />
        </fieldset>
    }
}

/// Whether the form has the input that a fault is about.
fn is_placed(pointer: &str) -> bool {
    matches!(pointer, "/name" | "/description" | "/spec/algorithm")
        || pointer.strip_prefix("/spec/members/").is_some_and(|rest| {
            let field = rest.split_once('/').map(|(_, field)| field);
            matches!(field, Some("address" | "port" | "weight" | "name"))
        })
}

fn algorithms() -> Vec<(Algorithm, &'static str)> {
    use Algorithm as A;
    let all = [
        A::RoundRobin,
        A::LeastConnections,
        A::LeastTime,
        A::P2c,
        A::PeakEwma,
        A::Random,
        A::SourceHash,
        A::ConsistentHash,
    ];
    all.map(|a| (a, algorithm_text(a))).to_vec()
}
