use ballast_balance::{PersistenceKey, PoolRegistry};
use ballast_model::{
    AnyDraft, Config, Draft, Edit, HttpSettings, PoolSpec, Priority, Protocol, TcpSettings,
    UdpSettings,
};
use ballast_telemetry::{AccessLog, PoolCounters, VirtualServerCounters};
use ballast_workers::{PoolSlot, VirtualServerSlot, WorkerContext};
use tokio::net::{TcpListener, TcpStream};

use super::*;

fn server() -> VirtualServer {
    let pool = Edit::put(AnyDraft::Pool(Draft::new("p", PoolSpec::default())), "uid");
    let config = Config::default().edited(&[pool], 1, 0).unwrap();
    let mut pools = PoolRegistry::new(1, PersistenceKey::new(&[0; 32]));
    pools.reconcile(&config, 0);
    let counters = Arc::new(PoolCounters::new("p", 1));
    VirtualServer {
        name: "a".into(),
        protocol: Protocol::Http,
        http: HttpSettings::default(),
        tcp: TcpSettings::default(),
        persistence: ballast_model::Persistence::None,
        pool: Arc::new(PoolSlot::new(Arc::clone(pools.pool("p").unwrap()), counters)),
        policies: None,
        tls: None,
        clients: None,
        hsts_line: None,
        client_identity: ballast_workers::ClientIdentity::Unasked,
        udp: UdpSettings::default(),
        passthrough: None,
        accept_proxy_protocol: None,
        connection_limit: u32::MAX,
        source_limits: None,
        priority: Priority::Normal,
        queue_priority: 0,
    }
}

/// Most memory that a plain connection's task may take besides buffers, in bytes: idle connections
/// are to stay below 8 KiB each, what the kernel needs apart.
const TASK_MAX_BYTES: usize = 3 * 1024;

#[tokio::test(flavor = "current_thread")]
async fn an_idle_connection_is_small() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (peer, local) = (stream.peer_addr().unwrap(), stream.local_addr().unwrap());
    let context = Rc::new(WorkerContext::new(0));
    let slot = Arc::new(VirtualServerSlot::new(Arc::new(VirtualServerCounters::new("a", 1))));
    slot.store(Some(Arc::new(server())));
    let ticket = context.connections.open(slot.id, &context.clock);
    let worker = Rc::new(HttpWorker::new(context, &AccessLog::off()));
    let admission = slot.admit(1).unwrap();
    let server = slot.current().load_full().unwrap();
    let mut session = Session::new(Rc::clone(&worker), server, peer, local, admission, ticket);
    let outer_bytes = size_of_val(&session);
    let inner_bytes = size_of_val(&Serving::new(&mut session, stream).run());
    let size_bytes = outer_bytes + inner_bytes;
    assert!(size_bytes <= TASK_MAX_BYTES, "{outer_bytes} + {inner_bytes} bytes");
}

/// A session of a virtual server without settings, that counts in `counters`.
pub(crate) fn session(counters: &Arc<CounterShard>) -> Session {
    let context = Rc::new(WorkerContext::new(0));
    let slot = Arc::new(VirtualServerSlot::new(Arc::new(VirtualServerCounters::new("a", 1))));
    slot.store(Some(Arc::new(server())));
    let ticket = context.connections.open(slot.id, &context.clock);
    let worker = Rc::new(HttpWorker::new(context, &AccessLog::off()));
    let admission = slot.admit(1).unwrap();
    let server = slot.current().load_full().unwrap();
    let (peer, local) = ("192.0.2.7:1".parse().unwrap(), "192.0.2.1:80".parse().unwrap());
    let mut session = Session::new(worker, server, peer, local, admission, ticket);
    session.counters = Arc::clone(counters);
    session
}

#[test]
fn a_client_that_was_told_the_end_has_time_by_silence_and_in_all() {
    let end_ms = 100_000 + LINGER_MAX_MS;
    assert_eq!(linger_ms(100_000, end_ms), Some(LINGER_SILENCE_MS));
    assert_eq!(linger_ms(end_ms - LINGER_SILENCE_MS, end_ms), Some(LINGER_SILENCE_MS));
    assert_eq!(linger_ms(end_ms - 1, end_ms), Some(1));
    assert_eq!(linger_ms(end_ms, end_ms), None);
    assert_eq!(linger_ms(end_ms + 1, end_ms), None);
}
