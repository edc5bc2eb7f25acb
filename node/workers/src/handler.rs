//! The seam between the workers and the protocols: who accepts hands a [`Connection`] to whom.
//!
//! Invariant: a handler and its connections live and die on one worker's thread.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use crate::clock::Clock;
use crate::connections::{Connections, Ticket};
use crate::datagram::DatagramFactory;
use crate::slot::{Admission, VirtualServer};
use crate::stream::ClientStream;
use ballast_telemetry::FailureReason;

/// A task of a connection.
pub type ConnectionTask = Pin<Box<dyn Future<Output = ()>>>;

/// A client connection that was just accepted.
#[derive(Debug)]
pub struct Connection {
    /// The socket; `TCP_NODELAY` is set.
    pub stream: ClientStream,
    /// The client; as announced where the PROXY protocol told.
    pub peer: SocketAddr,
    /// The address and port that the client connected to, also as the PROXY protocol tells. For
    /// protocols other than HTTP the address is unspecified where the virtual server listens on every
    /// address.
    pub local: SocketAddr,
    /// The virtual server as it was then: the slot may be empty by the time that the connection is
    /// served.
    pub server: Arc<VirtualServer>,
    /// Its slot: load the present content for every request. Drop it last: it counts the connection
    /// as open.
    pub admission: Admission,
    /// Deadline and the word to end; the connection counts as open until this is dropped.
    pub ticket: Ticket,
}

/// A client that is turned away before anything was read from it.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The client.
    pub peer: SocketAddr,
    /// The virtual server that it came to.
    pub server: Arc<VirtualServer>,
    /// Why; counted already.
    pub reason: FailureReason,
}

/// Serves the connections of one worker.
pub trait ConnectionHandler {
    /// Serves one connection to its end. Ends early when the ticket says so.
    fn serve(self: Rc<Self>, connection: Connection) -> ConnectionTask;

    /// What to tell a client that is turned away, and writes that down where it is to be written
    /// down. None: the connection is reset.
    fn refuse(&self, _refused: &Refused) -> Option<Vec<u8>> {
        None
    }

    /// Called about once a second while the worker has connections, and afterwards for as long as it
    /// answers true: closes what has been idle for too long, and says whether there is more.
    fn tick(&self) -> bool {
        false
    }
}

/// Makes the handler of each worker, on the worker's own thread.
pub trait HandlerFactory: Send + Sync {
    /// The handler of that worker.
    fn build(&self, worker: &Rc<WorkerContext>) -> Rc<dyn ConnectionHandler>;
}

/// For data planes without one of the protocols: whatever comes is closed.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoConnections;

impl HandlerFactory for NoConnections {
    fn build(&self, _worker: &Rc<WorkerContext>) -> Rc<dyn ConnectionHandler> {
        Rc::new(*self)
    }
}

impl ConnectionHandler for NoConnections {
    fn serve(self: Rc<Self>, connection: Connection) -> ConnectionTask {
        Box::pin(async move { drop(connection) })
    }
}

/// Who serves which protocol.
#[derive(Clone)]
pub struct Handlers {
    /// For `http` and `https`.
    pub http: Arc<dyn HandlerFactory>,
    /// For `tcp` and `tls_passthrough`.
    pub tcp: Arc<dyn HandlerFactory>,
    /// For `udp`.
    pub udp: Arc<dyn DatagramFactory>,
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handlers")
    }
}

/// What the handlers of a worker share with it.
#[derive(Debug)]
pub struct WorkerContext {
    /// Which worker, from 0.
    pub index: usize,
    /// Its clock.
    pub clock: Rc<Clock>,
    /// Its connections.
    pub connections: Rc<Connections>,
    random_state: Cell<u64>,
}

impl WorkerContext {
    /// The context of worker `index`.
    pub fn new(index: usize) -> Self {
        Self {
            index,
            clock: Rc::default(),
            connections: Rc::default(),
            random_state: Cell::new(RandomState::new().hash_one(index)),
        }
    }

    /// A number for spreading load (`SplitMix64`, Steele et al. 2014); not for secrets.
    pub fn random(&self) -> u64 {
        let state = self.random_state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random_state.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
