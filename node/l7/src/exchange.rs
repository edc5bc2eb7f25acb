//! One request and its response: understood, sent to a member, answered.
//!
//! ```text
//! understand ─► choose member ─► idle connection or connect ─► relay ─► response head ─► body
//!                    ▲                     │ refused              │ died
//!                    └─────────────────────┴──────────────────────┘ bounded
//! ```
//! Invariant: once a byte of a response has left for the client, nothing is tried again.

use std::future::poll_fn;
use std::rc::Rc;

use ballast_balance::{InFlight, NoMember};
use ballast_model::{ClientHalfClose, RetryCause};
use ballast_telemetry::trace::UUID_BYTES;
use ballast_telemetry::{FailureReason, RetryKind};

use crate::buffer::Buffer;
use crate::buffering::Backlog;
use crate::codec::framing::BodyLength;
use crate::codec::head::HeadScanner;
use crate::codec::request::{Method, RequestHead, RequestLimits};
use crate::codec::trailer;
use crate::connection::{FoundHead, Session};
use crate::failure::Failure;
use crate::forward;
use crate::key;
use crate::member::{self, MemberStream};
use crate::peer::{Peer, Stream};
use crate::persistence;
use crate::policy::{self, Routing};
use crate::pump::{Frames, Pump};
use crate::record::Record;
use crate::relay::{AttemptError, Conditions, Relay, upload_failure};
use crate::retry;
use crate::tunnel::Tunnel;
use crate::upstream::{Chosen, Purpose, Wanted, WorkerPool};

mod answer;
mod held;
mod reach;
mod response;

use held::HeldRequest;
use response::{may_keep_alive, may_upgrade, pass_head};

/// Members tried for one request.
const MEMBER_TRY_MAX_COUNT: usize = 3;
/// Interim responses (1xx) passed on for one request.
const INTERIM_MAX_COUNT: u32 = 16;

/// How the connection goes on after a request.
pub(crate) enum Ending {
    /// With the next request.
    KeepAlive,
    /// Not at all; `linger` where the client may still be sending.
    Close {
        /// See above.
        linger: bool,
    },
    /// Not at all, and the client must notice that its response is incomplete.
    Abort,
    /// As a tunnel.
    Tunnel(Box<Tunnel>),
}

/// A request being served.
pub(crate) struct Exchange<'a, S> {
    session: &'a Session,
    client: &'a mut Peer<S>,
    record: Record,
    /// The pool that serves it.
    pool: Rc<WorkerPool>,
    /// Where the response begins in all that is sent to the client, once its head is in the output.
    response_start: Option<u64>,
    /// Whether our own answers are those of gRPC.
    is_grpc: bool,
    /// What the client has not taken yet of a response, where the virtual server wants that held.
    backlog: Option<Box<Backlog<'a>>>,
}

/// What is known of a request once it is understood.
struct Request<'a> {
    head: RequestHead,
    /// What the virtual server's policies say, if it has any.
    routing: Option<Routing<'a>>,
    /// What a member gets: the head, and content that came with it.
    output: Buffer,
    pump: Pump,
    wanted: Wanted,
    purpose: Purpose,
    /// Where the body is to be taken whole first: what it holds.
    held: Option<Box<HeldRequest<'a>>>,
}

/// What an attempt led to.
#[derive(Clone, Copy, Debug)]
enum Answered {
    /// The client has the whole response.
    Fully {
        /// Whether the connection to the client goes on.
        keeps_alive: bool,
        /// Whether the connection to the member can be used again.
        is_reusable: bool,
    },
    /// Both sides have agreed on another protocol.
    Upgraded,
}

impl Request<'_> {
    /// Has it sent again from its beginning.
    fn take_back(&mut self, member: &mut Peer<MemberStream>) {
        self.output = std::mem::take(&mut member.output);
        self.output.rewind();
    }
}

impl<'a, S: Stream> Exchange<'a, S> {
    pub(crate) fn new(session: &'a Session, client: &'a mut Peer<S>, found: FoundHead) -> Self {
        let record = Record::new(found.start_us, found.end_us);
        let pool = Rc::clone(&session.pool);
        Self { session, client, record, pool, response_start: None, is_grpc: false, backlog: None }
    }

