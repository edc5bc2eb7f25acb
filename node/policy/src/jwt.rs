//! Tokens (RFC 7519, signed as in RFC 7515): whether one is genuine, meant for us and valid now, and
//! whether its claims suffice.
//!
//! The primitives are aws-lc-rs's, as everywhere in the house; a JWT library on top would bring a
//! second parser of keys and symmetric algorithms that must not be there. Which algorithm checks a
//! signature is decided by the key alone: a token can only say which of the key's algorithms it
//! used. There is no `none`, and no algorithm with a shared secret, so that a public key can't be
//! taken for one.
//!
//! Invariant: no claim is looked at before the signature has been checked.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

mod claims;
mod keys;

pub use ballast_model::JwtAlgorithm;
pub use claims::Claims;
pub use keys::{JWKS_MAX_BYTES, JwksError, KEY_MAX_COUNT, KeySet};

/// Longest token, in bytes.
pub const TOKEN_MAX_BYTES: usize = 16 * 1024;
/// Most keys that are tried for a token that does not say which one signed it.
pub const KEY_TRY_MAX_COUNT: usize = 4;

/// What a provider's tokens must be.
#[derive(Clone, Debug)]
pub struct VerifierSettings {
    /// The `iss` that a token must have. None: any.
    pub issuer: Option<String>,
    /// Of these, a token's `aud` must name at least one. Empty: it is not looked at.
    pub audiences: Vec<String>,
    /// The algorithms that are accepted.
    pub algorithms: Vec<JwtAlgorithm>,
    /// How far the issuer's clock may be from ours, in seconds.
    pub clock_skew_s: u64,
    /// Whether a token must expire.
    pub requires_expiry: bool,
}

impl Default for VerifierSettings {
    /// Any issuer and audience, every algorithm, 60 s, and an expiry.
    fn default() -> Self {
        Self {
            issuer: None,
            audiences: Vec::new(),
            algorithms: JwtAlgorithm::ALL.to_vec(),
            clock_skew_s: 60,
            requires_expiry: true,
        }
    }
}

/// Why a token is refused. The names, [`code`](Self::code), are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// No token came.
    #[error("there is no bearer token")]
    Missing,
    /// It is longer than [`TOKEN_MAX_BYTES`].
    #[error("the token is longer than {TOKEN_MAX_BYTES} bytes")]
    TooLong,
    /// It is not three parts of base64url with JSON inside.
    #[error("the token can't be read")]
    Malformed,
    /// It needs extensions to be understood (`crit`), of which we have none.
    #[error("the token demands an extension that is not known")]
    CriticalExtension,
    /// Its algorithm is unknown, not accepted, or one that is never safe here.
    #[error("the token's algorithm is not accepted")]
    AlgorithmNotAllowed,
    /// No key has its `kid`, or none is for its algorithm.
    #[error("there is no key for the token")]
    UnknownKey,
    /// No key made its signature.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// It has expired.
    #[error("the token has expired")]
    Expired,
    /// It has no expiry, though one is required.
    #[error("the token has no expiry")]
    NoExpiry,
    /// It is not valid yet, or from the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Another issuer made it.
    #[error("the token is of another issuer")]
    WrongIssuer,
    /// It is meant for somebody else.
    #[error("the token is for another audience")]
    WrongAudience,
    /// A claim is missing or has another value.
    #[error("a claim of the token does not suffice")]
    ClaimMismatch,
    /// It lacks a scope.
    #[error("the token lacks a scope")]
    InsufficientScope,
}

impl JwtError {
    /// A stable name.
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "jwt_missing",
            Self::TooLong => "jwt_too_long",
            Self::Malformed => "jwt_malformed",
            Self::CriticalExtension => "jwt_critical_extension",
            Self::AlgorithmNotAllowed => "jwt_algorithm_not_allowed",
            Self::UnknownKey => "jwt_unknown_key",
            Self::BadSignature => "jwt_bad_signature",
            Self::Expired => "jwt_expired",
            Self::NoExpiry => "jwt_no_expiry",
            Self::NotYetValid => "jwt_not_yet_valid",
            Self::WrongIssuer => "jwt_wrong_issuer",
            Self::WrongAudience => "jwt_wrong_audience",
            Self::ClaimMismatch => "jwt_claim_mismatch",
            Self::InsufficientScope => "jwt_insufficient_scope",
        }
    }

    /// The status that answers it (RFC 6750 §3.1): 403 where the token is good but not enough, else
    /// 401.
    pub fn status(self) -> u16 {
        match self {
            Self::ClaimMismatch | Self::InsufficientScope => 403,
            _ => 401,
        }
    }
}

/// Checks the tokens of one provider.
pub struct Verifier {
    settings: VerifierSettings,
    keys: KeySet,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The JOSE header (RFC 7515 §4), as far as it is believed: keys and places of keys that a token
/// brings along are not. A name that comes twice is refused.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    crit: Option<Value>,
}

impl Verifier {
    /// A verifier with these keys.
    pub fn new(settings: VerifierSettings, keys: KeySet) -> Self {
        Self { settings, keys }
    }

    /// Checks a token; `now_s` is the time in seconds since the Unix epoch.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn verify(&self, token: &[u8], now_s: u64) -> Result<Claims, JwtError> {
        if token.len() > TOKEN_MAX_BYTES {
            return Err(JwtError::TooLong);
        }
        let text = std::str::from_utf8(token).map_err(|_| JwtError::Malformed)?;
        let (signed, signature) = text.rsplit_once('.').ok_or(JwtError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(JwtError::Malformed)?;
        if payload.contains('.') {
            return Err(JwtError::Malformed);
        }
        let header: Header =
            serde_json::from_slice(&decoded(header)?).map_err(|_| JwtError::Malformed)?;
        if header.crit.is_some() {
            return Err(JwtError::CriticalExtension);
        }
        let algorithm = JwtAlgorithm::from_name(&header.alg)
            .filter(|algorithm| self.settings.algorithms.contains(algorithm))
            .ok_or(JwtError::AlgorithmNotAllowed)?;
        let signature = decoded(signature)?;
        self.check_signature(algorithm, header.kid.as_deref(), signed.as_bytes(), &signature)?;
        let claims: Map<String, Value> =
            serde_json::from_slice(&decoded(payload)?).map_err(|_| JwtError::Malformed)?;
        let claims = Claims::new(claims);
        claims.check(&self.settings, now_s)?;
        Ok(claims)
    }

    fn check_signature(
        &self,
        algorithm: JwtAlgorithm,
        kid: Option<&str>,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<(), JwtError> {
        let mut error = JwtError::UnknownKey;
        for key in self.keys.of(algorithm, kid).take(KEY_TRY_MAX_COUNT) {
            if key.verify_sig(signed, signature).is_ok() {
                return Ok(());
            }
            error = JwtError::BadSignature;
        }
        Err(error)
    }
}

/// The token of an `Authorization` field's value (RFC 6750 §2.1).
///
/// # Errors
/// [`JwtError::Missing`]: it holds none.
pub fn bearer(authorization: &[u8]) -> Result<&[u8], JwtError> {
    let (scheme, token) = authorization.split_at_checked(7).ok_or(JwtError::Missing)?;
    let token = token.trim_ascii();
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty();
    if is_bearer { Ok(token) } else { Err(JwtError::Missing) }
}

fn decoded(part: &str) -> Result<Vec<u8>, JwtError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtError::Malformed)
}

#[cfg(test)]
mod tests;
