//! Any node takes any write; without a quorum the configuration is read-only, says why, and traffic
//! goes on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ballast_client::WriteOptions;
use ballast_model::status::Health;
use ballast_model::{Draft, MemberSpec, PoolSpec, Protocol, VirtualServerSpec};
use ballast_test_support::{Lab, Load, LoadOptions, Topology};
use ballast_tests_cluster::{sign_in, value_of, wait_writable, write_value};

const HEALTH_LIMIT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_through_any_node_is_there_on_every_node_once_applied() -> Result<()> {
    let lab = Lab::loopback()?;
    let cluster = ballast_test_support::Cluster::three_nodes(&lab).await?;
    let clients = sign_in(&cluster).await?;
    for (i, writer) in clients.iter().enumerate() {
        let name = format!("through-{i}");
        let spec = PoolSpec::default();
        let options = WriteOptions::new().if_absent().wait_applied();
        let written = writer.put(&Draft::new(&name, spec), &options).await?;
        ensure!(written.created && written.not_applied.is_empty(), "{:?}", written.not_applied);
        for reader in &clients {
            let read = reader.get::<PoolSpec>(&name).await?;
            ensure!(read.revision == written.value.revision, "{}", reader.base_url());
        }
        let lost = writer.put(&written.value.to_draft(), &options).await;
        ensure!(lost.err().as_ref().and_then(|e| e.status()) == Some(412));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_traffic_goes_on_and_writes_say_why_not() -> Result<()> {
    let lab = Lab::loopback()?;
    let mut world = Topology::start(&lab, |_| ()).await?;
    let clients = sign_in(&world.cluster).await?;
    let members = world.origins.iter().map(|o| MemberSpec::new(o.http())).collect();
    let spec = PoolSpec { members, ..PoolSpec::default() };
    clients[0].put(&Draft::new("web", spec), &WriteOptions::new()).await?;
    let port = world.cluster.nodes[0].host().free_port()?;
    let spec = VirtualServerSpec::new(Protocol::Http, ([0, 0, 0, 0], port).into(), "web");
    clients[0].put(&Draft::new("web", spec), &WriteOptions::new().wait_applied()).await?;
    let names: Vec<_> = world.origins.iter().map(|o| o.http().to_string()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    world.cluster.wait_for_health(&names, Health::Unmonitored, HEALTH_LIMIT).await?;

    let url = format!("http://{}:{port}/", world.cluster.nodes[0].host().ip());
    let mut load = Load::start(&world.client, &LoadOptions::new(url)).await?;
    load.wait_for_requests(100).await?;
    write_value(&clients[0], "before", 1).await?;
    world.cluster.nodes[1].sigkill()?;
    world.cluster.nodes[2].sigkill()?;

    let refusal = refusal(&clients[0]).await?;
    ensure!(refusal.status == 503, "{refusal:?}");
    ensure!(refusal.code == "no_quorum", "{refusal:?}");
    for missing in ["node-2", "witness"] {
        ensure!(refusal.detail.contains(missing), "{missing} is not named: {}", refusal.detail);
    }
    let read = clients[0].get::<PoolSpec>("before").await.context("reading without a quorum")?;
    ensure!(value_of(&read) == Some(1));
    let status = clients[0].status().await?;
    ensure!(!status.writable && !status.problems.is_empty(), "{status:?}");
    let seen = load.snapshot().await?.ok;
    load.wait_for_requests(seen + 200).await?;

    world.cluster.start_all().await?;
    wait_writable(&clients).await?;
    let report = load.stop().await?;
    ensure!(report.failed_count() == 0, "{report}");
    Ok(())
}

/// What a write is answered once the cluster has noticed that it has no quorum. Until then the
/// outcome may be unknown.
async fn refusal(client: &ballast_client::Client) -> Result<ballast_model::Problem> {
    let limit = Duration::from_secs(30);
    ballast_test_support::wait::wait_for_some("a refusal", limit, async || {
        let error = write_value(client, "during", 1).await.err()?;
        error.problem().filter(|problem| problem.status == 503).cloned()
    })
    .await
}
