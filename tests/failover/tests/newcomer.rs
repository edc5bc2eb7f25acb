//! A node that starts knows of members what the others know, until its own probes tell.

use anyhow::{Context, Result, ensure};
use ballast_client::WriteOptions;
use ballast_model::status::{Health, MemberStatus};
use ballast_model::{Draft, MemberSpec, MonitorKind, MonitorSpec, PoolSpec};
use ballast_test_support::{Segment, wait_for};
use ballast_tests_failover::{LIMIT, RETURN_LIMIT, World};

/// What a node says of the only member that is probed.
async fn member(world: &World, index: usize) -> Result<MemberStatus> {
    let status = world.cluster.client_of(index).node_status().await?;
    let mut members = status.members.into_iter();
    members.find(|member| member.pool == "watched").context("there is no such member")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_adopts_what_others_know_of_members_until_its_own_probes_end()
-> Result<()> {
    let mut world = World::start(1).await?;
    let wait = WriteOptions::new().wait_applied();
    let mut monitor = MonitorSpec::new(MonitorKind::Tcp);
    monitor.fall = 1;
    world.cluster.client().put(&Draft::new("tcp", monitor), &wait).await?;
    let mut pool = PoolSpec { monitors: vec!["tcp".to_owned()], ..PoolSpec::default() };
    pool.members = vec![MemberSpec::new(world.origins[0].http())];
    world.cluster.client().put(&Draft::new("watched", pool), &wait).await?;
    for index in [0, 1] {
        wait_for("the first verdict", LIMIT, async || {
            member(&world, index).await.is_ok_and(|member| member.health == Health::Up)
        })
        .await?;
    }

    // Its own probes get no answer for some seconds, and then an error.
    world.cluster.nodes[1].sigkill()?;
    let newcomer = world.cluster.nodes[1].host().clone();
    world.lab.partition(Segment::Clients, &[&newcomer], &[world.origins[0].host()])?;
    world.cluster.nodes[1].start()?;
    let mut last = None;
    let adopted = wait_for("the other's verdict", RETURN_LIMIT, async || {
        last = member(&world, 1).await.ok();
        last.as_ref().is_some_and(|member| member.reason.ends_with("as node node-1 sees it"))
    })
    .await;
    adopted.with_context(|| format!("{last:?}"))?;
    ensure!(last.as_ref().is_some_and(|member| member.health == Health::Up), "{last:?}");
    wait_for("its own verdict", LIMIT, async || {
        member(&world, 1).await.is_ok_and(|member| member.health == Health::Down)
    })
    .await?;
    ensure!(member(&world, 0).await?.health == Health::Up);
    Ok(())
}
