//! Configuration that changes ten times a second under load loses no request and ends no connection
//! that it does not concern.

use std::time::Duration;

use anyhow::{Result, ensure};
use ballast_client::{Client, MemberAction, WriteOptions};
use ballast_model::status::Health;
use ballast_model::{
    Algorithm, CertificateSpec, Draft, MemberSpec, PolicySpec, PoolSpec, Protocol, Resource,
    VirtualServerSpec,
};
use ballast_test_support::{Lab, Load, LoadOptions, TestCa, Topology};
use ballast_tests_cluster::sign_in;
use serde_json::{Value, json};
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

/// Ports of the virtual servers.
struct Ports {
    plain: u16,
    tls: u16,
    /// Of one that comes and goes.
    passing: u16,
}

/// One of several kinds of change, each of which must leave traffic alone.
async fn change(
    client: &Client,
    world: &Topology,
    authority: &TestCa,
    number: u32,
    ports: &Ports,
) -> Result<()> {
    let options = WriteOptions::new();
    let address = world.origins[0].http().to_string();
    let pool: Resource<PoolSpec> = client.get("web").await?;
    match number % 9 {
        0 => {
            let mut draft = pool.to_draft();
            for (i, member) in (0..).zip(&mut draft.spec.members) {
                member.weight = 1 + (number as u16 + i) % 5;
            }
            client.put(&draft, &options).await?;
        }
        1 => {
            client.member_action("web", &address, MemberAction::Disable, &options).await?;
        }
        2 => {
            client.member_action("web", &address, MemberAction::Enable, &options).await?;
        }
        3 => {
            let spec = PoolSpec {
                members: vec![MemberSpec::new(world.origins[1].http())],
                ..PoolSpec::default()
            };
            client.put(&Draft::new("passing", spec), &options).await?;
            let listen = ([0, 0, 0, 0], ports.passing).into();
            let spec = VirtualServerSpec::new(Protocol::Http, listen, "passing");
            client.put(&Draft::new("passing", spec), &options).await?;
        }
        4 => {
            let mut draft = pool.to_draft();
            draft.spec.algorithm = match number % 4 {
                0 => Algorithm::LeastConnections,
                1 => Algorithm::P2c,
                2 => Algorithm::RoundRobin,
                _ => Algorithm::SourceHash,
            };
            client.put(&draft, &options).await?;
        }
        5 => {
            client.delete(ballast_model::Kind::VirtualServer, "passing", &options).await?;
            let patch = json!({"spec": {"http": {"header_max_count": 100 + number}}});
            client.patch::<VirtualServerSpec>("web", &patch, &options).await?;
        }
        6 => {
            let mark = json!({"rules": [{
                "name": "mark",
                "response_headers": {"set": {"X-Change": number.to_string()}},
            }]});
            let patch = json!({"spec": mark});
            client.patch::<PolicySpec>("mark", &patch, &options).await?;
        }
        7 => {
            let issued = certificate(world, authority)?;
            let patch = json!({"spec": issued});
            client.patch::<CertificateSpec>("site", &patch, &options).await?;
        }
        _ => {
            // In and out of the way of requests.
            let policies = if number.is_multiple_of(2) { json!(["mark"]) } else { json!([]) };
            let patch = json!({"spec": {"policies": policies, "connection_limit": 1_000 + number}});
            client.patch::<VirtualServerSpec>("site", &patch, &options).await?;
        }
    }
    Ok(())
}

fn declaration(world: &Topology, authority: &TestCa, ports: &Ports) -> Result<Value> {
    let members: Vec<_> = world
        .origins
        .iter()
        .map(|origin| json!({"address": origin.http().ip(), "port": origin.http().port()}))
        .collect();
    let monitor = json!({"type": "tcp", "interval_ms": 500, "timeout_ms": 400});
    let server = |protocol: &str, port: u16| json!({"protocol": protocol, "addresses": ["0.0.0.0"], "ports": [port], "pool": "web"});
    let mut site = server("https", ports.tls);
    site["certificates"] = json!(["site"]);
    let mut web = server("http", ports.plain);
    web["policies"] = json!(["mark"]);
    Ok(json!({
        "monitors": [{"name": "alive", "spec": monitor}],
        "pools": [{"name": "web", "spec": {"members": members, "monitors": ["alive"]}}],
        "policies": [{"name": "mark", "spec": {"rules": []}}],
        "certificates": [{"name": "site", "spec": certificate(world, authority)?}],
        "virtual_servers": [{"name": "web", "spec": web}, {"name": "site", "spec": site}],
    }))
}

/// A new one, for every node.
fn certificate(world: &Topology, authority: &TestCa) -> Result<Value> {
    let nodes = world.cluster.nodes.iter().map(|node| node.host().ip().to_string());
    let nodes: Vec<String> = nodes.collect();
    let names: Vec<&str> = nodes.iter().map(String::as_str).collect();
    let issued = authority.issue(&names)?;
    Ok(json!({"chain_pem": issued.chain_pem, "private_key_pem": issued.key_pem}))
}
