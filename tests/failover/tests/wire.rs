//! What leaves a node, read at the switch, and what its kernel takes in: the rows of `docs/conformance.md`
//! that no pure code can answer for.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, ensure};
use ballast_client::WriteOptions;
use ballast_model::{AdvertTransport, Failback, NodeSpec, TrafficGroupSpec};
use ballast_test_support::capture::{ADVERTS, Advert};
use ballast_test_support::{Capture, Host, Segment, process, wait_for};
use ballast_tests_failover::{LIMIT, PORT, VRID, World, fetch, link_local};
use serde_json::json;

const MULTICAST: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18)),
    IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12)),
];

/// Adverts that are enough to judge by.
const ENOUGH: usize = 10;

async fn world_with_both_families() -> Result<(World, [IpAddr; 2])> {
    let world = World::start(1).await?;
    let addresses = [world.address(100).into(), world.address6(100)?];
    world.put_group("floating", TrafficGroupSpec::new(VRID, addresses)).await?;
    for index in [0, 1] {
        world.wait_for_standby(index).await?;
    }
    Ok((world, addresses))
}

async fn ip(host: &Host, arguments: &str) -> Result<String> {
    let mut command = host.command("ip");
    command.args(arguments.split(' '));
    Ok(String::from_utf8_lossy(&process::run(command, LIMIT).await?.stdout).into_owned())
}

