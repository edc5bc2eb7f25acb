//! One worker: a thread, its runtime, its listeners, its connections.
//!
//! Invariant: a worker hears of the rest of the process through its bounded command channel and
//! through slots only, and ends when that channel is closed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use ballast_model::Protocol;
use ballast_telemetry::{CounterShard, FailureReason};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::LocalSet;

use crate::connections::{Connections, GroupId, TICK_MS};
use crate::handler::{Connection, ConnectionHandler, Handlers, WorkerContext};
use crate::heartbeat::{BEAT_INTERVAL, Heartbeats};
use crate::listener;
use crate::slot::VirtualServerSlot;

/// Commands that wait for a worker.
const COMMAND_MAX_COUNT: usize = 1_024;
/// How long accepting pauses when the process has no descriptor or memory left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// Ticks between two calls of the handlers' `tick`.
const HANDLER_TICK_COUNT: u64 = 1_000 / TICK_MS;

/// Who gets the connections of a listener; replaced where an address goes to another virtual
/// server, so that the socket stays open.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) slot: ArcSwap<VirtualServerSlot>,
}

/// What a worker is told.
pub(crate) enum Command {
    /// Accept from this socket.
    Listen { address: SocketAddr, socket: std::net::TcpListener, binding: Arc<Binding> },
    /// Accept what has arrived, then close the socket of this address.
    Close { address: SocketAddr, done: oneshot::Sender<()> },
    /// End the connections of these groups, which are in order, after their current request.
    EndGroups(Arc<[GroupId]>),
    /// Ask the connections of these local addresses to end, for `limit`; answers when none is left,
    /// or with how many then are.
    Quiesce { addresses: Arc<[IpAddr]>, limit: Duration, done: oneshot::Sender<usize> },
    /// End all connections after their current request; answers when none is left.
    EndAll { done: oneshot::Sender<()> },
    /// End all connections now.
    CutAll,
}

/// What all workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Client connections that are open.
    pub(crate) open_count: AtomicUsize,
    pub(crate) events: WorkerEvents,
    pub(crate) heartbeats: Heartbeats,
}

impl Shared {
    pub(crate) fn new(worker_count: usize) -> Self {
        Self {
            open_count: AtomicUsize::new(0),
            events: WorkerEvents::default(),
            heartbeats: Heartbeats::new(worker_count),
        }
    }
}

/// Rare events of the workers.
#[derive(Debug, Default)]
pub(crate) struct WorkerEvents {
    pub(crate) accept_errors: AtomicU64,
    pub(crate) panics: AtomicU64,
    pub(crate) refused: AtomicU64,
}

/// How a worker is set up.
#[derive(Clone)]
pub(crate) struct WorkerOptions {
    pub(crate) index: usize,
    /// The CPU to stay on.
    pub(crate) cpu: Option<usize>,
    pub(crate) connection_max_count: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) handlers: Arc<Handlers>,
}

/// A running worker.
#[derive(Debug)]
pub(crate) struct WorkerHandle {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) thread: JoinHandle<()>,
}

/// Starts a worker.
///
/// # Errors
/// The thread or its runtime can't be had.
pub(crate) fn spawn(options: WorkerOptions) -> io::Result<WorkerHandle> {
    let (commands, receiver) = mpsc::channel(COMMAND_MAX_COUNT);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread =
        std::thread::Builder::new().name(format!("worker-{}", options.index)).spawn(move || {
            if let Some(cpu) = options.cpu {
                pin(cpu);
            }
            let local = LocalSet::new();
            local.block_on(&runtime, async move { Worker::new(options).run(receiver).await });
        })?;
    Ok(WorkerHandle { commands, thread })
}

fn pin(cpu: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
        tracing::warn!(cpu, %error, "a worker can't be pinned to its CPU");
    }
}

struct Worker {
    context: Rc<WorkerContext>,
    http: Rc<dyn ConnectionHandler>,
    tcp: Rc<dyn ConnectionHandler>,
    shared: Arc<Shared>,
    connection_max_count: usize,
    /// Stops the accept loop of each address; gone once the loop has ended.
    listeners: RefCell<HashMap<SocketAddr, Rc<AcceptStop>>>,
}

#[derive(Default)]
struct AcceptStop {
    wake: Notify,
    done: RefCell<Option<oneshot::Sender<()>>>,
}

impl Worker {
    fn new(options: WorkerOptions) -> Self {
        let context = Rc::new(WorkerContext::new(options.index));
        Self {
            http: options.handlers.of(Protocol::Http).build(&context),
            tcp: options.handlers.of(Protocol::Tcp).build(&context),
            context,
            shared: options.shared,
            connection_max_count: options.connection_max_count,
            listeners: RefCell::default(),
        }
    }

