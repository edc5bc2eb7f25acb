//! The inputs of the traffic group form as signals, and its lists: addresses, order, tracked things.

use ballast_model::{NodeRole, Placement};
use leptos::prelude::*;

use crate::components::{Button, Icon, Look, SelectField, Symbol, TextField};
use crate::form::messages_at;
use crate::form::traffic_group::{AddressForm, TrackedForm, TrafficGroupForm};
use crate::i18n::texts;
use crate::live::Live;
use crate::pages::saving::Saving;

/// The inputs as signals.
#[derive(Clone, Copy)]
pub(super) struct Inputs {
    filled: StoredValue<TrafficGroupForm>,
    pub(super) name: RwSignal<String>,
    pub(super) description: RwSignal<String>,
    pub(super) enabled: RwSignal<bool>,
    pub(super) vrid: RwSignal<String>,
    pub(super) network: RwSignal<String>,
    pub(super) interval_ms: RwSignal<String>,
    pub(super) load_factor: RwSignal<String>,
    pub(super) placement: RwSignal<Placement>,
    pub(super) failback: RwSignal<bool>,
    pub(super) delay_s: RwSignal<String>,
    addresses: RwSignal<Vec<AddressInput>>,
    /// Every traffic node may own it: there is no order.
    all_nodes: RwSignal<bool>,
    nodes: RwSignal<Vec<String>>,
    pools: RwSignal<Vec<TrackedInputs>>,
    gateways: RwSignal<Vec<TrackedInputs>>,
    networks: RwSignal<Vec<TrackedInputs>>,
    pub(super) saving: Saving,
}

#[derive(Clone, Copy)]
struct AddressInput {
    key: usize,
    text: RwSignal<String>,
}

#[derive(Clone, Copy)]
struct TrackedInputs {
    key: usize,
    what: RwSignal<String>,
    up_min_percent: RwSignal<String>,
    weight: RwSignal<String>,
}

impl Inputs {
    pub(super) fn new(filled: TrafficGroupForm) -> Self {
        let tracked = |rows: &[TrackedForm]| {
            RwSignal::new(rows.iter().cloned().map(TrackedInputs::new).collect::<Vec<_>>())
        };
        Self {
            name: RwSignal::new(filled.name.clone()),
            description: RwSignal::new(filled.description.clone()),
            enabled: RwSignal::new(filled.enabled),
            vrid: RwSignal::new(filled.vrid.clone()),
            network: RwSignal::new(filled.network.clone()),
            interval_ms: RwSignal::new(filled.interval_ms.clone()),
            load_factor: RwSignal::new(filled.load_factor.clone()),
            placement: RwSignal::new(filled.placement),
            failback: RwSignal::new(filled.failback),
            delay_s: RwSignal::new(filled.delay_s.clone()),
            addresses: RwSignal::new(
                filled.addresses.iter().cloned().map(AddressInput::new).collect(),
            ),
            all_nodes: RwSignal::new(filled.nodes.is_empty()),
            nodes: RwSignal::new(filled.nodes.clone()),
            pools: tracked(&filled.pools),
            gateways: tracked(&filled.gateways),
            networks: tracked(&filled.networks),
            saving: Saving::new(),
            filled: StoredValue::new(filled),
        }
    }

    pub(super) fn read(self) -> TrafficGroupForm {
        let tracked = |rows: RwSignal<Vec<TrackedInputs>>| {
            rows.get_untracked().into_iter().map(TrackedInputs::read).collect()
        };
        let mut form = self.filled.get_value();
        form.name = self.name.get_untracked();
        form.description = self.description.get_untracked();
        form.enabled = self.enabled.get_untracked();
        form.vrid = self.vrid.get_untracked();
        form.network = self.network.get_untracked();
        form.interval_ms = self.interval_ms.get_untracked();
        form.load_factor = self.load_factor.get_untracked();
        form.placement = self.placement.get_untracked();
        form.failback = self.failback.get_untracked();
        form.delay_s = self.delay_s.get_untracked();
        form.addresses =
            self.addresses.get_untracked().into_iter().map(AddressInput::read).collect();
        let all_nodes = self.all_nodes.get_untracked();
        form.nodes = if all_nodes { Vec::new() } else { self.nodes.get_untracked() };
        form.pools = tracked(self.pools);
        form.gateways = tracked(self.gateways);
        form.networks = tracked(self.networks);
        form
    }

