//! A move is asked of any node, needs no quorum, and is refused with a reason where it can't work.

use anyhow::{Context, Result, ensure};
use ballast_client::Client;
use ballast_model::{NodeRole, TrafficGroupSpec};
use ballast_test_support::{NodeOptions, Segment, probe, wait_for};
use ballast_tests_failover::{LIMIT, VRID, World};

const GROUP: &str = "floating";

/// Two traffic nodes that are no majority without the witnesses.
const PLAN: [(&str, NodeRole); 5] = [
    ("node-1", NodeRole::Traffic),
    ("node-2", NodeRole::Traffic),
    ("witness-1", NodeRole::Witness),
    ("witness-2", NodeRole::Witness),
    ("witness-3", NodeRole::Witness),
];

/// Asks `client` to move the group to the other node.
async fn move_through(world: &World, client: &Client) -> Result<()> {
    let vip = world.address(100);
    let owner = world.wait_for_one_holder(vip).await?;
    let to = world.cluster.nodes[1 - owner].name();
    let report = client.fail_over(GROUP, Some(to)).await?;
    ensure!(report.moves.len() == 1 && report.moves[0].error.is_none(), "{report:?}");
    ensure!(report.moves[0].to == to, "{report:?}");
    world.wait_for_holder(vip, 1 - owner).await
}

async fn is_writable(client: &Client) -> bool {
    client.status().await.is_ok_and(|status| status.writable)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_may_be_asked_of_any_node_and_needs_no_quorum() -> Result<()> {
    let plan = PLAN.map(|(name, role)| (name, NodeOptions::new(role)));
    let mut world = World::with_nodes(&plan, 1).await?;
    let vip = world.address(100);
    world.put_group(GROUP, TrafficGroupSpec::new(VRID, [vip.into()])).await?;
    for index in [0, 1] {
        world.wait_for_standby(index).await?;
    }
    let probe = world.probe(vip).await?;
    let since_us = probe::now_us();
    // Of the owner or not, as it comes; then of a witness.
    for index in [0, 1, 2] {
        let client = world.cluster.client_of(index).clone();
        move_through(&world, &client).await.with_context(|| format!("asked of node {index}"))?;
    }
    for index in [2, 3, 4] {
        world.cluster.nodes[index].sigkill()?;
    }
    for index in [0, 1] {
        let client = world.cluster.client_of(index).clone();
        wait_for("the quorum to be missed", LIMIT, async || !is_writable(&client).await).await?;
    }
    for index in [0, 1] {
        let client = world.cluster.client_of(index).clone();
        let moved = move_through(&world, &client).await;
        moved.with_context(|| format!("asked of node {index} without a quorum"))?;
    }
    probe.wait_for_answers(100, LIMIT).await?;
    ensure!(probe.longest_gap_ms(since_us) < 1_000.0, "{}", probe.longest_gap_ms(since_us));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_to_a_node_that_cannot_be_reached_is_refused_with_the_reason() -> Result<()> {
    let world = World::start(1).await?;
    let vip = world.address(100);
    world.put_group(GROUP, TrafficGroupSpec::new(VRID, [vip.into()])).await?;
    for index in [0, 1] {
        world.wait_for_standby(index).await?;
    }
    let probe = world.probe(vip).await?;
    let owner = world.wait_for_one_holder(vip).await?;
    let since_us = probe::now_us();
    let [one, two] = [0, 1].map(|index| world.cluster.nodes[index].host());
    world.lab.partition(Segment::Cluster, &[one], &[two])?;
    let to = world.cluster.nodes[1 - owner].name();
    // The witness reaches both, the owner only itself.
    for index in [owner, 2] {
        let client = world.cluster.client_of(index);
        let why = match client.fail_over(GROUP, Some(to)).await {
            Err(error) => error.chain(),
            Ok(report) => report.moves[0].error.clone().context("it was moved")?,
        };
        ensure!(why.contains(to), "{why}");
        ensure!(world.holders(vip)? == [owner], "{:?}", world.holders(vip)?);
    }
    world.lab.heal()?;
    probe.wait_for_answers(100, LIMIT).await?;
    let failed = probe.attempts_since(since_us).into_iter().find(|a| a.outcome.is_err());
    ensure!(failed.is_none(), "{failed:?}");
    let client = world.cluster.client_of(owner).clone();
    wait_for("the move to work again", LIMIT, async || {
        client.fail_over(GROUP, Some(to)).await.is_ok_and(|report| report.moves[0].error.is_none())
    })
    .await?;
    world.wait_for_holder(vip, 1 - owner).await
}
