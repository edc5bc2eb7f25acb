//! The UDP data plane: sessions by client and address, each with a socket of its own to its member.
//!
//! ```text
//!  client ─► listener (one task) ─ session known? ─► its socket ─► member
//!                  ▲                 │ no: the door, a member, a socket, a task
//!                  └── sent from the address that the client reached ◄─ session's task ◄─ member
//! ```
//!
//! Invariant: every session is counted and written down exactly once, with at most one reason why it
//! failed; a session that has ended is in no table. A datagram that finds no room is dropped, as in any
//! network.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::time::Duration;

use ballast_telemetry::{AccessLog, FailureReason, Tail};
use ballast_workers::{
    Arrival, ConnectionTask, DatagramFactory, DatagramHandler, DatagramListener, MovedSession,
    Receipt, WorkerContext, moved,
};
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

use crate::udp::session::Session;
use crate::udp::socket::{BATCH_COUNT, Exchange, Replies};
use crate::worker::TcpWorker;

mod session;
mod socket;
mod train;

/// Largest datagram, in bytes.
pub(crate) const DATAGRAM_MAX_BYTES: usize = 65_535;

/// How often a listener that is closed looks whether all sessions have ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Makes the UDP handler of each worker.
#[derive(Clone, Debug)]
pub struct UdpHandlers {
    access_log: AccessLog,
    tail: Tail,
}

impl UdpHandlers {
    /// Handlers that write one record per session to `access_log`.
    pub fn new(access_log: AccessLog) -> Self {
        Self { access_log, tail: Tail::default() }
    }

    /// The same with a live tail that others share.
    #[must_use]
    pub fn with_tail(self, tail: Tail) -> Self {
        Self { tail, ..self }
    }
}

impl DatagramFactory for UdpHandlers {
    fn build(&self, worker: &Rc<WorkerContext>) -> Rc<dyn DatagramHandler> {
        Rc::new(UdpWorker {
            common: Rc::new(TcpWorker::new(worker, &self.access_log, self.tail.clone())),
            exchange: RefCell::default(),
            listening: RefCell::default(),
        })
    }
}

/// What the sessions of one worker share.
#[derive(Debug)]
struct UdpWorker {
    common: Rc<TcpWorker>,
    /// What all datagrams pass through; made with the first listener.
    exchange: RefCell<Option<Rc<Exchange>>>,
    /// The sessions of each listener.
    listening: RefCell<Vec<Weak<Sessions>>>,
}

impl UdpWorker {
    /// An empty table for the sessions of that listener.
    fn sessions_of(&self, listener: &Rc<DatagramListener>) -> Rc<Sessions> {
        let listener = Rc::clone(listener);
        let sessions =
            Rc::new(Sessions { listener, table: RefCell::default(), given: RefCell::default() });
        let mut listening = self.listening.borrow_mut();
        listening.retain(|sessions| sessions.strong_count() > 0);
        listening.push(Rc::downgrade(&sessions));
        sessions
    }

    fn exchange(&self) -> std::io::Result<Rc<Exchange>> {
        let mut exchange = self.exchange.borrow_mut();
        if let Some(exchange) = &*exchange {
            return Ok(Rc::clone(exchange));
        }
        Ok(Rc::clone(exchange.insert(Rc::new(Exchange::new()?))))
    }
}

impl DatagramHandler for UdpWorker {
    fn serve(self: Rc<Self>, listener: DatagramListener) -> ConnectionTask {
        Box::pin(async move {
            let mut listener = listener;
            let (local, moved) = (listener.local, std::mem::take(&mut listener.sessions));
            match Listening::new(&self, listener) {
                Ok(listening) => {
                    listening.resume(moved);
                    listening.run().await;
                }
                Err(error) => {
                    tracing::error!(%local, %error, "a listener of datagrams can't be set up");
                }
            }
        })
    }

    fn tick(&self) -> bool {
        self.common.look_after()
    }

    fn give(&self, max_count: usize) -> Vec<MovedSession> {
        let listening = self.listening.borrow();
        let mut given = Vec::new();
        for sessions in listening.iter().filter_map(Weak::upgrade) {
            sessions.give(max_count, &mut given);
        }
        given
    }
}

/// Who sent a datagram, and to which of the node's addresses.
pub(crate) type SessionKey = (SocketAddr, Option<IpAddr>);

/// The sessions of one listener.
#[derive(Debug)]
pub(crate) struct Sessions {
    listener: Rc<DatagramListener>,
    /// Each with the end of its task.
    table: RefCell<HashMap<SessionKey, (Rc<Session>, AbortHandle)>>,
    /// Those that were given away, until they have arrived, or have not.
    given: RefCell<Vec<(Rc<Session>, Receipt)>>,
}

impl Sessions {
    /// Forgets what was given away and has arrived, and ends what has got lost.
    fn settle(&self) {
        self.given.borrow_mut().retain(|(session, receipt)| {
            let arrival = receipt.arrival();
            if arrival == Arrival::Lost {
                session.finish(Some(FailureReason::Shutdown));
            }
            arrival == Arrival::Pending
        });
    }

    fn find(&self, key: &SessionKey) -> Option<Rc<Session>> {
        self.table.borrow().get(key).map(|(session, _)| Rc::clone(session))
    }

    fn remove(&self, key: &SessionKey) {
        self.table.borrow_mut().remove(key);
    }

