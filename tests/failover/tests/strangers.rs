//! Others on the segment use the VRID: a node that has not joined stays away, one that has goes on, and both
//! say so.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use ballast_model::TrafficGroupSpec;
use ballast_model::ha::HaOverview;
use ballast_test_support::peers::{Keepalived, KeepalivedOptions};
use ballast_test_support::{Host, probe, wait_for};
use ballast_tests_failover::{LIMIT, RETURN_LIMIT, VRID, World, fetch};

/// Where the stranger's address ends.
const STRANGE_LAST: u8 = 150;

fn stranger(world: &World, host: &Host) -> Result<Keepalived> {
    let addresses: [IpAddr; 1] = [world.address(STRANGE_LAST).into()];
    Keepalived::start(host, &KeepalivedOptions::new(VRID, 240, addresses))
}

async fn overview(world: &World) -> Result<HaOverview> {
    Ok(world.cluster.client().ha().await?)
}

/// Waits until the answer of `/ha` is as wanted.
async fn wait_for_overview(
    world: &World,
    what: &str,
    mut wanted: impl FnMut(&HaOverview) -> bool,
) -> Result<()> {
    let mut last = HaOverview::default();
    let waited = wait_for(what, LIMIT, async || {
        last = overview(world).await.unwrap_or_default();
        wanted(&last)
    })
    .await;
    waited.with_context(|| format!("{last:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vrid_in_use_by_strangers_is_not_joined_and_an_active_group_is_not_disturbed()
-> Result<()> {
    let world = World::start(1).await?;
    let (vip, strange) = (world.address(100), world.address(STRANGE_LAST));
    let host = world.lab.host("stranger", 41)?;
    let mut keepalived = stranger(&world, &host)?;
    wait_for("the stranger to be active", LIMIT, async || {
        host.holds(strange.into()).unwrap_or(false)
    })
    .await?;

    world.put_group("floating", TrafficGroupSpec::new(VRID, [vip.into()])).await?;
    wait_for_overview(&world, "both nodes to name the stranger", |overview| {
        let named = host.ip().to_string();
        let parts = overview.groups.first().map(|group| group.parts.as_slice());
        parts.is_some_and(|parts| {
            parts.len() == 2
                && parts.iter().all(|p| p.status.clash.as_ref().is_some_and(|c| c.contains(&named)))
        }) && overview.problems.iter().any(|problem| problem.contains("VRID"))
    })
    .await?;
    ensure!(world.holders(vip)?.is_empty(), "{:?}", world.holders(vip)?);
    ensure!(host.holds(strange.into())?, "the stranger is as it was");

    keepalived.stop().await?;
    let owner = world.wait_for_one_holder(vip).await.context("once the stranger has gone")?;
    world.wait_for_standby(1 - owner).await?;
    wait_for_overview(&world, "the problem to go", |overview| overview.problems.is_empty()).await?;

    let probe = world.probe(vip).await?;
    let since_us = probe::now_us();
    keepalived.resume()?;
    wait_for("the stranger to be active", LIMIT, async || {
        host.holds(strange.into()).unwrap_or(false)
    })
    .await?;
    // keepalived sends one when it becomes active. Ours, which it cannot read, keep it from the next.
    wait_for_overview(&world, "its adverts to be counted", |overview| {
        let mut parts = overview.groups.iter().flat_map(|group| &group.parts);
        parts.all(|part| part.status.dropped_total.get("unsigned").is_some_and(|n| *n > 0))
    })
    .await?;
    ensure!(world.holders(vip)? == [owner], "{:?}", world.holders(vip)?);
    probe.wait_for_answers(200, RETURN_LIMIT).await?;
    let failed = probe.attempts_since(since_us).into_iter().find(|a| a.outcome.is_err());
    ensure!(failed.is_none(), "{failed:?}");
    fetch(&world.client, vip.into()).await?;
    Ok(())
}
