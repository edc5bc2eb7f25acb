//! One attempt to have a member answer a request: the request goes out and the response comes in at
//! the same time, as either side may talk first.
//!
//! ```text
//!  client ──input──► upload pump ──output──► member
//!  client ◄─output── download pump ◄─input── member
//! ```
//! Everything is driven from one `poll`: whichever side is ready, both directions get their turn.
//!
//! Invariant: a request is said to be [`AttemptError::Repeatable`] or `Unprocessed` only if the member can't have acted
//! on it, or doing so twice does no harm (RFC 9110 §9.2.2), and it can be sent again unchanged.

use std::io;
use std::task::{Context, Poll};

use ballast_telemetry::FailureReason;
use ballast_tls::{TlsFault, fault};
use ballast_workers::{Interrupted, Ticket};

use crate::buffer::BufferPool;
use crate::buffering::Backlog;
use crate::codec::head::{HeadScanner, Scan};
use crate::codec::response::HEADER_MAX_BYTES;
use crate::connection::Session;
use crate::failure::Failure;
use crate::member::{MemberStream, http2};
use crate::pace::Pace;
use crate::peer::{Peer, Stream, Watch, why_left};
use crate::pump::{Pump, PumpError};

/// How often one that waits looks whether its client is still there, in ms.
const LOOK_INTERVAL_MS: u64 = 1_000;

/// Why an attempt came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AttemptError {
    /// The connection died before the first byte of a response: the request may be sent again on
    /// another.
    Repeatable,
    /// The member says that it has not looked at the request, which may be sent again (RFC 9113 §8.7).
    Unprocessed,
    /// The request shall be sent again, to another member if there is one: the pool's retry policy
    /// says so. The failure counts if that can't be done.
    Retry(Failure),
    /// The member refused a new connection in TLS.
    Tls {
        fault: TlsFault,
        /// Why, in a sentence.
        text: String,
        /// Whether another member may be asked: the request is still there, and this one has not acted
        /// on it, or doing so twice does no harm.
        is_repeatable: bool,
    },
    /// The request has failed.
    Failed(Failure),
}

impl From<FailureReason> for AttemptError {
    fn from(reason: FailureReason) -> Self {
        Self::Failed(reason.into())
    }
}

/// What an attempt depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions {
    /// Longest silence in the middle of a body, in ms.
    pub(crate) body_idle_ms: u64,
    /// Longest wait for a response once the request is sent, in ms.
    pub(crate) response_ms: u64,
    /// Whether the request may be sent twice.
    pub(crate) is_idempotent: bool,
    /// Whether it may be sent twice where the connection dies before the first byte of a response.
    pub(crate) repeats_on_reset: bool,
    /// Whether the connection has carried requests before.
    pub(crate) is_reused: bool,
    /// Whether the request is sent again where no response comes in time.
    pub(crate) is_timeout_retried: bool,
    /// Whether a client that closes its side of the connection has given the request up.
    pub(crate) ends_by_half_close: bool,
    /// Whether both sides may talk for as long as they like.
    pub(crate) is_grpc: bool,
}

/// What becomes of the request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upload {
    Sending,
    Sent,
    /// The member takes no more of it; it may have answered already.
    Abandoned,
}

/// A request under way to a member.
pub(crate) struct Relay<'a, S> {
    pub(crate) client: &'a mut Peer<S>,
    pub(crate) member: &'a mut Peer<MemberStream>,
    pump: &'a mut Pump,
    session: &'a Session,
    ticket: &'a Ticket,
    buffers: &'a BufferPool,
    conditions: Conditions,
    /// How fast the client has to send.
    sending: Pace,
    /// How fast it has to read.
    reading: Pace,
    /// When the wait that is on is over; the ticket has the next look at the client if that is earlier.
    deadline_ms: u64,
    upload: Upload,
    watch: Watch,
    /// Whether the member has said anything yet, if only that a response will come.
    pub(crate) has_answered: bool,
    /// The request's content that was put beside its head before anything was sent.
    first_content_bytes: u64,
    /// Head and content that stood in the output before anything was sent.
    first_output_bytes: usize,
    /// What the output was then: its generation.
    first_generation: u32,
}

