//! Configuration that changes ten times a second under load loses no request.

use std::time::Duration;

use anyhow::{Result, ensure};
use ballast_client::{MemberAction, WriteOptions};
use ballast_model::status::Health;
use ballast_model::{
    Algorithm, Draft, MemberSpec, PoolSpec, Protocol, Resource, VirtualServerSpec,
};
use ballast_test_support::{Lab, Load, LoadOptions, Topology};
use ballast_tests_cluster::sign_in;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

/// Changes, ten each second.
const CHANGE_COUNT: u32 = 100;
const CHANGE_INTERVAL: Duration = Duration::from_millis(100);
const HEALTH_LIMIT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_changes_a_second_for_ten_seconds_lose_no_request() -> Result<()> {
    let lab = Lab::loopback()?;
    let world = Topology::start(&lab, |_| ()).await?;
    let host = world.cluster.nodes[0].host();
    let ports = [host.free_port()?, host.free_port()?];
    world.cluster.apply(&declaration(&world, ports[0])).await?;
    let names: Vec<_> = world.origins.iter().map(|o| o.http().to_string()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    world.cluster.wait_for_health(&names, Health::Up, HEALTH_LIMIT).await?;
    let clients = sign_in(&world.cluster).await?;

    let mut loads = Vec::new();
    for node in &world.cluster.nodes[..2] {
        let url = format!("http://{}:{}/", node.host().ip(), ports[0]);
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
    }
    for load in &mut loads {
        load.wait_for_requests(100).await?;
    }

    let mut ticks = interval(CHANGE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0..CHANGE_COUNT {
        ticks.tick().await;
        change(&clients[number as usize % clients.len()], &world, number, ports[1]).await?;
    }
    for load in loads {
        let report = load.stop().await?;
        ensure!(report.failed_count() == 0, "{report}");
        ensure!(report.ok > 500, "too little traffic to tell: {report}");
    }
    Ok(())
}

/// One of several kinds of change, each of which must leave traffic alone. `port` is for a virtual
/// server that comes and goes.
async fn change(
    client: &ballast_client::Client,
    world: &Topology,
    number: u32,
    port: u16,
) -> Result<()> {
    let options = WriteOptions::new();
    let address = world.origins[0].http().to_string();
    let pool: Resource<PoolSpec> = client.get("web").await?;
    match number % 6 {
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
            let listen = ([0, 0, 0, 0], port).into();
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
        _ => {
            client.delete(ballast_model::Kind::VirtualServer, "passing", &options).await?;
            let patch = json!({"spec": {"http": {"header_max_count": 100 + number}}});
            client.patch::<VirtualServerSpec>("web", &patch, &options).await?;
        }
    }
    Ok(())
}

fn declaration(world: &Topology, port: u16) -> serde_json::Value {
    let members: Vec<_> = world
        .origins
        .iter()
        .map(|origin| json!({"address": origin.http().ip(), "port": origin.http().port()}))
        .collect();
    json!({
        "monitors": [{"name": "alive", "spec": {"type": "tcp", "interval_ms": 500, "timeout_ms": 400}}],
        "pools": [{"name": "web", "spec": {"members": members, "monitors": ["alive"]}}],
        "virtual_servers": [{"name": "web", "spec": {
            "protocol": "http", "addresses": ["0.0.0.0"], "ports": [port], "pool": "web"
        }}],
    })
}
