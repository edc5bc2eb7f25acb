//! A data plane with one virtual server, origins that do as they are told, clients that send what
//! they are told.

use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use ballast_l7::HttpHandlers;
use ballast_model::{
    AnyDraft, Config, Draft, Edit, Kind, MemberSpec, PoolSpec, Protocol, Snapshot, State,
    TicketKey, VirtualServerSpec,
};
use ballast_telemetry::{AccessLog, CounterRegistry, FailureReason, VirtualServerTotals};
use ballast_workers::{
    Connection, ConnectionHandler, ConnectionTask, DataPlane, DataPlaneConfig, HandlerFactory,
    Handlers, NoConnections, NoDatagrams, Pressure, PressureGauge, Refused, WorkerContext,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Longest wait for anything that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// `wait`, which must not take forever.
pub(crate) async fn soon<F: Future>(wait: F) -> F::Output {
    tokio::time::timeout(PATIENCE, wait).await.expect("it did not happen in time")
}

/// Waits until that holds.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    soon(async {
        while !holds() {
            looks.tick().await;
        }
    })
    .await;
}

/// A stream with what was read from it and not used yet.
pub(crate) struct Io<S = TcpStream> {
    pub(crate) stream: S,
    buffer: Vec<u8>,
}

/// A request or a response.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// The lines behind a body in chunks.
    pub(crate) trailer: Vec<String>,
}

impl Message {
    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of the field, if it is there once.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

impl Io {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::new(soon(TcpStream::connect(address)).await.expect("a connection"))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Io<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the other side reads");
    }

    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        soon(self.stream.write_all(bytes.as_ref())).await?;
        // TLS may hold some of it back.
        soon(self.stream.flush()).await
    }

    /// The same, whatever is below it.
    pub(crate) fn boxed(self) -> Io<Box<dyn crate::http2_origin::Both>>
    where
        S: Send + 'static,
    {
        Io { stream: Box::new(self.stream), buffer: self.buffer }
    }

    /// Reads more; false at the end.
    async fn fill(&mut self) -> bool {
        let read = soon(self.stream.read_buf(&mut self.buffer)).await;
        matches!(read, Ok(count) if count > 0)
    }

    /// Reads until the other side ends or resets; what came.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.buffer)
    }

    pub(crate) async fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.fill().await, "the connection ended early: {:?}", self.buffer);
        }
        self.buffer.drain(..count).collect()
    }

    /// So many bytes; none where the connection ended first.
    pub(crate) async fn exactly_or_end(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.fill().await {
                return None;
            }
        }
        Some(self.buffer.drain(..count).collect())
    }

    /// A head; none where the connection ended first.
    pub(crate) async fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return Some(String::from_utf8(head).expect("a head in ASCII"));
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// The body that belongs to a head with a length or chunks.
    pub(crate) async fn body(&mut self, head: &str) -> Vec<u8> {
        self.body_and_trailer(head).await.0
    }

    pub(crate) async fn body_and_trailer(&mut self, head: &str) -> (Vec<u8>, Vec<String>) {
        if field(head, "transfer-encoding").is_some() {
            return self.chunked().await;
        }
        let length = field(head, "content-length").and_then(|length| length.parse().ok());
        (self.exactly(length.unwrap_or(0)).await, Vec::new())
    }

    async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return String::from_utf8_lossy(&line[..end]).into_owned();
            }
            assert!(self.fill().await, "the connection ended within a chunk");
        }
    }

    /// The next chunk of a body; none at its end, which is read too.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.line().await;
        let size = usize::from_str_radix(&line, 16).expect("a chunk's size");
        if size == 0 {
            while !self.line().await.is_empty() {}
            return None;
        }
        let chunk = self.exactly(size).await;
        assert_eq!(self.line().await, "");
        Some(chunk)
    }

    pub(crate) async fn chunked(&mut self) -> (Vec<u8>, Vec<String>) {
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(&self.line().await, 16).expect("a chunk's size");
            if size == 0 {
                break;
            }
            body.extend(self.exactly(size).await);
            assert_eq!(self.line().await, "");
        }
        let mut trailer = Vec::new();
        loop {
            let line = self.line().await;
            if line.is_empty() {
                return (body, trailer);
            }
            trailer.push(line);
        }
    }

    /// A whole message; none where the connection ended first.
    pub(crate) async fn message(&mut self) -> Option<Message> {
        let head = self.head().await?;
        let (body, trailer) = self.body_and_trailer(&head).await;
        Some(Message { head, body, trailer })
    }

    /// Sends a request and reads its response.
    pub(crate) async fn ask(&mut self, request: &str) -> Message {
        self.send(request).await;
        self.message().await.expect("a response")
    }

    /// Sends a `GET` and reads its response.
    pub(crate) async fn get(&mut self, target: &str) -> Message {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: site\r\n\r\n")).await
    }
}

