//! An HTTP/2 connection (RFC 9113): each of its streams is served as a connection of HTTP/1.1 with one
//! request would be, so that everything else holds for both alike.
//!
//! ```text
//!            ┌ H2Stream ─ Exchange ─► member        the streams are futures of the connection's
//!  Wire ─ h2 ┼ H2Stream ─ Exchange ─► member        own task: all that are ready have their turn,
//!            └ H2Stream ─ Exchange ─► member        then what they wrote leaves in one go
//! ```
//! Invariant: a connection outlives its streams and no task is detached: when it is over, so are they,
//! and each request has been counted once.

pub mod frames;
mod request;
mod stream;
mod watch;
mod wire;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use ballast_model::HttpSettings;
use ballast_telemetry::FailureReason;
use ballast_workers::Interrupted;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;

pub(crate) use self::request::{Accept, accept_of};
use self::request::{Malformed, Written, write_head};
use self::stream::{H2Stream, Piece};
use self::watch::{FrameLimits, FrameWatch};
use self::wire::Wire;
use crate::buffer::Buffer;
use crate::codec::request::Method;
use crate::connection::{FoundHead, Session};
use crate::exchange::{Ending, Exchange};
use crate::failure::Failure;
use crate::own::OwnFields;
use crate::pace::Pace;
use crate::peer::{Peer, Stream};
use crate::record::Record;
use crate::tunnel;

/// What a client may send on a stream before the member has taken it, in bytes.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// The same for all streams of a connection together: what a connection may make us hold.
const CONNECTION_WINDOW_BYTES: u32 = 512 * 1024;
/// What a response may have waiting for the client besides one buffer, in bytes.
const SEND_BUFFER_MAX_BYTES: usize = 64 * 1024;
/// What RFC 9113 §6.5.2 counts for each field besides its name and value.
const FIELD_OVERHEAD_BYTES: u32 = 32;
/// How long a client may take to close after it was asked to, in ms.
const LEAVE_MS: u64 = 2_000;
/// What we read meanwhile and throw away, in bytes at most.
const LINGER_MAX_BYTES: usize = 1024 * 1024;

/// Serves a connection of HTTP/2 to its end. `input` is what came of it already.
pub(crate) async fn serve<S: Stream>(session: &mut Session, stream: S, input: Buffer) {
    session.is_http2 = true;
    session.counters.http2_connection();
    let watch = FrameWatch::new(FrameLimits::new(&session.server.http));
    let wire = Wire::new(stream, input, watch, Rc::clone(&session.worker));
    session.ticket.set_timeout_ms(session.server.http.header_timeout_ms);
    let mut handshake = builder(&session.server.http).handshake::<_, Piece>(wire.clone());
    let connected = poll_fn(|cx| match Pin::new(&mut handshake).poll(cx) {
        Poll::Ready(connected) => Poll::Ready(connected.ok()),
        Poll::Pending => match (wire.poll_flush_all(cx), session.ticket.check(cx)) {
            (Poll::Ready(Err(_)), _) | (_, Err(_)) => Poll::Ready(None),
            _ => Poll::Pending,
        },
    });
    let Some(h2) = connected.await else {
        session.counters.failure(FailureReason::Http2Protocol);
        return;
    };
    drop(handshake);
    let mut driver = Driver::new(session, wire, h2, run_stream);
    let ended = poll_fn(|cx| driver.poll(cx)).await;
    driver.conclude(ended).await;
}

fn builder(http: &HttpSettings) -> h2::server::Builder {
    let stream_max_count = http.http2_limits.stream_max_count;
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(stream_max_count.into())
        .max_header_list_size(
            http.header_max_bytes + FIELD_OVERHEAD_BYTES * u32::from(http.header_max_count),
        )
        .max_send_buffer_size(SEND_BUFFER_MAX_BYTES)
        // How many may be broken off at all is for `FrameWatch` to say.
        .max_pending_accept_reset_streams(stream_max_count.into())
        .enable_connect_protocol();
    builder
}

/// A stream that begins.
struct Start {
    session: Session,
    stream: H2Stream,
    input: Buffer,
    found: FoundHead,
    is_head: bool,
    /// Why it is not served.
    refusal: Option<Failure>,
    /// Streams of the connection that are tunnels.
    tunnel_count: Rc<Cell<usize>>,
}

