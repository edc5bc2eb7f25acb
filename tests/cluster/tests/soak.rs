//! HTTP/1.1 and WebSockets, plain and over TLS, kept and short, and changes of configuration for a long
//! time: what the nodes hold does not grow, and no request is lost.
//!
//! Ten minutes, or `BALLAST_SOAK_S` seconds.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ballast_model::status::Health;
use ballast_test_support::{Host, Lab, Load, LoadOptions, TestCa, Topology};
use ballast_tests_cluster::churn::{Ports, change, declaration};
use ballast_tests_cluster::sign_in;
use tokio::time::{MissedTickBehavior, interval};

const SOAK_S: u64 = 600;
/// Between two changes, each followed by a look at the nodes.
const STEP: Duration = Duration::from_secs(2);
const HEALTH_LIMIT: Duration = Duration::from_secs(20);
/// Growth that is noise, in KiB and in percent: allocators keep what they may need again.
const GROWTH_MAX_KIB: u64 = 6 * 1_024;
const GROWTH_MAX_PERCENT: u64 = 5;
/// Descriptors more than before that are noise: connections to members and between nodes come and go.
const DESCRIPTOR_GROWTH_MAX_COUNT: u64 = 32;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_grows_and_no_request_is_lost_in_ten_minutes() -> Result<()> {
    let seconds = match std::env::var("BALLAST_SOAK_S") {
        Ok(text) => text.parse().context("BALLAST_SOAK_S is a number of seconds")?,
        Err(_) => SOAK_S,
    };
    let lab = Lab::loopback()?;
    let world = Topology::start(&lab, |_| ()).await?;
    let host = world.cluster.nodes[0].host();
    let ports =
        Ports { plain: host.free_port()?, tls: host.free_port()?, passing: host.free_port()? };
    let authority = TestCa::new()?;
    let ca = lab.dir().join("soak-ca.pem");
    authority.write_pem(&ca)?;
    world.cluster.apply(&declaration(&world, &authority, &ports)?).await?;
    let names: Vec<_> = world.origins.iter().map(|o| o.http().to_string()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    world.cluster.wait_for_health(&names, Health::Up, HEALTH_LIMIT).await?;
    let clients = sign_in(&world.cluster).await?;

    let mut loads = Vec::new();
    for node in &world.cluster.nodes[..2] {
        loads.extend(traffic(&world.client, node.host(), ports, &ca).await?);
    }
    let pids: Vec<u32> = world
        .cluster
        .nodes
        .iter()
        .map(|node| node.pid().context("it runs"))
        .collect::<Result<_>>()?;
    let mut usage: Vec<Vec<Usage>> = vec![Vec::new(); pids.len()];
    let mut ticks = interval(STEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let step_count = u32::try_from(seconds / STEP.as_secs())?;
    ensure!(step_count >= 10, "too short to tell");
    for number in 0..step_count {
        ticks.tick().await;
        let client = &clients[number as usize % clients.len()];
        change(client, &world, &authority, number, &ports).await?;
        for (seen, pid) in usage.iter_mut().zip(&pids) {
            seen.push(Usage::of(*pid)?);
        }
    }
    for load in loads {
        let report = load.stop().await?;
        ensure!(report.failed_count() == 0, "{report}");
        ensure!(report.ok > seconds, "too little traffic to tell: {report}");
    }
    for (node, seen) in world.cluster.nodes.iter().zip(&usage) {
        // What is there after half of the time has seen everything that there is to be seen.
        let before = Usage::typical(&seen[seen.len() * 4 / 10..seen.len() * 6 / 10]);
        let after = Usage::typical(&seen[seen.len() * 8 / 10..]);
        println!("{}: {before:?}, in the end {after:?}", node.name());
        let name = node.name();
        let limit = before.rss_kib + GROWTH_MAX_KIB + before.rss_kib * GROWTH_MAX_PERCENT / 100;
        ensure!(after.rss_kib <= limit, "{name} grows: {before:?}, in the end {after:?}");
        let limit = before.descriptors + DESCRIPTOR_GROWTH_MAX_COUNT;
        ensure!(after.descriptors <= limit, "{name} leaks: {before:?}, in the end {after:?}");
        ensure!(after.threads <= before.threads + 8, "{name}: {before:?}, in the end {after:?}");
    }
    Ok(())
}

/// What is sent to a node, some 250 requests a second in all, so that 200 bytes that each leaves behind
/// are seen: kept connections, short ones, full handshakes, bodies, and WebSockets.
async fn traffic(
    client: &Host,
    node: &Host,
    ports: Ports,
    ca: &std::path::Path,
) -> Result<Vec<Load>> {
    let plain = format!("{}:{}/", node.ip(), ports.plain);
    let secure = format!("{}:{}/", node.ip(), ports.tls);
    let of = |url: String, rate: f64, requests_per_connection: Option<u64>| LoadOptions {
        connections: 4,
        rate: Some(rate),
        requests_per_connection,
        ca: url.contains("s://").then(|| ca.to_owned()),
        ..LoadOptions::new(url)
    };
    let all = [
        of(format!("http://{plain}"), 200.0, None),
        of(format!("http://{plain}"), 10.0, Some(1)),
        LoadOptions {
            post_bytes: Some(200_000),
            ..of(format!("http://{plain}length"), 4.0, Some(7))
        },
        of(format!("https://{secure}"), 10.0, None),
        of(format!("https://{secure}"), 4.0, Some(1)),
        of(format!("ws://{plain}"), 10.0, None),
        of(format!("wss://{secure}"), 10.0, Some(50)),
    ];
    let mut loads = Vec::new();
    for options in all {
        loads.push(Load::start(client, &options).await?);
    }
    Ok(loads)
}

/// What a process holds.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    rss_kib: u64,
    descriptors: u64,
    threads: u64,
}

impl Usage {
    fn of(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))
            .with_context(|| format!("process {pid} has ended"))?;
        let fields: BTreeMap<&str, &str> =
            status.lines().filter_map(|line| line.split_once(':')).collect();
        let number = |name: &str| -> Result<u64> {
            let text = fields.get(name).and_then(|text| text.split_whitespace().next());
            Ok(text.context("the kernel tells it")?.parse()?)
        };
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64;
        Ok(Self { rss_kib: number("VmRSS")?, descriptors, threads: number("Threads")? })
    }

    /// The median of each.
    fn typical(seen: &[Self]) -> Self {
        let median = |of: fn(&Self) -> u64| {
            let mut values: Vec<_> = seen.iter().map(of).collect();
            values.sort_unstable();
            values[values.len() / 2]
        };
        Self {
            rss_kib: median(|usage| usage.rss_kib),
            descriptors: median(|usage| usage.descriptors),
            threads: median(|usage| usage.threads),
        }
    }
}