impl<'a, S: Stream> Relay<'a, S> {
    pub(crate) fn new(
        session: &'a Session,
        client: &'a mut Peer<S>,
        member: &'a mut Peer<MemberStream>,
        pump: &'a mut Pump,
        conditions: Conditions,
    ) -> Self {
        let first_content_bytes = pump.content_bytes;
        let first_output_bytes = member.output.len();
        let first_generation = member.output.generation();
        let (http, idle_ms) = (&session.server.http, conditions.body_idle_ms);
        let is_paced = !conditions.is_grpc;
        let mut relay = Self {
            client,
            member,
            pump,
            session,
            ticket: &session.ticket,
            buffers: &session.worker.buffers,
            conditions,
            sending: is_paced.then(|| Pace::of_sender(http, idle_ms)).unwrap_or_default(),
            reading: Pace::of_reader(http, idle_ms),
            deadline_ms: 0,
            upload: Upload::Sending,
            watch: Watch::new(conditions.ends_by_half_close),
            has_answered: false,
            first_content_bytes,
            first_output_bytes,
            first_generation,
        };
        relay.wait_for(conditions.body_idle_ms);
        relay
    }

    /// Whether the whole request has been sent.
    pub(crate) fn is_sent(&self) -> bool {
        self.upload == Upload::Sent
    }

