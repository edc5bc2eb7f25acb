//! One session: a client, its member, and what passes between them.
//!
//! Invariant: it ends by silence, by the number of its responses, by an error of its member, or where
//! member or virtual server are taken away; whichever comes first.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use ballast_balance::{InFlight, Member, Pool};
use ballast_telemetry::{AccessRecord, FailureReason};
use ballast_workers::{Admitted, Delivery, Interrupted, MovedFacts, MovedSession, Receipt};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::socket::{self, Exchange, Outbox, Replies, Way};
use super::train::Train;
use super::{SessionKey, connected};
use crate::choice::{Choice, Chosen};
use crate::watch::Watch;
use crate::worker::TcpWorker;

/// Members whose socket can't be made that are passed over.
const ATTEMPT_MAX_COUNT: usize = 3;
/// Longest silence of a session whose member has not answered yet, in ms: who sends in others' names
/// must not hold a port of ours for as long as a client that is there.
const UNANSWERED_MAX_MS: u64 = 5_000;
/// Batches that are read of a member before it is the others' turn.
const TURN_BATCH_COUNT: usize = 4;
/// Largest datagrams in trains, in bytes, as long as the network has not refused them.
const STRIDE_MAX_BYTES: usize = u16::MAX as usize;

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    socket: UdpSocket,
    member: SocketAddr,
    watch: Watch,
    in_flight: RefCell<Option<InFlight>>,
    facts: Facts,
    /// Datagrams that went to the member.
    asked_count: Cell<u64>,
    /// Datagrams that came from it.
    answered_count: Cell<u64>,
    received_bytes: Cell<u64>,
    sent_bytes: Cell<u64>,
    /// Largest datagrams in trains, in bytes: to the member, and to the client.
    stride_max_bytes: [Cell<usize>; 2],
}

/// What is known of a session whatever becomes of it.
struct Facts {
    worker: Rc<TcpWorker>,
    admitted: Admitted,
    peer: SocketAddr,
    start_us: u64,
    /// How long it had lasted when this process took it over, in µs.
    earlier_us: u64,
    chosen: Option<(Arc<Pool>, Arc<Member>)>,
    attempt_count: u32,
}

/// A session that never came to be.
pub(crate) struct Unserved {
    facts: Facts,
    reason: FailureReason,
}

impl Session {
    /// Chooses a member and makes a socket to it.
    pub(crate) fn begin(
        worker: &Rc<TcpWorker>,
        admitted: Admitted,
        peer: SocketAddr,
    ) -> Result<Self, Box<Unserved>> {
        let start_us = worker.context.clock.now_us();
        let worker = Rc::clone(worker);
        let mut facts = Facts::new(worker, admitted, peer, start_us);
        match facts.reach_member() {
            Ok((socket, in_flight, member)) => Ok(Self::new(facts, socket, in_flight, &member)),
            Err(reason) => Err(Box::new(Unserved { facts, reason })),
        }
    }

    /// Goes on with a session of the process before. None where its member is not there any more, or
    /// takes no more: then the client begins anew.
    pub(crate) fn resume(
        worker: &Rc<TcpWorker>,
        admitted: Admitted,
        moved: MovedSession,
    ) -> Option<Self> {
        let MovedSession { socket, facts: moved, delivery: _ } = moved;
        let pool = admitted.server.pool.current().load_full();
        let is_it = |member: &&Arc<Member>| member.address == moved.member;
        let member = Arc::clone(pool.members().iter().find(is_it)?);
        if pool.uid() != moved.pool {
            return None;
        }
        let permit = pool.enter_stream().ok()?;
        let in_flight = member.state.begin(worker.context.index)?.with_permit(permit);
        let socket = std::net::UdpSocket::from(socket);
        socket.set_nonblocking(true).ok()?;
        let socket = UdpSocket::from_std(socket).ok()?;
        let start_us = worker.context.clock.now_us();
        let mut facts = Facts::new(Rc::clone(worker), admitted, moved.client, start_us);
        facts.earlier_us = moved.age_us;
        facts.chosen = Some((pool, Arc::clone(&member)));
        facts.attempt_count = 1;
        let session = Self::new(facts, socket, in_flight, &member);
        session.asked_count.set(moved.asked_count);
        session.answered_count.set(moved.answered_count);
        session.received_bytes.set(moved.received_bytes);
        session.sent_bytes.set(moved.sent_bytes);
        session.prolong();
        Some(session)
    }

