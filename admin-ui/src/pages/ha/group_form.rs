//! The form of a traffic group: what floats, who may own it, what makes a node unfit for it.
//!
//! It is saved under the revision that it was filled from, so that nobody's change is lost; faults,
//! found here or by the server, stand beside their inputs.

mod inputs;

use ballast_client::WriteOptions;
use ballast_model::{Kind, Placement, Problem, Resource, TrafficGroupSpec};
use leptos::ev::SubmitEvent;
use leptos::prelude::*;
use leptos::task::spawn_local;

use super::Desk;
use crate::components::{Button, Dialog, Failure, Look, SelectField, Symbol, TextField, Toasts};
use crate::form::traffic_group::TrafficGroupForm;
use crate::i18n::texts;
use crate::pages::saving::{Refusal, unplaced};
use crate::session::explain;

use inputs::{Addresses, Inputs, Order, Tracking, is_placed};

/// The dialog with the form; there while `form` holds one.
#[component]
pub(super) fn GroupFormDialog(form: RwSignal<Option<TrafficGroupForm>>) -> impl IntoView {
    let t = texts();
    let dismiss = Callback::new(move |()| form.set(None));
    let title = Signal::derive(move || {
        form.with(|form| match form {
            Some(form) if form.revision().is_some() => (t.ha.edit_title)(&form.name),
            _ => t.ha.new_group.to_owned(),
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

#[component]
fn Form(filled: TrafficGroupForm, form: RwSignal<Option<TrafficGroupForm>>) -> impl IntoView {
    let t = texts();
    let toasts = Toasts::here();
    let exists = filled.revision().is_some();
    let inputs = Inputs::new(filled);
    let saving = inputs.saving;
    let save = move |event: SubmitEvent| {
        event.prevent_default();
        let read = inputs.read();
        saving.put(read.declare(), read.revision(), move |saved: Resource<TrafficGroupSpec>| {
            toasts.good((t.ha.group_saved)(&saved.name));
            form.try_set(None);
        });
    };
    let refill = Callback::new(move |newest| {
        form.try_set(Some(TrafficGroupForm::edit(&newest)));
    });
    let refusal = move || {
        let problem = saving.problem.get()?;
        let name = inputs.name.get_untracked();
        Some(view! { <Refusal<TrafficGroupSpec> problem name refill /> })
    };
    view! {
        <form class="stack" novalidate=true on:submit=save>
            <Identity inputs exists />
            <Addresses inputs />
            <Order inputs />
            <Behaviour inputs />
            <Tracking inputs />
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
fn Identity(inputs: Inputs, exists: bool) -> impl IntoView {
    let t = texts();
    view! {
        <div class="grid">
            <TextField
                label=t.name
                value=inputs.name
                readonly=exists
                focus=!exists
                error=inputs.at("/name")
            />
            <TextField
                label=t.ha.vrid
                value=inputs.vrid
                numeric=true
                hint=t.ha.vrid_hint
                error=inputs.at("/spec/virtual_router_id")
            />
        </div>
        <TextField label=t.description value=inputs.description error=inputs.at("/description") />
        <Check text=t.ha.enabled value=inputs.enabled />
    }
}

#[component]
fn Behaviour(inputs: Inputs) -> impl IntoView {
    let t = texts();
    let placements = vec![(Placement::Order, t.ha.by_order), (Placement::Load, t.ha.by_load)];
    view! {
        <div class="grid">
            <SelectField
                label=t.ha.placement
                value=inputs.placement
                choices=placements
                error=inputs.at("/spec/placement")
            />
            <TextField
                label=t.ha.load_factor
                value=inputs.load_factor
                numeric=true
                hint=t.ha.load_factor_hint
                error=inputs.at("/spec/load_factor")
            />
            <TextField
                label=t.ha.advert_interval
                value=inputs.interval_ms
                numeric=true
                hint=t.ha.advert_interval_hint
                error=inputs.at("/spec/advert_interval_ms")
            />
            <TextField
                label=t.ha.network
                value=inputs.network
                placeholder=t.optional
                hint=t.ha.network_hint
                error=inputs.at("/spec/network")
            />
        </div>
        <div class="grid">
            <Check text=t.ha.failback value=inputs.failback />
            <TextField
                label=t.ha.delay
                value=inputs.delay_s
                numeric=true
                hint=t.ha.delay_hint
                error=inputs.at("/spec/failback/delay_s")
            />
        </div>
    }
}

#[component]
fn Check(text: &'static str, value: RwSignal<bool>) -> impl IntoView {
    view! {
        <label class="check">
            <input
                type="checkbox"
                prop:checked=value
                on:change=move |event| value.set(event_target_checked(&event))
            />
            <span>{text}</span>
        </label>
    }
}

/// Asks whether a group is to be deleted.
#[component]
pub(super) fn DeleteDialog(desk: Desk) -> impl IntoView {
    let t = texts();
    let toasts = Toasts::here();
    let busy = RwSignal::new(false);
    let problem = RwSignal::new(None::<Problem>);
    let dismiss = Callback::new(move |()| {
        desk.deleting.set(None);
        problem.set(None);
    });
    let confirm = Callback::new(move |()| {
        let Some(group) = desk.deleting.get_untracked() else { return };
        busy.set(true);
        problem.set(None);
        spawn_local(async move {
            let client = desk.session.client();
            let options = WriteOptions::new().wait_applied();
            let deleted = client.delete(Kind::TrafficGroup, &group, &options).await;
            busy.try_set(false);
            match deleted {
                Ok(_) => {
                    toasts.good((t.ha.group_deleted)(&group));
                    desk.deleting.try_set(None);
                    desk.live.refresh();
                }
                Err(error) => {
                    problem.try_set(Some(explain(&error)));
                }
            }
        });
    });
    let title = Signal::derive(move || {
        desk.deleting.get().map(|group| (t.ha.delete_title)(&group)).unwrap_or_default()
    });
    let open = Memo::new(move |_| desk.deleting.with(Option::is_some));
    view! {
        <Dialog title open dismiss>
            <div class="stack">
                <p>{t.ha.delete_hint}</p>
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
