//! Copies of requests for a mirror pool: sent beside the request, their answers thrown away.
//!
//! Invariant: a copy never makes its request wait or fail. What would need more room, time or
//! connections than there are is dropped and counted.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ballast_balance::Priority;
use ballast_workers::WorkerContext;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use crate::member::{self, Way};
use crate::upstream::{Purpose, Wanted, WorkerPool};

/// Copies at once on one worker, being taken or being sent.
const MIRROR_MAX_COUNT: usize = 64;
/// Largest body that is copied, with its framing, in bytes.
pub(crate) const MIRROR_BODY_MAX_BYTES: usize = 64 * 1024;
/// How long a copy may take from its first byte to the end of its answer.
const MIRROR_TIMEOUT: Duration = Duration::from_secs(10);
/// Most of an answer that is read before its connection is dropped, in bytes.
const ANSWER_MAX_BYTES: usize = 1024 * 1024;

/// What became of copies since the start.
#[derive(Debug, Default)]
pub struct MirrorTotals {
    sent: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

impl MirrorTotals {
    /// Copies that were sent whole.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Copies that were not begun: too many at once, or too large a body.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Copies that no member of the mirror pool took.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

/// The copies of one worker.
#[derive(Debug, Default)]
pub(crate) struct Mirrors {
    tasks: RefCell<JoinSet<()>>,
    /// Places taken.
    count: Rc<Cell<usize>>,
    totals: Arc<MirrorTotals>,
}

/// One of the copies that there may be at once.
#[derive(Debug)]
struct Place(Rc<Cell<usize>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A request being copied on its way.
#[derive(Debug)]
pub(crate) struct RequestCopy {
    /// None once it is too large.
    place: Option<Place>,
    bytes: Vec<u8>,
    max_bytes: usize,
}

impl RequestCopy {
    /// A copy that begins with a head, which ends in an empty line.
    fn new(place: Place, head: &[u8]) -> Self {
        let fields = head.strip_suffix(b"\r\n").unwrap_or(head);
        let mut bytes = fields.to_vec();
        // One request for each connection: nobody reads the answer for what comes behind it.
        bytes.extend_from_slice(b"Connection: close\r\n\r\n");
        let max_bytes = bytes.len() + MIRROR_BODY_MAX_BYTES;
        Self { place: Some(place), bytes, max_bytes }
    }

    /// Takes a part of the body, as it is sent.
    pub(crate) fn push(&mut self, part: &[u8]) {
        if self.bytes.len() + part.len() > self.max_bytes {
            self.place = None;
            self.bytes = Vec::new();
        } else if self.place.is_some() {
            self.bytes.extend_from_slice(part);
        }
    }
}

impl Mirrors {
    pub(crate) fn new(totals: Arc<MirrorTotals>) -> Self {
        Self { totals, ..Self::default() }
    }

    /// Begins a copy with that head, which ends in an empty line; none, and counted, where there are
    /// as many as may be.
    pub(crate) fn begin(&self, head: &[u8]) -> Option<RequestCopy> {
        if self.count.get() >= MIRROR_MAX_COUNT {
            self.totals.dropped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.count.set(self.count.get() + 1);
        Some(RequestCopy::new(Place(Rc::clone(&self.count)), head))
    }

    /// Sends a copy that is complete; `client` is the client and what it connected to.
    pub(crate) fn send(
        &self,
        context: &Rc<WorkerContext>,
        pool: Rc<WorkerPool>,
        client: (SocketAddr, SocketAddr),
        copy: RequestCopy,
    ) {
        let RequestCopy { place: Some(place), bytes, .. } = copy else {
            self.totals.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let (context, totals) = (Rc::clone(context), Arc::clone(&self.totals));
        let mut tasks = self.tasks.borrow_mut();
        while tasks.try_join_next().is_some() {}
        tasks.spawn_local(async move {
            let sent = send(&context, &pool, client, &bytes);
            let is_sent = matches!(tokio::time::timeout(MIRROR_TIMEOUT, sent).await, Ok(Ok(())));
            let count = if is_sent { &totals.sent } else { &totals.failed };
            count.fetch_add(1, Ordering::Relaxed);
            drop(place);
        });
    }
}

async fn send(
    context: &WorkerContext,
    pool: &WorkerPool,
    client: (SocketAddr, SocketAddr),
    request: &[u8],
) -> io::Result<()> {
    let client_ip = client.0.ip();
    // It never waits: where members have no room, or others wait for it, there is no copy.
    let priority = Priority::MIN;
    let wanted = Wanted { client: client_ip, key: None, persistent: None, known: None, priority };
    let chosen = pool.choose(context, wanted, &[]);
    let (chosen, in_flight) = chosen.map_err(|_| io::Error::from(io::ErrorKind::NotConnected))?;
    let exchanged = async {
        let (clock, tcp_us, is_crowded) = (&*context.clock, &Cell::default(), &Cell::default());
        let purpose = Purpose::Request;
        let way = Way { client, purpose, fresh: false, clock, tcp_us, is_crowded };
        let connected = member::connect(&chosen, way).await;
        let mut stream = connected.map_err(|error| io::Error::other(error.reason.code()))?;
        stream.write_all(request).await?;
        stream.flush().await?;
        let (mut scrap, mut read_bytes) = ([0; 2 * 1024], 0);
        while read_bytes < ANSWER_MAX_BYTES {
            match stream.read(&mut scrap).await? {
                0 => break,
                count => read_bytes += count,
            }
        }
        if read_bytes == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    };
    exchanged.await.inspect_err(|_| in_flight.count_failure())
}

#[cfg(test)]
mod tests;
