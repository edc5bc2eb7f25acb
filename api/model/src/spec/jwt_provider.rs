//! JWT providers: who issues tokens, and the keys by which they are told from forged ones.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::yes;
use crate::config::Kind;
use crate::limits::{
    JWKS_KEY_MAX_COUNT, JWKS_MAX_BYTES, JWKS_REFRESH_MAX_S, JWKS_REFRESH_MIN_S,
    JWT_CLOCK_SKEW_MAX_S, JWT_LIST_MAX_COUNT, JWT_TEXT_MAX_BYTES,
};
use crate::resource::Spec;
use crate::spec::tls::validate_ca_pem;
use crate::validate::FieldErrors;

/// Parts of keys that are secret (RFC 7518 §6.2.2, §6.3.2, §6.4): nobody needs them to verify, and
/// everybody who reads the configuration could sign with them.
const SECRET_PARTS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Who issues tokens (RFC 7519): its public keys, in the resource or by URL, and what its tokens must
/// say of themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct JwtProviderSpec {
    /// The public keys, a JSON Web Key Set (RFC 7517 §5): `{"keys": [...]}` with at most 64 keys and
    /// 256 KiB. Exactly one of this and `jwks_url` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub jwks: Option<Value>,
    /// Where each traffic node fetches them, `https://...`; `http://...` only within networks that
    /// you trust, since whoever can answer in its place can forge tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// For `jwks_url` with `https`: the authorities whose certificates are believed, in PEM. Absent:
    /// those that the node's system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    /// Time between two fetches of the keys, in seconds, 10 to 86,400. A token with an unknown key
    /// causes one earlier, at most every 10 seconds.
    #[serde(default = "default_refresh_s")]
    pub refresh_s: u32,
    /// The `iss` that a token must have. Absent: it is not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Of these, a token's `aud` must name at least one. Empty: it is not looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    /// The algorithms that are accepted. A token can't choose: the key that it names decides.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<JwtAlgorithm>,
    /// How far the issuer's clock may be from ours, in seconds, 0 to 600.
    #[serde(default = "default_clock_skew_s")]
    pub clock_skew_s: u32,
    /// Whether a token must say when it expires.
    #[serde(default = "yes")]
    pub requires_expiry: bool,
}

/// An algorithm that signs tokens (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum JwtAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    #[serde(rename = "RS384")]
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    #[serde(rename = "RS512")]
    Rs512,
    /// RSASSA-PSS with SHA-256.
    #[serde(rename = "PS256")]
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// ECDSA on P-384 with SHA-384.
    #[serde(rename = "ES384")]
    Es384,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl JwtAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 7] =
        [Self::Rs256, Self::Rs384, Self::Rs512, Self::Ps256, Self::Es256, Self::Es384, Self::EdDsa];

    /// Its name in tokens and keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }
}

impl JwtProviderSpec {
    /// A provider with those keys, and default settings.
    pub fn inline(jwks: Value) -> Self {
        Self { jwks: Some(jwks), ..Self::empty() }
    }

    /// A provider whose keys are fetched from there, with default settings.
    pub fn by_url(url: impl Into<String>) -> Self {
        Self { jwks_url: Some(url.into()), ..Self::empty() }
    }

    /// How many keys stand in the resource itself.
    pub fn key_count(&self) -> usize {
        keys(self.jwks.as_ref()).map_or(0, <[Value]>::len)
    }

    fn empty() -> Self {
        Self {
            jwks: None,
            jwks_url: None,
            ca_pem: None,
            refresh_s: default_refresh_s(),
            issuer: None,
            audiences: Vec::new(),
            algorithms: default_algorithms(),
            clock_skew_s: default_clock_skew_s(),
            requires_expiry: true,
        }
    }
}

impl Spec for JwtProviderSpec {
    const KIND: Kind = Kind::JwtProvider;

