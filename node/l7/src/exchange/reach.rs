//! How a request gets to a member: waiting for room where there is none, and a connection.
//!
//! Invariant: whatever it waits for is bounded by a timeout, and noted in the record.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::task::{Context, Poll};

use ballast_balance::{InFlight, NoMember};
use ballast_model::ClientHalfClose;
use ballast_telemetry::FailureReason;
use ballast_workers::Interrupted;

use super::{Exchange, Request};
use crate::connection::Session;
use crate::failure::Failure;
use crate::member::{self, ConnectError, MemberStream, Way};
use crate::peer::{Stream, Watch, why_left};
use crate::persistence;
use crate::queue;
use crate::upstream::{self, Chosen, Purpose};

impl<S: Stream> Exchange<'_, S> {
    /// Waits for room where there is none; the first time only, as one that failed once should not
    /// wait in line for the rest.
    pub(super) async fn find_no_member(
        &mut self,
        request: &mut Request<'_>,
        why: NoMember,
        last_failure: Option<Failure>,
    ) -> Result<(Chosen, InFlight), Failure> {
        match (why, last_failure) {
            (_, Some(failure)) => Err(failure),
            (NoMember::AllBusy | NoMember::PersistentBusy, None) => {
                let client = &mut self.client.stream;
                let wait = queue::wait(self.session, &self.pool, client, request.wanted, why);
                let clock = &self.session.worker.context.clock;
                let start_us = clock.now_us();
                // On the heap: most requests never wait.
                let found = Box::pin(wait).await;
                let waited_us = clock.now_us().saturating_sub(start_us);
                self.record.queue_us = Some(waited_us);
                self.pool.shard().queued(waited_us);
                let (chosen, in_flight) = found?;
                // It waited for this one: what other requests found meanwhile does not undo that.
                persistence::remember(self.session, &self.pool, &mut request.wanted, &chosen);
                Ok((chosen, in_flight))
            }
            (why, None) => Err(upstream::why_none(why).into()),
        }
    }

    pub(super) async fn connect(
        &mut self,
        purpose: Purpose,
        fresh: bool,
    ) -> Result<MemberStream, Failure> {
        let Some(chosen) = &self.record.chosen else {
            return Err(FailureReason::Internal.into());
        };
        let Session { worker, ticket, .. } = self.session;
        let start_us = worker.context.clock.now_us();
        ticket.set_timeout_ms(chosen.pool.spec().connect_timeout_ms);
        let client = (self.session.peer, self.session.local);
        let (tcp_us, is_crowded) = (Cell::new(None), Cell::new(false));
        let (clock, tcp_us, is_crowded) = (&worker.context.clock, &tcp_us, &is_crowded);
        let way = Way { client, purpose, fresh, clock, tcp_us, is_crowded };
        let mut connect = Box::pin(member::connect(chosen, way));
        let is_abort = self.session.server.http.client_half_close == ClientHalfClose::Abort;
        let (client, mut watch) = (&mut self.client.stream, Watch::new(is_abort));
        let wait = poll_fn(|cx| match connect.as_mut().poll(cx) {
            Poll::Pending => poll_leaving(cx, client, &mut watch, is_abort)
                .map(|reason| Err(ConnectError { reason, text: None })),
            connected => connected,
        });
        let connected = ticket.guard(wait).await;
        let now_us = worker.context.clock.now_us();
        let connected_us = tcp_us.get().unwrap_or(now_us);
        self.record.connect_us = Some(connected_us.saturating_sub(start_us));
        self.record.tls_us = tcp_us.get().map(|tcp_us| now_us.saturating_sub(tcp_us));
        let reason = match connected {
            Ok(Ok(stream)) => {
                let took_us = connected_us.saturating_sub(start_us);
                chosen.counters.count(|shard| shard.connected(took_us));
                return Ok(stream);
            }
            Ok(Err(error)) => {
                if let Some(text) = error.text {
                    self.note_error(text);
                }
                error.reason
            }
            Err(Interrupted::Expired) if ticket.is_over_limit() => FailureReason::DeadlineExceeded,
            Err(Interrupted::Expired) if is_crowded.get() => FailureReason::QueueTimeout,
            Err(Interrupted::Expired) => FailureReason::ConnectTimeout,
            Err(Interrupted::Cut | Interrupted::Ending) => FailureReason::Shutdown,
        };
        Err(reason.into())
    }

    /// Has the status tell why the connection to the chosen member failed.
    pub(super) fn note_error(&self, text: String) {
        if let Some(chosen) = &self.record.chosen {
            let now_unix_ms = self.session.worker.context.clock.coarse_unix_ms();
            chosen.member.state.note_error(text, now_unix_ms);
        }
    }
}

/// Ready with why a request ends because of its client, while that is neither read nor written to. Not for
/// streams of HTTP/2: what ended one is known only to who reads its body.
fn poll_leaving<S: Stream>(
    cx: &mut Context<'_>,
    client: &mut S,
    watch: &mut Watch,
    ends_by_half_close: bool,
) -> Poll<FailureReason> {
    let looked = watch.poll_look(cx, client).map(|()| why_left(client, ends_by_half_close));
    match looked {
        Poll::Ready(Some(reason)) => Poll::Ready(reason),
        Poll::Ready(None) | Poll::Pending => Poll::Pending,
    }
}
