//! A client connection: TLS if need be, then one request after another until it ends.
//!
//! Invariant: requests of one connection are answered in the order in which they came; a head that
//! is refused is the last thing read from it.

use std::cell::Cell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use ballast_model::Protocol;
use ballast_telemetry::{CounterShard, FailureReason};
use ballast_workers::{Admission, Connection, Interrupted, Ticket, VirtualServer, WorkerContext};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{HandshakeKind, ProtocolVersion};
use tokio_rustls::TlsAcceptor;

use crate::buffer::Buffer;
use crate::certificate;
use crate::client::ClientFacts;
use crate::codec::head::{HeadError, HeadScanner, Scan};
use crate::codec::request::{Method, RequestError};
use crate::exchange::{Ending, Exchange};
use crate::failure::Failure;
use crate::http2;
use crate::own::OwnFields;
use crate::peer::{Peer, Stream};
use crate::record::Record;
use crate::tunnel;
use crate::upstream::WorkerPool;
use crate::worker::HttpWorker;

/// Empty lines skipped in front of a request (RFC 9112 §2.2).
const EMPTY_LINE_MAX_COUNT: u32 = 4;
/// How the preface of HTTP/2 begins: it is made to look like a request without fields.
const PRI: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";
/// How long a client that has just connected may take to ask while the connection shall end, in ms:
/// its request may be on its way, and could not be told from one that was served.
const FIRST_REQUEST_GRACE_MS: u64 = 1_000;
/// The same for a client that was answered a moment ago, and how long a moment is, in ms: who asks one
/// thing after another has the next one on its way.
const NEXT_REQUEST_GRACE_MS: u64 = 250;
/// How long our last words may take to be taken, in ms.
const LAST_WORDS_MS: u64 = 2_000;
/// How long we wait for the client to close, or to send on, after our last answer, in ms.
const LINGER_SILENCE_MS: u64 = 5_000;
/// How long that goes on at most while it sends, in ms.
const LINGER_MAX_MS: u64 = 30_000;
/// Buffers that are read meanwhile before other connections have their turn.
const TURN_FILL_COUNT: u32 = 8;

/// Serves a connection to its end.
pub(crate) async fn serve(worker: Rc<HttpWorker>, connection: Connection) {
    let Connection { stream, peer, local, server, admission, ticket } = connection;
    let mut session = Session::new(worker, server, peer, local, admission, ticket);
    // In boxes of their own: an idle connection holds what it needs and not room for all that it
    // might.
    match session.server.tls.clone() {
        None => Box::pin(Serving::new(&mut session, stream).run()).await,
        Some(config) => {
            session.ticket.set_timeout_ms(session.server.http.header_timeout_ms);
            let handshake = Box::pin(TlsAcceptor::from(config).accept(stream));
            match session.ticket.guard(handshake).await {
                Ok(Ok(stream)) => {
                    let tls = stream.get_ref().1;
                    let is_resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
                    if is_resumed && !is_still_trusted(&session.server, tls) {
                        session.counters.failure(FailureReason::TlsHandshake);
                        return stream.get_ref().0.reset_on_drop();
                    }
                    session.counters.tls_handshake(is_resumed);
                    session.tls_version = tls_version(tls.protocol_version());
                    if let Some(chain @ [leaf, ..]) = tls.peer_certificates() {
                        session.shown = Some(chain.into());
                        Rc::make_mut(&mut session.facts).identity_lines = certificate::lines(leaf);
                    }
                    let is_http2 = tls.alpn_protocol() == Some(b"h2");
                    let stream = Box::new(stream);
                    if is_http2 {
                        Box::pin(http2::serve(&mut session, stream, Buffer::default())).await;
                    } else {
                        Box::pin(Serving::new(&mut session, stream).run()).await;
                    }
                }
                Ok(Err(_)) | Err(_) => session.counters.failure(FailureReason::TlsHandshake),
            }
        }
    }
}

/// Whether the certificate that a client showed when its session began would be taken now: resuming
/// does not look at it again, and meanwhile it may have expired, or the lists of revoked ones.
fn is_still_trusted(server: &VirtualServer, tls: &rustls::ServerConnection) -> bool {
    tls.peer_certificates().is_none() || is_trusted(server, tls.peer_certificates())
}

