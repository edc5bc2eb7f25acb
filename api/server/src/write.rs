//! Changing the configuration: rehearse, propose, wait.
//!
//! Nothing is proposed that the rehearsal refuses, and nothing that changes nothing. A rehearsal on
//! a view that may be behind is believed only where it says that there is something to do: the
//! state machine decides again, and that decision counts.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use ballast_model::{
    AnyDraft, Command, CommandBody, Edit, EditAction, FieldError, Outcome, Problem, Rejection,
    Snapshot, State,
};

use crate::app::{App, heavy};
use crate::call::Call;
use crate::dispatch::INDEX_HEADER;
use crate::failure::{Answer, Failure};
use crate::wait;

/// How long `?wait=applied` waits unless told otherwise, in ms.
const WAIT_DEFAULT_MS: u64 = 10_000;
/// How long it may be told to wait, in ms.
const WAIT_MAX_MS: u64 = 60_000;
/// How long this node may take to apply what the cluster has committed before it answers anyway.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(5);

/// What a write came to.
pub(crate) struct Done {
    /// The state after it, or for a dry run the state that it would lead to.
    pub(crate) state: State,
    /// The index of the write, or of the state that it would not change.
    pub(crate) index: u64,
    /// Whether something was written.
    pub(crate) written: bool,
    /// Whether it had been done before under its idempotency key.
    replayed: bool,
    /// Nodes that do not carry it out yet; none where nobody waited.
    not_applied: Vec<String>,
}

/// What a command would come to.
enum Rehearsal {
    Changes(State),
    Nothing,
    Refused(Rejection),
    Replayed(u64),
}

/// Makes edits, all or none. `faults` are those that were found already: nothing is made if there
/// are any, and they are reported together with all others.
pub(crate) async fn edit(call: &Call, edits: Vec<Edit>, faults: Vec<FieldError>) -> Answer<Done> {
    commit(call, CommandBody::Edit { edits }, faults).await
}

/// Carries a command out under the call's wishes: `dry_run`, `wait`, `Idempotency-Key`.
pub(crate) async fn commit(
    call: &Call,
    body: CommandBody,
    faults: Vec<FieldError>,
) -> Answer<Done> {
    let wishes = Wishes::of(call)?;
    let command = Arc::new(call.command(body)?);
    let app = &call.app;
    let (snapshot, rehearsal) = rehearse(app, call.body.len(), &command).await?;
    let mut done = match rehearsal {
        Rehearsal::Refused(rejection) => return Err(refused(rejection, faults)),
        _ if !faults.is_empty() => return Err(Problem::invalid(faults).into()),
        Rehearsal::Changes(state) if wishes.dry_run => Done::unwritten(state, snapshot.index),
        Rehearsal::Nothing => Done::unwritten(snapshot.state.clone(), snapshot.index),
        Rehearsal::Replayed(index) => {
            Done { replayed: true, ..Done::unwritten(snapshot.state.clone(), index) }
        }
        Rehearsal::Changes(_) => propose(app, Arc::unwrap_or_clone(command)).await?,
    };
    if let Some(timeout) = wishes.wait.filter(|_| !wishes.dry_run) {
        call.release_work();
        let snapshot = app.snapshot();
        done.not_applied = wait::until_applied(app, &snapshot, done.index, timeout).await;
    }
    Ok(done)
}

impl Done {
    fn unwritten(state: State, index: u64) -> Self {
        Self { state, index, written: false, replayed: false, not_applied: Vec::new() }
    }

    fn at(snapshot: &Snapshot, index: u64) -> Self {
        Self { written: true, ..Self::unwritten(snapshot.state.clone(), index) }
    }

    /// Adds to an answer what the caller wants to know of the write.
    pub(crate) fn note(&self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        headers.insert(HeaderName::from_static(INDEX_HEADER), self.index.into());
        if !self.not_applied.is_empty()
            && let Ok(value) = HeaderValue::from_str(&self.not_applied.join(", "))
        {
            headers.insert(HeaderName::from_static("x-ballast-not-applied"), value);
        }
        if self.replayed {
            let name = HeaderName::from_static("idempotency-replayed");
            headers.insert(name, HeaderValue::from_static("true"));
        }
        response
    }
}

/// What a write is asked to do besides itself.
struct Wishes {
    dry_run: bool,
    wait: Option<Duration>,
}