    fn new(facts: Facts, socket: UdpSocket, in_flight: InFlight, member: &Member) -> Self {
        let slot = facts.admitted.admission.slot();
        let watch = facts.worker.watches.add(&member.state, slot);
        let session = Self {
            socket,
            member: member.address,
            watch,
            in_flight: RefCell::new(Some(in_flight)),
            facts,
            asked_count: Cell::new(0),
            answered_count: Cell::new(0),
            received_bytes: Cell::new(0),
            sent_bytes: Cell::new(0),
            stride_max_bytes: [const { Cell::new(STRIDE_MAX_BYTES) }; 2],
        };
        session.prolong();
        session
    }

    /// What another process needs to go on with it, and what tells whether it has it; `listener` is the cookie of the socket that its client
    /// sends to.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub(crate) fn give(
        &self,
        (client, reached): SessionKey,
        listener: u64,
    ) -> io::Result<(MovedSession, Receipt)> {
        let socket = self.socket.as_fd().try_clone_to_owned()?;
        let pool = self.facts.chosen.as_ref().map_or("", |(pool, _)| pool.uid()).to_owned();
        let facts = MovedFacts {
            listener,
            client,
            reached,
            pool,
            member: self.member,
            age_us: self.facts.total_us(),
            asked_count: self.asked_count.get(),
            answered_count: self.answered_count.get(),
            received_bytes: self.received_bytes.get(),
            sent_bytes: self.sent_bytes.get(),
        };
        let (delivery, receipt) = Delivery::tracked();
        Ok((MovedSession { socket, facts, delivery }, receipt))
    }

    /// Sends datagrams of the client to the member. One for which the kernel has no room is lost, and
    /// an error of the member shows where its answers are read.
    pub(crate) fn pass_on<'a>(&self, trains: impl Iterator<Item = Train<'a>>, outbox: &mut Outbox) {
        let (mut bytes, mut count) = (0, 0);
        let way = Way {
            socket: SockRef::from(&self.socket),
            to: self.member,
            from: None,
            is_connected: true,
            stride_max_bytes: &self.stride_max_bytes[0],
        };
        let counted = trains.inspect(|train| {
            bytes += train.bytes.len();
            count += train.count();
        });
        outbox.send(&way, counted);
        add(&self.received_bytes, bytes);
        self.facts.admitted.counters.received_bytes(bytes as u64);
        add(&self.asked_count, count);
        self.prolong();
    }

    /// Passes answers on until the session ends.
    pub(crate) async fn run(
        &self,
        replies: &Replies,
        key: SessionKey,
        exchange: &Exchange,
    ) -> Result<(), FailureReason> {
        // Cancel-safe: an answer is passed on in the poll that reads it.
        tokio::select! {
            biased;
            end = poll_fn(|cx| self.poll_run(cx, replies, key, exchange)) => end,
            error = self.socket.async_io(Interest::ERROR, || socket::take_error(&self.socket)) => {
                let (Ok(error) | Err(error)) = error;
                Err(FailureReason::of_connect(&error))
            }
        }
    }

    fn poll_run(
        &self,
        cx: &mut Context<'_>,
        replies: &Replies,
        key: SessionKey,
        exchange: &Exchange,
    ) -> Poll<Result<(), FailureReason>> {
        let way = replies.way(key, &self.stride_max_bytes[1]);
        let mut batch_count = 0;
        while let Poll::Ready(ready) = self.socket.poll_recv_ready(cx) {
            match ready.and_then(|()| self.answer(&way, exchange)) {
                Ok(()) if self.has_all_answers() => return Poll::Ready(Ok(())),
                Ok(()) => {}
                Err(error) => return Poll::Ready(Err(FailureReason::of_connect(&error))),
            }
            batch_count += 1;
            if batch_count == TURN_BATCH_COUNT {
                cx.waker().wake_by_ref();
                break;
            }
        }
        let ticket = &self.facts.admitted.ticket;
        match ticket.check(cx) {
            Ok(()) => {}
            Err(Interrupted::Expired) => return Poll::Ready(self.silence()),
            Err(Interrupted::Cut | Interrupted::Ending) => {
                return Poll::Ready(Err(FailureReason::Shutdown));
            }
        }
        if ticket.is_ending() {
            // As with TCP: patience where the node drains, haste where the virtual server is gone.
            self.watch.look(self.facts.worker.context.clock.coarse_unix_ms())?;
        }
        self.watch.check(cx)?;
        Poll::Pending
    }

    /// Passes a batch of answers on, no more of them than the member sends.
    fn answer(&self, way: &Way<'_>, exchange: &Exchange) -> io::Result<()> {
        let inbox = &mut *exchange.inbox.borrow_mut();
        let batch_count = inbox.receive(&self.socket)?;
        if batch_count == 0 {
            return Ok(());
        }
        let mut left = self.answers_left();
        let (mut bytes, mut count) = (0, 0);
        let trains = (0..batch_count).map_while(|index| {
            if left == 0 {
                return None;
            }
            let train = inbox.train(index).first(left);
            left -= train.count();
            bytes += train.bytes.len();
            count += train.count();
            Some(train)
        });
        exchange.outbox.borrow_mut().send(way, trains);
        add(&self.sent_bytes, bytes);
        self.facts.admitted.counters.sent_bytes(bytes as u64);
        add(&self.answered_count, count);
        self.prolong();
        Ok(())
    }

    /// How many datagrams the member may still send.
    fn answers_left(&self) -> usize {
        let Some(responses) = self.facts.admitted.server.udp.responses else { return usize::MAX };
        let owed = self.asked_count.get().saturating_mul(responses.into());
        usize::try_from(owed.saturating_sub(self.answered_count.get())).unwrap_or(usize::MAX)
    }

    /// Whether the member has sent as many datagrams as it sends for those that it got.
    fn has_all_answers(&self) -> bool {
        let Some(responses) = self.facts.admitted.server.udp.responses else { return false };
        self.answered_count.get() >= self.asked_count.get().saturating_mul(responses.into())
    }

    /// What silence means: that a member owes answers, or nothing.
    fn silence(&self) -> Result<(), FailureReason> {
        let owes = self.facts.admitted.server.udp.responses.is_some();
        if owes && !self.has_all_answers() { Err(FailureReason::ResponseTimeout) } else { Ok(()) }
    }

    fn prolong(&self) {
        let Admitted { ticket, server, .. } = &self.facts.admitted;
        let idle_ms = server.udp.idle_timeout_ms;
        let is_answered = self.answered_count.get() > 0;
        ticket.set_timeout_ms(if is_answered { idle_ms } else { idle_ms.min(UNANSWERED_MAX_MS) });
    }

    /// Counts the session and writes it down.
    pub(crate) fn finish(&self, reason: Option<FailureReason>) {
        if let Some(in_flight) = self.in_flight.take()
            && reason.is_some_and(FailureReason::is_members_fault)
        {
            in_flight.count_failure();
        }
        self.facts.finish(reason, self.received_bytes.get(), self.sent_bytes.get());
    }
}

