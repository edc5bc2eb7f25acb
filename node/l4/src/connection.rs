//! A client connection from its acceptance to its record in the access log.
//!
//! Invariant: every accepted connection is counted and written down exactly once, with at most one
//! reason why it failed; nothing of a member's attempt is left when another is tried.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ballast_balance::{Attempt, InFlight, Member, Pool};
use ballast_telemetry::{AccessRecord, CounterShard, FailureReason, Phase, Phases};
use ballast_workers::{
    Admission, Connection, Interrupted, PoolSlot, Refused, Ticket, VirtualServer, proxy_protocol,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::TcpStream;

use crate::choice::{Choice, Chosen};
use crate::client_hello::{self, ClientHello, HELLO_MAX_BYTES, Parsed};
use crate::queue;
use crate::relay::{Moved, Relay, reset};
use crate::watch::Watch;
use crate::worker::TcpWorker;

/// Probes of the kernel that stay unanswered before it gives a silent connection up.
const KEEP_ALIVE_PROBE_COUNT: u32 = 4;

/// Serves a connection to its end.
pub(crate) async fn serve(worker: Rc<TcpWorker>, connection: Connection) {
    let Connection { stream, peer, local, server, admission, ticket } = connection;
    let counters = Arc::clone(admission.slot().counters.shard(worker.context.index));
    let start_us = worker.context.clock.now_us();
    let session = Session { worker, server, counters, peer, local, start_us, admission, ticket };
    let mut record = Record::default();
    record.reason = match stream.into_registered() {
        Ok(stream) => session.run(stream, &mut record).await.err(),
        Err(_) => Some(FailureReason::Internal),
    };
    session.finish(&record);
}

struct Session {
    worker: Rc<TcpWorker>,
    server: Arc<VirtualServer>,
    counters: Arc<CounterShard>,
    peer: SocketAddr,
    /// Where the client connected to.
    local: SocketAddr,
    /// When it was accepted, by the worker's clock.
    start_us: u64,
    admission: Admission,
    ticket: Ticket,
}

/// A connection on its way into the counters and the access log.
#[derive(Default)]
struct Record {
    reason: Option<FailureReason>,
    chosen: Option<(Arc<Pool>, Arc<Member>)>,
    attempt_count: u32,
    connect_us: Option<u64>,
    received_bytes: u64,
    sent_bytes: u64,
    /// The pool's place, once it is known.
    slot: Option<Arc<PoolSlot>>,
    /// The server that a client of a TLS passthrough asks for.
    server_name: Option<String>,
}

/// Where a connection goes, and what was read from it to know that.
struct Routed {
    slot: Arc<PoolSlot>,
    hello: Vec<u8>,
}

/// A member that accepted the connection.
struct Connected {
    stream: TcpStream,
    pool: Arc<Pool>,
    member: Arc<Member>,
    in_flight: InFlight,
}

impl Session {
    async fn run(&self, mut client: TcpStream, record: &mut Record) -> Result<(), FailureReason> {
        let connected = match self.route(&mut client, record).await {
            Ok(routed) => {
                record.slot = Some(Arc::clone(&routed.slot));
                let connected = self.connect(&client, &routed.slot, record).await;
                connected.map(|connected| (connected, routed.hello))
            }
            Err(reason) => Err(reason),
        };
        let (Connected { stream, pool, member, in_flight }, hello) = match connected {
            Ok(connected) => connected,
            Err(reason) => {
                // The client must not take this for an answer without content.
                reset(&client);
                return Err(reason);
            }
        };
        self.keep_alive(&client, &stream);
        let preface = self.preface(&pool, &client, hello);
        let watch = self.worker.watches.add(&member.state, self.admission.slot());
        self.set_relay_timeout();
        let mut relay = Relay::new(client, stream, preface);
        let end = poll_fn(|cx| self.poll_relay(cx, &mut relay, &watch, record)).await;
        relay.close(&self.worker.buffers);
        if end.is_err_and(FailureReason::is_members_fault) {
            in_flight.count_failure();
        }
        end
    }

    /// Finds the pool; for a TLS passthrough by what the client's first message shows.
    async fn route(
        &self,
        client: &mut TcpStream,
        record: &mut Record,
    ) -> Result<Routed, FailureReason> {
        let Some(passthrough) = &self.server.passthrough else {
            return Ok(Routed { slot: Arc::clone(&self.server.pool), hello: Vec::new() });
        };
        self.ticket.set_timeout_ms(passthrough.hello_timeout_ms);
        let mut bytes = Vec::new();
        let reading = Box::pin(read_hello(client, &mut bytes));
        let hello = match self.ticket.guard(reading).await {
            Ok(hello) => hello?,
            Err(Interrupted::Expired) => return Err(FailureReason::ClientHello),
            Err(Interrupted::Cut | Interrupted::Ending) => return Err(FailureReason::Shutdown),
        };
        record.received_bytes += bytes.len() as u64;
        self.counters.received_bytes(bytes.len() as u64);
        let offers = |protocol: &str| hello.alpn_protocols.iter().any(|p| p == protocol.as_bytes());
        let slot = passthrough.find(hello.server_name.as_deref(), offers).cloned();
        record.server_name = hello.server_name;
        let slot = slot.ok_or(FailureReason::UnknownServerName)?;
        Ok(Routed { slot, hello: bytes })
    }

    /// What the member gets first.
    fn preface(&self, pool: &Pool, client: &TcpStream, hello: Vec<u8>) -> Vec<u8> {
        let Some(version) = pool.spec().send_proxy_protocol else { return hello };
        // A listener on every address does not know which of them the client reached.
        let local = if self.local.ip().is_unspecified() { client.local_addr().ok() } else { None };
        let mut preface = proxy_protocol::header(version, self.peer, local.unwrap_or(self.local));
        preface.extend(hello);
        preface
    }

    fn keep_alive(&self, client: &TcpStream, member: &TcpStream) {
        let Some(keep_alive_s) = self.server.tcp.keep_alive_s else { return };
        let pause = Duration::from_secs(keep_alive_s.into());
        let settings = TcpKeepalive::new()
            .with_time(pause)
            .with_interval(pause)
            .with_retries(KEEP_ALIVE_PROBE_COUNT);
        for stream in [client, member] {
            // One that is gone already is told of by the next read.
            let _gone = SockRef::from(stream).set_tcp_keepalive(&settings);
        }
    }

    /// Moves the deadline: silence may last as long as the settings say, or to the end of the
    /// connection's life.
    fn set_relay_timeout(&self) {
        let tcp = &self.server.tcp;
        let left_ms = self.life_left_ms().unwrap_or(u64::MAX);
        self.ticket.set_timeout_ms(tcp.idle_timeout_ms.min(left_ms));
    }

    fn life_left_ms(&self) -> Option<u64> {
        let lived_us = self.worker.context.clock.coarse_us().saturating_sub(self.start_us);
        Some(self.server.tcp.lifetime_max_ms?.saturating_sub(lived_us / 1_000))
    }

    /// Chooses a member and connects to it, and to another one if that fails.
    async fn connect(
        &self,
        client: &TcpStream,
        slot: &Arc<PoolSlot>,
        record: &mut Record,
    ) -> Result<Connected, FailureReason> {
        let context = &self.worker.context;
        let attempt_max_count = self.server.tcp.connect_attempt_max_count.into();
        let client_ip = self.peer.ip();
        let mut choice =
            Choice::new(&self.worker, &self.server, slot, client_ip, attempt_max_count);
        loop {
            let chosen = match choice.next()? {
                Ok(chosen) => chosen,
                Err(busy) => {
                    let waiting = (self.server.queue_priority, busy);
                    let wait =
                        queue::wait(&self.worker, &self.ticket, client, &mut choice, waiting);
                    Box::pin(wait).await?
                }
            };
            let pool = Arc::clone(choice.pool());
            record.chosen = Some((Arc::clone(&pool), Arc::clone(&chosen.member)));
            record.attempt_count += 1;
            let begin_us = context.clock.now_us();
            let timeout_ms = pool.spec().connect_timeout_ms;
            match self.connect_to(client, chosen.member.address, timeout_ms).await {
                Ok(stream) => {
                    let took_us = context.clock.now_us().saturating_sub(begin_us);
                    record.connect_us = Some(took_us);
                    self.observe(&pool, &chosen.member, begin_us, false);
                    let Chosen { member, in_flight } = chosen;
                    return Ok(Connected { stream, pool, member, in_flight });
                }
                Err(reason) => {
                    let member = Arc::clone(&chosen.member);
                    choice.failed(chosen, reason)?;
                    self.observe(&pool, &member, begin_us, true);
                }
            }
        }
    }

    /// Takes in what came of a connection to that member, where the pool wants to know.
    fn observe(&self, pool: &Pool, member: &Member, begin_us: u64, failed: bool) {
        if pool.observes() {
            let context = &self.worker.context;
            let attempt = Attempt {
                worker: context.index,
                took_us: context.clock.now_us().saturating_sub(begin_us),
                failed,
                now_ms: context.clock.coarse_unix_ms(),
            };
            if let Some(reason) = pool.observe(member, attempt) {
                let (pool, member) = (pool.name(), &*member.name);
                tracing::warn!(pool, member, reason, "member is ejected");
            }
        }
    }

    async fn connect_to(
        &self,
        client: &TcpStream,
        address: SocketAddr,
        timeout_ms: u64,
    ) -> Result<TcpStream, FailureReason> {
        self.ticket.set_timeout_ms(timeout_ms);
        // Cancel-safe: a connection that is not there yet is given up.
        let connect = Box::pin(async {
            tokio::select! {
                biased;
                connected = TcpStream::connect(address) => Some(connected),
                // A reset; half-closed connections are in order.
                _ = client.ready(Interest::ERROR) => None,
            }
        });
        let connected = match self.ticket.guard(connect).await {
            Ok(Some(connected)) => Ok(connected),
            Ok(None) => return Err(FailureReason::ClientClosed),
            Err(interrupted) => Err(interrupted),
        };
        match connected {
            Ok(Ok(stream)) => {
                // Bytes are passed on as they come; without it they would only be slower.
                let _slower = stream.set_nodelay(true);
                Ok(stream)
            }
            Ok(Err(error)) => Err(FailureReason::of_connect(&error)),
            Err(Interrupted::Expired) => Err(FailureReason::ConnectTimeout),
            Err(Interrupted::Cut | Interrupted::Ending) => Err(FailureReason::Shutdown),
        }
    }

    fn poll_relay(
        &self,
        cx: &mut Context<'_>,
        relay: &mut Relay,
        watch: &Watch,
        record: &mut Record,
    ) -> Poll<Result<(), FailureReason>> {
        let mut moved = Moved::default();
        let end = relay.poll(cx, &self.worker.buffers, &mut moved);
        if moved.any {
            record.received_bytes += moved.received_bytes;
            record.sent_bytes += moved.sent_bytes;
            // Counted as they pass: connections may stay open for days.
            self.counters.received_bytes(moved.received_bytes);
            self.counters.sent_bytes(moved.sent_bytes);
            self.set_relay_timeout();
        }
        if end.is_ready() {
            return end;
        }
        match self.ticket.check(cx) {
            Ok(()) => {}
            Err(Interrupted::Expired) => {
                let is_over = self.life_left_ms() == Some(0);
                let reason =
                    if is_over { FailureReason::LifetimeEnd } else { FailureReason::IdleTimeout };
                return Poll::Ready(Err(reason));
            }
            Err(Interrupted::Cut | Interrupted::Ending) => {
                return Poll::Ready(Err(FailureReason::Shutdown));
            }
        }
        if self.ticket.is_ending() {
            // Ending asks for patience where the node drains, and for haste where the virtual
            // server is gone.
            watch.look(self.worker.context.clock.coarse_unix_ms())?;
        }
        watch.check(cx)?;
        Poll::Pending
    }

    fn finish(&self, record: &Record) {
        let clock = &self.worker.context.clock;
        let total_us = clock.now_us().saturating_sub(self.start_us);
        self.counters.request_unanswered(total_us);
        if let Some(reason) = record.reason {
            self.counters.failure(reason);
        }
        let start_ms = clock.coarse_unix_ms().saturating_sub(total_us / 1_000);
        let mut phases = Phases::default();
        if let Some(connect_us) = record.connect_us {
            phases.set(Phase::Connect, connect_us);
        }
        if let Some(slot) = &record.slot {
            self.worker.count(slot, record.reason, record.connect_us);
        }
        self.worker.log(&AccessRecord {
            host: record.server_name.as_deref().unwrap_or_default().as_bytes(),
            reason: record.reason,
            pool: record.chosen.as_ref().map_or("", |(pool, _)| pool.name()),
            member: record.chosen.as_ref().map(|(_, member)| &*member.name),
            attempts: record.attempt_count,
            received_bytes: record.received_bytes,
            sent_bytes: record.sent_bytes,
            total_us,
            phases,
            ..AccessRecord::new(start_ms, &self.server.name, self.peer)
        });
    }
}

/// Writes down a connection that was turned away at the door.
pub(crate) fn log_refused(worker: &TcpWorker, refused: &Refused) {
    let now_ms = worker.context.clock.coarse_unix_ms();
    worker.log(&AccessRecord {
        reason: Some(refused.reason),
        ..AccessRecord::new(now_ms, &refused.server.name, refused.peer)
    });
}

/// Reads until the client's first message is complete; all that was read is in `bytes` then.
async fn read_hello(
    client: &mut TcpStream,
    bytes: &mut Vec<u8>,
) -> Result<ClientHello, FailureReason> {
    loop {
        let mut limited = (&mut *client).take((HELLO_MAX_BYTES - bytes.len()) as u64);
        match limited.read_buf(bytes).await {
            Ok(count) if count > 0 => {}
            _ => return Err(FailureReason::ClientClosed),
        }
        match client_hello::parse(bytes) {
            Ok(Parsed::Complete(hello)) => return Ok(hello),
            Ok(Parsed::Partial) => {}
            Err(_) => return Err(FailureReason::ClientHello),
        }
    }
}
