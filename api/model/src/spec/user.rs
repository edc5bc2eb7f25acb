//! Users: people who sign in.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::Kind;
use crate::resource::Spec;
use crate::validate::FieldErrors;

/// Shortest password accepted, in characters (NIST SP 800-63B §5.1.1.2 asks for at least 8).
pub const PASSWORD_MIN_CHARS: usize = 10;
/// Longest password accepted, in bytes.
pub const PASSWORD_MAX_BYTES: usize = 1_024;

/// A person who signs in.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct UserSpec {
    /// What the user may do.
    pub role: Role,
    /// The password. Write-only. Absent in an update: the one that is there stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The password's argon2id hash. Set by the server only, never shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<String>,
    /// True: can't sign in, and open sessions end.
    #[serde(default)]
    pub disabled: bool,
}

/// What a caller may do; each role may do all that the ones after it may.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads everything but secrets.
    #[default]
    Viewer,
    /// Also enables, disables, drains and fails over.
    Operator,
    /// Also changes the configuration, but not users, tokens and nodes.
    Editor,
    /// Everything.
    Admin,
}

impl Role {
    /// The name used in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Debug for UserSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserSpec")
            .field("role", &self.role)
            .field("disabled", &self.disabled)
            .finish_non_exhaustive()
    }
}

impl Spec for UserSpec {
    const KIND: Kind = Kind::User;

    fn validate(&self, errors: &mut FieldErrors) {
        if let Some(password) = &self.password {
            let fits = password.chars().count() >= PASSWORD_MIN_CHARS
                && password.len() <= PASSWORD_MAX_BYTES;
            errors.require(fits, "password", "weak_password", || {
                format!("must have {PASSWORD_MIN_CHARS} characters to {PASSWORD_MAX_BYTES} bytes")
            });
        } else if self.password_hash.is_none() {
            errors.push("password", "required", "a new user needs a password");
        }
    }

    fn inherit(&mut self, previous: &Self) {
        if self.password.is_none() && self.password_hash.is_none() {
            self.password_hash.clone_from(&previous.password_hash);
        }
    }

    fn redact(&mut self) {
        self.password = None;
        self.password_hash = None;
    }

    fn server_only_field(&self) -> Option<&'static str> {
        self.password_hash.as_ref().map(|_| "password_hash")
    }
}
