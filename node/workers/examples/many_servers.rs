//! How long the data plane takes to load many virtual servers, and to carry out an edit of one.
//!
//! ```text
//! cargo run --profile dist -p ballast-workers --example many_servers -- 10000 10
//! ```
//! The arguments are the number of virtual servers (each with a listener and a pool of its own) and
//! of members per pool.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use ballast_model::{
    AnyDraft, Config, Draft, Edit, MemberSpec, PoolSpec, Protocol, Snapshot, State,
    VirtualServerSpec,
};
use ballast_workers::{
    DataPlane, DataPlaneConfig, HandlerFactory, Handlers, NoConnections, NoDatagrams,
};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Fallible<()> {
    let mut arguments = std::env::args().skip(1);
    let server_count: u16 = arguments.next().as_deref().unwrap_or("10000").parse()?;
    let member_count: u16 = arguments.next().as_deref().unwrap_or("10").parse()?;
    let config = DataPlaneConfig { connection_max_count: 1_000, ..DataPlaneConfig::for_trial(1) };
    let nothing: Arc<dyn HandlerFactory> = Arc::new(NoConnections);
    let handlers =
        Handlers { http: Arc::clone(&nothing), tcp: nothing, udp: Arc::new(NoDatagrams) };
    let plane = DataPlane::start(config, handlers)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;

    let all: Vec<Edit> = (0..server_count).flat_map(|n| declare(n, member_count, true)).collect();
    let config = Config::default().edited(&all, 1, 0)?;
    apply(&runtime, &plane, 1, &config, "load")?;
    let edits = declare(server_count / 2, member_count, false);
    let with_server = config.edited(&edits[1..], 2, 0)?;
    apply(&runtime, &plane, 2, &with_server, "edit of one virtual server")?;
    let with_pool = with_server.edited(&declare(7, member_count + 1, true)[..1], 3, 0)?;
    apply(&runtime, &plane, 3, &with_pool, "edit of one pool")?;
    runtime.block_on(plane.shutdown());
    Ok(())
}

fn apply(
    runtime: &tokio::runtime::Runtime,
    plane: &DataPlane,
    index: u64,
    config: &Config,
    what: &str,
) -> Fallible<()> {
    let snapshot =
        Arc::new(Snapshot { index, state: State { config: config.clone(), ..State::default() } });
    let start = Instant::now();
    plane.apply(snapshot);
    let mut applied = plane.applied();
    let applied = runtime.block_on(applied.wait_for(|applied| applied.index == index))?;
    println!("{what}: {:?}, {} errors", start.elapsed(), applied.errors.len());
    Ok(())
}

/// A pool and the virtual server in front of it.
fn declare(number: u16, member_count: u16, access_log: bool) -> [Edit; 2] {
    let [high, low] = number.to_be_bytes();
    let members = (0..member_count)
        .map(|n| MemberSpec::new(SocketAddr::from(([10, 1, high, low], n + 1))))
        .collect();
    let pool = PoolSpec { members, ..PoolSpec::default() };
    let listen = SocketAddr::from(([127, 1, high, low], 18_080));
    let mut server = VirtualServerSpec::new(Protocol::Http, listen, format!("pool-{number}"));
    server.http.access_log.enabled = access_log;
    [
        Edit::put(AnyDraft::Pool(Draft::new(server.pool.as_str(), pool)), format!("p{number}")),
        Edit::put(
            AnyDraft::VirtualServer(Draft::new(format!("server-{number}"), server)),
            format!("s{number}"),
        ),
    ]
}
