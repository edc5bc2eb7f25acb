//! Requests as spans, in the wire format of `opentelemetry/proto/trace/v1/trace.proto`, with the names of
//! the semantic conventions for HTTP spans.
//!
//! Invariant: the query of a target and header fields are in no span.

use std::net::SocketAddr;

use crate::reason::FailureReason;

/// One request that was recorded: a span of its own, and one for each attempt.
#[derive(Debug)]
pub struct RequestSpans<'a> {
    /// The trace.
    pub trace_id: u128,
    /// The request's span.
    pub span_id: u64,
    /// The client's span; 0 where the trace begins here.
    pub parent_span_id: u64,
    /// When it began and ended, in µs since the Unix epoch.
    pub time_us: (u64, u64),
    /// The method, the target without its query, and the host that was asked for.
    pub method: &'a [u8],
    /// See `method`.
    pub path: &'a [u8],
    /// See `method`.
    pub host: &'a [u8],
    /// `http` or `https`.
    pub scheme: &'a str,
    /// As in the access log: `http/1.1`.
    pub protocol: &'a str,
    /// Who asked.
    pub client: SocketAddr,
    /// The response's status; 0 where there was none.
    pub status: u16,
    /// Why it failed, if it did.
    pub reason: Option<FailureReason>,
    /// The virtual server and the pool.
    pub virtual_server: &'a str,
    /// See `virtual_server`.
    pub pool: &'a str,
    /// The attempts to have a member answer, in their order.
    pub attempts: &'a [Attempt],
}

/// One attempt to have a member answer.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Its span.
    pub span_id: u64,
    /// When it began and ended, in µs since the Unix epoch.
    pub time_us: (u64, u64),
    /// The member's name.
    pub member: std::sync::Arc<str>,
    /// Where that is.
    pub address: SocketAddr,
    /// The response's status; 0 where there was none.
    pub status: u16,
    /// Why it failed, if it did.
    pub error: Option<&'static str>,
}

/// Who sends the spans.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The node.
    pub node: String,
    /// The cluster, where it is known.
    pub cluster: String,
    /// The version of this program.
    pub version: &'static str,
}

const KIND_SERVER: u64 = 2;
const KIND_CLIENT: u64 = 3;
const STATUS_ERROR: u64 = 2;
/// `W3C` trace flags: sampled.
const FLAG_SAMPLED: u32 = 1;

/// An `ExportTraceServiceRequest` of spans that were encoded before.
pub fn export_request<'a>(origin: &Origin, batches: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut scope_spans = Vec::new();
    message(&mut scope_spans, 1, |scope| {
        bytes(scope, 1, b"ballast");
        bytes(scope, 2, origin.version.as_bytes());
    });
    batches.for_each(|batch| scope_spans.extend_from_slice(batch));
    let mut request = Vec::with_capacity(scope_spans.len() + 256);
    message(&mut request, 1, |resource_spans| {
        message(resource_spans, 1, |resource| {
            text(resource, 1, "service.name", b"ballast");
            text(resource, 1, "service.version", origin.version.as_bytes());
            text(resource, 1, "service.instance.id", origin.node.as_bytes());
            text(resource, 1, "service.namespace", origin.cluster.as_bytes());
        });
        bytes(resource_spans, 2, &scope_spans);
    });
    request
}

