//! A modal dialog on the browser's own `<dialog>`, which keeps the focus inside, closes on Escape and
//! gives the focus back.

use leptos::html;
use leptos::prelude::*;

use super::{Button, Look, Symbol};
use crate::i18n::texts;

/// A dialog that is there while `open` is true.
#[component]
pub(crate) fn Dialog(
    #[prop(into)] title: Signal<String>,
    #[prop(into)] open: Signal<bool>,
    /// The user turned away: Escape, the cross, or the backdrop's equivalent.
    #[prop(into)]
    dismiss: Callback<()>,
    #[prop(optional)] wide: bool,
    children: ChildrenFn,
) -> impl IntoView {
    let node = NodeRef::<html::Dialog>::new();
    let children = StoredValue::new(children);
    Effect::new(move |_| {
        let Some(dialog) = node.get() else { return };
        if open.get() && !dialog.open() {
            // Fails only where the element is not part of the page.
            let _ = dialog.show_modal();
        } else if !open.get() && dialog.open() {
            dialog.close();
        }
    });
    view! {
        <dialog
            node_ref=node
            class="dialog"
            class:wide=wide
            aria-label=title
            on:close=move |_| {
                if open.get_untracked() {
                    dismiss.run(());
                }
            }
        >
            <Show when=move || open.get()>
                <div class="dialog-head">
                    <h2>{title}</h2>
                    <Button
                        look=Look::Quiet
                        symbol=Symbol::Close
                        icon_only=true
                        text=texts().close
                        press=dismiss
                    />
                </div>
                {children.read_value()()}
            </Show>
        </dialog>
    }
}
