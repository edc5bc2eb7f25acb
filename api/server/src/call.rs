//! A request whose sender is known and may make it, as operations see it.

use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, Method, header};
use ballast_model::{
    AnyDraft, Command, CommandBody, FieldError, FieldErrors, IdempotencyKey, Kind, Origin,
    Precondition, Problem, limits,
};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Deserializer as Tracked, Path, Segment, Track};
use tokio::sync::OwnedSemaphorePermit;

use crate::app::{App, heavy, now_ms, sha256_hex};
use crate::auth::Caller;
use crate::failure::{Answer, Failure};
use crate::route::Route;

/// Media types of a JSON body.
const JSON_TYPES: &[&str] = &["application/json", "application/merge-patch+json"];

/// A request whose sender is known and may make it.
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) route: Arc<Route>,
    /// What varies in the path, by name.
    pub(crate) path: Vec<(String, String)>,
    /// Path and query as sent.
    pub(crate) target: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// What the body holds of the memory for large ones, until the call is done.
    pub(crate) _held: Option<OwnedSemaphorePermit>,
    /// Leave to work on a large body.
    pub(crate) work: Mutex<Option<OwnedSemaphorePermit>>,
    pub(crate) caller: Option<Caller>,
    pub(crate) source: String,
    pub(crate) request_id: String,
}

impl Call {
    /// The resource's name in the path.
    pub(crate) fn name(&self) -> &str {
        self.path_part("name")
    }

    pub(crate) fn path_part(&self, key: &str) -> &str {
        self.path.iter().find(|(k, _)| k == key).map_or("", |(_, value)| value)
    }

    pub(crate) fn parameter(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// A parameter that is `true` or `false`; absent means false.
    pub(crate) fn flag(&self, key: &str) -> Answer<bool> {
        match self.parameter(key) {
            None | Some("false") => Ok(false),
            Some("true" | "") => Ok(true),
            Some(other) => Err(Failure::parameter(key, format!("is {other:?}, not true or false"))),
        }
    }

    pub(crate) fn number(&self, key: &str, default: u64, min: u64, max: u64) -> Answer<u64> {
        let Some(text) = self.parameter(key) else { return Ok(default) };
        match text.parse() {
            Ok(number) if (min..=max).contains(&number) => Ok(number),
            _ => Err(Failure::parameter(key, format!("must be a number from {min} to {max}"))),
        }
    }

    /// All `label=key=value`.
    pub(crate) fn labels(&self) -> Answer<Vec<(String, String)>> {
        let given = self.query.iter().filter(|(key, _)| key == "label");
        given
            .map(|(_, text)| match text.split_once('=') {
                Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
                _ => Err(Failure::parameter("label", format!("is {text:?}, not key=value"))),
            })
            .collect()
    }

    pub(crate) fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn actor(&self) -> &str {
        self.caller.as_ref().map_or("", |caller| &caller.actor)
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin {
            actor: self.actor().to_owned(),
            source: self.source.clone(),
            request_id: self.request_id.clone(),
        }
    }

    /// What `If-Match` and `If-None-Match` ask of a write.
    pub(crate) fn precondition(&self) -> Answer<Precondition> {
        if let Some(text) = self.header(header::IF_MATCH) {
            if text == "*" {
                return Ok(Precondition::Exists);
            }
            // Weak tags never match strongly (RFC 9110 §13.1.1), and are never given out.
            let revision = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            return match revision.and_then(|text| text.parse().ok()) {
                Some(revision) => Ok(Precondition::Revision(revision)),
                None => Err(Failure::parameter("If-Match", "must be one ETag as it was given out")),
            };
        }
        match self.header(header::IF_NONE_MATCH) {
            None => Ok(Precondition::Any),
            Some("*") => Ok(Precondition::Absent),
            Some(_) => Err(Failure::parameter("If-None-Match", "must be * for a write")),
        }
    }

    /// A command on behalf of the caller, under the caller's idempotency key.
    pub(crate) fn command(&self, body: CommandBody) -> Answer<Command> {
        let idempotency = match self.header("idempotency-key") {
            None => None,
            Some(key) if (1..=limits::IDEMPOTENCY_KEY_MAX_BYTES).contains(&key.len()) => {
                let mut request = format!("{}\n{}\n", self.route.method, self.target).into_bytes();
                request.extend_from_slice(&self.body);
                let key = format!("{}:{key}", self.actor());
                Some(IdempotencyKey { key, fingerprint: sha256_hex(&request) })
            }
            Some(_) => {
                let max = limits::IDEMPOTENCY_KEY_MAX_BYTES;
                return Err(Failure::parameter(
                    "Idempotency-Key",
                    format!("must have 1 to {max} bytes"),
                ));
            }
        };
        Ok(Command { origin: self.origin(), at_ms: now_ms(), idempotency, body })
    }

    /// The work is done; all that is left is to wait.
    pub(crate) fn release_work(&self) {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// The body as any JSON value.
    pub(crate) fn json_value(&self) -> Answer<Value> {
        self.check_content_type()?;
        parse(&self.body)
    }

    /// What `read` makes of the body, which may be large.
    pub(crate) async fn large_json<T: Send + 'static>(
        &self,
        read: impl FnOnce(Value) -> Answer<T> + Send + 'static,
    ) -> Answer<T> {
        self.check_content_type()?;
        let body = self.body.clone();
        heavy(body.len(), move || read(parse(&body)?)).await?
    }

    /// The body as `T`.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Answer<T> {
        read(self.json_value()?)
    }

