//! With routers of other makers on one segment there is exactly one owner after each event, and the right one.
//!
//! keepalived 2.2.7 and FRR 8.4 know one checksum for IPv4, the one over the pseudo-header, so a group that
//! shares its VRID with them says `checksum: pseudo_header`; what Ballast accepts is either.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use ballast_model::{AdvertChecksum, Failback, TrafficGroupSpec};
use ballast_test_support::peers::{Frr, FrrOptions, Keepalived, KeepalivedOptions};
use ballast_test_support::{Host, wait_for};
use ballast_tests_failover::{LIMIT, RETURN_LIMIT, VRID, World, fetch};
use rustix::process::Signal;

/// Ballast's priority as the first of the HA order.
const OWN_PRIORITY: u8 = 200;

struct Interop {
    world: World,
    peer: Host,
    addresses: Vec<IpAddr>,
}

impl Interop {
    async fn start(checksum: AdvertChecksum, preempt: bool) -> Result<Self> {
        let world = World::of_one_node().await?;
        let peer = world.lab.host("peer", 41)?;
        let floating = [world.address(100).into(), world.address6(100)?];
        let mut group = TrafficGroupSpec::new(VRID, floating);
        // RFC 9568 §5.2.9 wants a link-local address first; Ballast adds the one of the virtual
        // router's hardware address, and keepalived wants the same list on both.
        let link_local = format!("fe80::200:5eff:fe00:2{VRID:02x}").parse()?;
        let addresses = vec![floating[0], link_local, floating[1]];
        group.foreign_routers = vec![peer.ip().into()];
        group.checksum = checksum;
        group.failback = Failback { enabled: preempt, delay_s: 0 };
        world.put_group("shared", group).await?;
        Ok(Self { world, peer, addresses })
    }

    fn keepalived(&self, priority: u8) -> Result<Keepalived> {
        Keepalived::start(
            &self.peer,
            &KeepalivedOptions::new(VRID, priority, self.addresses.clone()),
        )
    }

    fn held_by(&self, host: &Host) -> usize {
        let held = host.addresses().unwrap_or_default();
        self.addresses.iter().filter(|wanted| held.iter().any(|(_, ip)| ip == *wanted)).count()
    }

    /// All addresses on Ballast and none on the peer, or the other way round.
    async fn wait_for_owner(&self, is_ballast: bool) -> Result<()> {
        let ballast = self.world.cluster.nodes[0].host();
        let (owner, other) = if is_ballast { (ballast, &self.peer) } else { (&self.peer, ballast) };
        let mut last = (0, 0);
        let waited = wait_for("one owner of all addresses", RETURN_LIMIT, async || {
            last = (self.held_by(owner), self.held_by(other));
            last == (self.addresses.len(), 0)
        })
        .await;
        waited.with_context(|| {
            let log = self.world.cluster.nodes[0].log_tail(15);
            format!("{} has {}, {} has {}\n{log}", owner.name(), last.0, other.name(), last.1)
        })
    }