    async fn run(self, mut commands: mpsc::Receiver<Command>) {
        let worker = Rc::new(self);
        // They end with the runtime, as every task of this worker does.
        drop(tokio::task::spawn_local(Rc::clone(&worker).beat()));
        drop(tokio::task::spawn_local(Rc::clone(&worker).tick()));
        while let Some(command) = commands.recv().await {
            worker.carry_out(command);
        }
    }

    fn carry_out(self: &Rc<Self>, command: Command) {
        let connections = &self.context.connections;
        match command {
            Command::Listen { address, socket, binding } => self.listen(address, socket, binding),
            Command::Close { address, done } => {
                // Without a listener, dropping `done` says that there is nothing to wait for.
                if let Some(stop) = self.listeners.borrow_mut().remove(&address) {
                    stop.done.replace(Some(done));
                    stop.wake.notify_one();
                }
            }
            Command::EndGroups(groups) => connections.end_groups(&groups),
            Command::Quiesce { addresses, limit, done } => {
                let connections = Rc::clone(connections);
                drop(tokio::task::spawn_local(quiesce(connections, addresses, limit, done)));
            }
            Command::EndAll { done } => {
                connections.end_all();
                let connections = Rc::clone(connections);
                drop(tokio::task::spawn_local(async move {
                    connections.none().await;
                    // Nobody waits any more where the deadline has passed.
                    let _ = done.send(());
                }));
            }
            Command::CutAll => connections.cut_all(),
        }
    }

    fn listen(
        self: &Rc<Self>,
        address: SocketAddr,
        socket: std::net::TcpListener,
        binding: Arc<Binding>,
    ) {
        match TcpListener::from_std(socket) {
            Ok(listener) => {
                let stop = Rc::new(AcceptStop::default());
                self.listeners.borrow_mut().insert(address, Rc::clone(&stop));
                let worker = Rc::clone(self);
                drop(tokio::task::spawn_local(async move {
                    worker.accept(address, listener, &binding, &stop).await;
                }));
            }
            Err(error) => tracing::error!(%address, %error, "a listener can't be registered"),
        }
    }

