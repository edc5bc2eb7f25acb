//! Saving a form: under the revision that it was filled from, so that nobody's change is lost.

use ballast_client::WriteOptions;
use ballast_model::{Draft, FieldError, Problem, Resource, Spec};
use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::components::{Button, Failure, focus_first_fault};
use crate::form::messages_at;
use crate::i18n::texts;
use crate::live::Live;
use crate::session::{Session, explain};

/// An attempt to save, and what is wrong with it; faults stand beside their inputs.
#[derive(Clone, Copy)]
pub(super) struct Saving {
    session: Session,
    live: Live,
    pub(super) busy: RwSignal<bool>,
    pub(super) problem: RwSignal<Option<Problem>>,
    pub(super) errors: RwSignal<Vec<FieldError>>,
}

impl Saving {
    /// Nothing tried yet.
    pub(super) fn new() -> Self {
        Self {
            session: Session::here(),
            live: Live::here(),
            busy: RwSignal::new(false),
            problem: RwSignal::new(None),
            errors: RwSignal::new(Vec::new()),
        }
    }

    /// What to say at the input that `pointer` leads to.
    pub(super) fn error_at(
        self,
        pointer: impl Fn() -> String + Send + Sync + 'static,
    ) -> Signal<Option<String>> {
        Signal::derive(move || self.errors.with(|errors| messages_at(errors, &pointer())))
    }

    /// Sends what was declared unless an attempt is under way; `saved` is told when it is taken.
    pub(super) fn put<S: Spec + 'static>(
        self,
        declared: Result<Draft<S>, Vec<FieldError>>,
        revision: Option<u64>,
        saved: impl FnOnce(Resource<S>) + 'static,
    ) {
        if self.busy.get_untracked() {
            return;
        }
        self.problem.set(None);
        let draft = match declared {
            Ok(draft) => draft,
            Err(errors) => {
                self.errors.set(errors);
                return focus_first_fault();
            }
        };
        self.errors.set(Vec::new());
        self.busy.set(true);
        let options = WriteOptions::new().wait_applied();
        let options = match revision {
            Some(revision) => options.if_revision(revision),
            None => options.if_absent(),
        };
        spawn_local(async move {
            let written = self.session.client().put(&draft, &options).await;
            self.busy.try_set(false);
            match written {
                Ok(written) => {
                    saved(written.value);
                    self.live.refresh();
                }
                Err(error) => self.refused(explain(&error)),
            }
        });
    }

    fn refused(self, problem: Problem) {
        if problem.errors.is_empty() {
            self.problem.try_set(Some(problem));
        } else {
            self.errors.try_set(problem.errors);
            focus_first_fault();
        }
    }
}

/// Why the server did not take it; after a conflict, a way to begin from what is there now.
#[component]
pub(super) fn Refusal<S: Spec + 'static>(
    problem: Problem,
    name: String,
    /// Fills the form anew.
    refill: Callback<Resource<S>>,
) -> impl IntoView
where
    Resource<S>: Send + Sync,
{
    let t = texts();
    let session = Session::here();
    let conflict = problem.code == "revision_mismatch";
    let reload = Callback::new(move |()| {
        let name = name.clone();
        spawn_local(async move {
            if let Ok(newest) = session.client().get::<S>(&name).await {
                refill.run(newest);
            }
        });
    });
    view! {
        <Failure title=t.not_saved problem />
        {conflict.then(|| view! { <Button text=t.load_newest press=reload /> })}
    }
}

/// Faults whose input is not in the form.
pub(super) fn unplaced(errors: &[FieldError], is_placed: fn(&str) -> bool) -> Option<AnyView> {
    let items: Vec<_> = errors
        .iter()
        .filter(|error| !is_placed(&error.pointer))
        .map(|error| view! { <li><code>{error.pointer.clone()}</code> " " {error.message.clone()}</li> })
        .collect();
    (!items.is_empty()).then(|| view! { <ul class="unplaced" lang="en">{items}</ul> }.into_any())
}
