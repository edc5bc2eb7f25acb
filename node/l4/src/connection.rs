//! A client connection from its acceptance to its record in the access log.
//!
//! Invariant: every accepted connection is counted and written down exactly once, with at most one
//! reason why it failed; nothing of a member's attempt is left when another is tried.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use ballast_balance::{InFlight, Member, NoMember, PickInput, Pool};
use ballast_telemetry::{AccessRecord, CounterShard, FailureReason};
use ballast_workers::{Admission, Connection, Interrupted, Ticket, VirtualServer};
use tokio::net::TcpStream;

use crate::queue;
use crate::relay::{Moved, Relay, reset};
use crate::watch::Watch;
use crate::worker::TcpWorker;

/// Members that are tried before the client is turned away.
const ATTEMPT_MAX_COUNT: usize = 3;

/// Serves a connection to its end.
pub(crate) async fn serve(worker: Rc<TcpWorker>, connection: Connection) {
    let Connection { stream, peer, local: _, server, admission, ticket } = connection;
    let counters = Arc::clone(admission.slot().counters.shard(worker.context.index));
    let start_us = worker.context.clock.now_us();
    let session = Session { worker, server, counters, peer, start_us, admission, ticket };
    let mut record = Record::default();
    record.reason = session.run(stream, &mut record).await.err();
    session.finish(&record);
}

struct Session {
    worker: Rc<TcpWorker>,
    server: Arc<VirtualServer>,
    counters: Arc<CounterShard>,
    peer: SocketAddr,
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
}

/// A member that accepted the connection.
struct Connected {
    stream: TcpStream,
    member: Arc<Member>,
    in_flight: InFlight,
}

impl Session {
    async fn run(&self, client: TcpStream, record: &mut Record) -> Result<(), FailureReason> {
        let Connected { stream, member, in_flight } = match self.connect(&client, record).await {
            Ok(connected) => connected,
            Err(reason) => {
                // The client must not take this for an answer without content.
                reset(&client);
                return Err(reason);
            }
        };
        let watch = self.worker.watches.add(&member.state, self.admission.slot());
        self.ticket.set_timeout_ms(self.server.tcp.idle_timeout_ms);
        let mut relay = Relay::new(client, stream);
        let end = poll_fn(|cx| self.poll_relay(cx, &mut relay, &watch, record)).await;
        relay.close(&self.worker.buffers);
        if end.is_err_and(FailureReason::is_members_fault) {
            in_flight.count_failure();
        }
        end
    }

    /// Chooses a member and connects to it, and to another one if that fails.
    async fn connect(
        &self,
        client: &TcpStream,
        record: &mut Record,
    ) -> Result<Connected, FailureReason> {
        let slot = &self.server.pool;
        let pool = slot.current().load_full();
        let context = &self.worker.context;
        let mut tried = [0; ATTEMPT_MAX_COUNT];
        let mut failure = FailureReason::NoMember;
        for attempt in 0..ATTEMPT_MAX_COUNT {
            let input = PickInput {
                client: self.peer.ip(),
                key: None,
                random: context.random(),
                now_ms: context.clock.coarse_unix_ms(),
                persistent: None,
                exclude: &tried[..attempt],
            };
            let (index, in_flight) = match self.worker.begin(slot, &pool, &input) {
                Ok(begun) => begun,
                Err(NoMember::AllBusy | NoMember::PersistentBusy) if attempt == 0 => {
                    Box::pin(queue::wait(&self.worker, &self.ticket, client, slot, &pool, &input))
                        .await?
                }
                // The failure of the attempts so far says more than that there is nobody left.
                Err(_) => return Err(failure),
            };
            let Some(member) = pool.member(index) else { return Err(FailureReason::Internal) };
            tried[attempt] = index;
            record.chosen = Some((Arc::clone(&pool), Arc::clone(member)));
            record.attempt_count += 1;
            let begin_us = context.clock.now_us();
            match self.connect_to(member.address, pool.spec().connect_timeout_ms).await {
                Ok(stream) => {
                    let took_us = context.clock.now_us().saturating_sub(begin_us);
                    record.connect_us = Some(took_us);
                    if pool.measures_time() {
                        let (index, now_ms) = (context.index, context.clock.coarse_unix_ms());
                        let algorithm = pool.spec().algorithm;
                        member.state.observe_latency(index, algorithm, took_us, now_ms);
                    }
                    return Ok(Connected { stream, member: Arc::clone(member), in_flight });
                }
                Err(reason) if reason.is_members_fault() => {
                    in_flight.count_failure();
                    if pool.measures_time() {
                        let took_us = context.clock.now_us().saturating_sub(begin_us);
                        let (index, now_ms) = (context.index, context.clock.coarse_unix_ms());
                        member.state.observe_failed_attempt(index, took_us, now_ms);
                    }
                    failure = reason;
                }
                Err(reason) => return Err(reason),
            }
        }
        Err(failure)
    }

    async fn connect_to(
        &self,
        address: SocketAddr,
        timeout_ms: u64,
    ) -> Result<TcpStream, FailureReason> {
        self.ticket.set_timeout_ms(timeout_ms);
        let connect = Box::pin(TcpStream::connect(address));
        match self.ticket.guard(connect).await {
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
            self.ticket.set_timeout_ms(self.server.tcp.idle_timeout_ms);
        }
        if end.is_ready() {
            return end;
        }
        match self.ticket.check(cx) {
            Ok(()) => {}
            Err(Interrupted::Expired) => return Poll::Ready(Err(FailureReason::IdleTimeout)),
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
        self.worker.log(&AccessRecord {
            time_ms: clock.coarse_unix_ms().saturating_sub(total_us / 1_000),
            virtual_server: &self.server.name,
            client: self.peer,
            request_id: "",
            method: b"",
            uri: b"",
            host: b"",
            status: 0,
            reason: record.reason,
            pool: record.chosen.as_ref().map_or("", |(pool, _)| pool.name()),
            member: record.chosen.as_ref().map(|(_, member)| &*member.name),
            attempts: record.attempt_count,
            received_bytes: record.received_bytes,
            sent_bytes: record.sent_bytes,
            total_us,
            request_us: 0,
            connect_us: record.connect_us,
            first_byte_us: None,
        });
    }
}
