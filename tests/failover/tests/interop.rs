//! With routers of other makers on one segment there is exactly one owner after each event, and the right one.
//!
//! keepalived 2.2.7 and FRR 8.4 know one checksum for IPv4, the one over the pseudo-header, so a group that
//! shares its VRID with them says `checksum: pseudo_header`; what Ballast accepts is either.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use ballast_client::WriteOptions;
use ballast_model::{AdvertChecksum, AdvertTransport, Failback, NodeSpec, TrafficGroupSpec};
use ballast_test_support::peers::{Frr, FrrOptions, Keepalived, KeepalivedOptions};
use ballast_test_support::{Host, wait_for};
use ballast_tests_failover::{LIMIT, RETURN_LIMIT, VRID, World, fetch, link_local};
use rustix::process::Signal;
use serde_json::json;

/// Ballast's priority as the first of the HA order.
const OWN_PRIORITY: u8 = 220;

/// The network that both are on, by its name in the configuration.
const NETWORK: &str = "front";

struct Interop {
    world: World,
    peer: Host,
    addresses: Vec<IpAddr>,
}

impl Interop {
    async fn start(checksum: AdvertChecksum, preempt: bool) -> Result<Self> {
        Self::start_with(preempt, |group| group.checksum = checksum).await
    }

    async fn start_with(preempt: bool, change: impl FnOnce(&mut TrafficGroupSpec)) -> Result<Self> {
        let world = World::of_one_node().await?;
        let peer = world.lab.host("peer", 41)?;
        let floating = [world.address(100).into(), world.address6(100)?];
        let mut group = TrafficGroupSpec::new(VRID, floating);
        // RFC 9568 §5.2.9 wants a link-local address first; Ballast adds the one of the virtual
        // router's hardware address, and keepalived wants the same list on both.
        let link_local = format!("fe80::200:5eff:fe00:2{VRID:02x}").parse()?;
        let addresses = vec![floating[0], link_local, floating[1]];
        group.foreign_routers = vec![peer.ip().into()];
        group.failback = Failback { enabled: preempt, delay_s: 0 };
        change(&mut group);
        world.put_group("shared", group).await?;
        Ok(Self { world, peer, addresses })
    }

    /// Says which device and address the network `front` is on Ballast's node.
    async fn name_network(&self) -> Result<()> {
        let node = self.world.cluster.nodes[0].host();
        let interface = json!({
            "network": NETWORK, "device": "eth0", "ipv4": node.ip(), "ipv6": link_local(node)?,
        });
        let patch = json!({ "spec": { "interfaces": [interface] } });
        let wait = WriteOptions::new().wait_applied();
        self.world.cluster.client().patch::<NodeSpec>(node.name(), &patch, &wait).await?;
        Ok(())
    }

    fn keepalived_options(&self, priority: u8) -> KeepalivedOptions {
        KeepalivedOptions::new(VRID, priority, self.addresses.clone())
    }

    fn keepalived(&self, priority: u8) -> Result<Keepalived> {
        Keepalived::start(&self.peer, &self.keepalived_options(priority))
    }

    /// Kills, stops and freezes Ballast in turn: each time `wait_for_owner` must find the peer in its
    /// place, and Ballast back once it is.
    async fn take_ballast_away(&mut self) -> Result<()> {
        self.world.cluster.nodes[0].sigkill()?;
        self.wait_for_owner(false).await?;
        self.world.bring_back(0).await?;
        self.wait_for_ballast_to_answer().await.context("after Ballast was killed")?;

        self.world.cluster.nodes[0].sigterm(LIMIT).await?;
        self.wait_for_owner(false).await?;
        self.world.bring_back(0).await?;
        self.wait_for_ballast_to_answer().await.context("after Ballast was stopped")?;

        self.world.cluster.nodes[0].sigstop()?;
        self.wait_for_owner(false).await?;
        self.world.cluster.nodes[0].sigcont()?;
        self.wait_for_ballast_to_answer().await.context("after Ballast stood still")
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
        self.wait_for_answers().await
    }

