//! Policies carried out: what a request's head makes of its rules, before a member is chosen.
//!
//! ```text
//! head ─► evaluate ─► denied? ─► rate limits ─► tokens ─► verdict ─┬─► an answer of ours
//!                                                                  └─► pool, header, target, mirror
//! ```
//! A virtual server without policies passes one branch. What is decided refers to the compiled
//! policy, and texts are lent by the worker: deciding allocates nothing once it is warm.
//!
//! Invariant: a request that a policy refuses is told so once, has one reason, and never reaches a
//! member.

use std::net::IpAddr;
use std::rc::Rc;

use ballast_balance::Priority;
use ballast_model::Persistence;
use ballast_model::spec::policy::{RequestTimeouts, Scheme};
use ballast_policy::normalize::is_ambiguous;
use ballast_policy::{Decision, RequestView, Scratch, Verdict};
use ballast_telemetry::FailureReason;
use ballast_telemetry::trace::{UUID_BYTES, uuid_text, uuid7};
use ballast_workers::PolicySet;

use crate::codec::head::Field;
use crate::codec::request::RequestHead;
use crate::connection::Session;
use crate::failure::Failure;
use crate::upstream::WorkerPool;
use crate::worker::HttpWorker;

mod answer;
mod changes;
mod gate;
pub(crate) mod mirror;
mod rate_limits;
mod secure;

pub(crate) use answer::{Answer, Manner};
pub(crate) use changes::HeaderChanges;
pub use rate_limits::RateLimits;

/// What a worker needs to evaluate policies; grows to what they need and is used again.
#[derive(Debug, Default)]
pub(crate) struct PolicyScratch {
    evaluation: Scratch,
    text: Vec<u8>,
}

/// What is to be done with a request whose virtual server has policies.
#[derive(Debug, Default)]
pub(crate) struct Routing<'a> {
    /// The last rule that matched.
    pub(crate) rule: Option<&'a str>,
    /// The answer, where no member is asked.
    pub(crate) answer: Option<Answer<'a>>,
    /// The pool that serves it, unless it is the virtual server's.
    pub(crate) pool: Option<Rc<WorkerPool>>,
    /// How the client finds back, instead of the virtual server's way.
    pub(crate) persistence: Option<&'a Persistence>,
    /// Timeouts instead of the virtual server's.
    pub(crate) timeouts: RequestTimeouts,
    /// How soon it gets room where it has to wait, instead of the virtual server's setting.
    pub(crate) queue_priority: Option<Priority>,
    /// Changes to the header that the member gets.
    pub(crate) request: HeaderChanges,
    /// Changes to the header that the client gets.
    pub(crate) response: HeaderChanges,
    /// Path and query that the member is asked for; empty: those that came.
    pub(crate) target: Vec<u8>,
    /// The host that the member is told; empty: the one that came.
    pub(crate) host: Vec<u8>,
    /// The pool that gets a copy.
    pub(crate) mirror: Option<Rc<WorkerPool>>,
}

/// Refuses a path that a member may take for another one than the rules did.
pub(crate) fn check_path(session: &Session, target: &[u8]) -> Result<(), Failure> {
    let server = &session.server;
    if server.policies.is_none() || server.http.allow_ambiguous_paths {
        return Ok(());
    }
    let path = target.split(|b| *b == b'?').next().unwrap_or_default();
    match is_ambiguous(path) {
        true => Err(FailureReason::AmbiguousPath.into()),
        false => Ok(()),
    }
}

/// How soon a request gets room where it has to wait: as the policies say, or else the virtual server.
pub(crate) fn queue_priority(session: &Session, routing: Option<&Routing<'_>>) -> Priority {
    let by_rule = routing.and_then(|routing| routing.queue_priority);
    by_rule.unwrap_or(session.server.queue_priority)
}

impl<'a> Routing<'a> {
    /// Gives lent texts back.
    pub(crate) fn release(self, worker: &HttpWorker) {
        let Self { request, response, target, host, answer, .. } = self;
        request.release(worker);
        response.release(worker);
        worker.give_text(target);
        worker.give_text(host);
        if let Some(answer) = answer {
            answer.release(worker);
        }
    }
}

/// Decides what becomes of a request: what [`by_virtual_server`] says, unless it may go no further and
/// is to be answered here (RFC 9110 §7.6.2).
pub(crate) fn decide<'a>(
    session: &'a Session,
    raw: &[u8],
    head: &RequestHead,
    fields: &[Field],
    given: &[u8],
) -> Option<Routing<'a>> {
    let mut routing = by_virtual_server(session, raw, head, fields, given);
    if head.max_forwards == Some(0) {
        let routing = routing.get_or_insert_with(Routing::default);
        routing.answer.get_or_insert_with(|| Answer::of_last_hop(head.method));
    }
    routing
}