/// Serves one stream.
async fn run_stream(start: Start) {
    let Start { session, stream, input, found, is_head, refusal, tunnel_count } = start;
    let mut client = Peer::new(stream);
    client.input = input;
    if let Some(failure) = refusal {
        refuse(&session, &mut client, found, is_head, failure).await;
    } else {
        let ending = Exchange::new(&session, &mut client, found).run(found).await;
        match ending {
            Ending::KeepAlive | Ending::Close { .. } => client.stream.finish(),
            Ending::Abort => client.stream.reset_on_drop(),
            Ending::Tunnel(tunnel) => {
                tunnel_count.set(tunnel_count.get() + 1);
                tunnel::run(&session, &mut client, tunnel).await;
                tunnel_count.set(tunnel_count.get() - 1);
            }
        }
    }
    for buffer in [&mut client.input, &mut client.output] {
        buffer.clear();
        buffer.release(&session.worker.buffers);
    }
}

/// Says why a request is not served.
async fn refuse(
    session: &Session,
    client: &mut Peer<H2Stream>,
    found: FoundHead,
    is_head: bool,
    failure: Failure,
) {
    let mut record = Record::new(found.start_us, found.end_us);
    let method = if is_head { Method::Head } else { Method::Other };
    record.identify_refused(session);
    failure.write(&mut client.output, method, true, OwnFields::new(session, &record, None));
    record.status = failure.status;
    record.reason = Some(failure.reason);
    record.received_bytes = found.length as u64;
    record.sent_bytes = client.output.len() as u64;
    session.ticket.set_timeout_ms(LEAVE_MS);
    let flush = poll_fn(|cx| client.poll_flush(cx));
    // If it does not get through, there is nobody left to tell.
    let _ = session.ticket.guard(flush).await;
    client.stream.finish();
    session.finish(&mut record);
}

/// What a connection waits for; decides about its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// Another request.
    Idle,
    /// The rest of a header, which began then, in ms.
    Header(u64),
    /// Its streams, which have deadlines of their own.
    Streams,
    /// The client, to take what is ready for it.
    Client,
    /// The client, to close.
    Leave,
}

/// How a connection ended.
enum Ended {
    /// In order, or by the client.
    Closed,
    /// With that.
    Failed(h2::Error),
    /// It was cut, or the client did not close in time.
    Cut,
}

/// Streams that were opened and came to nothing, as far as they were counted.
#[derive(Default)]
struct Tally {
    refused_count: u64,
    malformed_count: u64,
    /// Of those, the ones that were answered.
    oversize_count: u64,
}

/// A connection being served.
struct Driver<'a, S: Stream, F> {
    session: &'a mut Session,
    wire: Wire<S>,
    h2: Connection<Wire<S>, Piece>,
    streams: FuturesUnordered<F>,
    run: fn(Start) -> F,
    tunnel_count: Rc<Cell<usize>>,
    waiting: Option<Waiting>,
    /// Bytes that the client had taken when the deadline was set.
    sent_bytes: u64,
    /// How fast it has to take what its streams have left for it.
    reading: Pace,
    accepted_count: u64,
    tally: Tally,
    /// HEADERS that streams sent and that ended them.
    last_headers: Rc<Cell<u64>>,
    /// Whether the client was asked not to open more streams.
    is_leaving: bool,
    /// Whether the connection is at its end for something that the client did.
    is_refused: bool,
    /// Whether a move of its address does not concern the connection any more.
    outlasts_quiesce: bool,
}