    async fn wait_for_answers(&self) -> Result<()> {
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

    interop.take_ballast_away().await?;

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
async fn interop_keepalived_that_syncs_both_families_moves_as_one_with_ballast() -> Result<()> {
    let mut interop = Interop::start(AdvertChecksum::PseudoHeader, true).await?;
    interop.wait_for_ballast_to_answer().await?;
    let options =
        KeepalivedOptions { synced: true, ..interop.keepalived_options(OWN_PRIORITY - 50) };
    let mut keepalived = Keepalived::start(&interop.peer, &options)?;
    keepalived.wait_ready().await?;
    interop.take_ballast_away().await?;
    keepalived.stop().await?;
    interop.wait_for_ballast_to_answer().await?;

    let options =
        KeepalivedOptions { synced: true, ..interop.keepalived_options(OWN_PRIORITY + 20) };
    let mut keepalived = Keepalived::start(&interop.peer, &options)?;
    interop.wait_for_owner(false).await.context("keepalived is the better one")?;
    keepalived.sigkill()?;
    let ballast = interop.world.cluster.nodes[0].host().clone();
    wait_for("Ballast to take over", RETURN_LIMIT, async || interop.held_by(&ballast) == 3).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interop_keepalived_and_ballast_replace_each_other_by_unicast() -> Result<()> {
    // Both families by unicast: each knows where the other is.
    let mut interop = Interop::start(AdvertChecksum::PseudoHeader, true).await?;
    interop.name_network().await?;
    let peer = interop.peer.clone();
    let mut group = TrafficGroupSpec::new(VRID, [interop.addresses[0], interop.addresses[2]]);
    group.transport = AdvertTransport::Unicast;
    group.network = Some(NETWORK.to_owned());
    group.checksum = AdvertChecksum::PseudoHeader;
    group.foreign_routers = vec![peer.ip().into(), peer.ipv6().context("IPv6")?.into()];
    group.failback = Failback { enabled: true, delay_s: 0 };
    interop.world.put_group("shared", group).await?;
    interop.wait_for_ballast_to_answer().await?;

    let node = interop.world.cluster.nodes[0].host();
    let unicast_peers = vec![node.ip().into(), node.ipv6().context("IPv6")?.into()];
    let options =
        KeepalivedOptions { unicast_peers, ..interop.keepalived_options(OWN_PRIORITY - 50) };
    let mut keepalived = Keepalived::start(&peer, &options)?;
    keepalived.wait_ready().await?;
    interop.take_ballast_away().await?;
    keepalived.stop().await?;

    let mut keepalived =
        Keepalived::start(&peer, &KeepalivedOptions { priority: OWN_PRIORITY + 20, ..options })?;
    interop.wait_for_owner(false).await.context("keepalived is the better one")?;
    keepalived.stop().await?;
    interop.wait_for_ballast_to_answer().await
}

/// Whether both families of FRR's are active; none while they differ.
async fn is_active(frr: &Frr) -> Option<bool> {
    let (v4, v6) = (frr.is_active(false).await.ok()?, frr.is_active(true).await.ok()?);
    (v4 == v6).then_some(v4)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interop_ballast_backs_frr_of_higher_priority_up() -> Result<()> {
    let interop = Interop::start(AdvertChecksum::PseudoHeader, true).await?;
    interop.wait_for_ballast_to_answer().await?;
    let ballast = interop.world.cluster.nodes[0].host().clone();
    let options = FrrOptions::new(VRID, OWN_PRIORITY + 20, interop.addresses.clone());
    // It comes later and preempts.
    let mut frr = Frr::start(&interop.peer, &options).await?;
    let frr_alone = async |frr: &Frr, when: &'static str| -> Result<()> {
        let alone = async || interop.held_by(&ballast) == 0 && is_active(frr).await == Some(true);
        wait_for("FRR alone to own all", RETURN_LIMIT, alone).await.context(when)
    };
    let ballast_owns = async || {
        wait_for("Ballast to take over", LIMIT, async || interop.held_by(&ballast) == 3).await
    };
    frr_alone(&frr, "after it came").await?;

    frr.stop().await?;
    ballast_owns().await?;
    interop.wait_for_answers().await.context("after FRR was stopped")?;
    frr.resume()?;
    frr_alone(&frr, "after it came back").await?;

    frr.signal(Signal::STOP)?;
    ballast_owns().await?;
    frr.signal(Signal::CONT)?;
    frr_alone(&frr, "after it stood still").await?;

    frr.sigkill()?;
    ballast_owns().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interop_frr_and_ballast_replace_each_other() -> Result<()> {
    let mut interop = Interop::start(AdvertChecksum::PseudoHeader, true).await?;
    interop.wait_for_ballast_to_answer().await?;
    let options = FrrOptions::new(VRID, OWN_PRIORITY - 50, interop.addresses.clone());
    let mut frr = Frr::start(&interop.peer, &options).await?;
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