    /// The body as `T`, or the default where there is none.
    pub(crate) fn json_or_default<T: DeserializeOwned + Default>(&self) -> Answer<T> {
        if self.body.is_empty() { Ok(T::default()) } else { self.json() }
    }

    fn check_content_type(&self) -> Answer<()> {
        let content_type = self.header(header::CONTENT_TYPE).unwrap_or("");
        let media_type = content_type.split(';').next().unwrap_or("").trim();
        let is_patch = media_type.eq_ignore_ascii_case(JSON_TYPES[1]);
        let is_known = media_type.eq_ignore_ascii_case(JSON_TYPES[0])
            || (is_patch && self.route.method == Method::PATCH);
        if is_known {
            return Ok(());
        }
        Err(Failure::new(
            415,
            "unsupported_media_type",
            "The body is of a type that is not understood",
            format!("Content-Type is {content_type:?}; it must be application/json"),
        ))
    }
}

/// Reads a `T`, or says where the value is not one.
pub(crate) fn read<T: DeserializeOwned>(value: Value) -> Answer<T> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let fault = type_fault("", error.path(), &error.inner().to_string());
        Problem::invalid(vec![fault]).into()
    })
}

/// Reads a declaration of `kind`; `pointer` is where `value` stands in the body.
///
/// # Errors
/// The fault, with its pointer.
pub(crate) fn read_draft(kind: Kind, value: Value, pointer: &str) -> Result<AnyDraft, FieldError> {
    let mut track = Track::new();
    AnyDraft::deserialize_as(kind, Tracked::new(value, &mut track))
        .map_err(|error| type_fault(pointer, &track.path(), &error.to_string()))
}

/// The pointer of a field that serde could not read, with what it said.
fn type_fault(prefix: &str, path: &Path, said: &str) -> FieldError {
    let mut errors = FieldErrors::default();
    let mut pointer = prefix.to_owned();
    for segment in path {
        let segment = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.replace('~', "~0").replace('/', "~1"),
            Segment::Enum { variant } => variant.clone(),
            Segment::Unknown => continue,
        };
        pointer.push('/');
        pointer.push_str(&segment);
    }
    let code = match said {
        _ if said.starts_with("unknown field") => "unknown_field",
        _ if said.starts_with("missing field") => "required",
        _ if said.starts_with("unknown variant") => "unknown_value",
        _ => "invalid_type",
    };
    errors.at(&pointer, code, || said.to_owned());
    // What was just pushed.
    errors.into_vec().swap_remove(0)
}

fn parse(body: &[u8]) -> Answer<Value> {
    serde_json::from_slice(body).map_err(|error| malformed(&error))
}

fn malformed(error: &serde_json::Error) -> Failure {
    Failure::new(
        400,
        "malformed_json",
        "The body is not JSON",
        format!("line {}, column {}: {error}", error.line(), error.column()),
    )
}
