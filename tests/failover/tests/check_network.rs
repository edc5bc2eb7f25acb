//! `ballastd check-network` beside a running node tells what is so.

use anyhow::{Context, Result, ensure};
use ballast_model::TrafficGroupSpec;
use ballast_test_support::{Host, Segment, process, programs, wait_for};
use ballast_tests_failover::{LIMIT, VRID, World};
use serde_json::Value;

/// The verdicts of everything that is looked at whose name is `what`, and whether the command succeeded.
async fn verdicts(host: &Host, what: &str) -> Result<(Vec<String>, bool)> {
    let mut command = host.command(programs::find("ballastd")?);
    command.args(["check-network", "--json", "--config"]).arg(host.dir()?.join("node.toml"));
    let output = process::try_run(command, LIMIT).await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let checks: Vec<Value> = serde_json::from_str(&text).context("a list of checks")?;
    let named = checks.iter().filter(|check| check["what"] == what);
    let verdicts = named.map(|check| check["verdict"].as_str().unwrap_or_default().to_owned());
    Ok((verdicts.collect(), output.status.success()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_node_is_checked_by_the_configuration_that_it_carries_out() -> Result<()> {
    let world = World::start(0).await?;
    let vip = world.address(100);
    let mut group = TrafficGroupSpec::new(VRID, [vip.into(), world.address6(100)?]);
    group.virtual_mac = true;
    world.put_group("floating", group).await?;
    let owner = world.wait_for_one_holder(vip).await?;
    let host = world.cluster.nodes[owner].host();
    // The node notes its configuration when it has carried it out.
    wait_for("the group to be known", LIMIT, async || {
        verdicts(host, "group floating").await.is_ok_and(|(verdicts, _)| !verdicts.is_empty())
    })
    .await?;
    for (what, count) in [
        ("group floating", 1),
        ("multicast on eth0", 2),
        ("virtual MAC on eth0", 1),
        ("node witness", 1),
    ] {
        let (verdicts, is_success) = verdicts(host, what).await?;
        ensure!(verdicts == vec!["ok"; count] && is_success, "{what}: {verdicts:?}");
    }
    // Its own floating addresses disturb nothing, and it owns them still.
    ensure!(world.holders(vip)? == [owner]);

    host.link_down(Segment::Clients)?;
    let (verdicts, is_success) = verdicts(host, "group floating").await?;
    ensure!(verdicts == ["failed"] && !is_success, "{verdicts:?}");
    Ok(())
}
