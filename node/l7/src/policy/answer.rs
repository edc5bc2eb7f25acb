//! Answers that a policy has us give.

use ballast_model::spec::policy::{RequireJwt, Respond};
use ballast_policy::jwt::JwtError;
use ballast_policy::{Decision, RequestView, Verdict};
use ballast_telemetry::FailureReason;

use crate::buffer::Buffer;
use crate::codec::request::Method;
use crate::failure::{Failure, reason_phrase};
use crate::own::OwnFields;
use crate::worker::HttpWorker;

/// An answer of ours.
#[derive(Debug)]
pub(crate) enum Answer<'a> {
    /// The client is sent elsewhere.
    Redirect { status: u16, location: Vec<u8> },
    /// What the policy says.
    Respond(&'a Respond),
    /// That we are there: `OPTIONS` that goes no further.
    Here,
    /// No.
    Refused(Refusal<'a>),
}

/// Why a request is refused.
#[derive(Debug)]
pub(crate) struct Refusal<'a> {
    pub(super) failure: Failure,
    pub(super) retry_after_s: Option<u64>,
    pub(super) challenge: Option<Challenge<'a>>,
}

/// What is wrong with the token.
#[derive(Debug)]
pub(crate) struct Challenge<'a> {
    pub(super) error: JwtError,
    pub(super) required: &'a RequireJwt,
}

/// How an answer is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) method: Method,
    pub(crate) is_http_10: bool,
    pub(crate) keeps_alive: bool,
}

impl<'a> Refusal<'a> {
    pub(super) fn new(reason: FailureReason) -> Self {
        Self { failure: reason.into(), retry_after_s: None, challenge: None }
    }
}

impl<'a> Answer<'a> {
    /// The answer that a verdict is, if it is one.
    pub(super) fn of<R: RequestView>(
        worker: &HttpWorker,
        decision: &Decision<'a, '_, R>,
    ) -> Option<Self> {
        match decision.verdict() {
            Verdict::Redirect(_) => {
                let mut location = worker.take_text();
                let status = decision.location(&mut location)?;
                Some(Self::Redirect { status, location })
            }
            Verdict::Respond(respond) => Some(Self::Respond(respond)),
            Verdict::Default | Verdict::Pool(_) | Verdict::Split(_) | Verdict::Denied { .. } => {
                None
            }
        }
    }

    /// The answer of whoever a request must not go beyond. What it looked like here is not shown to
    /// clients: `TRACE` is answered as not being there.
    pub(super) fn of_last_hop(method: Method) -> Self {
        let failure = Failure { reason: FailureReason::MethodNotAllowed, status: 501 };
        match method {
            Method::Trace => {
                Self::Refused(Refusal { failure, retry_after_s: None, challenge: None })
            }
            _ => Self::Here,
        }
    }

    /// Why the request has failed, if this says that it has.
    pub(crate) fn failure(&self) -> Option<Failure> {
        match self {
            Self::Redirect { .. } | Self::Respond(_) | Self::Here => None,
            Self::Refused(refusal) => Some(refusal.failure),
        }
    }

    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Redirect { status, .. } => *status,
            Self::Respond(respond) => respond.status,
            Self::Here => 200,
            Self::Refused(refusal) => refusal.failure.status,
        }
    }

    /// Writes the whole answer, with the changes to its header.
    pub(crate) fn write(&self, output: &mut Buffer, manner: Manner, own: OwnFields<'_>) {
        let status = self.status();
        output.push(b"HTTP/1.1 ");
        output.push_decimal(status.into());
        output.push(b" ");
        output.push(reason_phrase(status).as_bytes());
        output.push(b"\r\n");
        if !manner.keeps_alive {
            output.push(b"Connection: close\r\n");
        } else if manner.is_http_10 {
            output.push(b"Connection: keep-alive\r\n");
        }
        match self {
            Self::Redirect { location, .. } => {
                output.push(b"Location: ");
                output.push(location);
                output.push(b"\r\nContent-Length: 0\r\n");
                own.write(output);
                output.push(b"\r\n");
            }
            Self::Respond(respond) => write_respond(output, respond, manner, own),
            Self::Here => {
                output.push(b"Content-Length: 0\r\n");
                own.write(output);
                output.push(b"\r\n");
            }
            Self::Refused(refusal) => {
                own.write_request_id(output);
                own.write(output);
                refusal.write(output, manner, own);
            }
        }
    }

    /// Gives lent texts back.
    pub(super) fn release(self, worker: &HttpWorker) {
        if let Self::Redirect { location, .. } = self {
            worker.give_text(location);
        }
    }
}

fn write_respond(output: &mut Buffer, respond: &Respond, manner: Manner, own: OwnFields<'_>) {
    if respond.has_body() {
        if !own.drops(b"content-type") {
            output.push(b"Content-Type: ");
            output.push(respond.content_type.as_bytes());
            output.push(b"\r\n");
        }
        output.push(b"Content-Length: ");
        output.push_decimal(respond.body.len() as u64);
        output.push(b"\r\n");
    } else if respond.status == 205 {
        // Without it, the end of a 205 would be a matter of opinion (RFC 9110 §15.3.6).
        output.push(b"Content-Length: 0\r\n");
    }
    own.write(output);
    output.push(b"\r\n");
    if respond.has_body() && manner.method != Method::Head {
        output.push(respond.body.as_bytes());
    }
}

impl Refusal<'_> {
    fn write(&self, output: &mut Buffer, manner: Manner, own: OwnFields<'_>) {
        let phrase = reason_phrase(self.failure.status);
        let code = self.failure.reason.code();
        if own.drops(b"retry-after") {
            // A policy has said when, or that it is not said.
        } else if let Some(retry_after_s) = self.retry_after_s {
            output.push(b"Retry-After: ");
            output.push_decimal(retry_after_s);
            output.push(b"\r\n");
        } else if self.failure.status == 503 {
            output.push(b"Retry-After: 1\r\n");
        }
        if let Some(challenge) = &self.challenge {
            challenge.write(output);
        }
        if !own.drops(b"content-type") {
            output.push(b"Content-Type: text/plain\r\n");
        }
        output.push(b"Content-Length: ");
        output.push_decimal(("000 : \n".len() + phrase.len() + code.len()) as u64);
        output.push(b"\r\n\r\n");
        if manner.method != Method::Head {
            output.push_decimal(self.failure.status.into());
            for part in [" ", phrase, ": ", code, "\n"] {
                output.push(part.as_bytes());
            }
        }
    }
}

impl Challenge<'_> {
    /// RFC 6750 §3: who sends no token is told no error; who lacks a scope is told which.
    fn write(&self, output: &mut Buffer) {
        output.push(b"WWW-Authenticate: Bearer realm=\"");
        output.push(self.required.provider.as_bytes());
        output.push(b"\"");
        let error = match self.error {
            JwtError::Missing => None,
            JwtError::ClaimMismatch | JwtError::InsufficientScope => Some("insufficient_scope"),
            _ => Some("invalid_token"),
        };
        if let Some(error) = error {
            output.push(b", error=\"");
            output.push(error.as_bytes());
            output.push(b"\", error_description=\"");
            output.push(self.error.code().as_bytes());
            output.push(b"\"");
        }
        if self.error == JwtError::InsufficientScope {
            output.push(b", scope=\"");
            for (i, scope) in self.required.scopes.iter().enumerate() {
                output.push(if i > 0 { b" " } else { b"" });
                output.push(scope.as_bytes());
            }
            output.push(b"\"");
        }
        output.push(b"\r\n");
    }
}