    /// Sends the request and waits for the head of a response; ready with its length and number of
    /// fields. It stands at the front of the member's input.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        scanner: &mut HeadScanner,
    ) -> Poll<Result<(usize, usize), AttemptError>> {
        self.poll_upload(cx)?;
        self.poll_interim(cx)?;
        loop {
            match scanner.advance(self.member.input.data()) {
                Ok(Scan::Complete { length, field_count }) if length <= HEADER_MAX_BYTES => {
                    return Poll::Ready(Ok((length, field_count)));
                }
                Ok(Scan::Partial) if self.member.input.make_room(HEADER_MAX_BYTES) => {}
                _ => return Poll::Ready(Err(FailureReason::UpstreamProtocol.into())),
            }
            match self.member.poll_fill(cx, self.buffers) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(self.closed_early())),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.failed_early(&error))),
                Poll::Pending => return self.check_waiting_for_head(cx),
            }
        }
    }

    /// Sends the response's body while the rest of the request goes out, if there is any. With a
    /// `backlog`, ready when the member has given all of it: what the client has not taken is there.
    pub(crate) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        download: &mut Pump,
        mut backlog: Option<&mut Backlog<'_>>,
    ) -> Poll<Result<(), Failure>> {
        if let Err(AttemptError::Failed(failure)) = self.poll_upload(cx) {
            return Poll::Ready(Err(failure));
        }
        let (member, client) = (&mut *self.member, &mut *self.client);
        let moved = match &mut backlog {
            None => download.poll(cx, member, client, self.buffers),
            Some(backlog) => download.poll_ahead(cx, member, client, self.buffers, backlog),
        };
        match moved {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(download_failure(&error).into())),
            Poll::Pending => {
                let has_moved = download.take_progress() | self.pump.take_progress();
                if has_moved {
                    self.wait_for(self.conditions.body_idle_ms);
                }
                let waits_for_client = match backlog {
                    None => download.waits_for_receiver(),
                    Some(backlog) => backlog.is_full(),
                };
                let stalled = if waits_for_client {
                    FailureReason::ClientWriteTimeout
                } else {
                    FailureReason::ResponseBodyTimeout
                };
                let sent_bytes = self.client.sent_bytes;
                let is_slow = self.reading.is_too_slow(self.session, sent_bytes, waits_for_client);
                self.check(cx, stalled, is_slow.then_some(FailureReason::ClientTooSlow))
            }
        }
    }

    /// Sends what is left of an interim response.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Result<(), AttemptError> {
        if self.client.output.is_empty() {
            return Ok(());
        }
        match self.client.poll_flush(cx) {
            Poll::Ready(Err(_)) => Err(FailureReason::ClientClosed.into()),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    /// Moves the request's body on. Errors are those of the client, or staleness.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), AttemptError> {
        if self.upload != Upload::Sending {
            return Ok(());
        }
        match self.pump.poll(cx, self.client, self.member, self.buffers) {
            Poll::Ready(Ok(())) => {
                self.upload = Upload::Sent;
                self.wait_for(self.conditions.response_ms);
                Ok(())
            }
            Poll::Ready(Err(PumpError::Write(_))) => {
                // The member may have answered before it closed; its response decides.
                self.upload = Upload::Abandoned;
                Ok(())
            }
            Poll::Ready(Err(error)) => Err(upload_failure(&error).into()),
            Poll::Pending => Ok(()),
        }
    }

    fn check_waiting_for_head<T>(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, AttemptError>> {
        if self.pump.take_progress() && self.upload == Upload::Sending {
            self.wait_for(self.conditions.body_idle_ms);
        }
        let waits_for_client = self.upload == Upload::Sending && !self.pump.waits_for_receiver();
        let stalled = if waits_for_client {
            FailureReason::BodyTimeout
        } else {
            FailureReason::ResponseTimeout
        };
        let content_bytes = self.pump.content_bytes;
        let is_slow = self.sending.is_too_slow(self.session, content_bytes, waits_for_client);
        let checked = self.check(cx, stalled, is_slow.then_some(FailureReason::BodyTooSlow));
        checked.map_err(|failure| {
            let is_late = failure.reason == FailureReason::ResponseTimeout;
            if is_late && self.conditions.is_timeout_retried && self.can_be_repeated() {
                AttemptError::Retry(failure)
            } else {
                AttemptError::Failed(failure)
            }
        })
    }

    /// Whether the request can be sent again as it was, and may be: nothing of a response has been
    /// passed on.
    pub(crate) fn can_be_repeated(&self) -> bool {
        self.can_be_repeated_if(self.conditions.is_idempotent)
    }

    fn can_be_repeated_if(&self, may_be_sent_twice: bool) -> bool {
        let was_not_sent = self.member.output.consumed() == 0;
        !self.has_answered && self.is_unchanged() && (may_be_sent_twice || was_not_sent)
    }

    fn check<T>(
        &mut self,
        cx: &mut Context<'_>,
        stalled: FailureReason,
        too_slow: Option<FailureReason>,
    ) -> Poll<Result<T, Failure>> {
        if self.client.stream.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(FailureReason::ClientClosed.into()));
        }
        // Before that the body's reader hears of it.
        if self.upload == Upload::Sent
            && self.watch.poll_look(cx, &mut self.client.stream).is_ready()
            && let Some(reason) = self.seen_leaving()
        {
            return Poll::Ready(Err(reason.into()));
        }
        // Twice where it was time for a look: the second keeps the waker.
        loop {
            let failed = match self.ticket.check(cx) {
                Ok(()) => match too_slow {
                    None => return Poll::Pending,
                    Some(reason) => reason,
                },
                Err(Interrupted::Expired) if self.ticket.is_over_limit() => {
                    FailureReason::DeadlineExceeded
                }
                Err(Interrupted::Expired) => {
                    let left_ms = self.deadline_ms.saturating_sub(self.ticket.coarse_ms());
                    match self.seen_leaving().or(too_slow) {
                        _ if left_ms == 0 => stalled,
                        Some(reason) => reason,
                        None => {
                            self.ticket.set_timeout_ms(left_ms.min(LOOK_INTERVAL_MS));
                            if self.watch.looked() {
                                cx.waker().wake_by_ref();
                            }
                            continue;
                        }
                    }
                }
                Err(Interrupted::Cut | Interrupted::Ending) => FailureReason::Shutdown,
            };
            return Poll::Ready(Err(failed.into()));
        }
    }

    /// Why the request ends because of its client, if it does.
    fn seen_leaving(&self) -> Option<FailureReason> {
        why_left(&self.client.stream, self.conditions.ends_by_half_close)
    }

    /// Begins a wait that may take so long.
    fn wait_for(&mut self, timeout_ms: u64) {
        self.deadline_ms = self.ticket.coarse_ms().saturating_add(timeout_ms);
        self.ticket.set_timeout_ms(timeout_ms.min(LOOK_INTERVAL_MS));
    }

    /// What it means that reading failed before the response's head was complete. By TLS 1.3 a member
    /// that does not like our certificate says so only now (RFC 8446 §4.4.2.4).
    fn failed_early(&self, error: &io::Error) -> AttemptError {
        match http2::Fault::of(error) {
            Some(http2::Fault::Unprocessed) if self.is_unchanged() => AttemptError::Unprocessed,
            Some(http2::Fault::Unprocessed | http2::Fault::Reset) => {
                FailureReason::UpstreamClosedEarly.into()
            }
            Some(http2::Fault::Protocol) => FailureReason::UpstreamProtocol.into(),
            Some(http2::Fault::Unsendable) => FailureReason::BadRequest.into(),
            None => self.failed_connection(error),
        }
    }

    fn failed_connection(&self, error: &io::Error) -> AttemptError {
        match TlsFault::of(error) {
            Some(fault) if !self.conditions.is_reused && !self.has_answered => {
                let may_be_repeated =
                    self.conditions.is_idempotent || fault::refuses_certificate(error);
                let is_repeatable = may_be_repeated && self.is_unchanged();
                AttemptError::Tls { fault, text: fault::describe(error), is_repeatable }
            }
            _ => self.closed_early(),
        }
    }

    /// Whether the whole request is still there to be sent again: nothing was added to it, and nothing
    /// has taken the place of what was sent.
    fn is_unchanged(&self) -> bool {
        let output = &self.member.output;
        self.pump.content_bytes == self.first_content_bytes
            && self.pump.is_all_in_output()
            && output.generation() == self.first_generation
            && output.consumed() + output.len() == self.first_output_bytes
    }

    /// What it means that the member closed before its response's head was complete.
    fn closed_early(&self) -> AttemptError {
        let can_be_repeated = self.can_be_repeated_if(self.conditions.repeats_on_reset);
        if self.member.input.is_empty() && can_be_repeated {
            AttemptError::Repeatable
        } else {
            FailureReason::UpstreamClosedEarly.into()
        }
    }
}

