//! Sessions: signed values that every node of the cluster understands.
//!
//! Nothing is stored: a session is a list of claims with a signature (HMAC-SHA256 with a key that
//! only the cluster's nodes have). It dies with its time, with its user, with the user's password,
//! and when it is revoked. ADR 6 says why.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::hmac;
use axum::http::{HeaderMap, header};
use ballast_model::Snapshot;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::app::{equal_in_constant_time, hex, random_id};

/// How long a session lasts, in ms (12 h).
pub(crate) const SESSION_LIFETIME_MS: u64 = 12 * 60 * 60 * 1_000;
/// The cookie of a session. The prefix makes browsers insist on `Secure`, `/` and the whole host
/// (draft-ietf-httpbis-rfc6265bis §4.1.3.2).
pub(crate) const COOKIE: &str = "__Host-ballast-session";
/// Most sessions that this node remembers as ended although the log does not say so.
const LOCALLY_REVOKED_MAX_COUNT: usize = 10_000;
/// Which form of claims is written; others are not accepted.
const CLAIMS_VERSION: u8 = 1;

/// What a session says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    version: u8,
    pub(crate) id: String,
    pub(crate) user: String,
    pub(crate) expires_at_ms: u64,
    /// Keyed digest of the user's password hash, so that a new password ends the session.
    password: String,
}

/// Makes sessions and checks them.
pub(crate) struct Sessions {
    key: hmac::Key,
    locally_revoked: Mutex<BTreeMap<String, u64>>,
}

impl Sessions {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), locally_revoked: Mutex::default() }
    }

    /// A new session of `user`, whose password has this hash: its claims and its value.
    pub(crate) fn open(&self, user: &str, password_hash: &str, now_ms: u64) -> (Claims, String) {
        let claims = Claims {
            version: CLAIMS_VERSION,
            id: random_id(),
            user: user.to_owned(),
            expires_at_ms: now_ms + SESSION_LIFETIME_MS,
            password: self.digest("password", password_hash),
        };
        // A struct of strings and numbers always has a JSON form.
        let body = serde_json::to_vec(&claims).unwrap_or_default();
        let signature = hmac::sign(&self.key, &body);
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let value = format!("{}.{}", encode(&body), encode(signature.as_ref()));
        (claims, value)
    }

    /// The claims of a session that is signed by this cluster and still good.
    pub(crate) fn verify(&self, value: &str, snapshot: &Snapshot, now_ms: u64) -> Option<Claims> {
        let (body, signature) = value.split_once('.')?;
        let body = URL_SAFE_NO_PAD.decode(body).ok()?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        hmac::verify(&self.key, &body, &signature).ok()?;
        let claims: Claims = serde_json::from_slice(&body).ok()?;
        let is_good = claims.version == CLAIMS_VERSION
            && claims.expires_at_ms > now_ms
            && self.user_stands_by(&claims, snapshot)
            && !snapshot.state.cluster.revoked_sessions.contains_key(&claims.id)
            && !self.revoked().contains_key(&claims.id);
        is_good.then_some(claims)
    }

    /// What the console has to send with every change, so that other sites can't make the browser
    /// do one.
    pub(crate) fn csrf_token(&self, claims: &Claims) -> String {
        self.digest("csrf", &claims.id)
    }

    /// Ends a session on this node at once, whether or not the log can be written.
    pub(crate) fn revoke(&self, claims: &Claims, now_ms: u64) {
        let mut revoked = self.revoked();
        revoked.retain(|_, expires_at_ms| *expires_at_ms > now_ms);
        if revoked.len() >= LOCALLY_REVOKED_MAX_COUNT {
            // The one that ends by itself soonest is forgotten.
            let soonest = revoked.iter().min_by_key(|(_, at_ms)| **at_ms);
            if let Some(soonest) = soonest.map(|(id, _)| id.clone()) {
                revoked.remove(&soonest);
            }
        }
        revoked.insert(claims.id.clone(), claims.expires_at_ms);
    }

    fn user_stands_by(&self, claims: &Claims, snapshot: &Snapshot) -> bool {
        let Some(user) = snapshot.state.config.users.get(&claims.user) else { return false };
        let digest = self.digest("password", user.spec.password_hash.as_deref().unwrap_or(""));
        !user.spec.disabled && equal_in_constant_time(digest.as_bytes(), claims.password.as_bytes())
    }

    fn digest(&self, purpose: &str, text: &str) -> String {
        let tag = hmac::sign(&self.key, format!("{purpose}\0{text}").as_bytes());
        hex(&tag.as_ref()[..16])
    }

    fn revoked(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, u64>> {
        self.locally_revoked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The session's value among a request's cookies.
pub(crate) fn from_cookies(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then_some(value))
}

/// `Set-Cookie` that keeps a session, or drops it where `value` is empty.
pub(crate) fn set_cookie(value: &str) -> String {
    let max_age_s = if value.is_empty() { 0 } else { SESSION_LIFETIME_MS / 1_000 };
    format!("{COOKIE}={value}; Path=/; Max-Age={max_age_s}; HttpOnly; Secure; SameSite=Strict")
}

#[cfg(test)]
mod tests;