/// Decides what becomes of a request by the session's virtual server: whether it has to come with TLS,
/// and what policies make of it; none where neither is set. What they say of the request's identifier is `given`, or a new one where that is empty.
fn by_virtual_server<'a>(
    session: &'a Session,
    raw: &[u8],
    head: &RequestHead,
    fields: &[Field],
    given: &[u8],
) -> Option<Routing<'a>> {
    let worker = &session.worker;
    if let Some(force) = &session.server.http.force_https {
        let answer = secure::redirect(force, session, raw, head);
        return Some(Routing { answer: Some(answer), ..Routing::default() });
    }
    let policies = session.server.policies.as_deref()?;
    let own;
    let request_id = if given.is_empty() {
        own = new_request_id(worker);
        &own
    } else {
        given
    };
    let view = HeadView::new(session, raw, head, fields, request_id);
    let scratch = &mut *worker.policy.borrow_mut();
    let decision = policies.policy().evaluate(&view, &mut scratch.evaluation);
    let mut routing = Routing { rule: decision.rules().last(), ..Routing::default() };
    // Refusals have them too: who asks from another origin could not read them else (CORS).
    routing.response.collect(worker, &decision, decision.response_edits(), &mut scratch.text);
    if let Err(refusal) = gate::pass(worker, policies, &decision, &view, &mut scratch.text) {
        routing.answer = Some(Answer::Refused(refusal));
        return Some(routing);
    }
    if let Some(answer) = Answer::of(worker, &decision) {
        routing.answer = Some(answer);
        return Some(routing);
    }
    routing.carry_out(worker, policies, &decision, &mut scratch.text);
    Some(routing)
}

impl<'a> Routing<'a> {
    /// Takes up what concerns the member.
    fn carry_out<R: RequestView>(
        &mut self,
        worker: &HttpWorker,
        policies: &'a PolicySet,
        decision: &Decision<'a, '_, R>,
        text: &mut Vec<u8>,
    ) {
        let pool_of = |index| policies.pool(index).map(|slot| worker.pools.of(slot));
        if matches!(decision.verdict(), Verdict::Pool(_) | Verdict::Split(_)) {
            self.pool = decision.pool(worker.context.random()).and_then(pool_of);
        }
        self.mirror = decision.mirror(worker.context.random()).and_then(pool_of);
        self.persistence = decision.persistence();
        self.timeouts = decision.timeouts();
        self.queue_priority = decision.queue_priority();
        self.request.collect(worker, decision, decision.request_edits(), text);
        if decision.rewrites() {
            self.target = worker.take_text();
            decision.rewritten_target(&mut self.target);
            self.host = worker.take_text();
            decision.rewritten_host(&mut self.host);
        }
    }
}

/// A request as policies see it.
pub(crate) struct HeadView<'a> {
    raw: &'a [u8],
    head: &'a RequestHead,
    fields: &'a [Field],
    path: &'a [u8],
    query: Option<&'a [u8]>,
    scheme: Scheme,
    source: IpAddr,
    request_id: &'a [u8],
}

impl<'a> HeadView<'a> {
    fn new(
        session: &Session,
        raw: &'a [u8],
        head: &'a RequestHead,
        fields: &'a [Field],
        request_id: &'a [u8],
    ) -> Self {
        let target = head.target.of_head(raw);
        let (path, query) = match memchr::memchr(b'?', target) {
            Some(at) => (&target[..at], Some(&target[at + 1..])),
            None => (target, None),
        };
        let is_secure = session.facts.scheme == "https";
        Self {
            raw,
            head,
            fields,
            path: if path.is_empty() { b"/" } else { path },
            query,
            scheme: if is_secure { Scheme::Https } else { Scheme::Http },
            source: session.peer.ip().to_canonical(),
            request_id,
        }
    }
}

impl RequestView for HeadView<'_> {
    fn method(&self) -> &[u8] {
        self.head.method_name.of_head(self.raw)
    }

    fn scheme(&self) -> Scheme {
        self.scheme
    }

    fn authority(&self) -> &[u8] {
        self.head.host.map_or(b"", |host| host.of_head(self.raw))
    }

    fn path(&self) -> &[u8] {
        self.path
    }

    fn query(&self) -> Option<&[u8]> {
        self.query
    }

    fn source(&self) -> IpAddr {
        self.source
    }

    fn request_id(&self) -> &[u8] {
        self.request_id
    }

    fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let raw = self.raw;
        self.fields.iter().map(move |field| (field.name_of(raw), field.value.of_head(raw)))
    }
}

/// Enough to find a request in logs, no secret.
fn new_request_id(worker: &HttpWorker) -> [u8; UUID_BYTES] {
    let random = [worker.context.random(), worker.context.random()];
    uuid_text(uuid7(worker.context.clock.coarse_unix_ms(), random))
}
