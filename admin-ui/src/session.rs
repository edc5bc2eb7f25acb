//! Who is signed in, and what they may do.

use ballast_client::{Client, ClientError};
use ballast_model::api::SessionInfo;
use ballast_model::{Problem, Role};
use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::i18n::texts;

/// How far signing in has come.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stage {
    /// Asking the server.
    Unknown,
    /// The server can't be asked.
    Unreachable(Problem),
    /// The cluster waits for its first administrator.
    SetUp,
    /// Nobody is signed in.
    SignedOut {
        /// A session was there and ended by itself.
        expired: bool,
    },
    /// Somebody is.
    SignedIn(SessionInfo),
}

/// The session, and the API that it is for.
#[derive(Clone, Copy)]
pub(crate) struct Session {
    client: StoredValue<Client>,
    stage: RwSignal<Stage>,
}

impl Session {
    /// A session of `client`; nobody knows yet whether it is signed in.
    pub(crate) fn new(client: Client) -> Self {
        Self { client: StoredValue::new(client), stage: RwSignal::new(Stage::Unknown) }
    }

    /// The page's session.
    pub(crate) fn here() -> Self {
        expect_context()
    }

    /// The API.
    pub(crate) fn client(self) -> Client {
        self.client.get_value()
    }

    /// How far signing in has come.
    pub(crate) fn stage(self) -> Stage {
        self.stage.get()
    }

    /// Whether the user may do what `role` may.
    pub(crate) fn may(self, role: Role) -> bool {
        matches!(self.stage.get(), Stage::SignedIn(info) if info.role >= role)
    }

    /// Finds out whether there is a session already, or a cluster to set up.
    pub(crate) fn resume(self) {
        let client = self.client();
        spawn_local(async move {
            let stage = match client.session().await {
                Ok(info) => Stage::SignedIn(info),
                Err(error) if error.status() == Some(401) => match client.setup_state().await {
                    Ok(setup) if setup.required => Stage::SetUp,
                    Ok(_) => Stage::SignedOut { expired: false },
                    Err(error) => Stage::Unreachable(explain(&error)),
                },
                Err(error) => Stage::Unreachable(explain(&error)),
            };
            self.stage.set(stage);
        });
    }

    /// Somebody signed in.
    pub(crate) fn opened(self, info: SessionInfo) {
        self.stage.set(Stage::SignedIn(info));
    }

    /// The cluster has its administrator already.
    pub(crate) fn is_set_up(self) {
        self.stage.set(Stage::SignedOut { expired: false });
    }

    /// The server no longer knows the session.
    pub(crate) fn expired(self) {
        if matches!(self.stage.get_untracked(), Stage::SignedIn(_)) {
            self.stage.set(Stage::SignedOut { expired: true });
        }
    }

    /// Ends the session.
    pub(crate) fn sign_out(self) {
        let client = self.client();
        spawn_local(async move {
            // Where the server can't be told, the session ends there by itself.
            let _ = client.log_out().await;
            self.stage.set(Stage::SignedOut { expired: false });
        });
    }
}

/// What to show where a call failed.
pub(crate) fn explain(error: &ClientError) -> Problem {
    match error.problem() {
        Some(problem) => problem.clone(),
        None if matches!(error, ClientError::Transport { .. }) => unreachable(),
        None => Problem::new(0, "unexpected", "The answer can't be used", error.chain()),
    }
}

/// Nobody answers.
pub(crate) fn unreachable() -> Problem {
    let t = texts();
    Problem::new(0, "unreachable", t.unreachable, t.unreachable_hint)
}