    /// Serves the request whose head stands at the front of the client's input.
    // By reference, as all that is passed on here: what an `async fn` takes by value is copied twice.
    pub(crate) async fn run(&mut self, found: FoundHead) -> Ending {
        self.record.received_bytes = found.length as u64;
        let mut request = match self.understand(found) {
            Ok(request) => request,
            Err(failure) => {
                let ending = self.answer(failure, Method::Other, false, None).await;
                self.session.finish(&mut self.record);
                return ending;
            }
        };
        let is_answered = request.routing.as_ref().is_some_and(|r| r.answer.is_some());
        let forwarded = match is_answered {
            true => Ok(self.answer_by_policy(&request).await),
            false => self.forward(&mut request).await,
        };
        let ending = match forwarded {
            Ok(ending) => ending,
            Err(failure) => {
                let head = &request.head;
                let keeps_alive = request.pump.is_read() && may_keep_alive(self.session, head);
                let changes = request.routing.as_ref().map(|routing| &routing.response);
                self.answer(failure, head.method, keeps_alive, changes).await
            }
        };
        if !is_answered {
            self.pool.count(&self.record);
        }
        if self.is_grpc {
            self.session.ticket.set_limit_ms(None);
        }
        request.output.clear();
        request.output.release(&self.session.worker.buffers);
        self.record.received_bytes += request.pump.content_bytes;
        self.mirror(&mut request);
        if let Some(routing) = request.routing.take() {
            routing.release(&self.session.worker);
        }
        match ending {
            Ending::Tunnel(mut tunnel) => {
                tunnel.record = std::mem::take(&mut self.record);
                Ending::Tunnel(tunnel)
            }
            ending => {
                self.session.finish(&mut self.record);
                ending
            }
        }
    }

