//! Problem details (RFC 9457): the one shape of every error of the API.

use serde::{Deserialize, Serialize};

use crate::command::Rejection;
use crate::resource::ResourceRef;
use crate::validate::FieldError;

/// Media type of a problem.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// An error as the API answers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[error("{title}: {detail}")]
pub struct Problem {
    /// A URI reference for this kind of problem; `about:blank#<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem, for people.
    pub title: String,
    /// The HTTP status code.
    pub status: u16,
    /// The kind of problem, for programs. Stable.
    pub code: String,
    /// What happened this time, and what to do.
    pub detail: String,
    /// Each field at fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Resources that stand in the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub referrers: Vec<ResourceRef>,
    /// The request, as in the logs.
    #[serde(default)]
    pub request_id: String,
}

impl Problem {
    /// A problem without fields.
    pub fn new(status: u16, code: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("about:blank#{code}"),
            title: title.to_owned(),
            status,
            code: code.to_owned(),
            detail: detail.into(),
            errors: Vec::new(),
            referrers: Vec::new(),
            request_id: String::new(),
        }
    }

    /// Faults of an input: 422.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [only] => format!("{} {}", only.pointer, only.message),
            many => format!("{} fields are at fault; see errors", many.len()),
        };
        Self { errors, ..Self::new(422, "invalid", "The input can't be accepted", detail) }
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let detail = rejection.to_string();
        match rejection {
            Rejection::Invalid { errors } => Self::invalid(errors),
            Rejection::AlreadyExists { .. } => {
                Self::new(412, "already_exists", "The resource exists already", detail)
            }
            Rejection::RevisionMismatch { found: Some(found), wanted, .. } => Self::new(
                412,
                "revision_mismatch",
                "The resource has changed",
                format!("{detail}: you know revision {wanted}, it has {found}. Read it again."),
            ),
            Rejection::RevisionMismatch { .. } => {
                Self::new(412, "revision_mismatch", "The resource is gone", detail)
            }
            Rejection::NotFound { .. } => {
                Self::new(404, "not_found", "There is no such resource", detail)
            }
            Rejection::Referenced { referrers, .. } => {
                Self { referrers, ..Self::new(409, "referenced", "The resource is in use", detail) }
            }
            Rejection::IdempotencyKeyReused => {
                Self::new(422, "idempotency_key_reused", "The idempotency key was used", detail)
            }
            Rejection::SetupCodeInvalid => {
                Self::new(403, "setup_code_invalid", "The setup code is not valid", detail)
            }
            Rejection::JoinTicketInvalid => {
                Self::new(403, "join_token_invalid", "The join token is not valid", detail)
            }
            Rejection::LastAdministrator => {
                Self::new(409, "last_administrator", "An administrator must remain", detail)
            }
            Rejection::LastNode { .. } => Self::new(409, "last_node", "A node must remain", detail),
            Rejection::AlreadyInitialized => {
                Self::new(409, "already_initialized", "The cluster exists", detail)
            }
            Rejection::TicketKeyChanged => {
                Self::new(409, "ticket_key_changed", "The key has changed meanwhile", detail)
            }
            Rejection::TooMany { .. } => Self::new(409, "too_many", "A bound is reached", detail),
        }
    }
}
