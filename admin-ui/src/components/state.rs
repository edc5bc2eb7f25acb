//! What stands where data would: still loading, nothing there, could not be read; and the frame of
//! tables.

use ballast_model::Problem;
use leptos::prelude::*;

use super::{Icon, Symbol};
use crate::i18n::texts;

/// Data is on its way.
#[component]
pub(crate) fn Loading() -> impl IntoView {
    view! {
        <div class="loading" role="status">
            <span class="spinner" aria-hidden="true"></span>
            {texts().loading}
        </div>
    }
}

/// There is nothing yet; says what to do about it.
#[component]
pub(crate) fn Empty(
    symbol: Symbol,
    #[prop(into)] title: String,
    #[prop(optional, into)] hint: Option<String>,
    #[prop(optional)] children: Option<Children>,
) -> impl IntoView {
    view! {
        <div class="empty">
            <Icon symbol />
            <p class="empty-title">{title}</p>
            {hint.map(|hint| view! { <p class="quiet">{hint}</p> })}
            {children.map(|children| children())}
        </div>
    }
}

/// It did not work; says why.
#[component]
pub(crate) fn Failure(#[prop(into)] title: String, problem: Problem) -> impl IntoView {
    let request = (!problem.request_id.is_empty())
        .then(|| view! { <p class="quiet small">{texts().request_id} " " <code>{problem.request_id}</code></p> });
    view! {
        <div class="notice bad" role="alert">
            <Icon symbol=Symbol::Warning />
            <div>
                <strong>{title}</strong>
                <p lang="en">{problem.detail}</p>
                {request}
            </div>
        </div>
    }
}

/// Text that the cluster wrote: it is English in every language of the console.
#[component]
pub(crate) fn Foreign(#[prop(into)] text: String) -> impl IntoView {
    view! { <span lang="en">{text}</span> }
}

/// A table in a frame that scrolls sideways where the window is narrow.
#[component]
pub(crate) fn Table(
    #[prop(into)] caption: String,
    /// The heads of its columns; an empty one is for actions.
    heads: Vec<(&'static str, &'static str)>,
    children: Children,
) -> impl IntoView {
    let heads = heads.into_iter().map(|(text, class)| {
        if text.is_empty() {
            view! { <td class=class></td> }.into_any()
        } else {
            view! { <th scope="col" class=class>{text}</th> }.into_any()
        }
    });
    let heads = heads.collect_view();
    let label = caption.clone();
    view! {
        <div class="table-frame" role="group" aria-label=label tabindex="0">
            <table>
                <caption class="visually-hidden">{caption}</caption>
                <thead>
                    <tr>{heads}</tr>
                </thead>
                <tbody>{children()}</tbody>
            </table>
        </div>
    }
}
