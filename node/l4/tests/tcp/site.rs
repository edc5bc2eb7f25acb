//! A data plane with one pool and one TCP virtual server, and members to play with.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ballast_l4::{TcpHandlers, UdpHandlers};
use ballast_model::status::{MemberStatus, VirtualServerStatus};
use ballast_model::{
    AnyDraft, Config, Draft, Edit, MemberSpec, PoolSpec, Protocol, Snapshot, State,
    VirtualServerSpec,
};
use ballast_telemetry::{AccessLog, AccessLogSink, CounterRegistry, FailureReason};
use ballast_workers::{DataPlane, DataPlaneConfig, Handlers, Pressure, PressureGauge};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

/// How long the tests wait for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How often they look.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

pub(crate) async fn within<T>(wait: impl Future<Output = T>) -> T {
    timeout(PATIENCE, wait).await.expect("in time")
}

pub(crate) struct Site {
    plane: Arc<DataPlane>,
    counters: Arc<CounterRegistry>,
    access_log: AccessLog,
    folder: tempfile::TempDir,
    config: Config,
    index: u64,
    /// Free when it was looked for; another process may take it, then listening fails loudly.
    listen: SocketAddr,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::with_connection_max(1_000)
    }

    pub(crate) fn with_connection_max(connection_max_count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sink = AccessLogSink::File(folder.path().join("access.log"));
        let access_log = AccessLog::start(&sink).unwrap();
        let counters = Arc::new(CounterRegistry::new(2));
        let config = DataPlaneConfig {
            connection_max_count,
            counters: Arc::clone(&counters),
            pressure: PressureGauge::new(Pressure::default),
            ..DataPlaneConfig::for_trial(2)
        };
        let tcp = Arc::new(TcpHandlers::new(access_log.clone()));
        let handlers = Handlers {
            http: Arc::clone(&tcp) as _,
            tcp,
            udp: Arc::new(UdpHandlers::new(access_log.clone())),
        };
        let plane = Arc::new(DataPlane::start(config, handlers).unwrap());
        let listen = {
            let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            probe.local_addr().unwrap()
        };
        let config = Config::default();
        Self { plane, counters, access_log, folder, config, index: 0, listen }
    }

    pub(crate) fn plane(&self) -> Arc<DataPlane> {
        Arc::clone(&self.plane)
    }

    pub(crate) async fn put_pool(&mut self, change: impl FnOnce(&mut PoolSpec)) {
        self.put_pool_named("pool", change).await;
    }

    pub(crate) async fn put_pool_named(&mut self, name: &str, change: impl FnOnce(&mut PoolSpec)) {
        let mut spec = PoolSpec::default();
        change(&mut spec);
        let draft = AnyDraft::Pool(Draft::new(name, spec));
        self.edit(Edit::put(draft, format!("uid-{name}"))).await;
    }

    /// Where it listens.
    pub(crate) async fn put_server(
        &mut self,
        change: impl FnOnce(&mut VirtualServerSpec),
    ) -> SocketAddr {
        let mut spec = VirtualServerSpec::new(Protocol::Tcp, self.listen, "pool");
        change(&mut spec);
        self.edit(Edit::put(AnyDraft::VirtualServer(Draft::new("tcp", spec)), "uid-tcp")).await;
        self.listen
    }

    async fn edit(&mut self, edit: Edit) {
        self.index += 1;
        self.config = self.config.edited(&[edit], self.index, 0).unwrap();
        let state = State { config: self.config.clone(), ..State::default() };
        self.plane.apply(Arc::new(Snapshot { index: self.index, state }));
        let mut applied = self.plane.applied();
        let applied = within(applied.wait_for(|applied| applied.index == self.index)).await;
        let errors = &applied.unwrap().errors;
        assert!(errors.is_empty(), "{errors:?}");
    }

    pub(crate) fn member_status(&self, index: usize) -> MemberStatus {
        let pools = self.plane.pools();
        let pools = pools.borrow();
        pools["pool"].members()[index].status("pool", 0)
    }

    pub(crate) async fn until_member(&self, index: usize, holds: impl Fn(&MemberStatus) -> bool) {
        until(|| holds(&self.member_status(index)).then_some(())).await;
    }

    /// Until so many connections wait for a member with room.
    pub(crate) async fn until_waiting(&self, count: usize) {
        until(|| {
            let pools = self.plane.pools();
            let pools = pools.borrow();
            (pools["pool"].queue().waiting_count() == count).then_some(())
        })
        .await;
    }

    /// Until no connection is left, and none is counted as in flight.
    pub(crate) async fn until_idle(&self) {
        until(|| {
            let pools = self.plane.pools();
            let pools = pools.borrow();
            let in_flight: u64 = pools["pool"].members().iter().map(|m| m.state.in_flight()).sum();
            (in_flight == 0 && self.plane.totals().connections == 0).then_some(())
        })
        .await;
    }

    pub(crate) async fn until_status(
        &self,
        holds: impl Fn(&VirtualServerStatus) -> bool,
    ) -> VirtualServerStatus {
        until(|| self.counters.statuses().into_iter().next().filter(&holds)).await
    }

    /// Until a connection has failed for that reason.
    pub(crate) async fn until_reason(&self, code: &str) {
        let reason = FailureReason::ALL.iter().find(|reason| reason.code() == code).unwrap();
        until(|| (self.counters.all()[0].totals().failures_for(*reason) > 0).then_some(())).await;
    }

    /// What the access log holds, once it holds something.
    pub(crate) async fn records(&self) -> Vec<serde_json::Value> {
        self.records_of(1).await
    }

    /// What the access log holds, once it holds that much.
    pub(crate) async fn records_of(&self, count: usize) -> Vec<serde_json::Value> {
        until(|| (self.access_log.totals().written_total >= count as u64).then_some(())).await;
        let text = std::fs::read_to_string(self.folder.path().join("access.log")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Looks until there is something to see.
async fn until<T>(look: impl Fn() -> Option<T>) -> T {
    within(async {
        let mut interval = interval(LOOK_INTERVAL);
        loop {
            interval.tick().await;
            if let Some(seen) = look() {
                return seen;
            }
        }
    })
    .await
}

pub(crate) fn member(address: SocketAddr) -> MemberSpec {
    MemberSpec::new(address)
}

/// Ends with the test.
pub(crate) struct Server(JoinHandle<()>);

impl Server {
    pub(crate) fn of(task: JoinHandle<()>) -> Self {
        Self(task)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A member that sends back what it gets.
pub(crate) async fn echo() -> (SocketAddr, Server) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut buffer = vec![0; 16 * 1024];
                // Ends with the connection, however that goes.
                while let Ok(count) = stream.read(&mut buffer).await {
                    if count == 0 || stream.write_all(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, Server(server))
}

/// An address that nobody listens on.
pub(crate) async fn refusing_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Closes a connection by a reset.
#[expect(clippy::needless_pass_by_value, reason = "dropping it is the point")]
pub(crate) fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Connects, and is reset; which may show as early as while connecting.
pub(crate) async fn assert_reset(address: SocketAddr) {
    let read = within(async { TcpStream::connect(address).await?.read(&mut [0]).await }).await;
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}
