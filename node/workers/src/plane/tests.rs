use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::mpsc as std_mpsc;

use ballast_model::{
    AnyDraft, Config, Draft, Edit, Kind, PoolSpec, Protocol, State, VirtualServerSpec,
};
use ballast_telemetry::FailureReason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::handler::{
    Connection, ConnectionHandler, ConnectionTask, HandlerFactory, WorkerContext,
};

mod door;

const PATIENCE: Duration = Duration::from_secs(20);

/// Sends the virtual server's name, then waits to be told to end; panics if the client says `!`,
/// and hangs with its whole thread after `?`.
#[derive(Clone)]
struct Greeter {
    /// Ends a hang.
    release: Arc<Mutex<std_mpsc::Receiver<()>>>,
}

impl HandlerFactory for Greeter {
    fn build(&self, _worker: &Rc<WorkerContext>) -> Rc<dyn ConnectionHandler> {
        Rc::new(self.clone())
    }
}

impl ConnectionHandler for Greeter {
    fn serve(self: Rc<Self>, connection: Connection) -> ConnectionTask {
        Box::pin(async move {
            let Connection { mut stream, admission, ticket, .. } = connection;
            let Some(server) = admission.slot().current().load_full() else { return };
            if stream.write_all(server.name.as_bytes()).await.is_err() {
                return;
            }
            let mut byte = [0];
            let read = std::future::poll_fn(|cx| {
                use std::pin::Pin;
                use std::task::Poll;
                use tokio::io::{AsyncRead, ReadBuf};
                let mut buffer = ReadBuf::new(&mut byte);
                if Pin::new(&mut stream).poll_read(cx, &mut buffer).is_ready() {
                    return Poll::Ready(buffer.filled().first().copied());
                }
                if ticket.check_idle(cx).is_err() { Poll::Ready(None) } else { Poll::Pending }
            });
            let read = read.await;
            assert_ne!(read, Some(b'!'), "as the client wished");
            if read == Some(b'?') {
                // An error: the test is over.
                let _ = self.release.lock().unwrap().recv();
            }
        })
    }
}

struct Site {
    plane: DataPlane,
    config: Config,
    index: u64,
    /// Ends a hang of a worker.
    release: std_mpsc::SyncSender<()>,
}

impl Site {
    fn new(any_address: AnyAddress) -> Self {
        Self::with(|config| config.any_address = any_address)
    }

    fn with(adjust: impl FnOnce(&mut DataPlaneConfig)) -> Self {
        let mut config = DataPlaneConfig {
            pin_to_cpus: vec![0],
            connection_max_count: 3,
            pressure: PressureGauge::new(Pressure::default),
            ..DataPlaneConfig::for_trial(2)
        };
        adjust(&mut config);
        let (release, released) = std_mpsc::sync_channel(1);
        let greeter = Arc::new(Greeter { release: Arc::new(Mutex::new(released)) });
        let handlers = Handlers {
            http: Arc::<Greeter>::clone(&greeter),
            tcp: greeter,
            udp: Arc::new(crate::NoDatagrams),
        };
        let plane = DataPlane::start(config, handlers).unwrap();
        Self { plane, config: Config::default(), index: 0, release }
    }

    async fn edit(&mut self, edits: &[Edit]) -> Applied {
        self.index += 1;
        self.config = self.config.edited(edits, self.index, 0).unwrap();
        let state = State { config: self.config.clone(), ..State::default() };
        self.plane.apply(Arc::new(Snapshot { index: self.index, state }));
        let mut applied = self.plane.applied();
        let wait = applied.wait_for(|applied| applied.index == self.index);
        tokio::time::timeout(PATIENCE, wait).await.unwrap().unwrap().clone()
    }
}

fn pool() -> Edit {
    Edit::put(AnyDraft::Pool(Draft::new("p", PoolSpec::default())), "p-uid")
}

fn server(name: &str, listen: SocketAddr) -> Edit {
    server_of(Protocol::Tcp, name, listen)
}

fn server_of(protocol: Protocol, name: &str, listen: SocketAddr) -> Edit {
    let spec = VirtualServerSpec::new(protocol, listen, "p");
    Edit::put(AnyDraft::VirtualServer(Draft::new(name, spec)), format!("{name}-uid"))
}

fn vacant() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Waits until that holds.
async fn until(holds: impl Fn() -> bool) {
    let looks = async {
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        while !holds() {
            looks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, looks).await.expect("it did not come to hold in time");
}

/// The name that a connection to that address is greeted with.
async fn greeting(address: SocketAddr) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut name = [0; 16];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut name)).await.unwrap();
    let count = read.unwrap_or(0);
    (stream, String::from_utf8_lossy(&name[..count]).into_owned())
}

