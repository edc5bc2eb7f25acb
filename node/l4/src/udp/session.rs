//! One session: a client, its member, and what passes between them.
//!
//! Invariant: it ends by silence, by the number of its responses, by an error of its member, or where
//! member or virtual server are taken away; whichever comes first.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use ballast_balance::{InFlight, Member, NoMember, PickInput, Pool};
use ballast_telemetry::{AccessRecord, FailureReason};
use ballast_workers::{Admitted, Interrupted};
use tokio::io::{Interest, ReadBuf};
use tokio::net::UdpSocket;

use super::socket::{self, Replies};
use super::{DATAGRAM_MAX_BYTES, SessionKey, connected};
use crate::persistence::Belonging;
use crate::watch::Watch;
use crate::worker::{TcpWorker, why_none};

/// Members whose socket can't be made that are passed over.
const ATTEMPT_MAX_COUNT: usize = 3;
/// Longest silence of a session whose member has not answered yet, in ms: who sends in others' names
/// must not hold a port of ours for as long as a client that is there.
const UNANSWERED_MAX_MS: u64 = 5_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    socket: UdpSocket,
    watch: Watch,
    in_flight: RefCell<Option<InFlight>>,
    facts: Facts,
    /// Datagrams that went to the member.
    asked_count: Cell<u64>,
    /// Datagrams that came from it.
    answered_count: Cell<u64>,
    received_bytes: Cell<u64>,
    sent_bytes: Cell<u64>,
}

/// What is known of a session whatever becomes of it.
struct Facts {
    worker: Rc<TcpWorker>,
    admitted: Admitted,
    peer: SocketAddr,
    start_us: u64,
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
        let mut facts = Facts { worker, admitted, peer, start_us, chosen: None, attempt_count: 0 };
        let reason = match facts.reach_member() {
            Ok((socket, in_flight, member)) => {
                let slot = facts.admitted.admission.slot();
                let watch = facts.worker.watches.add(&member.state, slot);
                let session = Self {
                    socket,
                    watch,
                    in_flight: RefCell::new(Some(in_flight)),
                    facts,
                    asked_count: Cell::new(0),
                    answered_count: Cell::new(0),
                    received_bytes: Cell::new(0),
                    sent_bytes: Cell::new(0),
                };
                session.prolong();
                return Ok(session);
            }
            Err(reason) => reason,
        };
        Err(Box::new(Unserved { facts, reason }))
    }

    /// Sends a datagram of the client to the member. One for which the kernel has no room is lost, and
    /// an error of the member shows where its answers are read.
    pub(crate) fn pass_on(&self, bytes: &[u8]) {
        add(&self.received_bytes, bytes.len());
        self.facts.admitted.counters.received_bytes(bytes.len() as u64);
        self.asked_count.set(self.asked_count.get() + 1);
        self.prolong();
        socket::send(&self.socket, bytes);
    }

    /// Passes answers on until the session ends.
    pub(crate) async fn run(
        &self,
        replies: &Replies,
        key: SessionKey,
        datagram: &RefCell<Vec<u8>>,
    ) -> Result<(), FailureReason> {
        // Cancel-safe: an answer is passed on in the poll that reads it.
        tokio::select! {
            biased;
            end = poll_fn(|cx| self.poll_run(cx, replies, key, datagram)) => end,
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
        datagram: &RefCell<Vec<u8>>,
    ) -> Poll<Result<(), FailureReason>> {
        let mut storage = datagram.borrow_mut();
        if storage.is_empty() {
            *storage = vec![0; DATAGRAM_MAX_BYTES];
        }
        // Ends in `Pending` by itself: the runtime's budget stops it.
        loop {
            let mut space = ReadBuf::new(&mut storage);
            match self.socket.poll_recv(cx, &mut space) {
                Poll::Ready(Ok(())) => {
                    let bytes = space.filled();
                    add(&self.sent_bytes, bytes.len());
                    self.facts.admitted.counters.sent_bytes(bytes.len() as u64);
                    self.answered_count.set(self.answered_count.get() + 1);
                    replies.send(bytes, key);
                    if self.has_all_answers() {
                        return Poll::Ready(Ok(()));
                    }
                    self.prolong();
                }
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(FailureReason::of_connect(&error)));
                }
                Poll::Pending => break,
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
    fn reach_member(&mut self) -> Result<(UdpSocket, InFlight, Arc<Member>), FailureReason> {
        let slot = &self.admitted.server.pool;
        let pool = slot.current().load_full();
        let context = &self.worker.context;
        let mut tried = [0; ATTEMPT_MAX_COUNT];
        let mut failure = FailureReason::NoMember;
        let now_ms = context.clock.coarse_unix_ms();
        let server = &self.admitted.server;
        let mut belonging = Belonging::find(server, &pool, self.peer.ip(), now_ms);
        for attempt in 0..ATTEMPT_MAX_COUNT {
            let input = PickInput {
                client: self.peer.ip(),
                key: None,
                random: context.random(),
                now_ms: context.clock.coarse_unix_ms(),
                persistent: belonging.member,
                exclude: &tried[..attempt],
            };
            let (index, in_flight) = match belonging.begin(&self.worker, slot, &pool, &input) {
                Ok(begun) => begun,
                // Datagrams don't wait: by the time that there is room they are asked for again.
                Err(NoMember::AllBusy | NoMember::PersistentBusy) => {
                    return Err(FailureReason::QueueFull);
                }
                Err(why) => return Err(why_none(why, failure)),
            };
            let Some(member) = pool.member(index) else { return Err(FailureReason::Internal) };
            tried[attempt] = index;
            self.chosen = Some((Arc::clone(&pool), Arc::clone(member)));
            self.attempt_count += 1;
            match connected(member.address) {
                Ok(socket) => return Ok((socket, in_flight, Arc::clone(member))),
                Err(error) => failure = FailureReason::of_connect(&error),
            }
            if !failure.is_members_fault() {
                return Err(failure);
            }
            in_flight.count_failure();
        }
        Err(failure)
    }

    fn finish(&self, reason: Option<FailureReason>, received_bytes: u64, sent_bytes: u64) {
        let clock = &self.worker.context.clock;
        let total_us = clock.now_us().saturating_sub(self.start_us);
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