    /// What to say at the input of a field.
    pub(super) fn at(self, pointer: &'static str) -> Signal<Option<String>> {
        self.saving.error_at(move || pointer.to_owned())
    }

    /// Positions change now, and faults name rows by position.
    fn forget_faults(self) {
        self.saving.errors.set(Vec::new());
    }
}

impl AddressInput {
    fn new(filled: AddressForm) -> Self {
        Self { key: filled.key, text: RwSignal::new(filled.text) }
    }

    fn read(self) -> AddressForm {
        AddressForm { key: self.key, text: self.text.get_untracked() }
    }
}

impl TrackedInputs {
    fn new(filled: TrackedForm) -> Self {
        Self {
            key: filled.key,
            what: RwSignal::new(filled.what),
            up_min_percent: RwSignal::new(filled.up_min_percent),
            weight: RwSignal::new(filled.weight),
        }
    }

    fn read(self) -> TrackedForm {
        TrackedForm {
            key: self.key,
            what: self.what.get_untracked(),
            up_min_percent: self.up_min_percent.get_untracked(),
            weight: self.weight.get_untracked(),
        }
    }
}

/// Whether the form has the input that a fault is about.
pub(super) fn is_placed(pointer: &str) -> bool {
    const FIELDS: [&str; 8] = [
        "/name",
        "/description",
        "/spec/virtual_router_id",
        "/spec/network",
        "/spec/advert_interval_ms",
        "/spec/load_factor",
        "/spec/placement",
        "/spec/failback/delay_s",
    ];
    const ROWS: [&str; 5] = [
        "/spec/addresses/",
        "/spec/nodes/",
        "/spec/tracking/pools/",
        "/spec/tracking/gateways/",
        "/spec/tracking/networks/",
    ];
    const LISTS: [&str; 2] = ["/spec/addresses", "/spec/nodes"];
    FIELDS.contains(&pointer)
        || LISTS.contains(&pointer)
        || ROWS.iter().any(|rows| pointer.starts_with(rows))
}

/// What floats.
#[component]
pub(super) fn Addresses(inputs: Inputs) -> impl IntoView {
    let t = texts();
    let position = move |key: usize| {
        inputs.addresses.with(|rows| rows.iter().position(|row| row.key == key).unwrap_or_default())
    };
    let row = move |row: AddressInput| {
        let error = Signal::derive(move || {
            let here = format!("/spec/addresses/{}", position(row.key));
            inputs.saving.errors.with(|errors| {
                let of = |rest: &str| messages_at(errors, &format!("{here}{rest}"));
                let found: Vec<_> =
                    ["", "/address", "/prefix_length"].into_iter().filter_map(of).collect();
                (!found.is_empty()).then(|| found.join("; "))
            })
        });
        let remove = move || {
            inputs.forget_faults();
            inputs.addresses.update(|rows| rows.retain(|other| other.key != row.key));
        };
        view! {
            <div class="input-row">
                <TextField
                    bare=true
                    label=t.address
                    value=row.text
                    placeholder="192.0.2.10"
                    error=error
                />
                <Remove press=remove />
            </div>
        }
    };
    let add = move || {
        let key = inputs
            .addresses
            .with_untracked(|rows| rows.iter().map(|row| row.key + 1).max().unwrap_or(0));
        inputs.addresses.update(|rows| rows.push(AddressInput::new(AddressForm::new(key))));
    };
    view! {
        <fieldset class="members-form">
            <legend>{t.addresses}</legend>
            <p class="hint">{t.ha.addresses_hint}</p>
            <For each=move || inputs.addresses.get() key=|row| row.key children=row />
            <Fault error=inputs.at("/spec/addresses") />
            <Button symbol=Symbol::Add text=t.ha.add_address press=add />
        </fieldset>
    }
}