/// The same of one that may be refused, which may show as early as while connecting; then empty.
async fn greeted(address: SocketAddr) -> String {
    let read = async {
        let mut name = [0; 16];
        let count = TcpStream::connect(address).await?.read(&mut name).await?;
        io::Result::Ok(String::from_utf8_lossy(&name[..count]).into_owned())
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap_or_default()
}

#[tokio::test]
async fn an_address_goes_from_one_virtual_server_to_another_without_closing() {
    let address = vacant();
    let mut site = Site::new(AnyAddress::default());
    site.edit(&[pool(), server("a", address)]).await;
    let (mut old, name) = greeting(address).await;
    assert_eq!(name, "a");
    site.edit(&[Edit::delete(Kind::VirtualServer, "a"), server("b", address)]).await;
    assert_eq!(greeting(address).await.1, "b");
    // The connection of the deleted one is asked to end.
    let read = tokio::time::timeout(PATIENCE, old.read(&mut [0])).await.unwrap();
    assert_eq!(read.unwrap(), 0);
}

#[tokio::test]
async fn the_wildcard_address_means_what_the_node_says() {
    let port = vacant().port();
    let any = AnyAddress { ipv4: [127, 0, 0, 9].into(), ..AnyAddress::default() };
    let mut site = Site::new(any);
    let applied = site
        .edit(&[
            pool(),
            server("a", ([0, 0, 0, 0], port).into()),
            server("b", ([127, 0, 0, 9], port).into()),
        ])
        .await;
    assert_eq!(greeting(([127, 0, 0, 9], port).into()).await.1, "a");
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    let refused = &applied.listeners[1];
    assert!(!refused.listening);
    let why = refused.error.as_deref().unwrap();
    assert_eq!(why, format!("127.0.0.9:{port} belongs to another virtual server on this node"));
}

#[tokio::test]
async fn a_panic_costs_its_connection_and_nothing_else() {
    let address = vacant();
    let mut site = Site::new(AnyAddress::default());
    site.edit(&[pool(), server("a", address)]).await;
    let (mut stream, _) = greeting(address).await;
    stream.write_all(b"!").await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
    for _ in 0..8 {
        assert_eq!(greeting(address).await.1, "a");
        until(|| site.plane.totals().connections == 0).await;
    }
    assert_eq!(site.plane.totals().panics_total, 1);
    let totals = site.plane.counters.all()[0].totals();
    assert_eq!(totals.failures_for(FailureReason::Internal), 1);
    assert_eq!(totals.failures_total(), 1);
}

#[tokio::test]
async fn connections_of_the_whole_node_are_limited_at_the_limit_and_not_below() {
    let address = vacant();
    let mut site = Site::new(AnyAddress::default());
    site.edit(&[pool(), server("a", address)]).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let (stream, name) = greeting(address).await;
        assert_eq!(name, "a");
        held.push(stream);
    }
    assert_eq!(greeted(address).await, "");
    assert_eq!(site.plane.totals().refused_total, 1);
}

#[tokio::test]
async fn statuses_tell_what_listens_and_who_was_served() {
    let address = vacant();
    let mut site = Site::new(AnyAddress::default());
    let applied = site.edit(&[pool(), server("a", address)]).await;
    assert_eq!(applied.errors, Vec::<String>::new());
    let expected = ListenerStatus {
        virtual_server: "a".to_owned(),
        address: address.to_string(),
        listening: true,
        error: None,
    };
    assert_eq!(site.plane.listener_statuses(), [expected]);
    let _held = greeting(address).await;
    let [status] = site.plane.virtual_server_statuses().try_into().unwrap();
    assert_eq!((status.name.as_str(), status.connections), ("a", 1));
    assert!(site.plane.pools().borrow().contains_key("p"));
    site.plane.shutdown().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn quiescing_leaves_tcp_and_other_addresses_alone() {
    let (http, other, tcp) = (vacant(), vacant(), vacant());
    let http = SocketAddr::from(([127, 0, 0, 9], http.port()));
    let tcp = SocketAddr::from(([127, 0, 0, 9], tcp.port()));
    let mut site = Site::new(AnyAddress::default());
    site.edit(&[
        pool(),
        server_of(Protocol::Http, "a", http),
        server_of(Protocol::Http, "b", other),
        server("c", tcp),
    ])
    .await;
    let (mut moving, _) = greeting(http).await;
    let (staying, _) = greeting(other).await;
    let (lasting, _) = greeting(tcp).await;
    let addresses = [http.ip()];
    let quiesced = site.plane.quiesce(&addresses, QUIESCE_MAX);
    assert_eq!(tokio::time::timeout(PATIENCE, quiesced).await.unwrap(), 0);
    assert_eq!(moving.read(&mut [0]).await.unwrap(), 0);
    until(|| site.plane.totals().connections <= 2).await;
    assert_eq!(site.plane.totals().connections, 2);
    for kept in [staying, lasting] {
        let read = kept.try_read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(read, Err(io::ErrorKind::WouldBlock));
    }
}

#[tokio::test]
async fn a_worker_that_hangs_is_told_of_until_it_runs_again() {
    const LIMIT: Duration = Duration::from_millis(500);
    let address = vacant();
    let mut site = Site::new(AnyAddress::default());
    site.edit(&[pool(), server("a", address)]).await;
    let (mut stream, _) = greeting(address).await;
    until(|| site.plane.stalled(LIMIT).is_none()).await;
    stream.write_all(b"?").await.unwrap();
    until(|| site.plane.stalled(LIMIT).is_some()).await;
    let stalled = || site.plane.liveness().iter().filter(|age| **age > LIMIT).count();
    // The other one is well, whatever else the machine does.
    until(|| stalled() == 1).await;
    let told = site.plane.stalled(LIMIT).unwrap();
    assert!(told.starts_with("worker ") && told.ends_with(" ms"), "{told}");
    site.release.send(()).unwrap();
    until(|| site.plane.stalled(LIMIT).is_none()).await;
    assert_eq!(site.plane.liveness().len(), 2);
}
