//! By what a request is known across machines: `X-Request-ID`, `traceparent`.
//!
//! Invariant: whatever a member is told of them was checked or made here; where a virtual server
//! does without, the fields pass like any other.

use ballast_model::{RequestIdSettings, TracingSettings};
use ballast_telemetry::trace::{SPAN_AT, TraceContext, put_hex, uuid_text, uuid7};
use ballast_workers::WorkerContext;

use crate::buffer::Buffer;
use crate::codec::head::{Field, FieldName};

/// Longest identifier that is taken from a client, in bytes.
pub(crate) const REQUEST_ID_MAX_BYTES: usize = 128;

/// A request's identifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RequestId {
    /// None: the virtual server does without, or the request is not understood yet.
    #[default]
    None,
    /// The client's, which stands in its header.
    Client,
    /// One of ours.
    Own(u128),
}

impl RequestId {
    /// A new one.
    pub(crate) fn new(worker: &WorkerContext) -> Self {
        Self::Own(uuid7(worker.clock.coarse_unix_ms(), [worker.random(), worker.random()]))
    }

    /// The client's, if it may give one and it is valid, and its value; else a new one.
    pub(crate) fn of<'a>(
        settings: &RequestIdSettings,
        worker: &WorkerContext,
        raw: &'a [u8],
        fields: &[Field],
    ) -> (Self, &'a [u8]) {
        if settings.accept_from_client
            && let Some(value) = only(raw, fields, FieldName::XRequestId)
            && is_valid(value)
        {
            return (Self::Client, value);
        }
        (Self::new(worker), b"")
    }
}

/// The place of a request in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestTrace {
    /// The trace, and the span of the attempt under way.
    pub(crate) context: TraceContext,
    /// The span of the request as a whole.
    pub(crate) server_span_id: u64,
    /// The client's span; 0 where the trace begins here.
    pub(crate) parent_span_id: u64,
    /// Where the span stands in what goes to the member; 0 where it is not told.
    span_at: usize,
}

impl RequestTrace {
    /// Goes on with the client's trace, if it may give one and it is valid; else begins one.
    pub(crate) fn of(
        settings: &TracingSettings,
        worker: &WorkerContext,
        raw: &[u8],
        fields: &[Field],
    ) -> Self {
        let parent = settings
            .accept_from_client
            .then(|| only(raw, fields, FieldName::Traceparent).and_then(TraceContext::parse))
            .flatten();
        let (trace_id, parent_span_id, is_sampled) = match parent {
            Some(parent) => (parent.trace_id, parent.span_id, parent.is_sampled),
            None => (id128(worker), 0, is_in_sample(worker.random(), settings.sample_percent)),
        };
        let context = TraceContext { trace_id, span_id: id64(worker), is_sampled };
        Self { context, server_span_id: id64(worker), parent_span_id, span_at: 0 }
    }

    /// Whether the client's `tracestate` belongs to the trace (§3.3.1).
    pub(crate) fn goes_on(&self) -> bool {
        self.parent_span_id != 0
    }

    /// Writes the field.
    pub(crate) fn write(&mut self, output: &mut Buffer) {
        output.push(b"traceparent: ");
        self.span_at = output.consumed() + output.len() + SPAN_AT;
        output.push(&self.context.to_bytes());
        output.push(b"\r\n");
    }

    /// Gives the next attempt a span of its own, in what was written for the first one too.
    pub(crate) fn next_attempt(&mut self, worker: &WorkerContext, output: &mut Buffer) {
        self.context.span_id = id64(worker);
        let mut text = [0; 16];
        put_hex(&mut text, self.context.span_id.into());
        if self.span_at > 0 {
            output.overwrite(self.span_at, &text);
        }
    }
}

/// Whether a request is among the `percent` that are looked at; `random` decides.
pub(crate) fn is_in_sample(random: u64, percent: f64) -> bool {
    // 53 bits: as many as a number of this kind holds.
    percent >= 100.0 || ((random >> 11) as f64) < percent / 100.0 * (1_u64 << 53) as f64
}

/// A field's value, if it came exactly once.
fn only<'a>(raw: &'a [u8], fields: &[Field], name: FieldName) -> Option<&'a [u8]> {
    let mut values = fields.iter().filter(|field| field.name == name);
    let value = values.next()?.value.of_head(raw);
    values.next().is_none().then_some(value)
}

fn is_valid(value: &[u8]) -> bool {
    (1..=REQUEST_ID_MAX_BYTES).contains(&value.len())
        && value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=:@".contains(byte))
}

/// Not 0, which means none.
fn id64(worker: &WorkerContext) -> u64 {
    worker.random().max(1)
}

fn id128(worker: &WorkerContext) -> u128 {
    u128::from(id64(worker)) << 64 | u128::from(worker.random())
}

/// Writes `X-Request-ID`.
pub(crate) fn write_request_id(output: &mut Buffer, text: &[u8]) {
    output.push(b"X-Request-ID: ");
    output.push(text);
    output.push(b"\r\n");
}

/// What a member is told besides what came: nothing, where nothing is set.
#[derive(Debug, Default)]
pub(crate) struct Identity {
    pub(crate) request_id: RequestId,
    pub(crate) trace: Option<RequestTrace>,
}

impl Identity {
    /// Whether a field that came is passed on; none where it is one like any other.
    pub(crate) fn keeps(&self, name: FieldName) -> Option<bool> {
        match (name, &self.request_id, &self.trace) {
            (FieldName::XRequestId, RequestId::Client, _) => Some(true),
            (FieldName::XRequestId, RequestId::Own(_), _) => Some(false),
            (FieldName::Traceparent, _, Some(_)) => Some(false),
            (FieldName::Tracestate, _, Some(trace)) => Some(trace.goes_on()),
            _ => None,
        }
    }

    /// Writes the fields of our own, but for those that a policy drops or sets.
    pub(crate) fn write(&mut self, output: &mut Buffer, drops: impl Fn(&[u8]) -> bool) {
        if let RequestId::Own(id) = self.request_id
            && !drops(b"x-request-id")
        {
            write_request_id(output, &uuid_text(id));
        }
        if let Some(trace) = &mut self.trace
            && !drops(b"traceparent")
        {
            trace.write(output);
        }
    }
}

#[cfg(test)]
mod tests;