/// Who may own it, and who is preferred.
#[component]
pub(super) fn Order(inputs: Inputs) -> impl IntoView {
    let t = texts();
    let live = Live::here();
    let all = Memo::new(move |_| {
        live.declared.with(|declared| {
            let nodes = declared.iter().flat_map(|declared| &declared.nodes);
            let traffic = nodes.filter(|node| node.spec.role == NodeRole::Traffic);
            traffic.map(|node| node.name.clone()).collect::<Vec<_>>()
        })
    });
    let toggle = move |event| {
        let on = event_target_checked(&event);
        inputs.forget_faults();
        inputs.all_nodes.set(on);
        if !on && inputs.nodes.with_untracked(Vec::is_empty) {
            inputs.nodes.set(all.get_untracked());
        }
    };
    let others = move || {
        let add = move |name: String| {
            let (text, added) = (name.clone(), name);
            let press = move || inputs.nodes.update(|nodes| nodes.push(added.clone()));
            view! { <Button symbol=Symbol::Add text press /> }
        };
        let chosen = inputs.nodes.get();
        all.get().into_iter().filter(|name| !chosen.contains(name)).map(add).collect_view()
    };
    view! {
        <fieldset class="members-form">
            <legend>{t.ha.order} ", " {t.ha.prefer_more}</legend>
            <label class="check">
                <input type="checkbox" prop:checked=inputs.all_nodes on:change=toggle />
                <span>{t.ha.order_all}</span>
            </label>
            <Show when=move || !inputs.all_nodes.get()>
                <For
                    each=move || inputs.nodes.get()
                    key=String::clone
                    children=move |name| view! { <Place inputs name /> }
                />
                <Fault error=inputs.at("/spec/nodes") />
                <div class="button-row start">{others}</div>
            </Show>
        </fieldset>
    }
}

/// A node's place in the order.
#[component]
fn Place(inputs: Inputs, name: String) -> impl IntoView {
    let t = texts();
    let wanted = StoredValue::new(name.clone());
    let position = move || {
        inputs.nodes.with(|nodes| nodes.iter().position(|node| *node == *wanted.read_value()))
    };
    let error =
        inputs.saving.error_at(move || format!("/spec/nodes/{}", position().unwrap_or_default()));
    let swap = move |down: bool| {
        inputs.forget_faults();
        inputs.nodes.update(|nodes| {
            let here = nodes.iter().position(|node| *node == *wanted.read_value());
            let other = here.and_then(|i| if down { i.checked_add(1) } else { i.checked_sub(1) });
            if let (Some(here), Some(other)) = (here, other.filter(|i| *i < nodes.len())) {
                nodes.swap(here, other);
            }
        });
    };
    let remove = move || {
        inputs.forget_faults();
        inputs.nodes.update(|nodes| nodes.retain(|node| *node != *wanted.read_value()));
    };
    let label = |text: &str| format!("{text}: {name}");
    let shown = name.clone();
    view! {
        <div class="place">
            <span class="number">{move || position().map(|i| format!("{}.", i + 1))}</span>
            <strong>{shown}</strong>
            <Button
                look=Look::Quiet
                symbol=Symbol::ArrowUp
                icon_only=true
                text=t.ha.raise
                label=label(t.ha.raise)
                press=move || swap(false)
            />
            <Button
                look=Look::Quiet
                symbol=Symbol::ArrowDown
                icon_only=true
                text=t.ha.lower
                label=label(t.ha.lower)
                press=move || swap(true)
            />
            <Button
                look=Look::Quiet
                symbol=Symbol::Remove
                icon_only=true
                text=t.ha.remove
                label=label(t.ha.remove)
                press=remove
            />
            <Fault error />
        </div>
    }
}

/// What makes a node less fit.
#[component]
pub(super) fn Tracking(inputs: Inputs) -> impl IntoView {
    let t = texts();
    let live = Live::here();
    let pools = Memo::new(move |_| {
        live.declared.with(|declared| {
            let pools = declared.iter().flat_map(|declared| &declared.pools);
            pools.map(|pool| pool.name.clone()).collect::<Vec<_>>()
        })
    });
    let no_pools = Memo::new(move |_| pools.with(Vec::is_empty));
    let add_pool = move || {
        let first = pools.with_untracked(|pools| pools.first().cloned().unwrap_or_default());
        add(inputs.pools, &first);
    };
    let pool = move |row| view! { <PoolRow inputs row pools /> };
    let gateway = move |row| {
        let list = ("gateways", inputs.gateways);
        view! { <PlainRow inputs row list label=t.ha.gateway field="address" example="192.0.2.1" /> }
    };
    let network = move |row| {
        let list = ("networks", inputs.networks);
        view! { <PlainRow inputs row list label=t.ha.network field="network" example="back" /> }
    };
    view! {
        <fieldset class="members-form">
            <legend>{t.ha.tracked_pools}</legend>
            <p class="hint">{t.ha.tracking_hint}</p>
            <For each=move || inputs.pools.get() key=|row| row.key children=pool />
            {move || {
                if no_pools.get() {
                    view! { <p class="quiet small">{t.ha.no_pools}</p> }.into_any()
                } else {
                    view! { <Button symbol=Symbol::Add text=t.ha.add_pool press=add_pool /> }
                        .into_any()
                }
            }}
        </fieldset>
        <fieldset class="members-form">
            <legend>{t.ha.gateways}</legend>
            <For each=move || inputs.gateways.get() key=|row| row.key children=gateway />
            <Button
                symbol=Symbol::Add
                text=t.ha.add_gateway
                press=move || add(inputs.gateways, "")
            />
        </fieldset>
        <fieldset class="members-form">
            <legend>{t.ha.networks}</legend>
            <For each=move || inputs.networks.get() key=|row| row.key children=network />
            <Button
                symbol=Symbol::Add
                text=t.ha.add_network
                press=move || add(inputs.networks, "")
            />
        </fieldset>
    }
}

