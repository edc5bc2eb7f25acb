//! An upgrade of the owner moves nothing: its addresses stay, no other node stirs, and clients see nothing.

use anyhow::{Result, ensure};
use ballast_client::HaEventsQuery;
use ballast_model::TrafficGroupSpec;
use ballast_model::ha::HaTransition;
use ballast_test_support::{probe, wait_for};
use ballast_tests_failover::{LIMIT, VRID, World};

async fn transitions(world: &World, index: usize) -> Result<Vec<HaTransition>> {
    let query = HaEventsQuery::default();
    let timeline = world.cluster.client_of(index).ha_events(&query).await?;
    let name = world.cluster.nodes[index].name();
    Ok(timeline.items.into_iter().filter(|item| item.node == name).collect())
}

async fn addresses_stay_where_they_are(virtual_mac: bool) -> Result<()> {
    let mut world = World::start(1).await?;
    let vip = world.address(100);
    let group = TrafficGroupSpec { virtual_mac, ..TrafficGroupSpec::new(VRID, [vip.into()]) };
    world.put_group("floating", group).await?;
    for index in [0, 1] {
        world.wait_for_standby(index).await?;
    }
    let probe = world.probe(vip).await?;
    let owner = world.wait_for_one_holder(vip).await?;
    let before = transitions(&world, 1 - owner).await?.len();
    let since_us = probe::now_us();
    for _ in 0..2 {
        world.cluster.nodes[owner].upgrade(LIMIT).await?;
        ensure!(world.holders(vip)? == [owner], "{:?}", world.holders(vip)?);
        // Long enough for another node to take over, had it reason to.
        probe.wait_for_answers(100, LIMIT).await?;
    }
    let failed: Vec<_> = probe.attempts_since(since_us);
    let failed: Vec<_> = failed.into_iter().filter(|attempt| attempt.outcome.is_err()).collect();
    ensure!(failed.is_empty(), "{failed:?}");
    let after = transitions(&world, 1 - owner).await?;
    ensure!(after.len() == before, "the other node stirred: {after:?}");
    wait_for("the new process to tell that it goes on", LIMIT, async || {
        let told = transitions(&world, owner).await.unwrap_or_default();
        told.iter().any(|item| item.reason == "resumed")
    })
    .await?;
    // It is the owner in every respect: its end is noticed as any other's.
    world.cluster.nodes[owner].sigkill()?;
    world.wait_for_holder(vip, 1 - owner).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_of_the_owner_moves_no_address() -> Result<()> {
    addresses_stay_where_they_are(false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_of_the_owner_keeps_its_virtual_macs() -> Result<()> {
    addresses_stay_where_they_are(true).await
}