/// Records until there are enough adverts, and returns all.
async fn adverts(world: &World, name: &str) -> Result<Vec<Advert>> {
    let mut capture = Capture::start(&world.lab, Segment::Clients, name, ADVERTS).await?;
    let mut adverts = Vec::new();
    wait_for("adverts", LIMIT, async || {
        adverts = capture.adverts().unwrap_or_default();
        adverts.len() >= ENOUGH
    })
    .await?;
    Ok(adverts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adverts_go_to_the_groups_of_vrrp_or_to_the_named_nodes_alone() -> Result<()> {
    let (world, addresses) = world_with_both_families().await?;
    let owner = world.wait_for_one_holder(addresses[0]).await?;
    let host = world.cluster.nodes[owner].host();
    let own: BTreeSet<IpAddr> = [host.ip().into(), link_local(host)?.into()].into();
    // The filter is IP protocol 112.
    let by_multicast = adverts(&world, "multicast").await?;
    ensure!(by_multicast.iter().all(|advert| advert.hop_limit == 255), "{by_multicast:?}");
    ensure!(by_multicast.iter().all(|advert| MULTICAST.contains(&advert.destination)));
    let from: BTreeSet<_> = by_multicast.iter().map(|advert| advert.source).collect();
    ensure!(from == own, "{from:?}, not {own:?}");

    let wait = WriteOptions::new().wait_applied();
    for node in &world.cluster.nodes[..2] {
        let host = node.host();
        let interface = json!({
            "network": "front", "device": Segment::Clients.interface(), "ipv4": host.ip(),
            "ipv6": link_local(host)?,
        });
        let patch = json!({ "spec": { "interfaces": [interface] } });
        world.cluster.client().patch::<NodeSpec>(node.name(), &patch, &wait).await?;
    }
    let mut group = TrafficGroupSpec::new(VRID, addresses);
    group.transport = AdvertTransport::Unicast;
    group.network = Some("front".to_owned());
    world.put_group("floating", group).await?;
    let owner = world.wait_for_one_holder(addresses[0]).await?;
    world.wait_for_standby(1 - owner).await?;
    let [host, peer] = [owner, 1 - owner].map(|index| world.cluster.nodes[index].host());
    let by_unicast = adverts(&world, "unicast").await?;
    ensure!(by_unicast.iter().all(|advert| advert.hop_limit == 255), "{by_unicast:?}");
    let to: BTreeSet<_> = by_unicast.iter().map(|advert| advert.destination).collect();
    ensure!(to == [peer.ip().into(), link_local(peer)?.into()].into(), "{to:?}");
    let from: BTreeSet<_> = by_unicast.iter().map(|advert| advert.source).collect();
    ensure!(from == [host.ip().into(), link_local(host)?.into()].into(), "{from:?}");
    ensure!(world.holders(addresses[0])? == [owner] && world.holders(addresses[1])? == [owner]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adverts_stay_on_their_network_though_a_node_forwards() -> Result<()> {
    let (world, addresses) = world_with_both_families().await?;
    let owner = world.wait_for_one_holder(addresses[0]).await?;
    // Every host but the owner stands on both networks and would be a way across.
    for host in [world.cluster.nodes[1 - owner].host(), &world.observer] {
        let mut forward = host.command("sysctl");
        forward.args(["-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
        process::run(forward, LIMIT).await?;
    }
    let mut elsewhere = Capture::start(&world.lab, Segment::Cluster, "elsewhere", ADVERTS).await?;
    let here = adverts(&world, "here").await?;
    ensure!(here.iter().any(|advert| advert.source.is_ipv6()));
    let strayed = elsewhere.adverts()?;
    ensure!(strayed.is_empty(), "{strayed:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_owner_takes_in_what_is_sent_to_the_addresses() -> Result<()> {
    let (world, [vip, vip6]) = world_with_both_families().await?;
    let owner = world.wait_for_one_holder(vip).await?;
    world.wait_for_holder(vip6, owner).await?;
    let [host, backup] = [owner, 1 - owner].map(|index| world.cluster.nodes[index].host());
    // RFC 4291 §2.7.1: the group is made of the last three octets.
    let group = "ff02::1:ff00:100";
    ensure!(ip(host, "-6 maddress show dev eth0").await?.contains(group));
    ensure!(!ip(backup, "-6 maddress show dev eth0").await?.contains(group));
    for address in [vip, vip6] {
        let neighbour = |mac: &str| format!("neighbour replace {address} lladdr {mac} dev eth0");
        // Whatever the client believes, nobody but the owner takes its packets.
        ip(&world.client, &format!("{} nud permanent", neighbour(&backup.mac()))).await?;
        let mut curl = world.client.command("curl");
        let url = match address {
            IpAddr::V4(ip) => format!("http://{ip}:{PORT}/"),
            IpAddr::V6(ip) => format!("http://[{ip}]:{PORT}/"),
        };
        curl.args(["--silent", "--max-time", "1", &url]);
        let output = process::try_run(curl, LIMIT).await?;
        ensure!(output.status.code() == Some(28), "a backup answers: {output:?}");
        ip(&world.client, &format!("{} nud permanent", neighbour(&host.mac()))).await?;
        fetch(&world.client, address).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn announcements_are_believed_by_owners_and_backups_alike() -> Result<()> {
    let world = World::start(1).await?;
    let addresses = [world.address6(100)?, world.address6(101)?];
    for (index, address) in addresses.into_iter().enumerate() {
        let names = ["node-1", "node-2"];
        let mut group = TrafficGroupSpec::new(VRID + u8::try_from(index)?, [address]);
        group.nodes = vec![names[index].to_owned(), names[1 - index].to_owned()];
        // Who hears of a new group first may own it first.
        group.failback = Failback { enabled: true, delay_s: 0 };
        world.put_group(["one", "two"][index], group).await?;
    }
    // Each owns one group and backs the other up, and believes something wrong of what it does not own.
    for (index, address) in addresses.into_iter().enumerate() {
        world.wait_for_holder(address, index).await?;
        let (host, other) =
            (world.cluster.nodes[1 - index].host(), world.cluster.nodes[index].host());
        let wrong = "02:00:00:00:00:01";
        ip(host, &format!("neighbour replace {address} lladdr {wrong} dev eth0 nud stale")).await?;
        // Of three bursts the last comes after five seconds.
        let mut shown = String::new();
        let right = other.mac();
        let waited = wait_for("the right neighbour", LIMIT, async || {
            shown =
                ip(host, &format!("neighbour show {address} dev eth0")).await.unwrap_or_default();
            shown.contains(&right)
        });
        waited.await.with_context(|| format!("{shown}, and not {right}"))?;
    }
    Ok(())
}
