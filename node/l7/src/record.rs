//! What is counted and written down of one request.
//!
//! Invariant: every request that was understood, or refused, is finished exactly once.

use std::sync::Arc;

use ballast_balance::Permit;
use ballast_model::AccessLogSettings;
use ballast_telemetry::otlp::{Attempt, RequestSpans};
use ballast_telemetry::trace::{UUID_BYTES, uuid_text};
use ballast_telemetry::{AccessRecord, FailureReason, HeaderValues, Phase, Phases, RetryKind};

use crate::buffer::Buffer;
use crate::codec::head::Field;
use crate::codec::request::RequestHead;
use crate::connection::Session;
use crate::identity::{self, Identity, RequestId, RequestTrace, is_in_sample};
use crate::upstream::Chosen;

/// A request on its way into the counters and the access log.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// When its first byte was seen, by the worker's clock.
    start_us: u64,
    /// When its head was complete.
    head_us: u64,
    /// What the client calls it, method, target, host, header fields of the request, the rule that
    /// decided, header fields of the response, one after another; but for the first, empty where nobody wants to know.
    text: Vec<u8>,
    /// Where each of them ends in `text`; the last one ends with it.
    ends: [u32; TEXT_COUNT - 1],
    protocol: &'static str,
    pub(crate) identity: Identity,
    pub(crate) status: u16,
    /// Of a call of gRPC.
    pub(crate) grpc_status: Option<u8>,
    pub(crate) reason: Option<FailureReason>,
    pub(crate) chosen: Option<Chosen>,
    pub(crate) attempt_count: u32,
    /// Attempts so far, while the request is recorded as spans.
    attempts: Vec<Attempt>,
    /// Once it is sent again, where the pool bounds how many are.
    pub(crate) retry_permit: Option<Permit>,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) queue_us: Option<u64>,
    pub(crate) connect_us: Option<u64>,
    pub(crate) tls_us: Option<u64>,
    pub(crate) first_byte_us: Option<u64>,
}

/// How many texts stand in a record.
const TEXT_COUNT: usize = 7;

impl Record {
    pub(crate) fn new(start_us: u64, head_us: u64) -> Self {
        Self { start_us, head_us, ..Self::default() }
    }

    /// Notes that the request's body is here too, where that is waited for: it belongs to the phase in
    /// which the request comes.
    pub(crate) fn body_came(&mut self, now_us: u64) {
        self.head_us = now_us;
    }

    /// Notes that the first byte of a response is there.
    pub(crate) fn response_began(&mut self, now_us: u64) {
        self.first_byte_us = Some(now_us.saturating_sub(self.head_us));
    }

    /// Gives the request its identifier and its place in a trace, as far as the virtual server wants
    /// them. Comes before [`describe`](Self::describe).
    pub(crate) fn identify(&mut self, session: &Session, raw: &[u8], fields: &[Field]) {
        let (http, worker) = (&session.server.http, &session.worker.context);
        if http.request_id.enabled {
            let (id, text) = RequestId::of(&http.request_id, worker, raw, fields);
            self.identity.request_id = id;
            if !text.is_empty() {
                self.text = session.worker.take_text();
                self.text.extend_from_slice(text);
                self.ends = [text.len() as u32; TEXT_COUNT - 1];
            }
        }
        if http.tracing.enabled {
            let trace = RequestTrace::of(&http.tracing, worker, raw, fields);
            self.identity.trace = Some(trace);
        }
    }

    /// Gives a request an identifier that will not be served, so that its answer has one.
    pub(crate) fn identify_refused(&mut self, session: &Session) {
        let is_new = self.identity.request_id == RequestId::None;
        if is_new && session.server.http.request_id.enabled {
            self.identity.request_id = RequestId::new(&session.worker.context);
        }
    }

    /// Keeps what the access log shows of the request; its bytes are gone by the time it is
    /// written.
    pub(crate) fn describe(
        &mut self,
        session: &Session,
        raw: &[u8],
        head: &RequestHead,
        fields: &[Field],
    ) {
        if self.text.is_empty() {
            self.text = session.worker.take_text();
        }
        self.protocol = if session.is_http2 {
            "http/2"
        } else if head.is_http_10 {
            "http/1.0"
        } else {
            "http/1.1"
        };
        let host = head.host.map_or(&b""[..], |host| host.of_head(raw));
        let parts = [head.method_name.of_head(raw), head.target.of_head(raw), host];
        for (end, part) in self.ends[1..4].iter_mut().zip(parts) {
            self.text.extend_from_slice(part);
            *end = self.text.len() as u32;
        }
        keep_fields(&mut self.text, &session.server.http.access_log.request_headers, raw, fields);
        (self.ends[4], self.ends[5]) = (self.text.len() as u32, self.text.len() as u32);
    }