    /// Lets go of sessions while there are fewer than so many in `given`. They are neither counted as ended
    /// nor written down: that is for whoever goes on with them, and for [`settle`](Self::settle) where nobody
    /// does.
    fn give(&self, max_count: usize, given: &mut Vec<MovedSession>) {
        if !self.listener.is_handed_over() {
            return;
        }
        let cookie = moved::cookie(&*self.listener.socket);
        self.table.borrow_mut().retain(|key, (session, task)| {
            if given.len() >= max_count {
                return true;
            }
            match session.give(*key, cookie) {
                Ok((moved, receipt)) => {
                    given.push(moved);
                    self.given.borrow_mut().push((Rc::clone(session), receipt));
                    task.abort();
                    false
                }
                // It stays to its end, as far as that goes without its client's datagrams.
                Err(error) => {
                    tracing::warn!(%error, "a session can't be handed over");
                    true
                }
            }
        });
    }
}

struct Listening {
    worker: Rc<TcpWorker>,
    exchange: Rc<Exchange>,
    listener: Rc<DatagramListener>,
    replies: Rc<Replies>,
    sessions: Rc<Sessions>,
    /// Whose the datagrams of the batch are that was read last.
    owners: Vec<Option<Rc<Session>>>,
}

impl Listening {
    fn new(worker: &UdpWorker, listener: DatagramListener) -> std::io::Result<Self> {
        if listener.local.ip().is_unspecified() {
            socket::ask_for_addresses(&listener.socket, listener.local.is_ipv6())?;
        }
        socket::ask_for_trains(&listener.socket);
        let listener = Rc::new(listener);
        Ok(Self {
            worker: Rc::clone(&worker.common),
            exchange: worker.exchange()?,
            replies: Rc::new(Replies::new(&listener.socket)?),
            sessions: worker.sessions_of(&listener),
            owners: Vec::with_capacity(BATCH_COUNT),
            listener,
        })
    }

    /// Goes on with what the process before has left.
    fn resume(&self, moved: Vec<MovedSession>) {
        for moved in moved {
            let key = (moved.facts.client, moved.facts.reached);
            let admitted = self.listener.door.admit(key.0);
            let session =
                admitted.and_then(|admitted| Session::resume(&self.worker, admitted, moved));
            if let Some(session) = session {
                self.start(key, session);
            }
        }
    }

    /// Until the listener is closed and every session has ended.
    async fn run(mut self) {
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        loop {
            // Cancel-safe: each branch only waits.
            tokio::select! {
                () = self.listener.turned() => {}
                _ = looks.tick(), if self.listener.is_closed() => self.sessions.settle(),
                ready = self.listener.socket.readable(), if !self.listener.is_handed_over() => {
                    // Once more: both may have come to pass since the wait began.
                    if ready.is_ok() && !self.listener.is_handed_over() {
                        self.receive();
                    }
                }
            }
            // Not before those of the other workers have ended: with one socket less the kernel would
            // spread what clients send otherwise than before.
            if self.listener.is_closed() && self.listener.door.session_count() == 0 {
                return;
            }
        }
    }

    /// Takes what has come, one batch of it; the rest is still there when the others had their turn.
    fn receive(&mut self) {
        let exchange = Rc::clone(&self.exchange);
        let inbox = &mut *exchange.inbox.borrow_mut();
        // An error: one of the network that concerns none of them.
        let Ok(count) = inbox.receive(&self.listener.socket) else { return };
        self.owners.clear();
        for index in 0..count {
            let key = inbox.key(index);
            let before = index.checked_sub(1).filter(|before| inbox.key(*before) == key);
            let owner = before.and_then(|before| self.owners[before].clone());
            let owner = owner.or_else(|| self.sessions.find(&key)).or_else(|| self.begin(key));
            self.owners.push(owner);
        }
        let outbox = &mut *exchange.outbox.borrow_mut();
        for index in 0..count {
            let Some(session) = self.owners[index].take() else { continue };
            // All that this client has sent.
            let others = (index + 1..count).filter(|at| {
                self.owners[*at].take_if(|owner| Rc::ptr_eq(owner, &session)).is_some()
            });
            let his = std::iter::once(index).chain(others);
            session.pass_on(his.map(|at| inbox.train(at)), outbox);
        }
    }

    /// Begins a session, where one may begin.
    fn begin(&self, key: SessionKey) -> Option<Rc<Session>> {
        let listener = &self.listener;
        if listener.is_closed() && !listener.door.is_covered() {
            return None;
        }
        let admitted = listener.door.admit(key.0)?;
        match Session::begin(&self.worker, admitted, key.0) {
            Ok(session) => Some(self.start(key, session)),
            Err(unserved) => {
                unserved.finish();
                None
            }
        }
    }

    /// Passes the answers of a session on from now on.
    fn start(&self, key: SessionKey, session: Session) -> Rc<Session> {
        let session = Rc::new(session);
        let (sessions, replies) = (Rc::clone(&self.sessions), Rc::clone(&self.replies));
        let (exchange, own) = (Rc::clone(&self.exchange), Rc::clone(&session));
        // Ends by itself, with the runtime, or where it is handed over; its ticket knows of it.
        let task = tokio::task::spawn_local(async move {
            let end = own.run(&replies, key, &exchange).await;
            sessions.remove(&key);
            own.finish(end.err());
        });
        let entry = (Rc::clone(&session), task.abort_handle());
        self.sessions.table.borrow_mut().insert(key, entry);
        session
    }
}

/// A socket of a session: on its own port, connected to the member, so that the kernel tells it of
/// errors and keeps others' datagrams away.
fn connected(member: SocketAddr) -> std::io::Result<UdpSocket> {
    let any: SocketAddr = match member {
        SocketAddr::V4(_) => ([0_u8; 4], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    socket.connect(member)?;
    UdpSocket::from_std(socket)
}
