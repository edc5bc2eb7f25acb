//! Who is asking: API tokens and sessions.
//!
//! Both are checked against the newest snapshot at every request, so that a token, a user or a
//! session that goes, goes at once, and so that no write is needed to let somebody in.

pub(crate) mod password;
pub(crate) mod session;
pub(crate) mod throttle;

use axum::http::{HeaderMap, Method, header};
use ballast_model::{Role, Snapshot};

use crate::app::{App, equal_in_constant_time, now_ms, sha256_hex};
use crate::failure::Failure;
use session::Claims;

/// What API tokens start with.
pub(crate) const TOKEN_PREFIX: &str = "blst_";
/// How much of a token is stored to tell it from others, in characters.
pub(crate) const TOKEN_SHOWN_CHARS: usize = 12;
/// Where a session's CSRF token goes.
const CSRF_HEADER: &str = "x-csrf-token";

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The user, or `token/<name>`.
    pub(crate) actor: String,
    pub(crate) role: Role,
    pub(crate) expires_at_ms: Option<u64>,
    /// Where it is a session, not a token.
    pub(crate) session: Option<Claims>,
    /// Where it came with a cookie, which browsers send along by themselves.
    by_cookie: bool,
}

/// Who sends a request with these headers. None: nobody tried to say.
///
/// # Errors
/// Where what was sent is not valid, or no longer.
pub(crate) fn authenticate(app: &App, headers: &HeaderMap) -> Result<Option<Caller>, Failure> {
    let snapshot = app.snapshot();
    if let Some(authorization) = headers.get(header::AUTHORIZATION) {
        let bearer = authorization.to_str().ok().and_then(|text| {
            let (scheme, secret) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
        });
        let Some(bearer) = bearer else {
            return Err(Failure::unauthenticated("Authorization must be a Bearer token"));
        };
        let caller = match bearer.starts_with(TOKEN_PREFIX) {
            true => by_token(&snapshot, bearer),
            false => by_session(app, &snapshot, bearer, false),
        };
        let refusal = "the token or session is not known, has expired, or was revoked";
        return caller.map(Some).ok_or_else(|| Failure::unauthenticated(refusal));
    }
    let Some(value) = session::from_cookies(headers) else { return Ok(None) };
    by_session(app, &snapshot, value, true)
        .map(Some)
        .ok_or_else(|| Failure::unauthenticated("the session has ended"))
}

/// Requires a session that came by cookie to prove, for anything but a read, that it is the
/// console that asks.
///
/// # Errors
/// Where the proof is missing or wrong.
pub(crate) fn check_csrf(
    app: &App,
    caller: &Caller,
    method: &Method,
    headers: &HeaderMap,
) -> Result<(), Failure> {
    let Some(claims) = caller.session.as_ref().filter(|_| caller.by_cookie) else { return Ok(()) };
    let sent = headers.get(CSRF_HEADER).map_or(&b""[..], |value| value.as_bytes());
    let expected = app.sessions.csrf_token(claims);
    if method.is_safe() || equal_in_constant_time(sent, expected.as_bytes()) {
        return Ok(());
    }
    Err(Failure::new(
        403,
        "csrf_token_invalid",
        "The request lacks its proof",
        "a change that is authorized by cookie needs the session's csrf_token in X-CSRF-Token",
    ))
}

fn by_token(snapshot: &Snapshot, secret: &str) -> Option<Caller> {
    let hash = sha256_hex(secret.as_bytes());
    let matches = |stored: &Option<String>| {
        stored.as_ref().is_some_and(|h| equal_in_constant_time(h.as_bytes(), hash.as_bytes()))
    };
    let mut tokens = snapshot.state.config.tokens.iter();
    let token = tokens.find(|token| matches(&token.spec.secret_hash))?;
    let is_live = token.spec.expires_at_ms.is_none_or(|expires_at_ms| expires_at_ms > now_ms());
    is_live.then(|| Caller {
        actor: format!("token/{}", token.name),
        role: token.spec.role,
        expires_at_ms: token.spec.expires_at_ms,
        session: None,
        by_cookie: false,
    })
}

fn by_session(app: &App, snapshot: &Snapshot, value: &str, by_cookie: bool) -> Option<Caller> {
    let claims = app.sessions.verify(value, snapshot, now_ms())?;
    let user = snapshot.state.config.users.get(&claims.user)?;
    Some(Caller {
        actor: claims.user.clone(),
        role: user.spec.role,
        expires_at_ms: Some(claims.expires_at_ms),
        session: Some(claims),
        by_cookie,
    })
}