impl Unserved {
    /// Counts it and writes it down.
    pub(crate) fn finish(&self) {
        self.facts.finish(Some(self.reason), 0, 0);
    }
}

impl Facts {
    fn new(worker: Rc<TcpWorker>, admitted: Admitted, peer: SocketAddr, start_us: u64) -> Self {
        Self { worker, admitted, peer, start_us, earlier_us: 0, chosen: None, attempt_count: 0 }
    }

    fn total_us(&self) -> u64 {
        let now_us = self.worker.context.clock.now_us();
        now_us.saturating_sub(self.start_us).saturating_add(self.earlier_us)
    }

    fn reach_member(&mut self) -> Result<(UdpSocket, InFlight, Arc<Member>), FailureReason> {
        let server = &self.admitted.server;
        let client = self.peer.ip();
        let mut choice = Choice::new(&self.worker, server, &server.pool, client, ATTEMPT_MAX_COUNT);
        loop {
            // Datagrams don't wait: by the time that there is room they are asked for again.
            let chosen = choice.next()?.map_err(|_| FailureReason::QueueFull)?;
            self.chosen = Some((Arc::clone(choice.pool()), Arc::clone(&chosen.member)));
            self.attempt_count += 1;
            match connected(chosen.member.address) {
                Ok(socket) => {
                    if server.udp.responses.is_none() {
                        socket::ask_for_trains(&socket);
                    }
                    let Chosen { in_flight, member } = chosen;
                    return Ok((socket, in_flight, member));
                }
                Err(error) => choice.failed(chosen, FailureReason::of_connect(&error))?,
            }
        }
    }

    fn finish(&self, reason: Option<FailureReason>, received_bytes: u64, sent_bytes: u64) {
        let clock = &self.worker.context.clock;
        let total_us = self.total_us();
        self.admitted.counters.request_unanswered(total_us);
        if let Some(reason) = reason {
            self.admitted.counters.failure(reason);
        }
        self.worker.count(&self.admitted.server.pool, reason, None);
        let start_ms = clock.coarse_unix_ms().saturating_sub(total_us / 1_000);
        self.worker.log(&AccessRecord {
            reason,
            pool: self.chosen.as_ref().map_or("", |(pool, _)| pool.name()),
            member: self.chosen.as_ref().map(|(_, member)| &*member.name),
            attempts: self.attempt_count,
            received_bytes,
            sent_bytes,
            total_us,
            ..AccessRecord::new(start_ms, &self.admitted.server.name, self.peer)
        });
    }
}

impl std::fmt::Debug for Facts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Facts").field("peer", &self.peer).finish_non_exhaustive()
    }
}

fn add(counter: &Cell<u64>, count: usize) {
    counter.set(counter.get() + count as u64);
}