    async fn accept(
        &self,
        address: SocketAddr,
        listener: TcpListener,
        binding: &Binding,
        stop: &AcceptStop,
    ) {
        loop {
            // Cancel-safe: a connection is either returned or still in the queue.
            let accepted = tokio::select! {
                biased;
                () = stop.wake.notified() => break,
                accepted = listener.accept() => accepted,
            };
            if !self.accepted(address, accepted, binding) {
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        match listener.into_std() {
            Ok(listener) => self.empty_queue(address, &listener, binding),
            Err(error) => tracing::warn!(%address, %error, "a listener's queue can't be emptied"),
        }
        if let Some(done) = stop.done.take() {
            // Nobody waits any more where the deadline has passed.
            let _ = done.send(());
        }
    }

    /// Serves the clients that are in the queue: they have been told that they are connected. Asks
    /// the kernel each time, not the reactor, which learns of them later.
    fn empty_queue(
        &self,
        address: SocketAddr,
        listener: &std::net::TcpListener,
        binding: &Binding,
    ) {
        // More are not in it; clients that come meanwhile must not keep it from being closed.
        for _ in 0..=listener::BACKLOG_COUNT {
            let accepted = listener.accept().and_then(|(stream, peer)| {
                stream.set_nonblocking(true)?;
                Ok((TcpStream::from_std(stream)?, peer))
            });
            match accepted {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                accepted => {
                    if !self.accepted(address, accepted, binding) {
                        return;
                    }
                }
            }
        }
    }

    /// False where accepting should pause.
    fn accepted(
        &self,
        local: SocketAddr,
        accepted: io::Result<(TcpStream, SocketAddr)>,
        binding: &Binding,
    ) -> bool {
        match accepted {
            Ok((stream, peer)) => {
                self.admit(stream, peer, local, &binding.slot.load_full());
                true
            }
            Err(error) if is_the_clients(&error) => true,
            Err(error) => {
                if self.shared.events.accept_errors.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::warn!(%error, "connections can't be accepted; further cases are counted");
                }
                false
            }
        }
    }

    fn admit(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        local: SocketAddr,
        slot: &Arc<VirtualServerSlot>,
    ) {
        let current = slot.current().load();
        let Some(server) = &*current else { return };
        let counters = Arc::clone(slot.counters.shard(self.context.index));
        let refuse = |reason| {
            self.shared.events.refused.fetch_add(1, Ordering::Relaxed);
            counters.failure(reason);
        };
        if self.shared.open_count.fetch_add(1, Ordering::Relaxed) >= self.connection_max_count {
            self.shared.open_count.fetch_sub(1, Ordering::Relaxed);
            return refuse(FailureReason::Overload);
        }
        // From here on the guard counts the connection out.
        let guard = OpenGuard::new(&self.shared, Arc::clone(&counters));
        let Some(admission) = slot.admit(server.connection_limit) else {
            return refuse(FailureReason::ConnectionLimit);
        };
        let handler = match server.protocol {
            Protocol::Http | Protocol::Https => &self.http,
            Protocol::Tcp => &self.tcp,
        };
        let connections = &self.context.connections;
        let ticket = match server.protocol {
            Protocol::Http | Protocol::Https => {
                let address = local_address(&stream, local);
                connections.open_at(slot.id, address, &self.context.clock)
            }
            Protocol::Tcp => connections.open(slot.id, &self.context.clock),
        };
        let server = Arc::clone(server);
        let connection = Connection { stream, peer, local, server, admission, ticket };
        let task = Rc::clone(handler).serve(connection);
        // Ends by itself or with the runtime; `Connections` knows how many there are.
        drop(tokio::task::spawn_local(async move {
            let _guard = guard;
            task.await;
        }));
    }

    /// Shows that this thread is alive.
    async fn beat(self: Rc<Self>) {
        let mut interval = tokio::time::interval(BEAT_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.shared.heartbeats.beat(self.context.index);
        }
    }

    /// Keeps the clock, the deadlines and the handlers going while there is anything to look after.
    async fn tick(self: Rc<Self>) {
        let connections = &self.context.connections;
        let clock = &self.context.clock;
        let mut ticks: u64 = 0;
        loop {
            let pause = if connections.open_count() > 0 {
                tokio::time::sleep(Duration::from_millis(TICK_MS)).await;
                true
            } else {
                // Idle: look after kept member connections once a second, if there are any.
                clock.tick();
                let (http, tcp) = (self.http.tick(), self.tcp.tick());
                if http || tcp {
                    let wait = Duration::from_millis(TICK_MS * HANDLER_TICK_COUNT);
                    tokio::time::timeout(wait, connections.some()).await.is_ok()
                } else {
                    connections.some().await;
                    true
                }
            };
            if !pause {
                continue;
            }
            clock.tick();
            connections.expire(clock.coarse_ms());
            ticks += 1;
            if ticks.is_multiple_of(HANDLER_TICK_COUNT) {
                self.http.tick();
                self.tcp.tick();
            }
        }
    }
}

/// Asks connections of these addresses to end until `limit` has passed; tells when none was left.
async fn quiesce(
    connections: Rc<Connections>,
    addresses: Arc<[IpAddr]>,
    limit: Duration,
    done: oneshot::Sender<usize>,
) {
    let deadline = tokio::time::Instant::now() + limit;
    let quiesced = connections.quiesce(addresses);
    // Nobody may be waiting any more, here and below.
    let _ = match tokio::time::timeout_at(deadline, connections.quiet()).await {
        Ok(()) => done.send(0),
        Err(_) => done.send(connections.quiesced_count()),
    };
    // Clients that come meanwhile are told to come back, until the caller has moved the addresses or
    // has had the time to.
    tokio::time::sleep_until(deadline).await;
    drop(quiesced);
}

/// The address that a client reached us at; unknown where even the kernel does not tell.
fn local_address(stream: &TcpStream, listening: SocketAddr) -> Option<IpAddr> {
    let address =
        if listening.ip().is_unspecified() { stream.local_addr().ok()? } else { listening };
    Some(address.ip().to_canonical())
}

/// Whether it concerns one connection only: the client gave up before it was accepted, or its network
/// failed (accept(2)).
fn is_the_clients(error: &io::Error) -> bool {
    // ENONET, EPROTO, ENOPROTOOPT and EOPNOTSUPP, for which there is no `ErrorKind`.
    const PROTOCOL_FAILED: [i32; 4] = [64, 71, 92, 95];
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
    ) || error.raw_os_error().is_some_and(|code| PROTOCOL_FAILED.contains(&code))
}

/// Counts a connection as open until it goes, and a panic of its task.
struct OpenGuard {
    shared: Arc<Shared>,
    counters: Arc<CounterShard>,
}

impl OpenGuard {
    fn new(shared: &Arc<Shared>, counters: Arc<CounterShard>) -> Self {
        counters.connection_opened();
        Self { shared: Arc::clone(shared), counters }
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.counters.connection_closed();
        self.shared.open_count.fetch_sub(1, Ordering::Relaxed);
        if std::thread::panicking() {
            self.shared.events.panics.fetch_add(1, Ordering::Relaxed);
            self.counters.failure(FailureReason::Internal);
            tracing::error!("the task of a connection panicked; the connection is lost");
        }
    }
}
