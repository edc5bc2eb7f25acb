//! Messages that are held: a request that is taken whole before a member is chosen, and a response that
//! its client takes after the member is free.
//!
//! Invariant: while a request's body comes, or the rest of a response goes, no member counts the request
//! as in flight.

use std::future::poll_fn;
use std::task::{Context, Poll};

use ballast_telemetry::FailureReason;
use ballast_workers::Interrupted;

use super::{Exchange, Request};
use crate::buffering::{Backlog, Lease};
use crate::codec::framing::BodyLength;
use crate::codec::request::RequestHead;
use crate::connection::Session;
use crate::failure::Failure;
use crate::pace::Pace;
use crate::peer::Stream;
use crate::pump::{Held, PumpError};
use crate::relay::upload_failure;

/// RFC 9110 §10.1.1: a client that waits for leave is given it by who takes its body.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Buffers that are read before other connections have their turn.
const TURN_FILL_COUNT: u32 = 8;
/// What the framing of a body in chunks may take besides its content, in parts of that content, and in
/// bytes besides.
const FRAMING_PART: usize = 4;
const FRAMING_BYTES: usize = 1_024;

/// What a request holds whose body is taken whole.
#[derive(Debug)]
pub(super) struct HeldRequest<'a> {
    lease: Lease<'a>,
    max_bytes: u32,
    /// Whether the client waits for leave to send the body.
    asks: bool,
}

impl<'a> HeldRequest<'a> {
    /// For a request of that head, where it is one to be taken whole. The member is not asked for leave
    /// to send what is here already.
    pub(super) fn of(session: &'a Session, head: &mut RequestHead) -> Option<Box<Self>> {
        let max_bytes = session.server.http.buffering.request_max_bytes?;
        let may_fit = match head.body {
            BodyLength::Exact(length) => (1..=u64::from(max_bytes)).contains(&length),
            BodyLength::Chunked => true,
            BodyLength::None | BodyLength::UntilClose => false,
        };
        // Both directions of a call of gRPC may wait for each other.
        if !may_fit || head.is_grpc || head.upgrade.is_some() {
            return None;
        }
        let asks = std::mem::take(&mut head.expects_continue);
        let lease = Lease::new(session);
        Some(Box::new(Self { lease, max_bytes, asks }))
    }
}

impl Request<'_> {
    /// Longest silence in the middle of a body, in ms.
    pub(super) fn body_idle_ms(&self, session: &Session) -> u64 {
        let timeouts = self.routing.as_ref().map(|routing| routing.timeouts).unwrap_or_default();
        timeouts.body_idle_timeout_ms.unwrap_or(session.server.http.body_idle_timeout_ms)
    }
}

impl<'a, S: Stream> Exchange<'a, S> {
    /// Takes the request's body: whole, or as much as may be held of it, the rest of which goes to the
    /// member as it comes.
    pub(super) async fn hold_request(&mut self, request: &mut Request<'a>) -> Result<(), Failure> {
        let Some(mut held) = request.held.take() else { return Ok(()) };
        let session = self.session;
        let worker = &session.worker;
        let idle_ms = request.body_idle_ms(self.session);
        let mut pace = Pace::of_sender(&self.session.server.http, idle_ms);
        self.session.ticket.set_timeout_ms(idle_ms.min(pace.left_ms()));
        if held.asks && self.client.input.is_empty() {
            self.client.output.acquire(&worker.buffers);
            self.client.output.push(CONTINUE);
        }
        let head_bytes = request.output.len();
        let max_storage_bytes = head_bytes
            + held.max_bytes as usize
            + held.max_bytes as usize / FRAMING_PART
            + FRAMING_BYTES;
        let bounds = (max_storage_bytes, idle_ms);
        let taken = poll_fn(|cx| self.poll_hold(cx, request, &mut held, &mut pace, bounds));
        if taken.await? {
            worker.budget.count_whole_request();
        }
        self.client.input.release(&worker.buffers);
        self.client.output.release(&worker.buffers);
        self.record.body_came(worker.context.clock.now_us());
        self.mirror(request);
        request.held = Some(held);
        Ok(())
    }

