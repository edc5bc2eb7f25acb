//! Tokens: long-lived credentials of programs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::Kind;
use crate::resource::Spec;
use crate::spec::user::Role;
use crate::validate::FieldErrors;

/// A long-lived credential. Its secret is shown once, when it is made, and stored hashed.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TokenSpec {
    /// What the bearer may do.
    pub role: Role,
    /// When it stops working, in ms since the Unix epoch. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
    /// The first characters of the secret, to tell tokens apart. Set by the server only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// SHA-256 of the secret, in hexadecimal. Set by the server only, never shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_hash: Option<String>,
}

impl fmt::Debug for TokenSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSpec")
            .field("role", &self.role)
            .field("expires_at_ms", &self.expires_at_ms)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl Spec for TokenSpec {
    const KIND: Kind = Kind::Token;

    fn validate(&self, _errors: &mut FieldErrors) {}

    fn inherit(&mut self, previous: &Self) {
        // Always: a token's secret was shown once, and whoever holds it relies on it.
        self.prefix.clone_from(&previous.prefix);
        self.secret_hash.clone_from(&previous.secret_hash);
    }

    fn redact(&mut self) {
        self.secret_hash = None;
    }

    fn server_only_field(&self) -> Option<&'static str> {
        self.secret_hash.as_ref().map(|_| "secret_hash")
    }
}
