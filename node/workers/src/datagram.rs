//! The seam between the workers and protocols of datagrams: a worker gives each of its listening
//! sockets away, whole, and the handler asks at the door for every session that it begins.
//!
//! Invariant: a listener, its sessions and their tickets live and die on one worker's thread. The
//! kernel sends what one client sends to one worker for as long as the listeners stay.

use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use ballast_telemetry::{CounterShard, FailureReason};
use tokio::net::UdpSocket;

use crate::admission::{Accepted, OpenGuard};
use crate::binding::Binding;
use crate::connections::Ticket;
use crate::handler::{ConnectionTask, WorkerContext};
use crate::moved::MovedSession;
use crate::slot::{Admission, VirtualServer};
use crate::worker::{AcceptStop, Shared};

/// A socket that clients send datagrams to, and the door behind it.
pub struct DatagramListener {
    /// The socket.
    pub socket: Rc<UdpSocket>,
    /// Where it is bound; unspecified where that is every address of the node.
    pub local: SocketAddr,
    /// Lets sessions in.
    pub door: Door,
    /// Sessions that the process before had with it.
    pub sessions: Vec<MovedSession>,
    pub(crate) stop: Rc<AcceptStop>,
}

impl DatagramListener {
    /// Whether it is closed: no session may begin any more, those that are there go on.
    pub fn is_closed(&self) -> bool {
        self.stop.is_closed.get()
    }

    /// Whether it is closed and another process goes on with its socket: what comes in is not for this
    /// one to read.
    pub fn is_handed_over(&self) -> bool {
        self.stop.is_handed_over.get()
    }

    /// Returns once [`is_closed`](Self::is_closed) may say something else: a listener that still has
    /// sessions can be opened again. Cancel-safe.
    pub async fn turned(&self) {
        self.stop.wake.notified().await;
    }
}

/// Lets sessions in, and counts those that it does not.
pub struct Door {
    pub(crate) binding: Arc<Binding>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) context: Rc<WorkerContext>,
}

/// A session that was let in; it counts as an open connection until it is dropped.
pub struct Admitted {
    /// The virtual server as it is now.
    pub server: Arc<VirtualServer>,
    /// Its slot.
    pub admission: Admission,
    /// Deadline and the word to end.
    pub ticket: Ticket,
    /// What this worker counts for the virtual server.
    pub counters: Arc<CounterShard>,
    _guard: OpenGuard,
    _counted: Counted,
}

/// Sessions of datagrams get one of so many of the node's connections: whoever sends datagrams can
/// do so in any source's name, and what that fills must not keep others out.
const SESSION_SHARE: usize = 2;

/// A session of a listener, on whichever worker.
struct Counted {
    binding: Arc<Binding>,
    shared: Arc<Shared>,
}

impl Counted {
    /// None where there are as many sessions on the node as may be.
    fn new(binding: &Arc<Binding>, shared: &Arc<Shared>) -> Option<Self> {
        let max_count = shared.connection_max_count.div_ceil(SESSION_SHARE);
        let count = shared.session_count.fetch_add(1, Relaxed);
        binding.session_count.fetch_add(1, Relaxed);
        // From here on it counts itself out.
        let counted = Self { binding: Arc::clone(binding), shared: Arc::clone(shared) };
        (count < max_count).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.binding.session_count.fetch_sub(1, Relaxed);
        self.shared.session_count.fetch_sub(1, Relaxed);
    }
}

impl Door {
    /// Lets in a session of `peer`. None: the virtual server is gone, or a limit is met, which is
    /// counted.
    pub fn admit(&self, peer: SocketAddr) -> Option<Admitted> {
        let slot = self.binding.slot.load_full();
        let current = slot.current().load();
        let server = current.as_ref()?;
        let worker = self.context.index;
        let counters = Arc::clone(slot.counters.shard(worker));
        let Some(_counted) = Counted::new(&self.binding, &self.shared) else {
            self.count_refused(&counters, FailureReason::Overload);
            return None;
        };
        match self.shared.admit(&Accepted { slot: &slot, server, peer }, worker) {
            Ok((admission, mut guard)) => {
                guard.count(&counters);
                let WorkerContext { connections, clock, .. } = &*self.context;
                let ticket = connections.open(slot.id, clock);
                let server = Arc::clone(server);
                Some(Admitted { server, admission, ticket, counters, _guard: guard, _counted })
            }
            Err(reason) => {
                self.count_refused(&counters, reason);
                None
            }
        }
    }

    /// Sessions of this address and port, on all workers.
    pub fn session_count(&self) -> usize {
        self.binding.session_count.load(Relaxed)
    }

    /// Whether a listener that is closed lets sessions in all the same, for the one on the wildcard
    /// address: as long as its sockets stay, the kernel gives them what that one is to get.
    pub fn is_covered(&self) -> bool {
        self.binding.is_covered.load(Relaxed)
    }

    fn count_refused(&self, counters: &CounterShard, reason: FailureReason) {
        counters.failure(reason);
        self.shared.events.refused.fetch_add(1, Relaxed);
    }
}

/// Serves the datagrams of one worker.
pub trait DatagramHandler {
    /// Serves a listener until it is closed and its sessions have ended.
    fn serve(self: Rc<Self>, listener: DatagramListener) -> ConnectionTask;

    /// Called as [`ConnectionHandler::tick`](crate::ConnectionHandler::tick) is.
    fn tick(&self) -> bool {
        false
    }

    /// Lets go of sessions, at most so many, for another process; those of listeners that are handed over.
    fn give(&self, _max_count: usize) -> Vec<MovedSession> {
        Vec::new()
    }
}

/// Makes the handler of each worker, on the worker's own thread.
pub trait DatagramFactory: Send + Sync {
    /// The handler of that worker.
    fn build(&self, worker: &Rc<WorkerContext>) -> Rc<dyn DatagramHandler>;
}

/// For data planes without datagrams: whatever comes is dropped.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDatagrams;

impl DatagramFactory for NoDatagrams {
    fn build(&self, _worker: &Rc<WorkerContext>) -> Rc<dyn DatagramHandler> {
        Rc::new(*self)
    }
}

impl DatagramHandler for NoDatagrams {
    fn serve(self: Rc<Self>, listener: DatagramListener) -> ConnectionTask {
        Box::pin(async move {
            while !listener.is_closed() {
                listener.turned().await;
            }
        })
    }
}

impl fmt::Debug for DatagramListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramListener").field("local", &self.local).finish_non_exhaustive()
    }
}
