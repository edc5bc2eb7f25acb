//! A disk that stalls costs no address and no request, a full one no traffic: what the node keeps there is
//! not on traffic's way.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use ballast_client::WriteOptions;
use ballast_model::{Draft, Failback, NodeRole, PoolSpec, TrafficGroupSpec};
use ballast_test_support::process;
use ballast_test_support::{Lab, NodeOptions, Probe, probe, wait_for};
use ballast_tests_failover::{LIMIT, VRID, World, fetch};

const IMAGE_BYTES: u64 = 256 * 1024 * 1024;

/// A filesystem in a file; thawed and unmounted when dropped.
struct Disk {
    folder: PathBuf,
}

impl Disk {
    async fn mount(image: &Path, folder: &Path) -> Result<Self> {
        std::fs::File::create(image)?.set_len(IMAGE_BYTES)?;
        std::fs::create_dir_all(folder)?;
        let mut mkfs = Command::new("mkfs.ext4");
        mkfs.args(["-q", "-F"]).arg(image);
        process::run(mkfs, LIMIT).await.context("mkfs.ext4 (Debian package e2fsprogs)")?;
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop"]).arg(image).arg(folder);
        process::run(mount, LIMIT).await.context("mounting a loop device")?;
        Ok(Self { folder: folder.to_owned() })
    }

    async fn freeze(&self) -> Result<()> {
        let mut freeze = Command::new("fsfreeze");
        freeze.arg("--freeze").arg(&self.folder);
        process::run(freeze, LIMIT).await.context("fsfreeze (Debian package util-linux)")?;
        Ok(())
    }

    /// Leaves no room on it.
    fn fill(&self) -> Result<()> {
        let mut file = std::fs::File::create(self.folder.join("filling"))?;
        let block = vec![7; 64 * 1024];
        let full = loop {
            if let Err(error) = file.write_all(&block) {
                break error;
            }
        };
        ensure!(full.kind() == std::io::ErrorKind::StorageFull, "{full}");
        Ok(())
    }

    async fn thaw(&self) -> Result<()> {
        let mut thaw = Command::new("fsfreeze");
        thaw.arg("--unfreeze").arg(&self.folder);
        process::run(thaw, LIMIT).await?;
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Thawed already is an error that does not matter; what still has files open keeps them.
        drop(Command::new("fsfreeze").arg("--unfreeze").arg(&self.folder).output());
        drop(Command::new("umount").arg("--lazy").arg(&self.folder).output());
    }
}

/// Two traffic nodes and a witness, the first one's state on a disk of its own; the first one owns.
async fn world_with_a_disk() -> Result<(World, Disk, Probe)> {
    let lab = Lab::with_cluster_network()?;
    // Where the first node will keep its state.
    let folder = lab.dir().join("node-1/state");
    let disk = Disk::mount(&lab.dir().join("disk.img"), &folder).await?;
    let plan = [NodeRole::Traffic, NodeRole::Traffic, NodeRole::Witness].map(NodeOptions::new);
    let plan: Vec<_> = ["node-1", "node-2", "witness"].into_iter().zip(plan).collect();
    let world = World::in_lab(lab, &plan, 1).await?;
    let vip = world.address(100);
    let mut group = TrafficGroupSpec::new(VRID, [vip.into()]);
    group.nodes = vec!["node-1".to_owned(), "node-2".to_owned()];
    // Who hears of a new group first may own it first.
    group.failback = Failback { enabled: true, delay_s: 0 };
    world.put_group("floating", group).await?;
    world.wait_for_holder(vip, 0).await?;
    let probe = world.probe(vip).await?;
    Ok((world, disk, probe))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_no_traffic_and_moves_the_address_to_a_node_whose_disk_is_well()
-> Result<()> {
    let (mut world, disk, probe) = world_with_a_disk().await?;
    let vip = world.address(100);
    disk.fill()?;
    // What must be stored, on and on, until it can't be.
    let witness = world.cluster.client_of(2).clone();
    let mut count = 0;
    wait_for("the address to move", LIMIT, async || {
        count += 1;
        let mut filler = Draft::new("filler", PoolSpec::default());
        filler.description = format!("{count:01000}");
        drop(witness.put(&filler, &WriteOptions::new()).await);
        world.holders(vip).is_ok_and(|holders| holders == [1])
    })
    .await?;
    // Left alone, it serves all the same.
    world.cluster.nodes[1].sigkill()?;
    world.wait_for_holder(vip, 0).await?;
    probe.wait_for_answers(200, LIMIT).await?;
    fetch(&world.client, vip.into()).await?;
    let status = world.cluster.client_of(0).node_status().await?;
    let mut errors = status.planes.iter().filter_map(|plane| plane.error.as_deref());
    ensure!(errors.any(|error| error.contains("no change")), "{:?}", status.planes);
    drop(world);
    drop(disk);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_disk_of_the_owner_costs_neither_address_nor_request() -> Result<()> {
    let (world, disk, probe) = world_with_a_disk().await?;
    let vip = world.address(100);
    let since_us = probe::now_us();
    disk.freeze().await?;
    // Ten intervals and more of adverts, and what the log and the timeline want to write meanwhile.
    probe.wait_for_answers(1_000, LIMIT).await?;
    let failed = probe.attempts_since(since_us).into_iter().find(|a| a.outcome.is_err());
    anyhow::ensure!(failed.is_none(), "{failed:?}");
    anyhow::ensure!(world.holders(vip)? == [0], "{:?}", world.holders(vip)?);
    disk.thaw().await?;
    let client = world.cluster.client_of(0).clone();
    wait_for("the cluster to be writable", LIMIT, async || {
        client.status().await.is_ok_and(|status| status.writable)
    })
    .await?;
    drop(world);
    drop(disk);
    Ok(())
}