/// A server that does for each connection what its script says.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Origin {
    /// Calls `serve` with each connection and its number, from 0.
    pub(crate) async fn start<F, Fut>(serve: F) -> Self
    where
        F: Fn(usize, Io) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(number, Io::new(stream)));
            }
        });
        Self { address, connections, task }
    }

    /// Answers every request with what `answer` makes of it.
    pub(crate) async fn answering(
        answer: impl Fn(&Message) -> String + Send + Sync + 'static,
    ) -> Self {
        let answer = Arc::new(answer);
        Self::start(move |_, mut io| {
            let answer = Arc::clone(&answer);
            async move {
                while let Some(request) = io.message().await {
                    if io.try_send(answer(&request)).await.is_err() {
                        break;
                    }
                }
            }
        })
        .await
    }

    /// Answers every request with its own head and body.
    pub(crate) async fn echo() -> Self {
        Self::answering(|request| ok(&format!("{}{}", request.head, request.text()))).await
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A response with that body.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The HTTP handlers, with what serving allocates counted.
struct Measured {
    inner: HttpHandlers,
    allocation_count: Arc<AtomicU64>,
}

impl HandlerFactory for Measured {
    fn build(&self, worker: &Rc<WorkerContext>) -> Rc<dyn ConnectionHandler> {
        let inner = self.inner.build(worker);
        Rc::new(MeasuredHandler { inner, allocation_count: Arc::clone(&self.allocation_count) })
    }
}

struct MeasuredHandler {
    inner: Rc<dyn ConnectionHandler>,
    allocation_count: Arc<AtomicU64>,
}

impl ConnectionHandler for MeasuredHandler {
    fn serve(self: Rc<Self>, connection: Connection) -> ConnectionTask {
        let mut task = Rc::clone(&self.inner).serve(connection);
        Box::pin(std::future::poll_fn(move |cx| {
            let mut polled = Poll::Pending;
            let info = allocation_counter::measure(|| polled = task.as_mut().poll(cx));
            self.allocation_count.fetch_add(info.count_total, Ordering::SeqCst);
            polled
        }))
    }

    fn refuse(&self, refused: &Refused) -> Option<Vec<u8>> {
        self.inner.refuse(refused)
    }

    fn tick(&self) -> bool {
        self.inner.tick()
    }
}

/// An address at which nobody listens.
pub(crate) fn vacant() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

/// A data plane with the virtual server `site` and its pool `origin`.
pub(crate) struct Site {
    pub(crate) plane: DataPlane,
    pub(crate) address: SocketAddr,
    pub(crate) server: VirtualServerSpec,
    pub(crate) pool: PoolSpec,
    /// Keys of session tickets; a secret stands where ciphertext belongs.
    pub(crate) ticket_keys: Vec<TicketKey>,
    /// How often the connections' tasks have taken memory from the heap.
    pub(crate) allocation_count: Arc<AtomicU64>,
    pub(crate) counters: Arc<CounterRegistry>,
    config: Config,
    index: u64,
}

impl Site {
    /// Serves requests from those members with default settings.
    pub(crate) async fn start(members: &[SocketAddr]) -> Self {
        Self::start_with(members, |_, _| {}).await
    }

    /// Serves requests from those members with the settings that `adjust` makes.
    pub(crate) async fn start_with(
        members: &[SocketAddr],
        adjust: impl FnOnce(&mut VirtualServerSpec, &mut PoolSpec),
    ) -> Self {
        let address = vacant();
        let members = members.iter().copied().map(MemberSpec::new).collect();
        let mut pool = PoolSpec { members, ..PoolSpec::default() };
        let mut server = VirtualServerSpec::new(Protocol::Http, address, "origin");
        adjust(&mut server, &mut pool);
        let mut site = Self::empty(address, server, pool, AccessLog::off());
        site.apply().await;
        site
    }

    /// A data plane that has been told nothing yet.
    pub(crate) fn empty(
        address: SocketAddr,
        server: VirtualServerSpec,
        pool: PoolSpec,
        access_log: AccessLog,
    ) -> Self {
        Self::with_handlers(address, server, pool, HttpHandlers::new(access_log))
    }

    /// The same with those handlers.
    pub(crate) fn with_handlers(
        address: SocketAddr,
        server: VirtualServerSpec,
        pool: PoolSpec,
        http: HttpHandlers,
    ) -> Self {
        let worker_count = 2;
        let counters = Arc::new(CounterRegistry::new(worker_count));
        let config = DataPlaneConfig {
            connection_max_count: 1_000,
            counters: Arc::clone(&counters),
            unseal: Arc::new(|sealed| Ok(sealed.ciphertext.clone().into_bytes())),
            pressure: PressureGauge::new(Pressure::default),
            ..DataPlaneConfig::for_trial(worker_count)
        };
        let allocation_count = Arc::new(AtomicU64::new(0));
        let http =
            Arc::new(Measured { inner: http, allocation_count: Arc::clone(&allocation_count) });
        let handlers = Handlers { http, tcp: Arc::new(NoConnections), udp: Arc::new(NoDatagrams) };
        let plane = DataPlane::start(config, handlers).expect("a data plane");
        Self {
            plane,
            address,
            server,
            pool,
            ticket_keys: Vec::new(),
            allocation_count,
            counters,
            config: Config::default(),
            index: 0,
        }
    }

    /// Declares what `server` and `pool` say and waits until that is applied.
    pub(crate) async fn apply(&mut self) {
        self.publish();
        self.wait_applied().await;
    }

    /// Declares what `server` and `pool` say.
    pub(crate) fn publish(&mut self) {
        let edits = [
            Edit::put(AnyDraft::Pool(Draft::new("origin", self.pool.clone())), "pool-uid"),
            Edit::put(AnyDraft::VirtualServer(Draft::new("site", self.server.clone())), "site-uid"),
        ];
        self.edit(&edits);
    }

    /// Makes those edits.
    pub(crate) fn edit(&mut self, edits: &[Edit]) {
        self.index += 1;
        self.config = self.config.edited(edits, self.index, 0).expect("a valid configuration");
        let mut state = State { config: self.config.clone(), ..State::default() };
        Arc::make_mut(&mut state.cluster).ticket_keys.clone_from(&self.ticket_keys);
        self.plane.apply(Arc::new(Snapshot { index: self.index, state }));
    }

    /// Deletes the virtual server.
    pub(crate) async fn delete(&mut self) {
        self.edit(&[Edit::delete(Kind::VirtualServer, "site")]);
        self.wait_applied().await;
    }

    /// Waits until everything declared is applied.
    pub(crate) async fn wait_applied(&self) {
        let mut applied = self.plane.applied();
        soon(applied.wait_for(|applied| applied.index == self.index)).await.expect("a plane");
    }

    pub(crate) async fn connect(&self) -> Io {
        Io::connect(self.address).await
    }

    /// What was counted.
    pub(crate) fn totals(&self) -> VirtualServerTotals {
        self.counters.virtual_server("site-uid", "site").totals()
    }

    /// Waits until a failure of that kind, and no other, has been counted so often.
    pub(crate) async fn failed(&self, reason: FailureReason, count: u64) {
        self.failures(count).await;
        let totals = self.totals();
        assert_eq!(totals.failures_for(reason), count, "{reason}");
        assert_eq!(totals.failures_total(), count, "other failures besides {reason}");
    }

    /// Waits until so many failures of any kind have been counted.
    pub(crate) async fn failures(&self, count: u64) {
        until(|| self.totals().failures_total() >= count).await;
    }

    /// Waits until so many requests, and no more, have been counted: that is done once the client
    /// has its response.
    pub(crate) async fn served(&self, count: u64) {
        until(|| self.totals().requests_total() >= count).await;
        assert_eq!(self.totals().requests_total(), count);
    }

    /// Waits until so many client connections are open.
    pub(crate) async fn has_open(&self, count: u64) {
        until(|| self.totals().connections == count).await;
    }
}