impl RequestSpans<'_> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512 * (1 + self.attempts.len()));
        message(&mut out, 2, |span| self.server_span(span));
        for (number, attempt) in self.attempts.iter().enumerate() {
            message(&mut out, 2, |span| self.attempt_span(span, attempt, number));
        }
        out
    }

    fn server_span(&self, span: &mut Vec<u8>) {
        const ATTRIBUTES: u32 = 9;
        self.head(span, self.span_id, self.parent_span_id, KIND_SERVER, self.time_us);
        text(span, ATTRIBUTES, "http.request.method", self.method);
        text(span, ATTRIBUTES, "url.path", self.path);
        text(span, ATTRIBUTES, "url.scheme", self.scheme.as_bytes());
        text(span, ATTRIBUTES, "server.address", self.host);
        let version = self.protocol.strip_prefix("http/").unwrap_or_default();
        text(span, ATTRIBUTES, "network.protocol.version", version.as_bytes());
        text(span, ATTRIBUTES, "client.address", self.client.ip().to_string().as_bytes());
        number(span, ATTRIBUTES, "client.port", self.client.port().into());
        number(span, ATTRIBUTES, "http.response.status_code", self.status.into());
        text(span, ATTRIBUTES, "ballast.virtual_server", self.virtual_server.as_bytes());
        text(span, ATTRIBUTES, "ballast.pool", self.pool.as_bytes());
        // Of servers, failures of the client are no errors (semantic conventions, HTTP server).
        let error = self.reason.map(FailureReason::code);
        let error = error.or((self.status >= 500).then_some("status"));
        outcome(span, error.filter(|_| self.status == 0 || self.status >= 500));
    }

    fn attempt_span(&self, span: &mut Vec<u8>, attempt: &Attempt, resend_count: usize) {
        const ATTRIBUTES: u32 = 9;
        self.head(span, attempt.span_id, self.span_id, KIND_CLIENT, attempt.time_us);
        text(span, ATTRIBUTES, "http.request.method", self.method);
        text(span, ATTRIBUTES, "server.address", attempt.address.ip().to_string().as_bytes());
        number(span, ATTRIBUTES, "server.port", attempt.address.port().into());
        number(span, ATTRIBUTES, "http.response.status_code", attempt.status.into());
        number(span, ATTRIBUTES, "http.request.resend_count", resend_count as u64);
        text(span, ATTRIBUTES, "ballast.member", attempt.member.as_bytes());
        outcome(span, attempt.error.or((attempt.status >= 400).then_some("status")));
    }

    fn head(&self, span: &mut Vec<u8>, id: u64, parent: u64, kind: u64, time_us: (u64, u64)) {
        bytes(span, 1, &self.trace_id.to_be_bytes());
        bytes(span, 2, &id.to_be_bytes());
        if parent != 0 {
            bytes(span, 4, &parent.to_be_bytes());
        }
        // Paths are too many to be names (semantic conventions, HTTP spans).
        bytes(span, 5, &lossy(self.method));
        varint_field(span, 6, kind);
        fixed64(span, 7, time_us.0.saturating_mul(1_000));
        fixed64(span, 8, time_us.1.max(time_us.0).saturating_mul(1_000));
        tag(span, 16, 5);
        span.extend_from_slice(&FLAG_SAMPLED.to_le_bytes());
    }
}

fn outcome(span: &mut Vec<u8>, error: Option<&str>) {
    if let Some(error) = error {
        text(span, 9, "error.type", error.as_bytes());
        message(span, 15, |status| {
            bytes(status, 2, error.as_bytes());
            varint_field(status, 3, STATUS_ERROR);
        });
    }
}

/// An attribute, if it has a value.
fn text(out: &mut Vec<u8>, field: u32, key: &str, value: &[u8]) {
    if !value.is_empty() {
        attribute(out, field, key, |any| bytes(any, 1, &lossy(value)));
    }
}

/// The same; 0 means none.
fn number(out: &mut Vec<u8>, field: u32, key: &str, value: u64) {
    if value != 0 {
        attribute(out, field, key, |any| varint_field(any, 3, value));
    }
}

fn attribute(out: &mut Vec<u8>, field: u32, key: &str, value: impl FnOnce(&mut Vec<u8>)) {
    message(out, field, |pair| {
        bytes(pair, 1, key.as_bytes());
        message(pair, 2, value);
    });
}

/// What a client sends may be no UTF-8, which strings of protobuf must be.
fn lossy(value: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    match String::from_utf8_lossy(value) {
        std::borrow::Cow::Borrowed(text) => text.as_bytes().into(),
        std::borrow::Cow::Owned(text) => text.into_bytes().into(),
    }
}

fn message(out: &mut Vec<u8>, field: u32, content: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    content(&mut inner);
    bytes(out, field, &inner);
}

fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    tag(out, field, 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn varint_field(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, 0);
    varint(out, value);
}

fn fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, 1);
    out.extend_from_slice(&value.to_le_bytes());
}

fn tag(out: &mut Vec<u8>, field: u32, wire_type: u32) {
    varint(out, (field << 3 | wire_type).into());
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