/// Whether a client that has shown that chain, or none, is one that the virtual server lets in now.
fn is_trusted(server: &VirtualServer, shown: Option<&[CertificateDer<'static>]>) -> bool {
    let Some(clients) = &server.clients else { return true };
    match shown {
        Some([leaf, rest @ ..]) => clients.verify_client_cert(leaf, rest, UnixTime::now()).is_ok(),
        Some([]) | None => !clients.client_auth_mandatory(),
    }
}

fn is_same_verifier(one: &VirtualServer, other: &VirtualServer) -> bool {
    match (&one.clients, &other.clients) {
        (None, None) => true,
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        _ => false,
    }
}

/// What the requests of a connection share.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) worker: Rc<HttpWorker>,
    /// As of the last request.
    pub(crate) server: Arc<VirtualServer>,
    /// The slot's, when `server` was taken from it; 0 before the first request.
    version: u64,
    pub(crate) pool: Rc<WorkerPool>,
    pub(crate) counters: Arc<CounterShard>,
    pub(crate) peer: SocketAddr,
    /// Where the client connected to.
    pub(crate) local: SocketAddr,
    pub(crate) facts: Rc<ClientFacts>,
    pub(crate) ticket: Ticket,
    /// As `1.3`; empty without TLS.
    pub(crate) tls_version: &'static str,
    pub(crate) is_http2: bool,
    /// Whether the client may ask for anything, under the rules for certificates of now.
    pub(crate) is_trusted: bool,
    /// The certificates that the client has shown.
    shown: Option<Rc<[CertificateDer<'static>]>>,
    door: Rc<Door>,
}

/// What a connection and its streams have together.
#[derive(Debug)]
struct Door {
    admission: Admission,
    /// What their messages hold, in bytes.
    held_bytes: Cell<usize>,
}

impl Session {
    fn new(
        worker: Rc<HttpWorker>,
        server: Arc<VirtualServer>,
        peer: SocketAddr,
        local: SocketAddr,
        admission: Admission,
        ticket: Ticket,
    ) -> Self {
        let counters = Arc::clone(admission.slot().counters.shard(worker.context.index));
        let scheme = if server.protocol == Protocol::Https { "https" } else { "http" };
        let facts = ClientFacts::new(peer.ip(), local, scheme, server.client_identity);
        let pool = worker.pools.of(&server.pool);
        let held_bytes = Cell::new(0);
        let (facts, door) = (Rc::new(facts), Rc::new(Door { admission, held_bytes }));
        let (tls_version, is_http2) = ("", false);
        Self {
            worker,
            server,
            version: 0,
            pool,
            counters,
            peer,
            local,
            facts,
            ticket,
            tls_version,
            is_http2,
            is_trusted: true,
            shown: None,
            door,
        }
    }

    /// What one stream of the connection has: all that the connection has, and a deadline of its own.
    pub(crate) fn of_stream(&self) -> Self {
        let WorkerContext { connections, clock, .. } = &*self.worker.context;
        Self {
            worker: Rc::clone(&self.worker),
            server: Arc::clone(&self.server),
            version: self.version,
            pool: Rc::clone(&self.pool),
            counters: Arc::clone(&self.counters),
            peer: self.peer,
            local: self.local,
            facts: Rc::clone(&self.facts),
            ticket: connections.open(self.door.admission.slot().id, clock),
            tls_version: self.tls_version,
            is_http2: self.is_http2,
            is_trusted: self.is_trusted,
            shown: None,
            door: Rc::clone(&self.door),
        }
    }

    /// Takes over what the virtual server has become, if it still is one.
    pub(crate) fn refresh(&mut self) {
        if self.door.admission.slot().version() != self.version {
            self.take_over();
        }
    }

    #[cold]
    fn take_over(&mut self) {
        let version = self.door.admission.slot().version();
        let current = self.door.admission.slot().current().load();
        let Some(current) = &*current else { return };
        self.version = version;
        if !Arc::ptr_eq(current, &self.server) {
            if !is_same_verifier(current, &self.server) {
                self.is_trusted = is_trusted(current, self.shown.as_deref());
            }
            self.server = Arc::clone(current);
            if self.facts.identity != current.client_identity {
                Rc::make_mut(&mut self.facts).identity = current.client_identity;
            }
            self.pool = self.worker.pools.of(&self.server.pool);
        }
    }

    /// What the messages of the connection hold, in bytes.
    pub(crate) fn held_bytes(&self) -> &Cell<usize> {
        &self.door.held_bytes
    }

    /// Streams of a connection of HTTP/2 that are open: each has a session, and so has the connection.
    pub(crate) fn stream_count(&self) -> usize {
        Rc::strong_count(&self.door) - 1
    }

    /// Whether the virtual server is still there.
    pub(crate) fn is_wanted(&self) -> bool {
        let slot = self.door.admission.slot();
        slot.version() == self.version || slot.current().load().is_some()
    }

    /// Whether anybody wants to know more of requests than their number.
    pub(crate) fn is_observed(&self) -> bool {
        self.server.http.access_log.enabled && self.worker.keeps_log() || self.worker.tail.is_on()
    }

    /// Counts a request and writes it down.
    pub(crate) fn finish(&self, record: &mut Record) {
        record.finish(self);
    }
}

fn tls_version(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_3) => "1.3",
        Some(ProtocolVersion::TLSv1_2) => "1.2",
        _ => "",
    }
}