    fn validate(&self, errors: &mut FieldErrors) {
        match (&self.jwks, &self.jwks_url) {
            (Some(jwks), None) => validate_jwks(errors, jwks),
            (None, Some(url)) => validate_url(errors, url),
            (None, None) => errors.push("jwks", "required", "jwks or jwks_url must be given"),
            (Some(_), Some(_)) => {
                errors.push("jwks_url", "not_allowed", "either jwks or jwks_url, not both");
            }
        }
        if let Some(pem) = &self.ca_pem {
            let is_https = self.jwks_url.as_deref().is_some_and(|url| url.starts_with("https://"));
            errors.require(is_https, "ca_pem", "not_allowed", || {
                "is for keys that are fetched by https".to_owned()
            });
            validate_ca_pem(errors, "ca_pem", pem);
        }
        errors.range("refresh_s", self.refresh_s, JWKS_REFRESH_MIN_S, JWKS_REFRESH_MAX_S);
        if let Some(issuer) = &self.issuer {
            errors.range("issuer", issuer.len(), 1, JWT_TEXT_MAX_BYTES);
        }
        errors.range("audiences", self.audiences.len(), 0, JWT_LIST_MAX_COUNT);
        errors.within("audiences", |errors| {
            for (i, audience) in self.audiences.iter().enumerate().take(JWT_LIST_MAX_COUNT) {
                errors.range(&i.to_string(), audience.len(), 1, JWT_TEXT_MAX_BYTES);
            }
        });
        errors.range("algorithms", self.algorithms.len(), 1, JWT_LIST_MAX_COUNT);
        let mut seen = BTreeSet::new();
        errors.within("algorithms", |errors| {
            for (i, algorithm) in self.algorithms.iter().enumerate().take(JWT_LIST_MAX_COUNT) {
                errors.require(seen.insert(algorithm), i, "duplicate", || {
                    "stands in the list already".to_owned()
                });
            }
        });
        errors.range("clock_skew_s", self.clock_skew_s, 0, JWT_CLOCK_SKEW_MAX_S);
    }
}

fn keys(jwks: Option<&Value>) -> Option<&[Value]> {
    jwks?.get("keys")?.as_array().map(Vec::as_slice)
}

fn validate_jwks(errors: &mut FieldErrors, jwks: &Value) {
    let length = jwks.to_string().len();
    errors.range("jwks", length, 0, JWKS_MAX_BYTES);
    let Some(keys) = keys(Some(jwks)) else {
        return errors.push("jwks", "invalid_jwks", "must be {\"keys\": [...]} (RFC 7517 §5)");
    };
    errors.within("jwks", |errors| {
        errors.range("keys", keys.len(), 1, JWKS_KEY_MAX_COUNT);
        // Of a secret key it is said where it stands.
        let has_any = keys.iter().any(|key| is_usable(key) || secret_part(key).is_some());
        errors.require(has_any || keys.is_empty(), "keys", "invalid_jwks", || {
            "hold none that can be used: RSA with n and e, EC on P-256 or P-384 with x and y, or OKP \
             on Ed25519 with x (RFC 7518 §6, RFC 8037)"
                .to_owned()
        });
        errors.within("keys", |errors| {
            for (i, key) in keys.iter().enumerate().take(JWKS_KEY_MAX_COUNT) {
                let is_key = key.get("kty").is_some_and(Value::is_string);
                errors.require(is_key, i, "invalid_jwks", || {
                    "must be a key with \"kty\" (RFC 7517 §4.1)".to_owned()
                });
                errors.require(secret_part(key).is_none(), i, "secret_key", || {
                    "is or holds a secret key; only public keys may stand here".to_owned()
                });
            }
        });
    });
}

fn secret_part(key: &Value) -> Option<&'static str> {
    SECRET_PARTS.into_iter().find(|part| key.get(part).is_some())
}

/// Whether signatures can be checked with that key.
fn is_usable(key: &Value) -> bool {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    match (text("kty"), text("crv")) {
        (Some("RSA"), _) => text("n").is_some() && text("e").is_some(),
        (Some("EC"), Some("P-256" | "P-384")) => text("x").is_some() && text("y").is_some(),
        (Some("OKP"), Some("Ed25519")) => text("x").is_some(),
        _ => false,
    }
}

fn validate_url(errors: &mut FieldErrors, url: &str) {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let authority = rest.map(|rest| rest.split(['/', '?']).next().unwrap_or_default());
    let is_plain = url.len() <= JWT_TEXT_MAX_BYTES
        && url.bytes().all(|b| b.is_ascii_graphic())
        && !url.contains('#');
    let has_host = authority.is_some_and(|authority| {
        !authority.is_empty() && !authority.starts_with(':') && !authority.contains('@')
    });
    // An address of IPv6 has colons of its own, in brackets.
    let port = authority.and_then(|authority| authority.rsplit(']').next()?.split_once(':'));
    let has_port = port.is_none_or(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0));
    errors.require(is_plain && has_host && has_port, "jwks_url", "invalid_url", || {
        "must be https://host[:port]/path, or http://, without user and fragment".to_owned()
    });
}

fn default_refresh_s() -> u32 {
    300
}

fn default_algorithms() -> Vec<JwtAlgorithm> {
    JwtAlgorithm::ALL.to_vec()
}

fn default_clock_skew_s() -> u32 {
    60
}

#[cfg(test)]
mod tests;
