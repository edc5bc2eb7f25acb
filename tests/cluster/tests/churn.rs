//! Configuration that changes ten times a second under load loses no request and ends no connection
//! that it does not concern.

use std::time::Duration;

use anyhow::{Result, ensure};
use ballast_model::status::Health;
use ballast_test_support::{Lab, Load, LoadOptions, TestCa, Topology};
use ballast_tests_cluster::churn::{Ports, change, declaration};
use ballast_tests_cluster::sign_in;
use tokio::time::{MissedTickBehavior, interval};

/// Changes, ten each second.
const CHANGE_COUNT: u32 = 200;
const CHANGE_INTERVAL: Duration = Duration::from_millis(100);
/// WebSockets to each node, plain and over TLS.
const SOCKET_COUNT: u16 = 4;
const HEALTH_LIMIT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_changes_a_second_for_twenty_seconds_lose_no_request() -> Result<()> {
    let lab = Lab::loopback()?;
    let world = Topology::start(&lab, |_| ()).await?;
    let host = world.cluster.nodes[0].host();
    let ports = [host.free_port()?, host.free_port()?, host.free_port()?];
    let authority = TestCa::new()?;
    let ca = lab.dir().join("churn-ca.pem");
    authority.write_pem(&ca)?;
    let ports = Ports { plain: ports[0], tls: ports[1], passing: ports[2] };
    world.cluster.apply(&declaration(&world, &authority, &ports)?).await?;
    let names: Vec<_> = world.origins.iter().map(|o| o.http().to_string()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    world.cluster.wait_for_health(&names, Health::Up, HEALTH_LIMIT).await?;
    let clients = sign_in(&world.cluster).await?;

    let mut loads = Vec::new();
    let mut sockets = Vec::new();
    for node in &world.cluster.nodes[..2] {
        let url = format!("http://{}:{}/", node.host().ip(), ports.plain);
        let secure = format!("{}:{}/", node.host().ip(), ports.tls);
        let keep_alive = LoadOptions { connections: 4, ..LoadOptions::new(&url) };
        // To a path that reads what it is sent: an origin that answers first and then closes without
        // a word makes the next request on that connection fail, whoever forwards it.
        let reconnecting = LoadOptions {
            connections: 2,
            requests_per_connection: Some(7),
            post_bytes: Some(20_000),
            ..LoadOptions::new(format!("{url}length"))
        };
        loads.push(Load::start(&world.client, &keep_alive).await?);
        loads.push(Load::start(&world.client, &reconnecting).await?);
        // Half of them open a connection for each request: with whatever certificate there is.
        let over_tls = |requests_per_connection| LoadOptions {
            connections: 2,
            requests_per_connection,
            ca: Some(ca.clone()),
            ..LoadOptions::new(format!("https://{secure}"))
        };
        loads.push(Load::start(&world.client, &over_tls(None)).await?);
        loads.push(Load::start(&world.client, &over_tls(Some(1))).await?);
        for url in [url.replace("http:", "ws:"), format!("wss://{secure}")] {
            let options = LoadOptions {
                connections: SOCKET_COUNT,
                rate: Some(100.0),
                ca: Some(ca.clone()),
                ..LoadOptions::new(url)
            };
            sockets.push(Load::start(&world.client, &options).await?);
        }
    }
    for load in loads.iter_mut().chain(&mut sockets) {
        load.wait_for_requests(100).await?;
    }

    let mut ticks = interval(CHANGE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0..CHANGE_COUNT {
        ticks.tick().await;
        let client = &clients[number as usize % clients.len()];
        change(client, &world, &authority, number, &ports).await?;
    }
    for load in loads {
        let report = load.stop().await?;
        ensure!(report.failed_count() == 0, "{report}");
        ensure!(report.ok > 500, "too little traffic to tell: {report}");
    }
    for load in sockets {
        let report = load.stop().await?;
        ensure!(report.failed_count() == 0, "WebSockets: {report}");
        let is_untouched = report.connections == u64::from(SOCKET_COUNT);
        ensure!(is_untouched, "{} WebSockets were opened: {report}", report.connections);
    }
    Ok(())
}