impl Wishes {
    fn of(call: &Call) -> Answer<Self> {
        let wait_ms = call.number("wait_timeout_ms", WAIT_DEFAULT_MS, 0, WAIT_MAX_MS)?;
        let wait = match call.parameter("wait") {
            None => None,
            Some("applied") => Some(Duration::from_millis(wait_ms)),
            Some(other) => {
                return Err(Failure::parameter("wait", format!("is {other:?}, not \"applied\"")));
            }
        };
        Ok(Self { dry_run: call.flag("dry_run")?, wait })
    }
}

async fn rehearse(
    app: &App,
    bytes: usize,
    command: &Arc<Command>,
) -> Answer<(Arc<Snapshot>, Rehearsal)> {
    let snapshot = app.snapshot();
    let rehearsal = rehearse_on(&snapshot, bytes, command).await?;
    if matches!(rehearsal, Rehearsal::Changes(_) | Rehearsal::Replayed(_)) {
        return Ok((snapshot, rehearsal));
    }
    // This node may not have applied yet what another one acknowledged.
    match (app.fresh_snapshot().await, rehearsal) {
        (Ok(fresh), _) => {
            let rehearsal = rehearse_on(&fresh, bytes, command).await?;
            Ok((fresh, rehearsal))
        }
        // What is wrong with the input is worth more than that nothing could be written anyway.
        (Err(_), Rehearsal::Refused(rejection)) => Ok((snapshot, Rehearsal::Refused(rejection))),
        (Err(error), _) => Err(error.into()),
    }
}

async fn rehearse_on(
    snapshot: &Arc<Snapshot>,
    bytes: usize,
    command: &Arc<Command>,
) -> Answer<Rehearsal> {
    let (snapshot, command) = (Arc::clone(snapshot), Arc::clone(command));
    heavy(bytes, move || rehearsed(&snapshot, &command)).await
}

fn rehearsed(snapshot: &Snapshot, command: &Command) -> Rehearsal {
    let mut state = snapshot.state.clone();
    match state.apply(snapshot.index + 1, command) {
        Outcome::Rejected { rejection } => Rehearsal::Refused(rejection),
        Outcome::Replayed { index } => Rehearsal::Replayed(index),
        Outcome::Applied { changed, .. } => {
            let is_edit = matches!(command.body, CommandBody::Edit { .. });
            if is_edit && changed.is_empty() {
                Rehearsal::Nothing
            } else {
                Rehearsal::Changes(state)
            }
        }
    }
}

async fn propose(app: &App, command: Command) -> Answer<Done> {
    if edits_of(&command).any(holds_plain_secret) {
        return Err(Failure::internal("a secret would have entered the log unsealed"));
    }
    match app.store.propose(command).await? {
        Outcome::Applied { index, .. } => Ok(Done::at(&*caught_up(app, index).await, index)),
        Outcome::Replayed { index } => {
            Ok(Done { replayed: true, ..Done::at(&*caught_up(app, index).await, index) })
        }
        Outcome::Rejected { rejection } => Err(refused(rejection, Vec::new())),
    }
}

/// The snapshot once it holds `index`, so that the answer shows what was written.
pub(crate) async fn caught_up(app: &App, index: u64) -> Arc<Snapshot> {
    let mut watch = app.store.watch();
    let reached = watch.wait_for(|snapshot| snapshot.index >= index);
    match tokio::time::timeout(CATCH_UP_TIMEOUT, reached).await {
        Ok(Ok(snapshot)) => Arc::clone(&snapshot),
        // It is committed all the same; the answer shows what is here.
        Ok(Err(_)) | Err(_) => app.snapshot(),
    }
}

/// A rejection together with faults that were found before.
pub(crate) fn refused(rejection: Rejection, mut faults: Vec<FieldError>) -> Failure {
    let Rejection::Invalid { errors } = rejection else { return rejection.into() };
    for error in errors {
        let is_known =
            |fault: &FieldError| fault.pointer == error.pointer && fault.resource == error.resource;
        if !faults.iter().any(is_known) {
            faults.push(error);
        }
    }
    Problem::invalid(faults).into()
}

fn edits_of(command: &Command) -> impl Iterator<Item = &Edit> {
    match &command.body {
        CommandBody::Edit { edits } | CommandBody::Setup { edits, .. } => edits.as_slice(),
        _ => &[],
    }
    .iter()
}

fn holds_plain_secret(edit: &Edit) -> bool {
    let EditAction::Put { draft, .. } = &edit.action else { return false };
    match draft.as_ref() {
        AnyDraft::Certificate(draft) => draft.spec.private_key_pem.is_some(),
        AnyDraft::User(draft) => draft.spec.password.is_some(),
        _ => false,
    }
}
