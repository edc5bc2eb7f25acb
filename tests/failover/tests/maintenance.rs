//! A node in maintenance gives its groups away, gets none by hand, and is there where nobody else is left.

use anyhow::{Result, bail, ensure};
use ballast_client::{ClientError, WriteOptions};
use ballast_model::{Availability, TrafficGroupSpec};
use ballast_test_support::{probe, wait_for};
use ballast_tests_failover::{LIMIT, VRID, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_in_maintenance_gives_its_group_away_and_is_the_last_resort() -> Result<()> {
    let mut world = World::start(1).await?;
    let vip = world.address(100);
    world.put_group("floating", TrafficGroupSpec::new(VRID, [vip.into()])).await?;
    for index in [0, 1] {
        world.wait_for_standby(index).await?;
    }
    let probe = world.probe(vip).await?;
    // An operator's move holds against failback, but not against maintenance.
    let resting = 1 - world.wait_for_one_holder(vip).await?;
    let name = world.cluster.nodes[resting].name().to_owned();
    world.cluster.client().fail_over("floating", Some(&name)).await?;
    world.wait_for_holder(vip, resting).await?;
    let since_us = probe::now_us();
    let wait = WriteOptions::new().wait_applied();
    world.cluster.client().set_availability(&name, Availability::Maintenance, &wait).await?;
    let other = 1 - resting;
    world.wait_for_holder(vip, other).await?;
    wait_for("the other to answer", LIMIT, async || {
        world.answering(&probe).is_ok_and(|index| index == other)
    })
    .await?;
    let gap_ms = probe.longest_gap_ms(since_us);
    ensure!(gap_ms < 1_000.0, "{gap_ms} ms");

    for to in [Some(name.as_str()), None] {
        match world.cluster.client().fail_over("floating", to).await {
            Err(ClientError::Problem(problem)) => {
                ensure!(
                    problem.status == 409 && problem.detail.contains("maintenance"),
                    "{problem}"
                );
            }
            other => bail!("{other:?}"),
        }
    }
    ensure!(world.holders(vip)? == [other]);

    world.cluster.nodes[other].sigkill()?;
    world.wait_for_holder(vip, resting).await?;
    wait_for("the last one to answer", LIMIT, async || {
        world.answering(&probe).is_ok_and(|index| index == resting)
    })
    .await?;
    world.bring_back(other).await?;
    world.wait_for_holder(vip, other).await
}