    /// Keeps the rule of a policy that decided.
    pub(crate) fn describe_rule(&mut self, rule: &str) {
        if self.is_described() {
            self.text.extend_from_slice(rule.as_bytes());
            self.ends[5] = self.text.len() as u32;
        }
    }

    fn is_described(&self) -> bool {
        // A method is never empty.
        self.ends[1] > self.ends[0]
    }

    /// Keeps what the access log shows of the response's header.
    pub(crate) fn describe_response(&mut self, session: &Session, raw: &[u8], fields: &[Field]) {
        let wanted = &session.server.http.access_log.response_headers;
        if !wanted.is_empty() && self.is_described() {
            self.text.truncate(self.ends[5] as usize);
            keep_fields(&mut self.text, wanted, raw, fields);
        }
    }

    /// Notes that a member is about to be asked; `output` is what it will get.
    pub(crate) fn attempt_begins(&mut self, session: &Session, output: &mut Buffer) {
        self.attempt_count += 1;
        if self.attempt_count > 1
            && let Some(trace) = &mut self.identity.trace
        {
            trace.next_attempt(&session.worker.context, output);
        }
    }

    /// Whether the request is recorded as spans.
    pub(crate) fn is_traced(&self, session: &Session) -> bool {
        let is_sampled = self.identity.trace.is_some_and(|trace| trace.context.is_sampled);
        is_sampled && session.worker.spans.is_on()
    }

    /// Notes that the chosen member is being asked, where that is recorded.
    pub(crate) fn attempt_chosen(&mut self, session: &Session) {
        if !self.is_traced(session) {
            return;
        }
        self.attempt_failed(session, RetryKind::StaleConnection);
        if let (Some(trace), Some(chosen)) = (&self.identity.trace, &self.chosen) {
            self.attempts.push(Attempt {
                span_id: trace.context.span_id,
                time_us: (session.worker.context.clock.now_us(), 0),
                member: Arc::clone(&chosen.member.name),
                address: chosen.member.address,
                status: 0,
                error: None,
            });
        }
    }

    /// Notes why the attempt under way, if there is one, has led to nothing.
    pub(crate) fn attempt_failed(&mut self, session: &Session, why: RetryKind) {
        if let Some(last) = self.attempts.last_mut().filter(|last| last.time_us.1 == 0) {
            last.time_us.1 = session.worker.context.clock.now_us();
            last.error = Some(why.as_str());
        }
    }

    fn offer_spans(&mut self, session: &Session) {
        let Some(trace) = self.identity.trace else { return };
        let worker = &session.worker;
        let now_us = worker.context.clock.now_us();
        let unix_us = worker.context.clock.coarse_unix_ms() * 1_000;
        let to_unix = |at_us: u64| unix_us.saturating_sub(now_us.saturating_sub(at_us));
        let mut attempts = std::mem::take(&mut self.attempts);
        if let Some(last) = attempts.last_mut().filter(|last| last.time_us.1 == 0) {
            last.time_us.1 = now_us;
            let failed = self.reason.filter(|reason| reason.is_members_fault());
            last.error = failed.map(FailureReason::code);
            last.status = if self.first_byte_us.is_some() { self.status } else { 0 };
        }
        for attempt in &mut attempts {
            attempt.time_us = (to_unix(attempt.time_us.0), to_unix(attempt.time_us.1));
        }
        let target = self.part(2);
        let path_bytes = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
        worker.spans.offer(&RequestSpans {
            trace_id: trace.context.trace_id,
            span_id: trace.server_span_id,
            parent_span_id: trace.parent_span_id,
            time_us: (to_unix(self.start_us), unix_us),
            method: self.part(1),
            path: &target[..path_bytes],
            host: self.part(3),
            scheme: session.facts.scheme,
            protocol: self.protocol,
            client: session.peer,
            status: self.status,
            reason: self.reason,
            virtual_server: &session.server.name,
            pool: self.chosen.as_ref().map_or("", |chosen| chosen.pool.name()),
            attempts: &attempts,
        });
    }

    /// The request's identifier; empty where it has none. One of ours is written into `own`.
    pub(crate) fn request_id<'a>(&'a self, own: &'a mut [u8; UUID_BYTES]) -> &'a [u8] {
        match self.identity.request_id {
            RequestId::None => b"",
            RequestId::Client => self.part(0),
            RequestId::Own(id) => {
                *own = uuid_text(id);
                own
            }
        }
    }

