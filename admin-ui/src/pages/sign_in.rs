//! Signing in; at the first start, with the one-time code that makes the first administrator.

use ballast_model::api::{SessionInfo, SetupRequest};
use ballast_model::{FieldError, Problem};
use leptos::ev::SubmitEvent;
use leptos::prelude::*;
use leptos::task::spawn_local;

use super::name_page;
use crate::components::{Button, Failure, Icon, Look, Symbol, TextField, focus_first_fault};
use crate::form::messages_at;
use crate::i18n::texts;
use crate::session::{Session, explain};
use ballast_client::ClientError;

/// Fields whose faults stand beside their inputs.
const PLACED: [&str; 5] = ["/code", "/name", "/password", "/spec/password", "/username"];

/// Asks for name and password.
#[component]
pub(crate) fn SignIn(expired: bool) -> impl IntoView {
    let t = texts();
    name_page(t.sign_in);
    let session = Session::here();
    let attempt = Attempt::new();
    let (username, password) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let submit = move |event: SubmitEvent| {
        event.prevent_default();
        attempt.run(session, async move {
            let (username, password) = (username.get_untracked(), password.get_untracked());
            session.client().log_in(username.trim(), &password).await
        });
    };
    view! {
        <h1>{t.sign_in}</h1>
        {expired
            .then(|| {
                view! {
                    <div class="notice warning">
                        <Icon symbol=Symbol::Warning />
                        <p>{t.session_expired}</p>
                    </div>
                }
            })}
        <form class="stack" on:submit=submit>
            <TextField label=t.username value=username autocomplete="username" focus=true required=true />
            <TextField
                label=t.password
                value=password
                kind="password"
                autocomplete="current-password"
                required=true
            />
            {move || attempt.problem.get().map(|problem| view! { <Failure title=t.sign_in_failed problem /> })}
            <Button look=Look::Primary submit=true busy=attempt.busy text=t.sign_in />
        </form>
    }
}

/// Asks for the one-time code and makes the first administrator.
#[component]
pub(crate) fn SetUp() -> impl IntoView {
    let t = texts();
    name_page(t.set_up);
    let session = Session::here();
    let attempt = Attempt::new();
    let code = RwSignal::new(String::new());
    let username = RwSignal::new("admin".to_owned());
    let password = RwSignal::new(String::new());
    let repeated = RwSignal::new(String::new());
    let differs = RwSignal::new(false);
    let submit = move |event: SubmitEvent| {
        event.prevent_default();
        differs.set(password.get_untracked() != repeated.get_untracked());
        if differs.get_untracked() {
            focus_first_fault();
            return;
        }
        let setup = SetupRequest {
            code: code.get_untracked().trim().to_owned(),
            username: username.get_untracked().trim().to_owned(),
            password: password.get_untracked(),
        };
        attempt.run(session, async move { session.client().set_up(&setup).await });
    };
    let repeated_error =
        Signal::derive(move || differs.get().then(|| t.passwords_differ.to_owned()));
    view! {
        <h1>{t.set_up}</h1>
        <p class="quiet">{t.set_up_hint}</p>
        <form class="stack" on:submit=submit>
            <TextField
                label=t.setup_code
                value=code
                focus=true
                required=true
                placeholder="XXXX-XXXX-XXXX"
                hint=t.setup_code_hint
                error=attempt.error_of(&["/code"])
            />
            <TextField
                label=t.username
                value=username
                autocomplete="username"
                required=true
                error=attempt.error_of(&["/username", "/name"])
            />
            <TextField
                label=t.new_password
                value=password
                kind="password"
                autocomplete="new-password"
                required=true
                hint=t.new_password_hint
                error=attempt.error_of(&["/password", "/spec/password"])
            />
            <TextField
                label=t.repeat_password
                value=repeated
                kind="password"
                autocomplete="new-password"
                required=true
                error=repeated_error
            />
            {move || attempt.problem.get().map(|problem| view! { <Failure title=t.set_up_failed problem /> })}
            <Button look=Look::Primary submit=true busy=attempt.busy text=t.set_up_button />
            <Button look=Look::Quiet text=t.sign_in_instead press=move || session.is_set_up() />
        </form>
    }
}

/// A try to sign in.
#[derive(Clone, Copy)]
struct Attempt {
    busy: RwSignal<bool>,
    problem: RwSignal<Option<Problem>>,
    errors: RwSignal<Vec<FieldError>>,
}

impl Attempt {
    fn new() -> Self {
        Self {
            busy: RwSignal::new(false),
            problem: RwSignal::new(None),
            errors: RwSignal::new(Vec::new()),
        }
    }

    fn run(
        self,
        session: Session,
        call: impl Future<Output = Result<SessionInfo, ClientError>> + 'static,
    ) {
        self.busy.set(true);
        self.problem.set(None);
        self.errors.set(Vec::new());
        spawn_local(async move {
            match call.await {
                Ok(info) => session.opened(info),
                Err(error) => {
                    let problem = explain(&error);
                    let all_placed = !problem.errors.is_empty()
                        && problem.errors.iter().all(|e| PLACED.contains(&e.pointer.as_str()));
                    self.errors.try_set(problem.errors.clone());
                    self.problem.try_set((!all_placed).then_some(problem));
                    self.busy.try_set(false);
                    focus_first_fault();
                }
            }
        });
    }

    fn error_of(self, pointers: &'static [&'static str]) -> Signal<Option<String>> {
        Signal::derive(move || {
            self.errors.with(|errors| pointers.iter().find_map(|p| messages_at(errors, p)))
        })
    }
}
