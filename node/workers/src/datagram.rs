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
use crate::connections::Ticket;
use crate::handler::{ConnectionTask, WorkerContext};
use crate::slot::{Admission, VirtualServer};
use crate::worker::{AcceptStop, Binding, Shared};

/// A socket that clients send datagrams to, and the door behind it.
pub struct DatagramListener {
    /// The socket.
    pub socket: UdpSocket,
    /// Where it is bound; unspecified where that is every address of the node.
    pub local: SocketAddr,
    /// Lets sessions in.
    pub door: Door,
    pub(crate) stop: Rc<AcceptStop>,
}

impl DatagramListener {
    /// Returns once no session may begin any more; those that are there go on. Cancel-safe.
    pub async fn closed(&self) {
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

/// A session of a listener, on whichever worker.
struct Counted(Arc<Binding>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.session_count.fetch_sub(1, Relaxed);
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
        match self.shared.admit(&Accepted { slot: &slot, server, peer }, worker) {
            Ok((admission, mut guard)) => {
                guard.count(&counters);
                let WorkerContext { connections, clock, .. } = &*self.context;
                let ticket = connections.open(slot.id, clock);
                let server = Arc::clone(server);
                self.binding.session_count.fetch_add(1, Relaxed);
                let counted = Counted(Arc::clone(&self.binding));
                let (_guard, _counted) = (guard, counted);
                Some(Admitted { server, admission, ticket, counters, _guard, _counted })
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
        Box::pin(async move { listener.closed().await })
    }
}

impl fmt::Debug for DatagramListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramListener").field("local", &self.local).finish_non_exhaustive()
    }
}
