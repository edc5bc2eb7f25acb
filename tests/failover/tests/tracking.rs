//! What makes a node less fit than another: a gateway that it does not reach, a network without link. What
//! fails for all nodes is no reason to move.

use anyhow::{Context, Result, ensure};
use ballast_client::WriteOptions;
use ballast_model::ha::{GroupStatus, TrackedState, TrackedStatus};
use ballast_model::{NodeInterface, NodeSpec, TrackedGateway, TrackedNetwork, TrafficGroupSpec};
use ballast_test_support::{Segment, wait_for};
use ballast_tests_failover::{LIMIT, RETURN_LIMIT, VRID, World};

/// The part in the group that a node says it has.
async fn part(world: &World, index: usize) -> Result<GroupStatus> {
    let status = world.cluster.client_of(index).node_status().await?;
    let part = status.ha.and_then(|ha| ha.groups.into_iter().next());
    part.context("it has no part in the group")
}

/// Waits until a node finds the one thing that is tracked so, and returns what it says of it.
async fn wait_tracked(world: &World, index: usize, state: TrackedState) -> Result<TrackedStatus> {
    let mut last = None;
    let waited = wait_for("the tracked thing to be found so", RETURN_LIMIT, async || {
        last = part(world, index).await.ok().and_then(|part| part.tracked.into_iter().next());
        last.as_ref().is_some_and(|tracked| tracked.state == state)
    })
    .await;
    waited.with_context(|| format!("node {index}, {state:?}: {last:?}"))?;
    last.context("it was just there")
}

async fn transitions(world: &World) -> Result<Vec<u64>> {
    Ok(vec![part(world, 0).await?.transitions_total, part(world, 1).await?.transitions_total])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_one_node_loses_moves_the_group_and_one_that_all_lose_does_not() -> Result<()>
{
    let world = World::start(1).await?;
    let gateway = world.lab.host("gateway", 41)?;
    let vip = world.address(100);
    let mut group = TrafficGroupSpec::new(VRID, [vip.into()]);
    group.tracking.gateways = vec![TrackedGateway { address: gateway.ip().into(), weight: 20 }];
    world.put_group("floating", group).await?;
    let probe = world.probe(vip).await?;
    let owner = world.wait_for_one_holder(vip).await?;
    let other = 1 - owner;
    for index in [0, 1] {
        world.wait_for_standby(index).await?;
        wait_tracked(&world, index, TrackedState::Well).await?;
    }

    world.lab.partition(Segment::Clients, &[&gateway], &[world.cluster.nodes[owner].host()])?;
    world.wait_for_holder(vip, other).await?;
    let lost = wait_tracked(&world, owner, TrackedState::Failed).await?;
    ensure!(lost.since_ms > 0 && lost.reason.is_some(), "{lost:?}");
    let metrics = world.cluster.client_of(owner).metrics().await?;
    let failed = metrics.lines().any(|line| {
        line.starts_with("ballast_ha_tracked_failed{")
            && line.contains("gateway")
            && line.ends_with(" 1")
    });
    ensure!(failed, "{metrics}");
    world.lab.heal()?;
    wait_tracked(&world, owner, TrackedState::Well).await?;
    probe.wait_for_answers(100, LIMIT).await?;

    let before = transitions(&world).await?;
    gateway.link_down(Segment::Clients)?;
    for index in [0, 1] {
        wait_tracked(&world, index, TrackedState::Failed).await?;
    }
    gateway.link_up(Segment::Clients)?;
    for index in [0, 1] {
        wait_tracked(&world, index, TrackedState::Well).await?;
    }
    ensure!(transitions(&world).await? == before, "the group moved");
    ensure!(world.holders(vip)? == [other]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_further_network_without_link_moves_the_group() -> Result<()> {
    let world = World::start(1).await?;
    let wait = WriteOptions::new().wait_applied();
    for index in [0, 1] {
        let name = world.cluster.nodes[index].name();
        let mut node = world.cluster.client().get::<NodeSpec>(name).await?.to_draft();
        node.spec.interfaces = vec![NodeInterface {
            network: "back".to_owned(),
            device: Segment::Cluster.interface().to_owned(),
            ipv4: None,
            ipv6: None,
        }];
        world.cluster.client().put(&node, &wait).await?;
    }
    let vip = world.address(100);
    let mut group = TrafficGroupSpec::new(VRID, [vip.into()]);
    group.tracking.networks = vec![TrackedNetwork { network: "back".to_owned(), weight: 20 }];
    world.put_group("floating", group).await?;
    let owner = world.wait_for_one_holder(vip).await?;
    for index in [0, 1] {
        world.wait_for_standby(index).await?;
        wait_tracked(&world, index, TrackedState::Well).await?;
    }
    world.cluster.nodes[owner].host().link_down(Segment::Cluster)?;
    world.wait_for_holder(vip, 1 - owner).await?;
    let lost = wait_tracked(&world, owner, TrackedState::Failed).await?;
    ensure!(lost.reason.as_deref() == Some("network back: eth1 has no link"), "{lost:?}");
    Ok(())
}