/// A connection being served.
struct Serving<'a, S> {
    session: &'a mut Session,
    client: Peer<S>,
}

/// A head at the front of the client's input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoundHead {
    pub(crate) length: usize,
    pub(crate) field_count: usize,
    /// When its first byte was seen, by the worker's clock.
    pub(crate) start_us: u64,
    /// When its end was seen.
    pub(crate) end_us: u64,
}

/// What came next on a connection.
enum Next {
    /// A complete head at the front of the input.
    Head(FoundHead),
    /// Nothing more will come, or nothing more is wanted.
    End,
    /// The same in the middle of a head, whose first byte was seen at `start_us`.
    CutOff {
        /// See above.
        start_us: u64,
        /// By whom.
        reason: FailureReason,
    },
    /// Not a request, but the preface of HTTP/2 (RFC 9113 §3.3).
    Http2,
    /// Something that is no request.
    Refused(Failure),
}

impl<'a, S: Stream> Serving<'a, S> {
    fn new(session: &'a mut Session, stream: S) -> Self {
        Self { session, client: Peer::new(stream) }
    }

    async fn run(mut self) {
        let mut is_first = true;
        loop {
            match self.next(is_first).await {
                Next::Head(found) => {
                    self.session.refresh();
                    if !self.session.is_trusted {
                        self.refuse(FailureReason::ClientCertificate.into()).await;
                        return self.linger().await;
                    }
                    let Self { session, client } = &mut self;
                    let ending = Exchange::new(session, client, found).run(found).await;
                    match ending {
                        Ending::KeepAlive => is_first = false,
                        Ending::Close { linger: false } => return self.close().await,
                        Ending::Close { linger: true } => return self.linger().await,
                        Ending::Abort => return self.client.stream.reset_on_drop(),
                        Ending::Tunnel(tunnel) => {
                            return tunnel::run(self.session, &mut self.client, tunnel).await;
                        }
                    }
                }
                Next::End => return self.close().await,
                Next::CutOff { start_us, reason } => {
                    self.write_off(start_us, reason);
                    return self.close().await;
                }
                Next::Http2 => {
                    let Peer { stream, input, .. } = self.client;
                    return Box::pin(http2::serve(self.session, stream, input)).await;
                }
                Next::Refused(failure) => {
                    self.refuse(failure).await;
                    return self.linger().await;
                }
            }
        }
    }

