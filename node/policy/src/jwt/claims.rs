//! What a token says, once its signature has been checked.

use ballast_model::spec::policy::{ClaimMatch, ClaimValue, RequireJwt};
use serde_json::{Map, Value};

use super::{JwtError, VerifierSettings};

/// What a genuine token says.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    pub(super) fn new(claims: Map<String, Value>) -> Self {
        Self(claims)
    }

    /// The claim of that name, or the one that a JSON pointer (a name that starts with `/`) leads
    /// to.
    pub fn claim(&self, name: &str) -> Option<&Value> {
        let Some(path) = name.strip_prefix('/') else { return self.0.get(name) };
        let (first, rest) = path.split_once('/').map_or((path, None), |(a, b)| (a, Some(b)));
        let first = first.replace("~1", "/").replace("~0", "~");
        let found = self.0.get(&first)?;
        match rest {
            Some(rest) => found.pointer(&format!("/{rest}")),
            None => Some(found),
        }
    }

    /// Who the token speaks of.
    pub fn subject(&self) -> Option<&str> {
        self.0.get("sub")?.as_str()
    }

    /// Whether they are what a rule requires.
    ///
    /// # Errors
    /// The first claim or scope that does not suffice.
    pub fn satisfies(&self, required: &RequireJwt) -> Result<(), JwtError> {
        let claims_hold = required.claims.iter().all(|(name, wanted)| {
            let found = self.claim(name);
            match wanted {
                ClaimMatch::Equals(wanted) => found.is_some_and(|value| equals(value, wanted)),
                ClaimMatch::Contains(wanted) => found
                    .and_then(Value::as_array)
                    .is_some_and(|list| list.iter().any(|value| equals(value, wanted))),
            }
        });
        if !claims_hold {
            return Err(JwtError::ClaimMismatch);
        }
        let scopes_hold = required.scopes.iter().all(|scope| self.has_scope(scope));
        if scopes_hold { Ok(()) } else { Err(JwtError::InsufficientScope) }
    }

    /// `scope` is a text of scopes with blanks between (RFC 8693 §4.2); `scp`, as others write it, a
    /// list or such a text.
    fn has_scope(&self, scope: &str) -> bool {
        let held = ["scope", "scp"].into_iter().filter_map(|name| self.0.get(name));
        held.into_iter().any(|held| match held {
            Value::String(text) => text.split(' ').any(|one| one == scope),
            Value::Array(list) => list.iter().any(|one| one.as_str() == Some(scope)),
            _ => false,
        })
    }

    pub(super) fn check(&self, settings: &VerifierSettings, now_s: u64) -> Result<(), JwtError> {
        // Whole numbers of seconds up to the year 285,000,000 are exact.
        let (now, skew) = (now_s as f64, settings.clock_skew_s as f64);
        match self.date("exp")? {
            Some(expiry) if now >= expiry + skew => return Err(JwtError::Expired),
            None if settings.requires_expiry => return Err(JwtError::NoExpiry),
            _ => {}
        }
        for name in ["nbf", "iat"] {
            if self.date(name)?.is_some_and(|date| date > now + skew) {
                return Err(JwtError::NotYetValid);
            }
        }
        let issuer = self.0.get("iss").and_then(Value::as_str);
        if settings.issuer.as_deref().is_some_and(|wanted| issuer != Some(wanted)) {
            return Err(JwtError::WrongIssuer);
        }
        let is_ours = |value: &Value| {
            value.as_str().is_some_and(|one| settings.audiences.iter().any(|a| a == one))
        };
        let for_us = settings.audiences.is_empty()
            || match self.0.get("aud") {
                Some(Value::Array(list)) => list.iter().any(is_ours),
                Some(one) => is_ours(one),
                None => false,
            };
        if for_us { Ok(()) } else { Err(JwtError::WrongAudience) }
    }

    /// A NumericDate (RFC 7519 §2), in seconds.
    fn date(&self, name: &str) -> Result<Option<f64>, JwtError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or(JwtError::Malformed),
        }
    }
}

fn equals(value: &Value, wanted: &ClaimValue) -> bool {
    match wanted {
        ClaimValue::Bool(wanted) => value.as_bool() == Some(*wanted),
        ClaimValue::Integer(wanted) => value.as_i64() == Some(*wanted),
        ClaimValue::Text(wanted) => value.as_str() == Some(wanted),
    }
}