#[component]
fn PoolRow(inputs: Inputs, row: TrackedInputs, pools: Memo<Vec<String>>) -> impl IntoView {
    let t = texts();
    let error = move |field| tracked_error(inputs, inputs.pools, "pools", row.key, field);
    // A pool that is tracked and gone stays among the choices, with the fault beside it.
    let mut names = pools.get_untracked();
    let chosen = row.what.get_untracked();
    if !names.contains(&chosen) {
        names.push(chosen);
    }
    let choices: Vec<_> = names.into_iter().map(|name| (name.clone(), name)).collect();
    view! {
        <div class="input-row three">
            <SelectField label=t.pool value=row.what choices error=error("pool") />
            <TextField
                label=t.ha.up_min_percent
                value=row.up_min_percent
                numeric=true
                error=error("up_min_percent")
            />
            <TextField label=t.ha.weight value=row.weight numeric=true error=error("weight") />
            <Remove press=move || remove(inputs, inputs.pools, row.key) />
        </div>
    }
}

/// Something tracked that has a name or an address, and a weight.
#[component]
fn PlainRow(
    inputs: Inputs,
    row: TrackedInputs,
    list: (&'static str, RwSignal<Vec<TrackedInputs>>),
    label: &'static str,
    field: &'static str,
    example: &'static str,
) -> impl IntoView {
    let t = texts();
    let (name, rows) = list;
    let error = move |field| tracked_error(inputs, rows, name, row.key, field);
    view! {
        <div class="input-row two">
            <TextField label value=row.what placeholder=example error=error(field) />
            <TextField label=t.ha.weight value=row.weight numeric=true error=error("weight") />
            <Remove press=move || remove(inputs, rows, row.key) />
        </div>
    }
}

fn add(rows: RwSignal<Vec<TrackedInputs>>, what: &str) {
    let key = rows.with_untracked(|rows| rows.iter().map(|row| row.key + 1).max().unwrap_or(0));
    rows.update(|rows| rows.push(TrackedInputs::new(TrackedForm::new(key, what))));
}

fn remove(inputs: Inputs, rows: RwSignal<Vec<TrackedInputs>>, key: usize) {
    inputs.forget_faults();
    rows.update(|rows| rows.retain(|row| row.key != key));
}

fn tracked_error(
    inputs: Inputs,
    rows: RwSignal<Vec<TrackedInputs>>,
    list: &'static str,
    key: usize,
    field: &'static str,
) -> Signal<Option<String>> {
    inputs.saving.error_at(move || {
        let here = rows.with(|rows| rows.iter().position(|row| row.key == key).unwrap_or_default());
        format!("/spec/tracking/{list}/{here}/{field}")
    })
}

#[component]
fn Remove(#[prop(into)] press: Callback<()>) -> impl IntoView {
    view! {
        <Button
            look=Look::Quiet
            symbol=Symbol::Remove
            icon_only=true
            text=texts().ha.remove
            press
        />
    }
}

/// A fault of something that is no single input.
#[component]
fn Fault(error: Signal<Option<String>>) -> impl IntoView {
    move || {
        error.get().map(|text| {
            view! {
                <p class="fault">
                    <Icon symbol=Symbol::Warning />
                    {text}
                </p>
            }
        })
    }
}
