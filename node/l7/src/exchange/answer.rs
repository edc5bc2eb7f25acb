//! Answers of our own: those that a policy has us give, and what a client is told of a failure.
//!
//! Invariant: a client that has seen a byte of a member's response gets none of them.

use std::future::poll_fn;

use ballast_telemetry::FailureReason;

use super::response::may_keep_alive;
use super::{Ending, Exchange, Request};
use crate::codec::request::Method;
use crate::failure::Failure;
use crate::own::OwnFields;
use crate::peer::Stream;
use crate::policy::{HeaderChanges, Manner, Routing};

/// How long the client may take to accept our own answer, in ms.
const ANSWER_TIMEOUT_MS: u64 = 5_000;

impl<S: Stream> Exchange<'_, S> {
    /// Gives the answer that a policy has us give.
    pub(super) async fn answer_by_policy(&mut self, request: &Request<'_>) -> Ending {
        let Some(Routing { answer: Some(answer), response, .. }) = &request.routing else {
            return Ending::Abort;
        };
        let head = &request.head;
        let keeps_alive = request.pump.is_read() && may_keep_alive(self.session, head);
        let manner = Manner { method: head.method, is_http_10: head.is_http_10, keeps_alive };
        self.record.reason = answer.failure().map(|failure| failure.reason);
        let output = &mut self.client.output;
        output.acquire(&self.session.worker.buffers);
        self.record.status = answer.status();
        let own = OwnFields::new(self.session, &self.record, Some(response));
        match answer.failure().filter(|_| self.is_grpc) {
            Some(failure) => {
                failure.write_grpc(output, keeps_alive, own);
                self.record.grpc_status = Some(failure.grpc_status());
                self.record.status = 200;
            }
            None => answer.write(output, manner, own),
        }
        self.flush(keeps_alive).await
    }

    /// Tells the client that its request failed, if it can still be told.
    /// `changes` are those that policies make to its header, once they are known.
    pub(super) async fn answer(
        &mut self,
        failure: Failure,
        method: Method,
        keeps_alive: bool,
        changes: Option<&HeaderChanges>,
    ) -> Ending {
        self.record.reason = Some(failure.reason);
        let sent_bytes = self.client.sent_bytes;
        let is_response_begun = self.response_start.is_some_and(|start| sent_bytes > start);
        let is_client_gone = matches!(
            failure.reason,
            FailureReason::ClientAbort
                | FailureReason::ClientClosed
                | FailureReason::ClientTooSlow
                | FailureReason::ClientWriteTimeout
        );
        if is_response_begun || is_client_gone {
            self.client.stream.blame(failure.reason);
            return Ending::Abort;
        }
        let output = &mut self.client.output;
        if let Some(start) = self.response_start {
            // What is in front of it belongs to an interim response and must be completed.
            output.truncate((start - sent_bytes) as usize);
        }
        output.acquire(&self.session.worker.buffers);
        self.record.identify_refused(self.session);
        self.record.status = failure.status;
        let own = OwnFields::new(self.session, &self.record, changes);
        if self.is_grpc {
            failure.write_grpc(output, keeps_alive, own);
            self.record.grpc_status = Some(failure.grpc_status());
            self.record.status = 200;
            self.session.ticket.set_limit_ms(None);
        } else {
            failure.write(output, method, keeps_alive, own);
        }
        self.flush(keeps_alive).await
    }

    /// Sends an answer of ours.
    async fn flush(&mut self, keeps_alive: bool) -> Ending {
        self.record.sent_bytes = self.client.output.len() as u64;
        self.session.ticket.set_timeout_ms(ANSWER_TIMEOUT_MS);
        let client = &mut *self.client;
        if !keeps_alive {
            client.stream.end_follows();
        }
        let flush = poll_fn(|cx| client.poll_flush(cx));
        match self.session.ticket.guard(flush).await {
            Ok(Ok(())) if keeps_alive => Ending::KeepAlive,
            Ok(Ok(())) => Ending::Close { linger: true },
            Ok(Err(_)) | Err(_) => Ending::Abort,
        }
    }
}
