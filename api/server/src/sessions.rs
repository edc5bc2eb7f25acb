//! Signing in and out, and the first administrator.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use ballast_model::api::{Credentials, SessionInfo, SetupRequest, SetupState};
use ballast_model::limits::NAME_MAX_CHARS;
use ballast_model::{
    AnyDraft, CommandBody, Draft, Edit, FieldErrors, Outcome, Rejection, Role, UserSpec,
};
use ballast_raft_store::identity::setup_code_hash;

use crate::app::{equal_in_constant_time, now_ms, random_id};
use crate::auth::session::{SESSION_LIFETIME_MS, set_cookie};
use crate::call::Call;
use crate::failure::{self, Answer, Failure};
use crate::write;

/// Under which name attempts at the setup code are counted: no user can be called so.
const SETUP_ATTEMPTS: &str = "(setup)";

pub(crate) fn setup_state(call: &Call) -> Answer {
    let required = call.app.snapshot().state.cluster.setup_code_hash.is_some();
    failure::json(StatusCode::OK, &SetupState { required })
}

/// Makes the first administrator.
pub(crate) async fn set_up(call: &Call) -> Answer {
    let request: SetupRequest = call.json()?;
    throttle(call, SETUP_ATTEMPTS)?;
    let code_hash = setup_code_hash(&request.code);
    let snapshot = call.app.fresh_snapshot().await?;
    let expected = snapshot.state.cluster.setup_code_hash.as_deref().unwrap_or("");
    if !equal_in_constant_time(code_hash.as_bytes(), expected.as_bytes()) {
        return Err(Rejection::SetupCodeInvalid.into());
    }
    let mut spec = UserSpec {
        role: Role::Admin,
        password: Some(request.password.clone()),
        password_hash: None,
        disabled: false,
    };
    check_user(&request.username, &spec)?;
    spec.password_hash = Some(call.app.passwords.hash(&request.password).await?);
    spec.password = None;
    let draft = AnyDraft::User(Draft::new(&request.username, spec));
    let edits = vec![Edit::put(draft, random_id())];
    write::commit(call, CommandBody::Setup { code_hash, edits }, Vec::new()).await?;
    call.app.throttle.succeeded(SETUP_ATTEMPTS, &call.source);
    tracing::info!(target: "audit", user = request.username, source = call.source, "first administrator made");
    open(call, &request.username, StatusCode::CREATED)
}

/// `POST /sessions`.
pub(crate) async fn log_in(call: &Call) -> Answer {
    let credentials: Credentials = call.json()?;
    let name = credentials.username.as_str();
    if name.len() > NAME_MAX_CHARS {
        return Err(wrong_credentials());
    }
    throttle(call, name)?;
    let _share = call.app.passwords.share(&call.source)?;
    let snapshot = call.app.snapshot();
    let user = snapshot.state.config.users.get(name);
    let hash = user.and_then(|user| user.spec.password_hash.as_deref());
    let is_right = call.app.passwords.verify(&credentials.password, hash).await?;
    if !is_right || user.is_none_or(|user| user.spec.disabled) {
        return Err(wrong_credentials());
    }
    call.app.throttle.succeeded(name, &call.source);
    open(call, name, StatusCode::CREATED)
}

/// `GET /sessions/current`.
pub(crate) fn current(call: &Call) -> Answer {
    let Some(caller) = &call.caller else { return Err(Failure::internal("nobody is signed in")) };
    let csrf_token = caller.session.as_ref().map(|claims| call.app.sessions.csrf_token(claims));
    let info = SessionInfo {
        user: caller.actor.clone(),
        role: caller.role,
        expires_at_ms: caller.expires_at_ms,
        csrf_token,
    };
    failure::json(StatusCode::OK, &info)
}

/// `DELETE /sessions/current`. On this node the session ends at once; on the others with the write,
/// which may fail: then it ends there by its time. Where the write is refused, the caller is told.
pub(crate) async fn log_out(call: &Call) -> Answer {
    let mut response = failure::no_content();
    let Some(claims) = call.caller.as_ref().and_then(|caller| caller.session.as_ref()) else {
        return Err(Failure::new(
            409,
            "no_session",
            "There is no session to end",
            "you are signed in with an API token; delete the token instead",
        ));
    };
    call.app.sessions.revoke(claims, now_ms());
    let (id, expires_at_ms) = (claims.id.clone(), claims.expires_at_ms);
    let command = call.command(CommandBody::RevokeSession { id, expires_at_ms })?;
    match call.app.store.propose(command).await {
        Ok(Outcome::Applied { .. } | Outcome::Replayed { .. }) => {}
        Ok(Outcome::Rejected { rejection }) => {
            tracing::warn!(%rejection, "a session was ended on this node only");
            response = Failure::from(rejection).into_response();
        }
        Err(error) => tracing::warn!(%error, "a session was ended on this node only"),
    }
    response.headers_mut().insert(header::SET_COOKIE, cookie("")?);
    Ok(response)
}

fn open(call: &Call, name: &str, status: StatusCode) -> Answer<Response> {
    let snapshot = call.app.snapshot();
    let Some(user) = snapshot.state.config.users.get(name) else { return Err(wrong_credentials()) };
    let password_hash = user.spec.password_hash.as_deref().unwrap_or("");
    let now_ms = now_ms();
    let (claims, value) = call.app.sessions.open(name, password_hash, now_ms);
    let info = SessionInfo {
        user: name.to_owned(),
        role: user.spec.role,
        expires_at_ms: Some(now_ms + SESSION_LIFETIME_MS),
        csrf_token: Some(call.app.sessions.csrf_token(&claims)),
    };
    let mut response = failure::json(status, &info)?;
    response.headers_mut().insert(header::SET_COOKIE, cookie(&value)?);
    Ok(response)
}

fn cookie(value: &str) -> Answer<HeaderValue> {
    set_cookie(value).parse().map_err(Failure::internal)
}

/// The faults of a first user, as pointers into the setup request.
fn check_user(name: &str, spec: &UserSpec) -> Result<(), Failure> {
    let mut errors = FieldErrors::default();
    Draft::new(name, spec.clone()).validate(&mut errors);
    let mut found = errors.into_vec();
    for error in &mut found {
        error.pointer = match error.pointer.as_str() {
            "/name" => "/username".to_owned(),
            pointer => pointer.trim_start_matches("/spec").to_owned(),
        };
    }
    if found.is_empty() { Ok(()) } else { Err(ballast_model::Problem::invalid(found).into()) }
}

fn throttle(call: &Call, user: &str) -> Result<(), Failure> {
    call.app.throttle.attempt(user, &call.source, now_ms()).map_err(|wait_s| {
        let detail =
            format!("too many attempts failed lately; the next one may come in {wait_s} s");
        Failure::new(429, "too_many_attempts", "Too many attempts", detail).retry_after(wait_s)
    })
}

fn wrong_credentials() -> Failure {
    let detail = "user and password do not go together, or the user is disabled";
    Failure::new(401, "credentials_invalid", "Signing in failed", detail)
}