/// Whose fault it is that a request's body did not get through.
pub(crate) fn upload_failure(error: &PumpError) -> FailureReason {
    match error {
        PumpError::Framing(_) => FailureReason::BadRequestFraming,
        PumpError::Read(error) if is_malformed(error) => FailureReason::BadRequestFraming,
        PumpError::TooLarge => FailureReason::BodyTooLarge,
        PumpError::Read(_) | PumpError::Truncated | PumpError::Write(_) => {
            FailureReason::ClientClosed
        }
    }
}

fn download_failure(error: &PumpError) -> FailureReason {
    match error {
        PumpError::Framing(_) | PumpError::TooLarge => FailureReason::UpstreamProtocol,
        PumpError::Read(error) if http2::Fault::of(error) == Some(http2::Fault::Protocol) => {
            FailureReason::UpstreamProtocol
        }
        PumpError::Read(_) | PumpError::Truncated => FailureReason::UpstreamClosedEarly,
        PumpError::Write(error) if is_malformed(error) => FailureReason::UpstreamProtocol,
        PumpError::Write(_) => FailureReason::ClientClosed,
    }
}

/// Whether a stream of HTTP/2 could not be read or written as HTTP/1.1, rather than that its connection
/// failed. A socket has no such error.
fn is_malformed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}