    /// Writes `X-Request-ID`, if there is an identifier.
    pub(crate) fn write_request_id(&self, output: &mut Buffer) {
        if self.identity.request_id != RequestId::None {
            identity::write_request_id(output, self.request_id(&mut [0; UUID_BYTES]));
        }
    }

    /// Counts the request, and tells whoever wants to know.
    pub(crate) fn finish(&mut self, session: &Session) {
        let (worker, counters) = (&session.worker, &session.counters);
        let total_us = worker.context.clock.now_us().saturating_sub(self.start_us);
        if self.status == 0 {
            counters.request_unanswered(total_us);
        } else {
            counters.request(self.status, total_us);
        }
        counters.received_bytes(self.received_bytes);
        counters.sent_bytes(self.sent_bytes);
        if let Some(reason) = self.reason {
            counters.failure(reason);
        }
        let phases = self.phases(total_us);
        counters.phases(&phases);
        if session.is_observed() {
            self.tell(session, phases, total_us);
        }
        if self.is_traced(session) && self.is_described() {
            self.offer_spans(session);
        }
        worker.give_text(std::mem::take(&mut self.text));
    }

    fn phases(&self, total_us: u64) -> Phases {
        let mut phases = Phases::default();
        let request_us = self.head_us.saturating_sub(self.start_us);
        phases.set(Phase::Request, request_us);
        let measured = [
            (Phase::Queue, self.queue_us),
            (Phase::Connect, self.connect_us),
            (Phase::Tls, self.tls_us),
            (Phase::FirstByte, self.first_byte_us),
        ];
        for (phase, us) in measured {
            if let Some(us) = us {
                phases.set(phase, us);
            }
        }
        if let Some(first_byte_us) = self.first_byte_us {
            phases.set(Phase::Body, total_us.saturating_sub(request_us + first_byte_us));
        }
        phases
    }

    fn tell(&self, session: &Session, phases: Phases, total_us: u64) {
        let (worker, settings) = (&session.worker, &session.server.http.access_log);
        let mut own_id = [0; UUID_BYTES];
        let request_id = self.request_id(&mut own_id);
        let start_ms = worker.context.clock.coarse_unix_ms().saturating_sub(total_us / 1_000);
        let record = AccessRecord {
            request_id,
            trace_id: self.identity.trace.map_or(0, |trace| trace.context.trace_id),
            protocol: self.protocol,
            tls_version: session.tls_version,
            method: self.part(1),
            uri: self.part(2),
            host: self.part(3),
            status: self.status,
            grpc_status: self.grpc_status,
            reason: self.reason,
            // Names of rules are text.
            rule: std::str::from_utf8(self.part(5)).unwrap_or_default(),
            pool: self.chosen.as_ref().map_or("", |chosen| chosen.pool.name()),
            member: self.chosen.as_ref().map(|chosen| &*chosen.member.name),
            attempts: self.attempt_count,
            received_bytes: self.received_bytes,
            sent_bytes: self.sent_bytes,
            total_us,
            phases,
            request_headers: HeaderValues {
                names: &settings.request_headers,
                values: self.part(4),
            },
            response_headers: HeaderValues {
                names: &settings.response_headers,
                values: self.part(6),
            },
            ..AccessRecord::new(start_ms, &session.server.name, session.peer)
        };
        if is_logged(settings, &record, || worker.context.random()) {
            worker.log(&record);
        }
        if worker.tail.is_on() {
            worker.tail.offer(&record, worker.context.clock.coarse_unix_ms());
        }
    }

    fn part(&self, index: usize) -> &[u8] {
        let end = |at: usize| self.ends.get(at).map_or(self.text.len(), |end| *end as usize);
        let start = if index == 0 { 0 } else { end(index - 1) };
        // What was not described has no end.
        self.text.get(start..end(index)).unwrap_or_default()
    }
}

/// Whether the record is written to the access log.
pub(crate) fn is_logged(
    settings: &AccessLogSettings,
    record: &AccessRecord<'_>,
    random: impl FnOnce() -> u64,
) -> bool {
    settings.enabled
        && (record.has_failed()
            || !settings.failures_only
                && (settings.sample_percent >= 100.0
                    || is_in_sample(random(), settings.sample_percent)))
}

fn keep_fields(text: &mut Vec<u8>, names: &[String], raw: &[u8], fields: &[Field]) {
    for name in names {
        let mut same =
            fields.iter().filter(|field| field.name_of(raw).eq_ignore_ascii_case(name.as_bytes()));
        HeaderValues::keep(text, same.next().map(|field| field.value.of_head(raw)));
    }
}

#[cfg(test)]
mod tests;
