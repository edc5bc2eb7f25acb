//! Addresses with hardware addresses of their own: whoever owns them, clients see one and the same.

use anyhow::{Context, Result, ensure};
use ballast_model::{AdvertChecksum, Failback, TrafficGroupSpec};
use ballast_test_support::peers::{Keepalived, KeepalivedOptions};
use ballast_test_support::{ArpWatch, probe, wait_for};
use ballast_tests_failover::{LIMIT, RETURN_LIMIT, VRID, World, fetch};

/// RFC 9568 §7.3, with the VRID in its last byte.
const MAC: &str = "00:00:5e:00:01:33";
/// Ballast's priority as the first of the HA order.
const OWN_PRIORITY: u8 = 220;

/// Nobody but the virtual router answers, and nobody else has answered or announced since then.
fn ensure_one_mac(watch: &ArpWatch, since_us: u64) -> Result<()> {
    let owners = watch.owners();
    ensure!(owners.iter().eq([MAC]), "{owners:?} answer");
    let announced = watch.announced_since(since_us);
    ensure!(announced.keys().all(|mac| mac == MAC), "{announced:?} announce");
    let (rivals, _) = watch.rivalry_since(since_us);
    ensure!(rivals == 0, "{rivals} questions were answered from two hardware addresses");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_owner_and_a_planned_move_change_no_neighbour_table() -> Result<()> {
    let mut world = World::start(1).await?;
    let (vip, vip6) = (world.address(100), world.address6(100)?);
    let mut group = TrafficGroupSpec::new(VRID, [vip.into(), vip6]);
    group.virtual_mac = true;
    world.put_group("floating", group).await?;
    let probe = world.probe(vip).await?;
    let owner = world.wait_for_one_holder(vip).await?;
    let watch = ArpWatch::start(&world.observer, vip)?;
    let since_us = probe::now_us();
    for node in [0, 1] {
        world.wait_for_standby(node).await?;
    }

    world.cluster.nodes[owner].sigkill()?;
    let other = 1 - owner;
    wait_for("the other to answer", LIMIT, async || {
        world.answering(&probe).is_ok_and(|index| index == other)
    })
    .await?;
    ensure_one_mac(&watch, since_us)?;
    // What the dead one left answers nobody once its lease is over, and is gone when it returns.
    world.wait_for_holder(vip, other).await?;
    fetch(&world.client, vip6).await?;
    world.bring_back(owner).await?;
    world.wait_for_standby(owner).await?;

    world.cluster.nodes[other].sigterm(LIMIT).await?;
    world.wait_for_holder(vip, owner).await?;
    world.wait_for_holder(vip6, owner).await?;
    probe.wait_for_answers(20, LIMIT).await?;
    fetch(&world.client, vip6).await?;
    ensure_one_mac(&watch, since_us)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interop_keepalived_with_a_virtual_mac_of_its_own_takes_turns() -> Result<()> {
    let mut world = World::of_one_node().await?;
    let peer = world.lab.host("peer", 41)?;
    let vip = world.address(100);
    let mut group = TrafficGroupSpec::new(VRID, [vip.into()]);
    group.virtual_mac = true;
    group.foreign_routers = vec![peer.ip().into()];
    group.checksum = AdvertChecksum::PseudoHeader;
    group.failback = Failback { enabled: true, delay_s: 0 };
    world.put_group("shared", group).await?;
    world.wait_for_holder(vip, 0).await?;
    let watch = ArpWatch::start(&world.observer, vip)?;
    let since_us = probe::now_us();

    let mut options = KeepalivedOptions::new(VRID, OWN_PRIORITY - 50, [vip.into()]);
    options.virtual_mac = true;
    let keepalived = Keepalived::start(&peer, &options)?;
    keepalived.wait_ready().await?;
    fetch(&world.client, vip.into()).await.context("keepalived backs Ballast up")?;
    ensure!(!peer.holds(vip.into())?);

    world.cluster.nodes[0].sigkill()?;
    let ballast = world.cluster.nodes[0].host().clone();
    let is_peers = async || {
        peer.holds(vip.into()).unwrap_or(false) && !ballast.holds(vip.into()).unwrap_or(true)
    };
    wait_for("keepalived to own it", RETURN_LIMIT, is_peers).await?;
    world.bring_back(0).await?;
    world.wait_for_holder(vip, 0).await.context("Ballast is better")?;
    wait_for("keepalived to let go", LIMIT, async || !peer.holds(vip.into()).unwrap_or(true))
        .await?;
    fetch(&world.client, vip.into()).await?;
    ensure_one_mac(&watch, since_us)
}
