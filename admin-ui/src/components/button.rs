//! Buttons. A busy one stays where it is, keeps the focus, and does nothing more.

use leptos::prelude::*;

use super::{Icon, Symbol};

/// How much a button draws the eye.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Look {
    #[default]
    Plain,
    Primary,
    Danger,
    /// Without a border.
    Quiet,
}

impl Look {
    fn class(self) -> &'static str {
        match self {
            Self::Plain => "button",
            Self::Primary => "button primary",
            Self::Danger => "button danger",
            Self::Quiet => "button quiet",
        }
    }
}

/// A button.
#[component]
pub(crate) fn Button(
    /// What it says; shown, or told to screen readers only where there is `icon_only`.
    #[prop(into)]
    text: String,
    #[prop(optional)] look: Look,
    #[prop(optional)] symbol: Option<Symbol>,
    #[prop(optional)] icon_only: bool,
    /// Sends the form that it stands in.
    #[prop(optional)]
    submit: bool,
    #[prop(optional, into)] busy: Signal<bool>,
    #[prop(optional, into)] disabled: Signal<bool>,
    /// A longer name for screen readers, where many buttons say the same.
    #[prop(optional, into)]
    label: Option<String>,
    #[prop(optional, into)] press: Option<Callback<()>>,
) -> impl IntoView {
    let label = label.or_else(|| icon_only.then(|| text.clone()));
    let title = icon_only.then(|| text.clone());
    let on_click = move |event: leptos::ev::MouseEvent| {
        if busy.get_untracked() {
            event.prevent_default();
        } else if let Some(press) = press {
            press.run(());
        }
    };
    view! {
        <button
            class=look.class()
            class:icon-only=icon_only
            type=if submit { "submit" } else { "button" }
            aria-label=label
            title=title
            aria-disabled=move || busy.get().then_some("true")
            aria-busy=move || busy.get().then_some("true")
            disabled=disabled
            on:click=on_click
        >
            {move || match symbol {
                _ if busy.get() => Some(view! { <span class="spinner" aria-hidden="true"></span> }.into_any()),
                Some(symbol) => Some(view! { <Icon symbol /> }.into_any()),
                None => None,
            }}
            {(!icon_only).then_some(text)}
        </button>
    }
}
