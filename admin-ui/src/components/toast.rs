//! Messages that come and go: good news leaves by itself, bad news stays until it is dismissed.

use ballast_model::Problem;
use gloo_timers::future::TimeoutFuture;
use leptos::prelude::*;
use leptos::task::spawn_local;

use super::{Button, Icon, Look, Symbol};
use crate::i18n::texts;

/// How long good news stays, in ms.
const GOOD_NEWS_MS: u32 = 6_000;
/// Most messages at once; the oldest goes first.
const TOAST_MAX_COUNT: usize = 5;

/// The messages that are shown.
#[derive(Clone, Copy)]
pub(crate) struct Toasts {
    list: RwSignal<Vec<Toast>>,
    next: StoredValue<usize>,
}

#[derive(Clone)]
struct Toast {
    key: usize,
    good: bool,
    title: String,
    detail: String,
}

impl Toasts {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { list: RwSignal::new(Vec::new()), next: StoredValue::new(0) }
    }

    /// The page's messages.
    pub(crate) fn here() -> Self {
        expect_context()
    }

    /// Something went well.
    pub(crate) fn good(self, title: impl Into<String>) {
        let key = self.push(true, title.into(), String::new());
        spawn_local(async move {
            TimeoutFuture::new(GOOD_NEWS_MS).await;
            self.dismiss(key);
        });
    }

    /// Something went wrong.
    pub(crate) fn bad(self, title: impl Into<String>, problem: &Problem) {
        let detail = if problem.detail.is_empty() { &problem.title } else { &problem.detail };
        self.push(false, title.into(), detail.clone());
    }

    fn push(self, good: bool, title: String, detail: String) -> usize {
        let key = self.next.get_value();
        self.next.set_value(key + 1);
        self.list.update(|list| {
            if list.len() >= TOAST_MAX_COUNT {
                list.remove(0);
            }
            list.push(Toast { key, good, title, detail });
        });
        key
    }

    fn dismiss(self, key: usize) {
        // The page may be gone by the time that a message runs out.
        self.list.try_update(|list| list.retain(|toast| toast.key != key));
    }
}

/// Where messages appear.
#[component]
pub(crate) fn Toaster() -> impl IntoView {
    let toasts = Toasts::here();
    let show = move |toast: Toast| {
        let (class, symbol) =
            if toast.good { ("toast good", Symbol::Up) } else { ("toast bad", Symbol::Warning) };
        let detail = (!toast.detail.is_empty()).then(|| view! { <p lang="en">{toast.detail}</p> });
        view! {
            <div class=class>
                <Icon symbol />
                <div class="toast-text">
                    <strong>{toast.title}</strong>
                    {detail}
                </div>
                <Button
                    look=Look::Quiet
                    symbol=Symbol::Close
                    icon_only=true
                    text=texts().dismiss
                    press=move || toasts.dismiss(toast.key)
                />
            </div>
        }
    };
    view! {
        <div class="toaster" role="status" aria-live="polite">
            <For each=move || toasts.list.get() key=|toast| toast.key children=show />
        </div>
    }
}
