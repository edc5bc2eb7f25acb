//! Who gets in: the limits that a connection meets before it is served, and the worker it goes to.
//!
//! ```text
//!  accepted ─► the node's limit, by priority ─► the virtual server's ─► the source's ─► a worker
//!                    │                                │                      │
//!                    └────────────────────────────────┴──────────────────────┴──► told so, or reset
//! ```
//!
//! Invariant: an [`Arrival`] is counted as open, everywhere that counts it, until it is dropped.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use ballast_telemetry::{CounterShard, FailureReason};

use crate::announce;
use crate::connections::GroupId;
use crate::slot::{Admission, VirtualServer, VirtualServerSlot};
use crate::sources::SourceHold;
use crate::worker::Shared;

/// A connection that was let in and has not reached its handler yet; it may still change workers.
pub(crate) struct Arrival {
    /// No reactor knows it yet.
    pub(crate) stream: std::net::TcpStream,
    pub(crate) peer: SocketAddr,
    /// Where it was accepted.
    pub(crate) local: SocketAddr,
    pub(crate) server: Arc<VirtualServer>,
    pub(crate) admission: Admission,
    pub(crate) guard: OpenGuard,
}

/// What the listener knows of a connection.
pub(crate) struct Accepted<'a> {
    pub(crate) slot: &'a Arc<VirtualServerSlot>,
    pub(crate) server: &'a VirtualServer,
    pub(crate) peer: SocketAddr,
}

impl Shared {
    /// Counts a connection, for the worker that is to serve it.
    ///
    /// # Errors
    /// Which limit it meets.
    pub(crate) fn admit(
        self: &Arc<Self>,
        accepted: &Accepted<'_>,
        worker: usize,
    ) -> Result<(Admission, OpenGuard), FailureReason> {
        let Accepted { slot, server, peer } = accepted;
        let shed_at = server.priority.shed_at_percent();
        if self.pressure_percent.load(Relaxed) >= shed_at && shed_at < 100 {
            return Err(FailureReason::Shed);
        }
        let max_count = self.connection_max_count;
        let open_count = self.open_count.fetch_add(1, Relaxed);
        // From here on the guard counts the connection out.
        let mut guard = OpenGuard::new(self, worker);
        if open_count >= max_count {
            return Err(FailureReason::Overload);
        }
        if shed_at < 100 && open_count >= (max_count * usize::from(shed_at)).div_ceil(100) {
            return Err(FailureReason::Shed);
        }
        let admission = slot.admit(server.connection_limit);
        let admission = admission.ok_or(FailureReason::ConnectionLimit)?;
        let is_announced = match &server.accept_proxy_protocol {
            None => false,
            Some(settings) => announce::is_expected(settings, peer.ip())?,
        };
        // Who is announced is not known yet; who announces has no such limits.
        if !is_announced {
            guard.source = self.admit_source(slot.id, server, peer.ip())?;
        }
        Ok((admission, guard))
    }

    fn admit_source(
        &self,
        group: GroupId,
        server: &VirtualServer,
        source: IpAddr,
    ) -> Result<Option<SourceHold>, FailureReason> {
        let Some(limits) = &server.source_limits else { return Ok(None) };
        self.sources.admit(group, source, limits, self.sources.now_us())
    }
}

/// How many connections each worker has, for whoever accepts.
#[derive(Debug)]
pub(crate) struct Loads(Box<[Load]>);

/// On a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Load(AtomicU32);

impl Loads {
    pub(crate) fn new(worker_count: usize) -> Self {
        Self((0..worker_count).map(|_| Load::default()).collect())
    }

    /// The worker that a connection accepted by `own` goes to. The kernel spreads connections over
    /// listeners by a hash: of eight, one of two workers gets six or more every third time. Where
    /// another worker has clearly fewer, it gets it.
    pub(crate) fn choose(&self, own: usize) -> usize {
        if self.0.len() < 2 {
            return own;
        }
        let count =
            |worker: usize| self.0.get(worker).map_or(u32::MAX, |load| load.0.load(Relaxed));
        let others = (0..self.0.len()).filter(|worker| *worker != own);
        let Some(least) = others.min_by_key(|worker| count(*worker)) else { return own };
        let is_clear = count(own) > count(least).saturating_add(count(least) / 8);
        if is_clear { least } else { own }
    }

    fn change(&self, worker: usize, by: impl FnOnce(&AtomicU32)) {
        if let Some(load) = self.0.get(worker) {
            by(&load.0);
        }
    }
}

/// Counts a connection as open until it goes, and a panic of its task.
pub(crate) struct OpenGuard {
    shared: Arc<Shared>,
    worker: usize,
    source: Option<SourceHold>,
    /// Those that it was counted in.
    counters: Option<Arc<CounterShard>>,
}

impl OpenGuard {
    fn new(shared: &Arc<Shared>, worker: usize) -> Self {
        shared.loads.change(worker, |load| {
            load.fetch_add(1, Relaxed);
        });
        Self { shared: Arc::clone(shared), worker, source: None, counters: None }
    }

    /// Counts the connection for that worker from now on.
    pub(crate) fn move_to(&mut self, worker: usize) {
        if worker == self.worker {
            return;
        }
        let loads = &self.shared.loads;
        loads.change(worker, |load| {
            load.fetch_add(1, Relaxed);
        });
        loads.change(self.worker, |load| {
            load.fetch_sub(1, Relaxed);
        });
        self.worker = worker;
    }

    /// Counts the connection for the client that was announced.
    ///
    /// # Errors
    /// Which of its limits it has reached.
    pub(crate) fn count_source(
        &mut self,
        group: GroupId,
        server: &VirtualServer,
        source: IpAddr,
    ) -> Result<(), FailureReason> {
        self.source = self.shared.admit_source(group, server, source)?;
        Ok(())
    }

    /// Counts the connection in the counters of its virtual server: those of the worker that calls.
    pub(crate) fn count(&mut self, counters: &Arc<CounterShard>) {
        counters.connection_opened();
        self.counters = Some(Arc::clone(counters));
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.shared.loads.change(self.worker, |load| {
            load.fetch_sub(1, Relaxed);
        });
        self.shared.open_count.fetch_sub(1, Relaxed);
        let Some(counters) = &self.counters else { return };
        counters.connection_closed();
        if std::thread::panicking() {
            self.shared.events.panics.fetch_add(1, Relaxed);
            counters.failure(FailureReason::Internal);
            tracing::error!("the task of a connection panicked; the connection is lost");
        }
    }
}

#[cfg(test)]
mod tests;