    /// Ready with whether the body is whole.
    fn poll_hold(
        &mut self,
        cx: &mut Context<'_>,
        request: &mut Request<'a>,
        held: &mut HeldRequest<'a>,
        pace: &mut Pace,
        (max_storage_bytes, idle_ms): (usize, u64),
    ) -> Poll<Result<bool, FailureReason>> {
        let session = self.session;
        let Session { worker, ticket, .. } = session;
        let mut fill_count = 0;
        loop {
            let (input, max_bytes) = (&mut self.client.input, u64::from(held.max_bytes));
            match request.pump.hold(input, &mut request.output, max_bytes) {
                Ok(Held::Whole) => return Poll::Ready(Ok(true)),
                Ok(Held::Hungry) => {}
                Ok(Held::Full) => {
                    if held.make_room(request, max_storage_bytes) {
                        continue;
                    }
                    if !held.lease.was_refused() {
                        worker.budget.count_large_request();
                    }
                    return Poll::Ready(Ok(false));
                }
                Ok(Held::TooLarge) => {
                    worker.budget.count_large_request();
                    return Poll::Ready(Ok(false));
                }
                Err(error) => return Poll::Ready(Err(upload_failure(&error))),
            }
            if !self.client.output.is_empty() {
                // What the client does not take now goes with the answer.
                let _pending =
                    self.client.poll_flush(cx).map_err(|_| FailureReason::ClientClosed)?;
            }
            if fill_count == TURN_FILL_COUNT {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            fill_count += 1;
            match self.client.poll_fill(cx, &worker.buffers) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(FailureReason::ClientClosed)),
                Poll::Ready(Ok(_)) => ticket.set_timeout_ms(idle_ms.min(pace.left_ms())),
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(upload_failure(&PumpError::Read(error))));
                }
                Poll::Pending => {
                    let is_slow = pace.is_too_slow(session, request.pump.content_bytes, true);
                    let too_slow = is_slow.then_some(FailureReason::BodyTooSlow);
                    return self.check(cx, FailureReason::BodyTimeout, too_slow);
                }
            }
        }
    }

    /// Sends what is held of a response.
    pub(super) async fn send_backlog(
        &mut self,
        mut backlog: Backlog<'_>,
        idle_ms: u64,
    ) -> Result<(), Failure> {
        let session = self.session;
        let Session { worker, ticket, .. } = session;
        let mut sent_bytes = self.client.sent_bytes;
        let mut is_early = false;
        let mut pace = Pace::of_reader(&session.server.http, idle_ms);
        ticket.set_timeout_ms(idle_ms.min(pace.left_ms()));
        let sent = poll_fn(|cx| match backlog.poll_flush(cx, self.client, &worker.buffers) {
            Poll::Ready(sent) => Poll::Ready(sent.map_err(|_| FailureReason::ClientClosed)),
            Poll::Pending => {
                if !std::mem::replace(&mut is_early, true) {
                    worker.budget.count_early_release();
                }
                let is_slow = pace.is_too_slow(session, self.client.sent_bytes, true);
                if self.client.sent_bytes != sent_bytes {
                    sent_bytes = self.client.sent_bytes;
                    ticket.set_timeout_ms(idle_ms.min(pace.left_ms()));
                }
                let too_slow = is_slow.then_some(FailureReason::ClientTooSlow);
                self.check(cx, FailureReason::ClientWriteTimeout, too_slow)
            }
        });
        sent.await?;
        self.client.output.release(&worker.buffers);
        Ok(())
    }

    /// Whether to wait on; `stalled` is what it means that nothing has moved for too long, `too_slow`
    /// that what has was too little.
    fn check<T>(
        &mut self,
        cx: &mut Context<'_>,
        stalled: FailureReason,
        too_slow: Option<FailureReason>,
    ) -> Poll<Result<T, FailureReason>> {
        if self.client.stream.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(FailureReason::ClientClosed));
        }
        let ticket = &self.session.ticket;
        Poll::Ready(Err(match ticket.check(cx) {
            Ok(()) => match too_slow {
                None => return Poll::Pending,
                Some(reason) => reason,
            },
            Err(Interrupted::Expired) if ticket.is_over_limit() => FailureReason::DeadlineExceeded,
            Err(Interrupted::Expired) => too_slow.unwrap_or(stalled),
            Err(Interrupted::Cut | Interrupted::Ending) => FailureReason::Shutdown,
        }))
    }
}

impl HeldRequest<'_> {
    /// Makes room in the output where there may be more: doubles it, so that a client gets memory only
    /// for what it has sent.
    fn make_room(&mut self, request: &mut Request<'_>, max_bytes: usize) -> bool {
        let output = &mut request.output;
        let before_bytes = output.capacity();
        let wanted_bytes = (before_bytes * 2).min(max_bytes);
        let may_grow = wanted_bytes > before_bytes && self.lease.grow(wanted_bytes - before_bytes);
        if may_grow {
            output.grow(wanted_bytes);
        }
        may_grow
    }
}