impl<'a, S: Stream, F: Future<Output = ()>> Driver<'a, S, F> {
    fn new(
        session: &'a mut Session,
        wire: Wire<S>,
        h2: Connection<Wire<S>, Piece>,
        run: fn(Start) -> F,
    ) -> Self {
        let http = &session.server.http;
        let reading = Pace::of_reader(http, http.body_idle_timeout_ms);
        Self {
            session,
            wire,
            h2,
            streams: FuturesUnordered::new(),
            run,
            tunnel_count: Rc::default(),
            waiting: None,
            sent_bytes: 0,
            reading,
            accepted_count: 0,
            tally: Tally::default(),
            last_headers: Rc::default(),
            is_leaving: false,
            is_refused: false,
            outlasts_quiesce: false,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            while let Poll::Ready(Some(())) = self.streams.poll_next_unpin(cx) {}
            let mut has_accepted = false;
            loop {
                match self.h2.poll_accept(cx) {
                    Poll::Ready(Some(Ok((request, respond)))) => {
                        self.accept(request, respond);
                        has_accepted = true;
                    }
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Ended::Failed(error)),
                    Poll::Ready(None) => return Poll::Ready(Ended::Closed),
                    Poll::Pending => break,
                }
            }
            if let Some(reason) = self.wire.violation()
                && !self.is_refused
            {
                self.break_off(reason);
            } else if !has_accepted {
                break;
            }
        }
        match self.wire.poll_flush_all(cx) {
            Poll::Ready(Ok(())) => self.count_refused(),
            Poll::Ready(Err(_)) => return Poll::Ready(Ended::Closed),
            Poll::Pending => {}
        }
        self.poll_waiting(cx)
    }

    /// Begins to serve a stream.
    fn accept(&mut self, request: Request<RecvStream>, mut respond: SendResponse<Piece>) {
        self.session.refresh();
        let limits = &self.session.server.http.http2_limits;
        // Those that the client broke off do not count for the protocol, but still cost us something.
        if self.streams.len() >= usize::from(limits.stream_max_count) * 2 {
            return respond.send_reset(Reason::REFUSED_STREAM);
        }
        self.accepted_count += 1;
        let is_last = self.accepted_count == u64::from(limits.request_max_count);
        if is_last || (!self.session.is_trusted && !self.is_leaving) {
            self.leave();
        }
        self.session.counters.http2_request();
        let now_us = self.session.worker.context.clock.now_us();
        let (parts, body) = request.into_parts();
        let mut input = Buffer::default();
        input.acquire(&self.session.worker.buffers);
        let written = match write_head(&mut input, parts, body.is_end_stream(), self.nonce()) {
            Ok(written) => written,
            Err(Malformed) => {
                respond.send_reset(Reason::PROTOCOL_ERROR);
                return self.record(0, FailureReason::BadRequest);
            }
        };
        let Written { length, field_count, is_head, .. } = written;
        let session = self.session.of_stream();
        let (worker, last_headers) = (Rc::clone(&session.worker), Rc::clone(&self.last_headers));
        let stream = H2Stream::new(worker, body, respond, &written, last_headers);
        let refusal = self.refusal(&written);
        self.streams.push((self.run)(Start {
            session,
            stream,
            input,
            found: FoundHead { length, field_count, start_us: now_us, end_us: now_us },
            is_head,
            refusal,
            tunnel_count: Rc::clone(&self.tunnel_count),
        }));
    }

    /// Why a request is answered without looking further at it.
    fn refusal(&self, written: &Written) -> Option<Failure> {
        if !self.session.is_trusted {
            return Some(FailureReason::ClientCertificate.into());
        }
        let is_long = written.length > self.session.server.http.header_max_bytes as usize;
        if is_long {
            return Some(Failure { reason: FailureReason::HeaderTooLarge, status: 431 });
        }
        let knows = |name: &String| name.eq_ignore_ascii_case("websocket");
        let is_unknown = written.is_unknown_protocol
            || (written.accept.is_some() && !self.session.server.http.upgrades.iter().any(knows));
        is_unknown.then_some(Failure { reason: FailureReason::MethodNotAllowed, status: 501 })
    }

    fn nonce(&self) -> [u8; 16] {
        let context = &self.session.worker.context;
        let number = u128::from(context.random()) << 64 | u128::from(context.random());
        number.to_ne_bytes()
    }

    /// Asks the client not to open more streams; those that are open are served.
    fn leave(&mut self) {
        self.h2.graceful_shutdown();
        self.is_leaving = true;
    }

    /// Ends the connection for what the client did.
    fn break_off(&mut self, reason: FailureReason) {
        self.session.counters.failure(reason);
        self.h2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        (self.is_leaving, self.is_refused) = (true, true);
    }

    /// Counts streams that the protocol refused by itself. Of each that was opened it is known whether
    /// it was accepted, or refused because there are too many; the others were malformed, or answered
    /// with 431 because their header is far too large.
    fn count_refused(&mut self) {
        for _ in self.tally.refused_count..self.wire.refused_count() {
            self.tally.refused_count += 1;
            self.record(0, FailureReason::Http2StreamLimit);
        }
        if self.is_leaving {
            // Streams that come now are ignored: the client repeats them elsewhere.
            return;
        }
        let known_count = self.tally.refused_count + self.tally.malformed_count;
        for _ in self.accepted_count + known_count..self.wire.opened_count() {
            self.tally.malformed_count += 1;
            let ours_count = self.last_headers.get() + self.tally.oversize_count;
            if self.wire.last_header_count() > ours_count {
                self.tally.oversize_count += 1;
                self.record(431, FailureReason::HeaderTooLarge);
            } else {
                self.record(0, FailureReason::BadRequest);
            }
        }
    }

    /// Counts a request of which nothing is known but that it failed.
    fn record(&self, status: u16, reason: FailureReason) {
        let now_us = self.session.worker.context.clock.coarse_us();
        let mut record = Record::new(now_us, now_us);
        record.status = status;
        record.reason = Some(reason);
        self.session.finish(&mut record);
    }

    fn waiting(&self) -> Waiting {
        if let Some(since_ms) = self.wire.header_since_ms()
            && !self.is_leaving
        {
            Waiting::Header(since_ms)
        } else if !self.streams.is_empty() {
            Waiting::Streams
        } else if self.h2.has_streams() || self.wire.has_output() {
            Waiting::Client
        } else if self.is_leaving {
            Waiting::Leave
        } else {
            Waiting::Idle
        }
    }

    /// Keeps the deadline, and hears when the connection shall end.
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        self.set_deadline();
        self.outlast_quiesce();
        let checked = match self.is_client_slow() {
            true => Err(Interrupted::Expired),
            false => self.session.ticket.check(cx),
        };
        match checked {
            Ok(()) if self.session.ticket.is_ending() && !self.is_leaving => {
                self.leave();
                cx.waker().wake_by_ref();
            }
            Ok(()) => {}
            Err(Interrupted::Cut | Interrupted::Ending) => return Poll::Ready(Ended::Cut),
            Err(Interrupted::Expired) => {
                match self.waiting() {
                    Waiting::Leave => return Poll::Ready(Ended::Cut),
                    Waiting::Client if self.is_refused => return Poll::Ready(Ended::Cut),
                    Waiting::Idle | Waiting::Streams => self.leave(),
                    Waiting::Header(_) => self.break_off(FailureReason::HeaderTimeout),
                    Waiting::Client => self.break_off(FailureReason::Http2WindowStall),
                }
                self.waiting = None;
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }

    /// Whether the client takes what its streams have left for it more slowly than it may.
    fn is_client_slow(&mut self) -> bool {
        let waits = self.waiting == Some(Waiting::Client) && !self.is_refused;
        self.reading.is_too_slow(self.session, self.wire.sent_bytes(), waits)
    }

    fn set_deadline(&mut self) {
        let waiting = self.waiting();
        let has_moved = waiting == Waiting::Client && self.wire.sent_bytes() != self.sent_bytes;
        if self.waiting == Some(waiting) && !has_moved {
            return;
        }
        self.waiting = Some(waiting);
        self.sent_bytes = self.wire.sent_bytes();
        let Session { server, ticket, .. } = &*self.session;
        match waiting {
            // Who opens a connection is about to ask.
            Waiting::Idle if self.accepted_count == 0 => ticket.set_timeout_ms(
                server.http.keep_alive_timeout_ms.min(server.http.header_timeout_ms),
            ),
            Waiting::Idle => ticket.set_timeout_ms(server.http.keep_alive_timeout_ms),
            Waiting::Header(since_ms) => {
                ticket.set_deadline_ms(since_ms.saturating_add(server.http.header_timeout_ms));
            }
            Waiting::Streams => ticket.clear_deadline(),
            Waiting::Client if self.is_refused => ticket.set_timeout_ms(LEAVE_MS),
            Waiting::Client => {
                let idle_ms = server.http.body_idle_timeout_ms;
                ticket.set_timeout_ms(idle_ms.min(self.reading.left_ms()));
            }
            Waiting::Leave => ticket.set_timeout_ms(LEAVE_MS),
        }
    }

    /// Has a move of the connection's address not wait for it where all that is left are tunnels: they
    /// outlast it, and so does what carries them.
    fn outlast_quiesce(&mut self) {
        let has_others = self.tunnel_count.get() < self.streams.len() || self.streams.is_empty();
        if self.is_leaving && !self.outlasts_quiesce && !has_others {
            self.session.ticket.outlast_quiesce();
            self.outlasts_quiesce = true;
        }
    }

    /// Ends what is left of the connection.
    async fn conclude(self, ended: Ended) {
        let Self { session, wire, h2, mut streams, is_refused, .. } = self;
        let mut lingers = is_refused;
        if let Ended::Failed(error) = &ended
            && !is_refused
            && let Some(reason) = wire.violation().or_else(|| fault(error, || wire.flood()))
        {
            session.counters.failure(reason);
            lingers = true;
        }
        drop(h2);
        if matches!(ended, Ended::Cut) {
            wire.reset_on_drop();
        } else if lingers {
            // Closing at once would reset the connection, and what it was told would be lost.
            session.ticket.set_timeout_ms(LEAVE_MS);
            let mut left = LINGER_MAX_BYTES;
            let discard = poll_fn(|cx| wire.poll_discard(cx, &mut left));
            let _ = session.ticket.guard(discard).await;
        }
        // They notice that there is nobody left to answer, and are counted.
        while let Some(()) = streams.next().await {}
    }
}

/// What a client did wrong, by the error that ended its connection.
fn fault(error: &h2::Error, flood: impl FnOnce() -> FailureReason) -> Option<FailureReason> {
    if !error.is_library() || !error.is_go_away() {
        return None;
    }
    match error.reason()? {
        Reason::NO_ERROR => None,
        Reason::ENHANCE_YOUR_CALM => Some(flood()),
        _ => Some(FailureReason::Http2Protocol),
    }
}

#[cfg(test)]
mod tests;
