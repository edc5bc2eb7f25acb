//! One worker: a thread, its runtime, its listeners, its connections.
//!
//! Invariant: a worker hears of the rest of the process through its bounded command channel and
//! through slots only, and ends when that channel is closed.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ballast_model::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use crate::admission::{Accepted, Arrival, Loads, OpenGuard};
use crate::binding::Binding;
use crate::connections::{Connections, GroupId, TICK_MS};
use crate::datagram::DatagramHandler;
use crate::handler::{Connection, ConnectionHandler, Handlers, Refused, WorkerContext};
use crate::heartbeat::{BEAT_INTERVAL, Heartbeats};
use crate::listener::ListenSocket;
use crate::moved::MovedSession;
use crate::reconcile::Listener;
use crate::slot::VirtualServerSlot;
use crate::sources::SourceTable;
use crate::stream::ClientStream;

mod listening;

pub(crate) use listening::AcceptStop;

/// Commands that wait for a worker.
const COMMAND_MAX_COUNT: usize = 1_024;
/// How long accepting pauses when the process has no descriptor or memory left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// Ticks between two calls of the handlers' `tick`.
const HANDLER_TICK_COUNT: u64 = 1_000 / TICK_MS;
/// Clients that a worker tells at once that they are turned away; others are reset.
const REFUSAL_MAX_COUNT: u32 = 256;
/// How long that may take.
const REFUSAL_LIMIT: Duration = Duration::from_secs(1);
/// What is read from them meanwhile and thrown away, in bytes at most.
const REFUSAL_READ_MAX_BYTES: usize = 64 * 1024;

/// What a worker is told.
pub(crate) enum Command {
    /// Accept from this socket.
    Listen {
        listener: Listener,
        socket: ListenSocket,
        binding: Arc<Binding>,
        sessions: Vec<MovedSession>,
    },
    /// Let go of sessions of datagrams, at most so many: another process has them from now on.
    Give { max_count: usize, done: oneshot::Sender<Vec<MovedSession>> },
    /// Serve a connection that another worker has accepted.
    Adopt(Box<Arrival>),
    /// Accept what has arrived, then close the sockets of this address; where they were handed to another
    /// process, what has arrived is its own.
    Close { listener: Listener, is_handed_over: bool, done: oneshot::Sender<()> },
    /// Give a second descriptor of each listening socket.
    Share { done: oneshot::Sender<Vec<OwnedFd>> },
    /// Go on with the sockets of this address, which was closed while sessions lasted; answers whether
    /// they were still there.
    Reopen { listener: Listener, done: oneshot::Sender<bool> },
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
    /// Most of them at once.
    pub(crate) connection_max_count: usize,
    /// Those of them that are sessions of datagrams.
    pub(crate) session_count: AtomicUsize,
    /// How short the node runs.
    pub(crate) pressure_percent: AtomicU8,
    pub(crate) sources: Arc<SourceTable>,
    pub(crate) loads: Loads,
    pub(crate) events: WorkerEvents,
    pub(crate) heartbeats: Heartbeats,
}

