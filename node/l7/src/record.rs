//! What is counted and written down of one request.
//!
//! Invariant: every request that was understood, or refused, is finished exactly once.

use std::net::SocketAddr;

use ballast_telemetry::{AccessRecord, CounterShard, FailureReason};

use crate::codec::request::RequestHead;
use crate::policy::REQUEST_ID_BYTES;
use crate::upstream::Chosen;
use crate::worker::HttpWorker;

/// A request on its way into the counters and the access log.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// When its first byte was seen, by the worker's clock.
    start_us: u64,
    /// When its head was complete.
    head_us: u64,
    /// Method, target and host, one after another; empty where nothing is logged.
    text: Vec<u8>,
    method_bytes: usize,
    target_bytes: usize,
    /// What the client speaks, where that is known.
    pub(crate) protocol: &'static str,
    pub(crate) status: u16,
    /// Where the virtual server has policies.
    pub(crate) request_id: Option<[u8; REQUEST_ID_BYTES]>,
    pub(crate) reason: Option<FailureReason>,
    pub(crate) chosen: Option<Chosen>,
    pub(crate) attempt_count: u32,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) connect_us: Option<u64>,
    pub(crate) first_byte_us: Option<u64>,
}

impl Record {
    pub(crate) fn new(start_us: u64, head_us: u64) -> Self {
        Self { start_us, head_us, ..Self::default() }
    }

    /// Notes that the first byte of a response is there.
    pub(crate) fn response_began(&mut self, now_us: u64) {
        self.first_byte_us = Some(now_us.saturating_sub(self.head_us));
    }

    /// Keeps what the access log shows of the request; its bytes are gone by the time it is
    /// written.
    pub(crate) fn describe(&mut self, worker: &HttpWorker, raw: &[u8], head: &RequestHead) {
        self.text = worker.take_text();
        for part in [head.method_name, head.target] {
            self.text.extend_from_slice(part.of_head(raw));
        }
        self.protocol = if head.is_http_10 { "http/1.0" } else { "http/1.1" };
        self.method_bytes = head.method_name.of_head(raw).len();
        self.target_bytes = head.target.of_head(raw).len();
        if let Some(host) = head.host {
            self.text.extend_from_slice(host.of_head(raw));
        }
    }

    /// Counts the request, and writes it down if `logged_as` says so.
    pub(crate) fn finish(
        self,
        worker: &HttpWorker,
        counters: &CounterShard,
        client: SocketAddr,
        logged_as: Option<&str>,
    ) {
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
        if let Some(virtual_server) = logged_as {
            worker.log(&self.access_record(worker, client, virtual_server, total_us));
        }
        worker.give_text(self.text);
    }

    fn access_record<'a>(
        &'a self,
        worker: &HttpWorker,
        client: SocketAddr,
        virtual_server: &'a str,
        total_us: u64,
    ) -> AccessRecord<'a> {
        let (method, rest) = self.text.split_at(self.method_bytes);
        let (uri, host) = rest.split_at(self.target_bytes);
        AccessRecord {
            time_ms: worker.context.clock.coarse_unix_ms().saturating_sub(total_us / 1_000),
            virtual_server,
            client,
            request_id: self.request_id.as_ref().map_or("", |id| {
                // Hexadecimal digits.
                std::str::from_utf8(id).unwrap_or_default()
            }),
            method,
            uri,
            host,
            protocol: self.protocol,
            status: self.status,
            reason: self.reason,
            pool: self.chosen.as_ref().map_or("", |chosen| chosen.pool.name()),
            member: self.chosen.as_ref().map(|chosen| &*chosen.member.name),
            attempts: self.attempt_count,
            received_bytes: self.received_bytes,
            sent_bytes: self.sent_bytes,
            total_us,
            request_us: self.head_us.saturating_sub(self.start_us),
            connect_us: self.connect_us,
            first_byte_us: self.first_byte_us,
        }
    }
}
