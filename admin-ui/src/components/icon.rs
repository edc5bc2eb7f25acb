//! Symbols, drawn on a grid of 16.

use leptos::prelude::*;

/// What a symbol means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Symbol {
    Add,
    ArrowDown,
    ArrowUp,
    Back,
    Checking,
    Close,
    Disabled,
    Down,
    Draining,
    Edit,
    HighAvailability,
    Language,
    Leader,
    Move,
    Nodes,
    Offline,
    Overview,
    Partial,
    Pools,
    Remove,
    SignOut,
    Up,
    VirtualServers,
    Waiting,
    Warning,
}

impl Symbol {
    /// Its lines, as the `d` of a path.
    fn path(self) -> &'static str {
        match self {
            Self::Add => "M8 3v10M3 8h10",
            Self::ArrowDown => "M8 3v10M4 9.25 8 13l4-3.75",
            Self::ArrowUp => "M8 13V3M4 6.75 8 3l4 3.75",
            Self::Back => "M10 3 5 8l5 5",
            Self::Checking => {
                "M5 2.5h6M5 13.5h6M5.5 2.5c0 3 2.5 4 2.5 5.5s-2.5 2.5-2.5 5.5M10.5 2.5c0 3-2.5 4-2.5 5.5s2.5 2.5 2.5 5.5"
            }
            Self::Close => "m4 4 8 8M12 4l-8 8",
            Self::Disabled => {
                "M8 1.75a6.25 6.25 0 1 0 0 12.5 6.25 6.25 0 0 0 0-12.5M6.25 5.75v4.5M9.75 5.75v4.5"
            }
            Self::Down => "M8 1.5 14.5 8 8 14.5 1.5 8ZM6 6l4 4M10 6l-4 4",
            Self::Draining => "M2 3h12M4.5 6.5h7M8 6.5v7M5.25 11 8 13.75 10.75 11",
            Self::Edit => "m3 13 .75-3.25L10.5 3 13 5.5l-6.75 6.75ZM9 4.5 11.5 7",
            Self::HighAvailability => "M2 5.5h10.5M9.5 2.5l3 3-3 3M14 10.5H3.5M6.5 7.5l-3 3 3 3",
            Self::Language => {
                "M8 1.75a6.25 6.25 0 1 0 0 12.5 6.25 6.25 0 0 0 0-12.5M1.75 8h12.5M8 1.75c4 4 4 8.5 0 12.5-4-4-4-8.5 0-12.5"
            }
            Self::Leader => {
                "m8 2 1.75 3.75 4.25.5-3 3 .75 4.25L8 11.5l-3.75 2L5 9.25l-3-3 4.25-.5Z"
            }
            Self::Move => "M2.5 8h10.5M9.25 4.25 13 8l-3.75 3.75",
            Self::Nodes => "M2.5 2.5h11v4h-11ZM2.5 9.5h11v4h-11ZM5 4.5h.01M5 11.5h.01",
            Self::Offline => {
                "M8 1.75a6.25 6.25 0 1 0 0 12.5 6.25 6.25 0 0 0 0-12.5M3.75 3.75l8.5 8.5"
            }
            Self::Overview => "M2 8.5a6 6 0 0 1 12 0M8 8.5l2.75-3M3 12.5h10",
            Self::Partial => {
                "M8 1.75a6.25 6.25 0 1 0 0 12.5 6.25 6.25 0 0 0 0-12.5M8 4.75V8.5M8 11h.01"
            }
            Self::Pools => "M8 2 14 5 8 8 2 5ZM2 8l6 3 6-3M2 11l6 3 6-3",
            Self::Remove => "M2.5 4.5h11M6 4.5v-2h4v2M4 4.5l.5 9h7l.5-9M6.75 7v4M9.25 7v4",
            Self::SignOut => "M6.5 2.5h-4v11h4M10 4.75 13.25 8 10 11.25M13 8H6",
            Self::Up => {
                "M8 1.75a6.25 6.25 0 1 0 0 12.5 6.25 6.25 0 0 0 0-12.5M5.25 8.25 7.25 10.25 10.75 6"
            }
            Self::VirtualServers => {
                "M1.5 8h3M4.5 8l4-4.5h6M4.5 8h10M4.5 8l4 4.5h6M12.5 1.75 14.5 3.5l-2 1.75M12.5 6.25 14.5 8l-2 1.75M12.5 10.75l2 1.75-2 1.75"
            }
            Self::Waiting => {
                "M8 1.75a6.25 6.25 0 1 0 0 12.5 6.25 6.25 0 0 0 0-12.5M8 4.75V8l2.25 1.75"
            }
            Self::Warning => "M8 2 14.75 13.5H1.25ZM8 6.5v3.25M8 11.75h.01",
        }
    }
}

/// A symbol beside its words; screen readers skip it.
#[component]
pub(crate) fn Icon(symbol: Symbol) -> impl IntoView {
    view! {
        <svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
            <path d=symbol.path() />
        </svg>
    }
}
