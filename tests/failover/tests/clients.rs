//! Clients that bring something along: a TLS session, or connections that they leave open. What they have
//! is worth as much at the next owner.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use ballast_client::WriteOptions;
use ballast_model::{CertificateSpec, Draft, Protocol, TrafficGroupSpec, VirtualServerSpec};
use ballast_test_support::{Load, LoadOptions, TestCa, wait_for};
use ballast_tests_failover::{LIMIT, PORT, VRID, World};

const HOST_NAME: &str = "shop.example.test";
const TLS_PORT: u16 = 443;

/// TLS clients; each has a session of its own.
const SESSION_COUNT: u16 = 100;

/// Clients with an open connection that nothing passes over.
const IDLE_COUNT: u16 = 200;

/// How often each of those asks, in requests per second of all together.
const IDLE_RATE: f64 = 40.0;

async fn world_with_a_group() -> Result<World> {
    let world = World::start(1).await?;
    let group = TrafficGroupSpec::new(VRID, [world.address(100).into()]);
    world.put_group("floating", group).await?;
    for index in [0, 1] {
        world.wait_for_standby(index).await?;
    }
    Ok(world)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_sessions_are_resumed_at_the_next_owner() -> Result<()> {
    let mut world = world_with_a_group().await?;
    let vip = world.address(100);
    let ca = TestCa::new()?;
    let ca_file = world.client.dir()?.join("ca.pem");
    ca.write_pem(&ca_file)?;
    let certificate = ca.issue(&[HOST_NAME])?;
    let spec = CertificateSpec {
        chain_pem: certificate.chain_pem,
        private_key_pem: Some(certificate.key_pem),
        ..CertificateSpec::default()
    };
    let wait = WriteOptions::new().wait_applied();
    world.cluster.client().put(&Draft::new("shop", spec), &wait).await?;
    let any = (Ipv4Addr::UNSPECIFIED, TLS_PORT).into();
    let mut server = VirtualServerSpec::new(Protocol::Https, any, "web");
    server.certificates = vec!["shop".to_owned()];
    world.cluster.client().put(&Draft::new("web-tls", server), &wait).await?;

    let owner = world.wait_for_one_holder(vip).await?;
    let options = LoadOptions {
        connections: SESSION_COUNT,
        rate: Some(f64::from(SESSION_COUNT) * 4.0),
        ca: Some(ca_file),
        host_name: Some(HOST_NAME.to_owned()),
        ..LoadOptions::new(format!("https://{vip}:{TLS_PORT}/"))
    };
    let mut load = Load::start(&world.client, &options).await?;
    let before = load.wait_for_requests(u64::from(SESSION_COUNT) * 4).await?;
    ensure!(before.tls_full == u64::from(SESSION_COUNT) && before.tls_resumed == 0, "{before:?}");
    world.cluster.nodes[owner].sigkill()?;
    let mut after = before.clone();
    let all_back = wait_for("every client to be back", LIMIT, async || {
        after = load.snapshot().await.unwrap_or_default();
        let begun = (after.tls_full + after.tls_resumed) - before.tls_full;
        begun >= u64::from(SESSION_COUNT)
    });
    all_back.await?;
    world.wait_for_holder(vip, 1 - owner).await?;
    let (full, resumed) = (after.tls_full - before.tls_full, after.tls_resumed);
    let percent = resumed * 100 / (full + resumed);
    ensure!(percent >= 95, "{resumed} sessions were resumed, {full} not");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_move_fails_no_request_of_idle_clients() -> Result<()> {
    let world = world_with_a_group().await?;
    let vip = world.address(100);
    let owner = world.wait_for_one_holder(vip).await?;
    // All ask in the same moment every five seconds, and are idle in between.
    let options = LoadOptions {
        connections: IDLE_COUNT,
        rate: Some(IDLE_RATE),
        ..LoadOptions::new(format!("http://{vip}:{PORT}/"))
    };
    let all = u64::from(IDLE_COUNT);
    let mut load = Load::start(&world.client, &options).await?;
    let mut before = load.snapshot().await?;
    wait_for("every client to be answered", LIMIT, async || {
        before = load.snapshot().await.unwrap_or_default();
        before.ok == all
    })
    .await?;
    let to = world.cluster.nodes[1 - owner].name();
    let report = world.cluster.client().fail_over("floating", Some(to)).await?;
    ensure!(report.moves.len() == 1 && report.moves[0].error.is_none(), "{report:?}");
    world.wait_for_holder(vip, 1 - owner).await?;
    let moved = load.snapshot().await?;
    ensure!(moved.ok == before.ok, "the clients were not idle: {moved}");
    let mut after = moved;
    wait_for("every client to be answered again", LIMIT, async || {
        after = load.snapshot().await.unwrap_or_default();
        after.ok >= 2 * all
    })
    .await?;
    ensure!(after.failed_count() == 0, "{after}");
    // Each was told: none asked over a connection that nobody served any more.
    ensure!(after.closed_between_requests == all && after.connections == 2 * all, "{after:?}");
    ensure!(world.holders(vip)? == [1 - owner]);
    Ok(())
}