    /// Parses the head and writes the one that a member gets. No `await`: the fields are in the
    /// worker's scratch space.
    fn understand(&mut self, found: FoundHead) -> Result<Request<'a>, Failure> {
        let Session { worker, server, facts, peer, .. } = self.session;
        let http = &server.http;
        let limits = RequestLimits {
            header_max_count: usize::from(http.header_max_count),
            uri_max_bytes: http.uri_max_bytes as usize,
            body_max_bytes: http.body_max_bytes.unwrap_or(u64::MAX),
        };
        let raw = &self.client.input.data()[..found.length];
        let fields = &mut *worker.fields.borrow_mut();
        let mut head = RequestHead::parse(raw, found.field_count, &limits, fields)?;
        head.upgrade = head.upgrade.filter(|upgrade| may_upgrade(http, upgrade.of_head(raw)));
        self.is_grpc = head.is_grpc;
        if head.grpc_timeout_ms.is_some() {
            self.session.ticket.set_limit_ms(head.grpc_timeout_ms);
        }
        self.record.identify(self.session, raw, fields);
        if self.session.is_observed() || self.record.is_traced(self.session) {
            self.record.describe(self.session, raw, &head, fields);
        }
        policy::check_path(self.session, head.target.of_head(raw))?;
        let mut own_id = [0; UUID_BYTES];
        let request_id = self.record.request_id(&mut own_id);
        let routing = policy::decide(self.session, raw, &head, fields, request_id);
        if let Some(routing) = &routing {
            self.record.describe_rule(routing.rule.unwrap_or_default());
            if let Some(pool) = &routing.pool {
                self.pool = Rc::clone(pool);
            }
        }
        let setting = persistence::setting(self.session, routing.as_ref());
        let belonging = persistence::find(self.session, setting, &self.pool, raw, fields);
        let is_answered = routing.as_ref().is_some_and(|routing| routing.answer.is_some());
        let held = if is_answered { None } else { HeldRequest::of(self.session, &mut head) };
        let key = self.pool.key(|wanted| key::of_request(wanted, raw, &head, fields));
        let persistence::Belonging { member: persistent, known } = belonging;
        let priority = policy::queue_priority(self.session, routing.as_ref());
        let wanted = Wanted { client: peer.ip(), key, persistent, known, priority };
        let mut output = Buffer::default();
        output.acquire(&worker.buffers);
        forward::write_request(
            &mut output,
            raw,
            &head,
            fields,
            (facts, http.forwarded_for),
            routing.as_ref(),
            &mut self.record.identity,
        );
        let purpose = match head.upgrade.map(|upgrade| upgrade.of_head(raw)) {
            None => Purpose::Request,
            Some(name) if name.eq_ignore_ascii_case(b"websocket") => Purpose::WebSocket,
            Some(_) => Purpose::Upgrade,
        };
        self.client.input.consume(found.length);
        let frames = match head.body {
            BodyLength::Chunked => Frames::Chunked,
            _ => Frames::Plain,
        };
        let mut pump = Pump::new(head.body, frames, limits.body_max_bytes);
        if routing.as_ref().is_some_and(|routing| routing.mirror.is_some())
            && head.upgrade.is_none()
            && let Some(copy) = worker.mirrors.begin(output.data())
        {
            pump.copy = Some(Box::new(copy));
        }
        if held.is_none() {
            pump.stage(&mut self.client.input, &mut output, &worker.buffers)
                .map_err(|error| upload_failure(&error))?;
            self.client.input.release(&worker.buffers);
        }
        let mut request = Request { head, routing, output, pump, wanted, purpose, held };
        self.mirror(&mut request);
        Ok(request)
    }

    /// Sends the copy of a request whose body is complete.
    fn mirror(&self, request: &mut Request<'_>) {
        if request.pump.copy.is_none() || !request.pump.is_end_staged() {
            return;
        }
        let Session { worker, peer, local, .. } = self.session;
        let pool = request.routing.as_mut().and_then(|routing| routing.mirror.take());
        if let (Some(copy), Some(pool)) = (request.pump.copy.take(), pool) {
            worker.mirrors.send(&worker.context, pool, (*peer, *local), *copy);
        }
    }

    /// Has a member answer.
    async fn forward(&mut self, request: &mut Request<'a>) -> Result<Ending, Failure> {
        if request.held.is_some() {
            Box::pin(self.hold_request(request)).await?;
        }
        // Allocates only once a member has failed.
        let mut tried: Vec<Chosen> = Vec::new();
        let mut last_failure = None;
        let mut allow_idle = true;
        let mut has_left_a_member = false;
        loop {
            let (chosen, mut in_flight) = match self.choose(request, &tried) {
                Ok(chosen) => chosen,
                // All were tried, and the policy allows for more: from the beginning.
                Err(NoMember::AllTried) if retry::goes_round(&tried) => {
                    tried.clear();
                    continue;
                }
                Err(why) => self.find_no_member(request, why, last_failure).await?,
            };
            self.record.attempt_begins(self.session, &mut request.output);
            let chosen = self.record.chosen.insert(chosen).clone();
            self.record.attempt_chosen(self.session);
            let begin_us = self.session.worker.context.clock.coarse_us();
            let purpose = request.purpose;
            let idle = if allow_idle { chosen.take_idle(begin_us / 1_000, purpose) } else { None };
            let is_reused = idle.is_some();
            let stream = match idle {
                Some(stream) => Ok(stream),
                None => self.connect(purpose, !allow_idle).await,
            };
            let stream = match stream {
                Ok(stream) => stream,
                Err(failure) => {
                    // Another member would not help against a shortage of ours.
                    if !failure.reason.is_members_fault() {
                        return Err(failure);
                    }
                    in_flight.count_failure();
                    chosen.observe(&self.session.worker.context, begin_us, None);
                    last_failure = Some(failure);
                    let by_default = tried.len() + 1 < MEMBER_TRY_MAX_COUNT;
                    let may_retry = self.may_retry(&chosen, RetryCause::ConnectFailure, by_default);
                    tried.push(chosen);
                    if !may_retry {
                        return Err(failure);
                    }
                    continue;
                }
            };
            let mut member = Peer::new(stream);
            member.output = std::mem::take(&mut request.output);
            match self.attempt(request, &mut member, &mut in_flight, is_reused).await {
                Ok(answered) => {
                    let ending = self.conclude(request, answered, member, in_flight);
                    if let Some(backlog) = self.backlog.take() {
                        Box::pin(self.send_backlog(*backlog, request.body_idle_ms(self.session)))
                            .await?;
                    }
                    return Ok(ending);
                }
                Err(AttemptError::Unprocessed) if !is_reused => {
                    // It drains, or has enough to do: nobody has failed yet.
                    let failure = FailureReason::UpstreamClosedEarly.into();
                    last_failure = Some(failure);
                    let may_retry = tried.len() + 1 < MEMBER_TRY_MAX_COUNT
                        && retry::allows_unprocessed(self.session, &mut self.record, &chosen);
                    tried.push(chosen);
                    if !may_retry {
                        return Err(failure);
                    }
                    request.take_back(&mut member);
                }
                Err(AttemptError::Repeatable | AttemptError::Unprocessed) => {
                    // A kept connection was closed between two requests: the member is not to blame.
                    // A new one that dies says that the member does; another may serve, once.
                    if !is_reused {
                        in_flight.count_failure();
                        chosen.observe(&self.session.worker.context, begin_us, None);
                        let failure = FailureReason::UpstreamClosedEarly.into();
                        last_failure = Some(failure);
                        let by_default =
                            !has_left_a_member && tried.len() + 1 < MEMBER_TRY_MAX_COUNT;
                        let may_retry =
                            self.may_retry(&chosen, RetryCause::ResetBeforeResponse, by_default);
                        tried.push(chosen);
                        if !may_retry {
                            return Err(failure);
                        }
                        has_left_a_member = true;
                    } else {
                        chosen.counters.count(|shard| shard.retry(RetryKind::StaleConnection));
                    }
                    allow_idle = false;
                    request.take_back(&mut member);
                }
                Err(AttemptError::Retry(failure)) => {
                    in_flight.count_failure();
                    let status =
                        (failure.reason == FailureReason::UpstreamStatus).then_some(failure.status);
                    chosen.observe(&self.session.worker.context, begin_us, status);
                    // Of a status that was decided where it came: see `pass_head`.
                    if status.is_none() && !self.may_retry(&chosen, RetryCause::Timeout, false) {
                        return Err(failure);
                    }
                    last_failure = Some(failure);
                    tried.push(chosen);
                    request.take_back(&mut member);
                }
                Err(AttemptError::Tls { fault, text, is_repeatable }) => {
                    in_flight.count_failure();
                    self.note_error(member::tls_text(&chosen, &text));
                    chosen.observe(&self.session.worker.context, begin_us, None);
                    // As where the handshake fails at once, with older versions of TLS.
                    let failure = member::tls_reason(fault).into();
                    last_failure = Some(failure);
                    let by_default = tried.len() + 1 < MEMBER_TRY_MAX_COUNT;
                    let may_retry = is_repeatable
                        && self.may_retry(&chosen, RetryCause::ConnectFailure, by_default);
                    tried.push(chosen);
                    if !may_retry {
                        return Err(failure);
                    }
                    request.take_back(&mut member);
                }
                Err(AttemptError::Failed(failure)) => {
                    if failure.reason.is_members_fault() {
                        in_flight.count_failure();
                        if self.record.status == 0 {
                            chosen.observe(&self.session.worker.context, begin_us, None);
                        }
                    }
                    return Err(failure);
                }
            }
        }
    }

    fn choose(
        &self,
        request: &mut Request<'_>,
        tried: &[Chosen],
    ) -> Result<(Chosen, InFlight), NoMember> {
        persistence::choose(self.session, &self.pool, &mut request.wanted, tried)
    }

    fn may_retry(&mut self, chosen: &Chosen, cause: RetryCause, by_default: bool) -> bool {
        retry::allows(self.session, &mut self.record, chosen, cause, by_default)
    }

    /// Sends the request over that connection and passes the response on.
    async fn attempt(
        &mut self,
        request: &mut Request<'a>,
        member: &mut Peer<MemberStream>,
        in_flight: &mut InFlight,
        is_reused: bool,
    ) -> Result<Answered, AttemptError> {
        let Session { worker, server, .. } = self.session;
        let (head, http) = (request.head, &server.http);
        let routing = request.routing.as_ref();
        let timeouts = routing.map(|routing| routing.timeouts).unwrap_or_default();
        let body_idle_ms = request.body_idle_ms(self.session);
        let begin_us = worker.context.clock.coarse_us();
        let chosen = self.record.chosen.clone();
        let policy = chosen.as_ref().and_then(|chosen| chosen.pool.spec().retry.as_ref());
        let response_ms = timeouts.response_timeout_ms.unwrap_or(http.response_timeout_ms);
        let per_try_ms = policy.and_then(|policy| policy.per_try_timeout_ms).unwrap_or(u64::MAX);
        let mut relay = Relay::new(
            self.session,
            self.client,
            member,
            &mut request.pump,
            Conditions {
                body_idle_ms,
                response_ms: response_ms.min(per_try_ms),
                is_idempotent: head.method.is_idempotent()
                    || policy.is_some_and(|policy| policy.non_idempotent),
                repeats_on_reset: retry::repeats_on_reset(head.method, policy),
                is_reused,
                is_timeout_retried: policy.is_some_and(|p| p.is_for(RetryCause::Timeout)),
                ends_by_half_close: http.client_half_close == ClientHalfClose::Abort,
                is_grpc: head.is_grpc,
            },
        );
        let mut interim_count = 0;
        let (response, plan) = loop {
            let mut scanner = HeadScanner::default();
            let (length, field_count) = poll_fn(|cx| relay.poll_head(cx, &mut scanner)).await?;
            if interim_count == 0 {
                self.record.response_began(worker.context.clock.now_us());
            }
            let start = relay.client.output_end();
            let (response, plan) = pass_head(
                self.session,
                &head,
                routing,
                &mut self.record,
                &mut relay,
                length,
                field_count,
            )?;
            if !response.is_interim() {
                self.response_start = Some(start);
                break (response, plan);
            }
            interim_count += 1;
            if interim_count > INTERIM_MAX_COUNT {
                return Err(FailureReason::UpstreamProtocol.into());
            }
        };
        self.record.status = response.status;
        // From here on nothing is tried again.
        self.record.retry_permit = None;
        in_flight.response_began();
        if let Some(chosen) = &self.record.chosen {
            chosen.observe(&worker.context, begin_us, Some(response.status));
        }
        self.record.sent_bytes = relay.client.output.len() as u64;
        let ends_connection = !plan.keeps_alive && response.status != 101;
        let mut download =
            Pump::new(response.body, plan.frames, u64::MAX).ending_connection(ends_connection);
        if let Some(max_bytes) = http.buffering.response_max_bytes
            && plan.has_body
        {
            self.backlog = Some(Box::new(Backlog::new(self.session, max_bytes)));
        }
        if request.held.is_some() && relay.is_sent() {
            // It won't be sent again.
            relay.member.output.release(&worker.buffers);
            request.held = None;
        }
        let backlog = &mut self.backlog;
        let passed = poll_fn(|cx| relay.poll_body(cx, &mut download, backlog.as_deref_mut())).await;
        self.record.sent_bytes += download.content_bytes;
        if head.is_grpc && self.record.grpc_status.is_none() {
            self.record.grpc_status = trailer::grpc_status(trailer::fields_of(download.trailer()));
        }
        passed.map_err(AttemptError::Failed)?;
        if response.status == 101 {
            return Ok(Answered::Upgraded);
        }
        let is_sent = relay.is_sent();
        Ok(Answered::Fully {
            keeps_alive: plan.keeps_alive && is_sent,
            // Bytes behind the response would be taken for an answer to the next request.
            is_reusable: response.keeps_alive() && is_sent && member.input.is_empty(),
        })
    }

    fn conclude(
        &mut self,
        request: &Request<'_>,
        answered: Answered,
        mut member: Peer<MemberStream>,
        in_flight: InFlight,
    ) -> Ending {
        let worker = &self.session.worker;
        let timeouts = request.routing.as_ref().map(|routing| routing.timeouts);
        let Answered::Fully { keeps_alive, is_reusable } = answered else {
            return Ending::Tunnel(Box::new(Tunnel {
                member,
                in_flight,
                record: Record::default(),
                idle_timeout_ms: timeouts
                    .and_then(|timeouts| timeouts.tunnel_idle_timeout_ms)
                    .unwrap_or(self.session.server.http.tunnel_idle_timeout_ms),
            }));
        };
        self.client.output.release(&worker.buffers);
        member.output.release(&worker.buffers);
        if is_reusable && let Some(chosen) = &self.record.chosen {
            member.input.release(&worker.buffers);
            self.pool.put_idle(chosen, member.stream, worker.context.clock.coarse_ms());
        }
        if keeps_alive {
            return Ending::KeepAlive;
        }
        // Who asked for the end knows that it comes; everybody else may be sending.
        Ending::Close { linger: !request.pump.is_read() || request.head.keeps_alive() }
    }
}
