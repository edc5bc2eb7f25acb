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
use std::rc::Rc;
use std::time::Duration;

use ballast_telemetry::{AccessLog, Tail};
use ballast_workers::{
    ConnectionTask, DatagramFactory, DatagramHandler, DatagramListener, WorkerContext,
};
use tokio::net::UdpSocket;

use crate::udp::session::Session;
use crate::udp::socket::{Batch, Replies};
use crate::worker::TcpWorker;

mod session;
mod socket;

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
            datagram: Rc::default(),
            batch: Rc::default(),
        })
    }
}

/// What the sessions of one worker share.
#[derive(Debug)]
struct UdpWorker {
    common: Rc<TcpWorker>,
    /// What is read from members; made with the first session.
    datagram: Rc<RefCell<Vec<u8>>>,
    /// What is read from clients; made with the first datagram.
    batch: Rc<RefCell<Vec<u8>>>,
}

impl DatagramHandler for UdpWorker {
    fn serve(self: Rc<Self>, listener: DatagramListener) -> ConnectionTask {
        Box::pin(async move {
            let local = listener.local;
            match Listening::new(&self, listener) {
                Ok(listening) => listening.run().await,
                Err(error) => {
                    tracing::error!(%local, %error, "a listener of datagrams can't be set up");
                }
            }
        })
    }

    fn tick(&self) -> bool {
        self.common.look_after()
    }
}

/// Who sent a datagram, and to which of the node's addresses.
pub(crate) type SessionKey = (SocketAddr, Option<IpAddr>);

/// The sessions of one listener.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    table: RefCell<HashMap<SessionKey, Rc<Session>>>,
}

impl Sessions {
    fn find(&self, key: &SessionKey) -> Option<Rc<Session>> {
        self.table.borrow().get(key).map(Rc::clone)
    }

    fn remove(&self, key: &SessionKey) {
        self.table.borrow_mut().remove(key);
    }
}

struct Listening {
    worker: Rc<TcpWorker>,
    datagram: Rc<RefCell<Vec<u8>>>,
    listener: DatagramListener,
    replies: Rc<Replies>,
    sessions: Rc<Sessions>,
    batch: Batch,
    storage: Rc<RefCell<Vec<u8>>>,
}

impl Listening {
    fn new(worker: &UdpWorker, listener: DatagramListener) -> std::io::Result<Self> {
        let is_any = listener.local.ip().is_unspecified();
        if is_any {
            socket::ask_for_addresses(&listener.socket, listener.local.is_ipv6())?;
        }
        Ok(Self {
            worker: Rc::clone(&worker.common),
            datagram: Rc::clone(&worker.datagram),
            replies: Rc::new(Replies::new(&listener.socket)?),
            sessions: Rc::default(),
            batch: Batch::new(is_any),
            storage: Rc::clone(&worker.batch),
            listener,
        })
    }

    /// Until the listener is closed and every session has ended.
    async fn run(mut self) {
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        loop {
            // Cancel-safe: each branch only waits.
            tokio::select! {
                () = self.listener.turned() => {}
                _ = looks.tick(), if self.listener.is_closed() => {}
                ready = self.listener.socket.readable(), if !self.listener.is_handed_over() => {
                    if ready.is_ok() {
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
        let Self { worker, datagram, listener, replies, sessions, batch, storage } = self;
        let storage = &mut storage.borrow_mut();
        batch.receive(&listener.socket, storage, |bytes, key| {
            if let Some(session) = sessions.find(&key) {
                session.pass_on(bytes);
                return;
            }
            if listener.is_closed() && !listener.door.is_covered() {
                return;
            }
            let Some(admitted) = listener.door.admit(key.0) else { return };
            let session = Session::begin(worker, admitted, key.0);
            let session = match session {
                Ok(session) => Rc::new(session),
                Err(unserved) => return unserved.finish(),
            };
            session.pass_on(bytes);
            sessions.table.borrow_mut().insert(key, Rc::clone(&session));
            let (sessions, replies) = (Rc::clone(sessions), Rc::clone(replies));
            let datagram = Rc::clone(datagram);
            // Ends by itself or with the runtime; its ticket knows of it.
            drop(tokio::task::spawn_local(async move {
                let end = session.run(&replies, key, &datagram).await;
                sessions.remove(&key);
                session.finish(end.err());
            }));
        });
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