    /// Waits for a complete head.
    async fn next(&mut self, is_first: bool) -> Next {
        let http = &self.session.server.http;
        let idle_ms = if is_first {
            // Who opens a connection is about to ask.
            http.keep_alive_timeout_ms.min(http.header_timeout_ms)
        } else {
            http.keep_alive_timeout_ms
        };
        self.session.ticket.set_timeout_ms(idle_ms);
        let since_ms = self.session.worker.context.clock.coarse_ms();
        let mut wait = HeadWait { is_first, since_ms, ..HeadWait::default() };
        poll_fn(|cx| self.poll_next(cx, &mut wait)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, wait: &mut HeadWait) -> Poll<Next> {
        loop {
            if !self.client.input.is_empty() {
                match self.scan(wait) {
                    Ok(None) => {}
                    Ok(Some(next)) => return Poll::Ready(next),
                    Err(error) => return Poll::Ready(Next::Refused(error.into())),
                }
            }
            match self.client.poll_fill(cx, &self.session.worker.buffers) {
                Poll::Ready(Ok(0) | Err(_)) => {
                    return Poll::Ready(self.cut_off(wait, FailureReason::ClientClosed));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return self.check_waiting(cx, wait),
            }
        }
    }

    /// Looks at what came; none where the head is not complete.
    fn scan(&mut self, wait: &mut HeadWait) -> Result<Option<Next>, RequestError> {
        let http = &self.session.server.http;
        let now_us = self.session.worker.context.clock.now_us();
        let start_us = *wait.start_us.get_or_insert_with(|| {
            self.session.ticket.set_timeout_ms(http.header_timeout_ms);
            now_us
        });
        let max_bytes = http.header_max_bytes as usize;
        loop {
            match wait.scanner.advance(self.client.input.data())? {
                Scan::Complete { length, .. } if length > max_bytes => {
                    return Err(HeadError::TooLong { max_bytes }.into());
                }
                Scan::Complete { length, field_count: 0 }
                    if wait.is_first
                        && http.http2
                        && self.client.input.data()[..length] == *PRI =>
                {
                    return Ok(Some(Next::Http2));
                }
                Scan::Complete { length, field_count } => {
                    let found = FoundHead { length, field_count, start_us, end_us: now_us };
                    return Ok(Some(Next::Head(found)));
                }
                Scan::EmptyLine => {
                    wait.empty_line_count += 1;
                    if wait.empty_line_count > EMPTY_LINE_MAX_COUNT {
                        return Err(HeadError::StartLine.into());
                    }
                    self.client.input.consume(2);
                    wait.scanner = HeadScanner::default();
                }
                Scan::Partial => break,
            }
        }
        let length = self.client.input.len();
        if wait.scanner.is_in_start_line() && length > http.uri_max_bytes as usize + 64 {
            return Err(RequestError::UriTooLong { max_bytes: http.uri_max_bytes as usize });
        }
        if length >= max_bytes || !self.client.input.make_room(max_bytes) {
            return Err(HeadError::TooLong { max_bytes }.into());
        }
        Ok(None)
    }

    fn check_waiting(&self, cx: &Context<'_>, wait: &mut HeadWait) -> Poll<Next> {
        let ticket = &self.session.ticket;
        if wait.start_us.is_none() {
            if ticket.is_ending() && !wait.has_grace {
                let waited_ms =
                    self.session.worker.context.clock.coarse_ms().saturating_sub(wait.since_ms);
                let grace_ms = if wait.is_first {
                    Some(FIRST_REQUEST_GRACE_MS)
                } else {
                    (waited_ms < NEXT_REQUEST_GRACE_MS).then_some(NEXT_REQUEST_GRACE_MS)
                };
                if let Some(grace_ms) = grace_ms {
                    wait.has_grace = true;
                    let header_timeout_ms = self.session.server.http.header_timeout_ms;
                    ticket.set_timeout_ms(header_timeout_ms.min(grace_ms));
                }
            }
            let checked = if wait.has_grace { ticket.check(cx) } else { ticket.check_idle(cx) };
            return match checked {
                Ok(()) => Poll::Pending,
                Err(_) => Poll::Ready(Next::End),
            };
        }
        match ticket.check(cx) {
            Ok(()) => Poll::Pending,
            Err(Interrupted::Expired) => {
                Poll::Ready(Next::Refused(FailureReason::HeaderTimeout.into()))
            }
            Err(_) => Poll::Ready(self.cut_off(wait, FailureReason::Shutdown)),
        }
    }

    /// What it means that the connection is at its end while a head is waited for. Empty lines are no
    /// part of one: some clients send one behind a body.
    fn cut_off(&self, wait: &HeadWait, reason: FailureReason) -> Next {
        match wait.start_us {
            Some(start_us) if !self.client.input.is_empty() => Next::CutOff { start_us, reason },
            _ => Next::End,
        }
    }

    /// Counts a request of which nothing is known but that it began.
    fn write_off(&self, start_us: u64, reason: FailureReason) {
        let mut record = Record::new(start_us, self.session.worker.context.clock.now_us());
        record.identify_refused(self.session);
        record.reason = Some(reason);
        record.received_bytes = self.client.input.len() as u64;
        self.session.finish(&mut record);
    }

    /// Says why what came is not served.
    async fn refuse(&mut self, failure: Failure) {
        let now_us = self.session.worker.context.clock.now_us();
        let mut record = Record::new(now_us, now_us);
        record.identify_refused(self.session);
        let own = OwnFields::new(self.session, &record, None);
        failure.write(&mut self.client.output, Method::Other, false, own);
        record.status = failure.status;
        record.reason = Some(failure.reason);
        record.received_bytes = self.client.input.len() as u64;
        record.sent_bytes = self.client.output.len() as u64;
        self.session.ticket.set_timeout_ms(LAST_WORDS_MS);
        let Self { session, client } = self;
        let flush = poll_fn(|cx| client.poll_flush(cx));
        // If it does not get through, there is nobody left to tell.
        let _ = session.ticket.guard(flush).await;
        session.finish(&mut record);
    }

    /// Closes after a last answer that the client must get: while it still sends, closing at once
    /// would reset the connection and with it discard what it has not read (RFC 9112 §9.6). What it sends
    /// is read and thrown away, however much: the time it may take is bounded.
    async fn linger(&mut self) {
        self.close_write().await;
        let Self { session, client } = self;
        let ticket = &session.ticket;
        let end_ms = ticket.coarse_ms().saturating_add(LINGER_MAX_MS);
        ticket.set_timeout_ms(LINGER_SILENCE_MS);
        let drained = poll_fn(|cx| {
            for _ in 0..TURN_FILL_COUNT {
                client.input.clear();
                match client.poll_fill(cx, &session.worker.buffers) {
                    Poll::Ready(Ok(count)) if count > 0 => {}
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
                // Asked each time: a deadline that is moved has not passed.
                match linger_ms(ticket.coarse_ms(), end_ms) {
                    Some(timeout_ms) => ticket.set_timeout_ms(timeout_ms),
                    None => return Poll::Ready(()),
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        // Done or out of time: either way it is closed now.
        let _ = session.ticket.guard(drained).await;
    }

    async fn close(&mut self) {
        self.client.input.clear();
        if !self.client.stream.ends_by_drop() {
            self.close_write().await;
        }
    }

    async fn close_write(&mut self) {
        self.session.ticket.set_timeout_ms(LAST_WORDS_MS);
        let Self { session, client } = self;
        let shutdown = poll_fn(|cx| Pin::new(&mut client.stream).poll_shutdown(cx));
        // A client that is gone needs no farewell.
        let _ = session.ticket.guard(shutdown).await;
    }
}

/// How long a client that was told the end may be silent now that it has sent something, in ms; none
/// where it is cut off, `end_ms` being over.
fn linger_ms(now_ms: u64, end_ms: u64) -> Option<u64> {
    let left_ms = end_ms.saturating_sub(now_ms);
    (left_ms > 0).then(|| left_ms.min(LINGER_SILENCE_MS))
}

/// How far the wait for a head has come.
#[derive(Default)]
struct HeadWait {
    scanner: HeadScanner,
    empty_line_count: u32,
    /// Whether nothing was asked on the connection yet.
    is_first: bool,
    /// When the wait began, in ms.
    since_ms: u64,
    /// Whether the connection, which shall end, was given time for one more request.
    has_grace: bool,
    /// When the first byte was seen.
    start_us: Option<u64>,
}

#[cfg(test)]
pub(crate) mod tests;
