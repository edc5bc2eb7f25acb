//! A disk that stalls costs no address and no request: what the node keeps there is not on traffic's way.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use ballast_model::{Failback, NodeRole, TrafficGroupSpec};
use ballast_test_support::process;
use ballast_test_support::{Lab, NodeOptions, probe, wait_for};
use ballast_tests_failover::{LIMIT, VRID, World};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_disk_of_the_owner_costs_neither_address_nor_request() -> Result<()> {
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
