//! Every way in which a call can fail, as the problem that the caller gets to read.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ballast_model::api::Page;
use ballast_model::{FieldErrors, Problem, Rejection, Role, problem};
use ballast_raft_store::ProposeError;

/// A call that failed: the problem, and what the answer's header says besides.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) problem: Box<Problem>,
    retry_after_s: Option<u64>,
}

/// What an operation comes to.
pub(crate) type Answer<T = Response> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(status: u16, code: &str, title: &str, detail: impl Into<String>) -> Self {
        Problem::new(status, code, title, detail).into()
    }

    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    pub(crate) fn code(&self) -> &str {
        &self.problem.code
    }

    /// Faults of an input.
    pub(crate) fn invalid(errors: FieldErrors) -> Self {
        Problem::invalid(errors.into_vec()).into()
    }

    /// A query parameter or header that can't be used.
    pub(crate) fn parameter(name: &str, why: impl std::fmt::Display) -> Self {
        Self::new(
            400,
            "invalid_parameter",
            "A parameter can't be accepted",
            format!("{name} {why}"),
        )
    }

    pub(crate) fn not_found(what: impl std::fmt::Display) -> Self {
        let detail = format!("there is no {what}");
        Self::new(404, "not_found", "There is no such resource", detail)
    }

    pub(crate) fn unauthenticated(detail: &str) -> Self {
        Self::new(401, "unauthenticated", "Sign in first", detail)
    }

    pub(crate) fn forbidden(needed: Role, has: Role) -> Self {
        let detail = format!("this needs role {}; yours is {}", needed.as_str(), has.as_str());
        Self::new(403, "forbidden", "Your role does not allow this", detail)
    }

    pub(crate) fn busy(detail: &str) -> Self {
        Self::new(503, "busy", "Too much at once", detail).retry_after(1)
    }

    /// Something that only a fault of Ballast itself explains.
    pub(crate) fn internal(detail: impl std::fmt::Display) -> Self {
        tracing::error!(%detail, "internal fault");
        let detail = "the node's log says more under this request_id";
        Self::new(500, "internal", "Ballast is at fault", detail)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self { problem: Box::new(problem), retry_after_s: None }
    }
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        Problem::from(rejection).into()
    }
}

impl From<ProposeError> for Failure {
    fn from(error: ProposeError) -> Self {
        let detail = error.to_string();
        match error {
            ProposeError::NoQuorum { .. } => {
                Self::new(503, "no_quorum", "The configuration is read-only", detail).retry_after(2)
            }
            ProposeError::QuorumAtRisk { .. } => {
                Self::new(409, "quorum_at_risk", "The cluster would lose its quorum", detail)
            }
            ProposeError::Unknown => Self::new(
                504,
                "outcome_unknown",
                "The outcome is not known",
                format!(
                    "{detail}. Read before you repeat it, or repeat it with the same \
                     Idempotency-Key: then it is not done twice."
                ),
            ),
            ProposeError::TooLarge { .. } => {
                Self::new(413, "too_large", "The change is too large", detail)
            }
            ProposeError::Stopped => {
                Self::new(503, "stopped", "This node is stopping", detail).retry_after(5)
            }
            other => Self::internal(other),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (
            status,
            [(header::CONTENT_TYPE, problem::CONTENT_TYPE)],
            serde_json::to_vec(&self.problem).unwrap_or_default(),
        )
            .into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.problem.status == StatusCode::UNAUTHORIZED.as_u16() {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, value: &impl serde::Serialize) -> Answer {
    let body = serde_json::to_vec(value).map_err(Failure::internal)?;
    Ok((status, [(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// One page of a list.
pub(crate) fn page<T: serde::Serialize>(page: &Page<T>) -> Answer {
    json(StatusCode::OK, page)
}

/// An answer without a body.
pub(crate) fn no_content() -> Response {
    (StatusCode::NO_CONTENT, Body::empty()).into_response()
}