impl Shared {
    pub(crate) fn new(worker_count: usize, connection_max_count: usize) -> Self {
        Self {
            open_count: AtomicUsize::new(0),
            connection_max_count,
            session_count: AtomicUsize::new(0),
            pressure_percent: AtomicU8::new(0),
            sources: Arc::default(),
            loads: Loads::new(worker_count),
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
    pub(crate) shared: Arc<Shared>,
    pub(crate) handlers: Arc<Handlers>,
}

/// A running worker.
#[derive(Debug)]
pub(crate) struct WorkerHandle {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) thread: JoinHandle<()>,
}

/// The ends of a worker's command channel.
pub(crate) fn channel() -> (mpsc::Sender<Command>, mpsc::Receiver<Command>) {
    mpsc::channel(COMMAND_MAX_COUNT)
}

/// Starts a worker. `peers` are the channels of all workers; they don't keep one going.
///
/// # Errors
/// The thread or its runtime can't be had.
pub(crate) fn spawn(
    options: WorkerOptions,
    (commands, receiver): (mpsc::Sender<Command>, mpsc::Receiver<Command>),
    peers: Vec<mpsc::WeakSender<Command>>,
) -> io::Result<WorkerHandle> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread =
        std::thread::Builder::new().name(format!("worker-{}", options.index)).spawn(move || {
            if let Some(cpu) = options.cpu {
                pin(cpu);
            }
            let local = LocalSet::new();
            local
                .block_on(&runtime, async move { Worker::new(options, peers).run(receiver).await });
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
    udp: Rc<dyn DatagramHandler>,
    shared: Arc<Shared>,
    /// The channels of all workers, this one's too.
    peers: Vec<mpsc::WeakSender<Command>>,
    /// Clients that are being told that they are turned away.
    refusal_count: Rc<Cell<u32>>,
    /// Stops the accept loops of each address, one for each socket; gone once the loop has ended.
    listeners: RefCell<HashMap<Listener, Vec<Rc<AcceptStop>>>>,
    /// Listeners of datagrams that are closed, and go once no session is left.
    closing: RefCell<HashMap<Listener, Vec<Weak<AcceptStop>>>>,
}

impl Worker {
    fn new(options: WorkerOptions, peers: Vec<mpsc::WeakSender<Command>>) -> Self {
        let context = Rc::new(WorkerContext::new(options.index));
        Self {
            http: options.handlers.http.build(&context),
            tcp: options.handlers.tcp.build(&context),
            udp: options.handlers.udp.build(&context),
            context,
            shared: options.shared,
            peers,
            refusal_count: Rc::default(),
            listeners: RefCell::default(),
            closing: RefCell::default(),
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
            Command::Listen { listener, socket, binding, sessions } => {
                self.listen(listener, socket, binding, sessions);
            }
            Command::Give { max_count, done } => {
                // Nobody waits any more where the plane is going.
                let _ = done.send(self.udp.give(max_count));
            }
            Command::Adopt(arrival) => {
                let mut arrival = *arrival;
                // It may have come back from a worker that was too busy.
                arrival.guard.move_to(self.context.index);
                self.serve(arrival);
            }
            Command::Close { listener, is_handed_over, done } => {
                self.close(listener, is_handed_over, done);
            }
            Command::Share { done } => {
                // Nobody waits any more where the plane is going.
                let _ = done.send(self.share());
            }
            Command::Reopen { listener, done } => {
                // Nobody waits any more where the plane is going.
                let _ = done.send(self.reopen(listener));
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

    /// False where accepting should pause.
    fn accepted(
        self: &Rc<Self>,
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
        self: &Rc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        local: SocketAddr,
        slot: &Arc<VirtualServerSlot>,
    ) {
        let current = slot.current().load();
        let Some(server) = &*current else { return };
        let own = self.context.index;
        let worker = self.shared.loads.choose(own);
        match self.shared.admit(&Accepted { slot, server, peer }, worker) {
            Ok((admission, guard)) => {
                let server = Arc::clone(server);
                let arrival = Arrival { stream, peer, local, server, admission, guard };
                if worker == own { self.serve(arrival) } else { self.hand_over(worker, arrival) }
            }
            Err(reason) => {
                slot.counters.shard(own).failure(reason);
                self.refuse(
                    ClientStream::new(stream),
                    &Refused { peer, server: Arc::clone(server), reason },
                );
            }
        }
    }

    /// Gives a connection to another worker, or serves it here where that one is too busy even to
    /// be told.
    fn hand_over(self: &Rc<Self>, worker: usize, arrival: Arrival) {
        let arrival = Command::Adopt(Box::new(arrival));
        let refused = match self.peers.get(worker).and_then(mpsc::WeakSender::upgrade) {
            Some(peer) => match peer.try_send(arrival) {
                Ok(()) => return,
                Err(refused) => refused.into_inner(),
            },
            None => arrival,
        };
        self.carry_out(refused);
    }

    /// Whose listeners are of streams.
    fn handler(&self, protocol: Protocol) -> &Rc<dyn ConnectionHandler> {
        if protocol.is_http() { &self.http } else { &self.tcp }
    }

    fn serve(self: &Rc<Self>, arrival: Arrival) {
        let Arrival { stream, peer, local, server, admission, mut guard } = arrival;
        guard.count(admission.slot().counters.shard(self.context.index));
        let connections = &self.context.connections;
        let group = admission.slot().id;
        let (ticket, local) = if server.protocol.is_http() {
            let reached = reached_at(&stream, local);
            let address = reached.map(|reached| reached.ip());
            let ticket = connections.open_at(group, address, &self.context.clock);
            (ticket, reached.unwrap_or(local))
        } else {
            (connections.open(group, &self.context.clock), local)
        };
        let handler = Rc::clone(self.handler(server.protocol));
        let stream = ClientStream::new(stream);
        let connection = Connection { stream, peer, local, server, admission, ticket };
        // Ends by itself or with the runtime; `Connections` knows how many there are.
        if connection.is_to_be_announced() {
            let worker = Rc::clone(self);
            drop(tokio::task::spawn_local(async move {
                if let Some(connection) = worker.hear_announced(connection, &mut guard).await {
                    handler.serve(connection).await;
                }
            }));
        } else {
            let task = handler.serve(connection);
            drop(tokio::task::spawn_local(async move {
                let _guard = guard;
                task.await;
            }));
        }
    }

    /// Learns whose connection it is. None: it is turned away.
    async fn hear_announced(
        &self,
        connection: Connection,
        guard: &mut OpenGuard,
    ) -> Option<Connection> {
        let counters = Arc::clone(connection.admission.slot().counters.shard(self.context.index));
        match connection.announced(guard).await {
            Ok(connection) => Some(connection),
            Err((stream, refused)) => {
                counters.failure(refused.reason);
                self.refuse(stream, &refused);
                None
            }
        }
    }

    /// Tells a client that it is turned away, where its protocol has words for that; otherwise the
    /// connection is reset, so that it can't be taken for an answer without content.
    fn refuse(&self, stream: ClientStream, refused: &Refused) {
        self.shared.events.refused.fetch_add(1, Ordering::Relaxed);
        let count = self.refusal_count.get();
        let words = self.handler(refused.server.protocol).refuse(refused);
        let (Some(words), true) = (words, count < REFUSAL_MAX_COUNT) else {
            return stream.reset_on_drop();
        };
        self.refusal_count.set(count + 1);
        let refusal_count = Rc::clone(&self.refusal_count);
        drop(tokio::task::spawn_local(async move {
            tell(stream, &words).await;
            refusal_count.set(refusal_count.get() - 1);
        }));
    }

    /// Shows that this thread is alive.
    async fn beat(self: Rc<Self>) {
        let mut interval = tokio::time::interval(BEAT_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let due = interval.tick().await;
            self.shared.heartbeats.beat(self.context.index, due.elapsed());
        }
    }

    /// Whether any handler has something to look after.
    fn tick_handlers(&self) -> bool {
        // Each of them has its turn.
        self.http.tick() | self.tcp.tick() | self.udp.tick()
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
                if self.tick_handlers() {
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
                self.tick_handlers();
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
fn reached_at(stream: &TcpStream, listening: SocketAddr) -> Option<SocketAddr> {
    let address =
        if listening.ip().is_unspecified() { stream.local_addr().ok()? } else { listening };
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
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

/// Says the last words to a client, and closes: not before it has, or a while has passed, for closing
/// with its request unread would reset the connection, and discard what it has not read (RFC 9112
/// §9.6).
async fn tell(mut stream: ClientStream, words: &[u8]) {
    let telling = async {
        stream.write_all(words).await?;
        stream.shutdown().await?;
        let mut left = REFUSAL_READ_MAX_BYTES;
        let mut ignored = [0; 2_048];
        while left > 0 {
            let count = stream.read(&mut ignored).await?;
            if count == 0 {
                break;
            }
            left = left.saturating_sub(count);
        }
        io::Result::Ok(())
    };
    // A client that is gone, or that takes its time, need not be told.
    let _ = tokio::time::timeout(REFUSAL_LIMIT, telling).await;
}