    async fn wait_for_ballast_to_answer(&self) -> Result<()> {
        self.wait_for_owner(true).await?;
        for address in [self.addresses[0], self.addresses[2]] {
            let mut last = None;
            let waited = wait_for("an answer", LIMIT, async || {
                last = fetch(&self.world.client, address).await.err();
                last.is_none()
            })
            .await;
            waited.with_context(|| format!("{address}: {last:?}"))?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interop_keepalived_of_lower_priority_backs_ballast_up() -> Result<()> {
    let mut interop = Interop::start(AdvertChecksum::PseudoHeader, true).await?;
    interop.wait_for_ballast_to_answer().await?;
    let mut keepalived = interop.keepalived(OWN_PRIORITY - 50)?;
    keepalived.wait_ready().await?;
    interop.wait_for_ballast_to_answer().await?;

    interop.world.cluster.nodes[0].sigkill()?;
    interop.wait_for_owner(false).await?;
    interop.world.bring_back(0).await?;
    interop.wait_for_ballast_to_answer().await.context("after Ballast was killed")?;

    interop.world.cluster.nodes[0].sigterm(LIMIT).await?;
    interop.wait_for_owner(false).await?;
    interop.world.bring_back(0).await?;
    interop.wait_for_ballast_to_answer().await.context("after Ballast was stopped")?;

    interop.world.cluster.nodes[0].sigstop()?;
    interop.wait_for_owner(false).await?;
    interop.world.cluster.nodes[0].sigcont()?;
    interop.wait_for_ballast_to_answer().await.context("after Ballast stood still")?;

    keepalived.sigkill()?;
    interop.wait_for_ballast_to_answer().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interop_ballast_backs_keepalived_of_higher_priority_up() -> Result<()> {
    let interop = Interop::start(AdvertChecksum::PseudoHeader, true).await?;
    interop.wait_for_ballast_to_answer().await?;
    // It comes later and preempts.
    let mut keepalived = interop.keepalived(OWN_PRIORITY + 20)?;
    interop.wait_for_owner(false).await?;

    keepalived.stop().await?;
    interop.wait_for_ballast_to_answer().await.context("after keepalived was stopped")?;
    keepalived.resume()?;
    interop.wait_for_owner(false).await.context("after keepalived came back")?;

    keepalived.signal(Signal::STOP)?;
    let ballast = interop.world.cluster.nodes[0].host().clone();
    wait_for("Ballast to take over", RETURN_LIMIT, async || interop.held_by(&ballast) == 3).await?;
    keepalived.signal(Signal::CONT)?;
    interop.wait_for_owner(false).await.context("after keepalived stood still")?;

    keepalived.sigkill()?;
    // Its addresses stay on its host until it starts again; Ballast owns them nevertheless.
    wait_for("Ballast to take over", RETURN_LIMIT, async || interop.held_by(&ballast) == 3).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interop_adverts_of_keepalived_are_believed_whatever_checksum_is_sent() -> Result<()> {
    let interop = Interop::start(AdvertChecksum::Rfc9568, false).await?;
    interop.wait_for_ballast_to_answer().await?;
    // keepalived does not believe the RFC's checksum and becomes active too; Ballast hears that it is
    // better and lets go, so there is one owner all the same.
    let mut keepalived = interop.keepalived(OWN_PRIORITY + 20)?;
    interop.wait_for_owner(false).await?;
    keepalived.stop().await?;
    interop.wait_for_ballast_to_answer().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interop_frr_and_ballast_replace_each_other() -> Result<()> {
    let mut interop = Interop::start(AdvertChecksum::PseudoHeader, true).await?;
    interop.wait_for_ballast_to_answer().await?;
    let options = FrrOptions::new(VRID, OWN_PRIORITY - 50, interop.addresses.clone());
    let mut frr = Frr::start(&interop.peer, &options).await?;
    let is_active = async |frr: &Frr| -> Option<bool> {
        let (v4, v6) = (frr.is_active(false).await.ok()?, frr.is_active(true).await.ok()?);
        (v4 == v6).then_some(v4)
    };
    wait_for("FRR to be a backup", LIMIT, async || is_active(&frr).await == Some(false)).await?;
    let ballast = interop.world.cluster.nodes[0].host().clone();
    ensure!(interop.held_by(&ballast) == 3);

    interop.world.cluster.nodes[0].sigkill()?;
    wait_for("FRR to take over", LIMIT, async || is_active(&frr).await == Some(true)).await?;
    interop.world.bring_back(0).await?;
    wait_for("FRR to give back", LIMIT, async || is_active(&frr).await == Some(false)).await?;
    wait_for("Ballast to own all", LIMIT, async || interop.held_by(&ballast) == 3).await?;
    frr.stop().await?;
    fetch(&interop.world.client, interop.addresses[0]).await?;
    Ok(())
}
