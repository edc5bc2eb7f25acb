//! Small labels that tell a state by shape, word and colour.

use ballast_model::status::Health;
use leptos::prelude::*;

use super::{Icon, Symbol};
use crate::i18n::texts;
use crate::summary::Condition;

/// How good or bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Bad,
    Warning,
    Neutral,
    Accent,
}

impl Tone {
    /// The class that colours it.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Warning => "warning",
            Self::Neutral => "neutral",
            Self::Accent => "accent",
        }
    }
}

/// A label.
#[component]
pub(crate) fn Badge(
    tone: Tone,
    #[prop(optional)] symbol: Option<Symbol>,
    #[prop(into)] text: String,
) -> impl IntoView {
    view! {
        <span class=format!("badge {}", tone.class())>
            {symbol.map(|symbol| view! { <Icon symbol /> })} {text}
        </span>
    }
}

impl Condition {
    /// Its shape, its colour, its word.
    pub(crate) fn look(self) -> (Symbol, Tone, &'static str) {
        let t = texts();
        match self {
            Self::Up => (Symbol::Up, Tone::Good, t.up),
            Self::Partial => (Symbol::Partial, Tone::Warning, t.partial),
            Self::Down => (Symbol::Down, Tone::Bad, t.down),
            Self::Checking => (Symbol::Checking, Tone::Neutral, t.checking),
            Self::Draining => (Symbol::Draining, Tone::Accent, t.draining),
            Self::Disabled => (Symbol::Disabled, Tone::Neutral, t.disabled),
            Self::Offline => (Symbol::Offline, Tone::Neutral, t.forced_offline),
        }
    }
}

/// A member's condition.
#[component]
pub(crate) fn ConditionBadge(condition: Condition) -> impl IntoView {
    let (symbol, tone, text) = condition.look();
    view! { <Badge tone symbol text /> }
}

/// What monitors found.
#[component]
pub(crate) fn HealthBadge(health: Health) -> impl IntoView {
    let t = texts();
    let (symbol, tone, text) = match health {
        Health::Checking => (Symbol::Checking, Tone::Neutral, t.checking),
        Health::Down => (Symbol::Down, Tone::Bad, t.down),
        Health::Unmonitored => (Symbol::Up, Tone::Neutral, t.unmonitored),
        Health::Up => (Symbol::Up, Tone::Good, t.up),
    };
    view! { <Badge tone symbol text /> }
}
