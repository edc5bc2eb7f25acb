//! The HTTP data plane alone, with one virtual server and a fixed pool: for measuring and profiling.
//!
//! ```text
//! cargo run --profile dist -p ballast-l7 --example static_proxy -- 127.0.0.1:8080 127.0.0.1:9000 [...]
//! ```
//! `WORKERS`, `CPU` (to pin the first worker) and `ACCESS_LOG` (a file) are read from the
//! environment. Ends with standard input.

use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ballast_l7::HttpHandlers;
use ballast_model::{
    AnyDraft, Config, Draft, Edit, MemberSpec, PoolSpec, Protocol, Snapshot, State,
    VirtualServerSpec,
};
use ballast_telemetry::AccessLog;
use ballast_telemetry::access_log::AccessLogSink;
use ballast_workers::{DataPlane, DataPlaneConfig, Handlers, NoConnections, NoDatagrams};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Fallible<()> {
    let addresses: Vec<SocketAddr> =
        std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let [listen, members @ ..] = addresses.as_slice() else {
        return Err("usage: static_proxy LISTEN MEMBER...".into());
    };
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let log_path = std::env::var("ACCESS_LOG").ok().map(PathBuf::from);
    let sink = log_path.map_or(AccessLogSink::Off, AccessLogSink::File);
    let config = DataPlaneConfig {
        pin_to_cpus: number("CPU").into_iter().collect(),
        ..DataPlaneConfig::for_trial(number("WORKERS").unwrap_or(1))
    };
    let http = Arc::new(HttpHandlers::new(AccessLog::start(&sink)?));
    let plane = DataPlane::start(
        config,
        Handlers { http, tcp: Arc::new(NoConnections), udp: Arc::new(NoDatagrams) },
    )?;
    plane.apply(snapshot(*listen, members)?);
    let mut applied = plane.applied();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let applied = runtime.block_on(applied.wait_for(|applied| applied.index == 1))?.clone();
    println!("{:?}", applied.listeners);
    std::io::stdin().read_to_end(&mut Vec::new())?;
    runtime.block_on(plane.shutdown());
    Ok(())
}

fn snapshot(listen: SocketAddr, members: &[SocketAddr]) -> Fallible<Arc<Snapshot>> {
    let members = members.iter().copied().map(MemberSpec::new).collect();
    let pool = PoolSpec { members, ..PoolSpec::default() };
    let server = VirtualServerSpec::new(Protocol::Http, listen, "origin");
    let edits = [
        Edit::put(AnyDraft::Pool(Draft::new("origin", pool)), "pool-1"),
        Edit::put(AnyDraft::VirtualServer(Draft::new("front", server)), "server-1"),
    ];
    let config = Config::default().edited(&edits, 1, 0)?;
    Ok(Arc::new(Snapshot { index: 1, state: State { config, ..State::default() } }))
}
