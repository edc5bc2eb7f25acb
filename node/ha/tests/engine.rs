//! What becomes of groups on real devices when their configuration or the kernel changes. Needs root;
//! nothing of the machine's own network is touched.

use std::net::IpAddr;
use std::sync::Arc;

use ballast_ha::Ha;
use ballast_model::ha::GroupState;
use ballast_model::{AdvertTransport, NodeInterface, Snapshot, TrafficGroupSpec, VirtualAddress};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

#[path = "shared/namespace.rs"]
mod namespace;
#[path = "shared/world.rs"]
mod world;

use namespace::ip;
use world::{VIRTUAL_V4, VIRTUAL_V6, World, state};

const GROUP: &str = "web";

fn snapshot(index: u64, group: TrafficGroupSpec) -> Arc<Snapshot> {
    world::snapshot(index, world::nodes(), &[(GROUP, group)])
}

/// The address in a group, with or without a prefix of its own.
fn with_prefix(index: u64, others: &[&str], address: &str, length: Option<u8>) -> Arc<Snapshot> {
    let mut group = world::group();
    let address = VirtualAddress { address: address.parse().unwrap(), prefix_length: length };
    let others = others.iter().map(|other| VirtualAddress::new(other.parse().unwrap()));
    group.addresses = others.chain([address]).collect();
    snapshot(index, group)
}

/// The lengths of an address's prefix on a node's device.
fn lengths(world: &World, address: &str) -> Vec<u8> {
    let address: IpAddr = address.parse().unwrap();
    let there = world.device(0, "eth0").unwrap().addresses.into_iter();
    there.filter(|it| it.address == address).map(|it| it.prefix_length).collect()
}

fn is_refused(ha: &Ha) -> bool {
    let why = ha.status().groups.into_iter().find_map(|group| group.unable);
    why.is_some_and(|why| why.contains("the kernel refused its addresses on eth0"))
}

#[test]
fn a_group_that_was_off_has_an_owner_again() {
    let world = World::new();
    let ha = world.start(0, snapshot(1, world::group()));
    world.until_active(&ha);
    ha.apply(snapshot(2, TrafficGroupSpec { enabled: false, ..world::group() }));
    world.until("it runs nowhere", || ha.status().groups.is_empty());
    ha.apply(snapshot(3, world::group()));
    world.until_active(&ha);
    world.stop(&ha);
}

#[test]
fn a_node_that_may_not_add_addresses_leaves_them_to_the_other_and_says_why() {
    let world = World::new();
    let all = capabilities(None).unwrap();
    let mut fewer = all;
    fewer.effective.remove(CapabilitySet::NET_ADMIN);
    // The thread of the node has what this one has when it is started.
    set_capabilities(None, fewer).expect("this test gives up capabilities: run it as root");
    world.nodes[0].enter();
    let refused = world.start(0, snapshot(1, world::group()));
    set_capabilities(None, all).unwrap();
    world.until("it gives up by itself", || is_refused(&refused));
    let ha = world.start(1, snapshot(1, world::group()));
    world.until_active(&ha);
    let mac: Vec<_> =
        world.device(1, "eth0").unwrap().mac.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(world.mac_of(VIRTUAL_V4), mac.join(":"));
    world.until("it is asked again later", || state(&refused) == Some(GroupState::Backup));
    let problems = refused.status().problems;
    assert!(problems.iter().any(|it| it.contains("needs CAP_NET_ADMIN")), "{problems:?}");
    world.stop(&refused);
    world.stop(&ha);
}

#[test]
fn an_owner_that_can_no_longer_renew_lets_go_until_it_can() {
    let world = World::new();
    world.nodes[0].enter();
    ip("address add fe80::1/64 dev eth0 nodad");
    let mut nodes = world::nodes();
    nodes[0].interfaces = vec![NodeInterface {
        network: "front".to_owned(),
        device: "eth0".to_owned(),
        ipv4: None,
        ipv6: Some("fe80::1".parse().unwrap()),
    }];
    let mut group = world::group();
    group.addresses.retain(|it| it.address.is_ipv6());
    group.network = Some("front".to_owned());
    let ha = world.start(0, world::snapshot(1, nodes, &[(GROUP, group)]));
    world.until_active(&ha);
    world.nodes[0].enter();
    let set = |value| std::fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", value).unwrap();
    set("1");
    world.until("it lets go", || is_refused(&ha) && state(&ha) == Some(GroupState::Initialize));
    set("0");
    ip("address add fe80::1/64 dev eth0 nodad");
    world.until_active(&ha);
    let there = world.device(0, "eth0").unwrap().addresses;
    assert!(there.iter().any(|it| it.address.to_string() == VIRTUAL_V6), "{there:?}");
    assert_eq!(ha.status().problems.iter().find(|it| it.contains("refused")), None);
    world.stop(&ha);
}

#[test]
fn a_peer_that_can_not_be_sent_to_keeps_no_advertisement_from_the_next() {
    let world = World::new();
    let mut nodes = world::nodes();
    for (node, host) in nodes.iter_mut().zip(1..) {
        node.interfaces = vec![NodeInterface {
            network: "front".to_owned(),
            device: "eth0".to_owned(),
            ipv4: Some([192, 0, 2, host].into()),
            ipv6: None,
        }];
    }
    // The first by name: the kernel sends nothing to a broadcast address.
    let mut gone = nodes[0].clone();
    gone.node_id = 0;
    gone.interfaces[0].ipv4 = Some([192, 0, 2, 255].into());
    nodes.push(gone);
    let mut group = world::group();
    group.addresses.retain(|it| it.address.is_ipv4());
    group.network = Some("front".to_owned());
    group.transport = AdvertTransport::Unicast;
    let snapshot = world::snapshot(1, nodes, &[(GROUP, group)]);
    let first = world.start(0, Arc::clone(&snapshot));
    world.until_active(&first);
    let second = world.start(1, snapshot);
    let hears =
        |ha: &Ha| ha.status().groups.first().is_some_and(|group| group.adverts_received_total > 3);
    world.until("the second hears the first", || hears(&second));
    assert_eq!(state(&second), Some(GroupState::Backup));
    world.stop(&second);
    world.stop(&first);
}

#[test]
fn an_address_that_leaves_a_group_is_gone_at_once_whatever_its_prefix() {
    let world = World::new();
    for (stays, goes, length) in
        [(VIRTUAL_V4, "192.0.2.101", 24), (VIRTUAL_V6, "2001:db8::101", 64)]
    {
        let ha = world.start(0, with_prefix(1, &[stays], goes, Some(length)));
        world.until_active(&ha);
        assert_eq!(lengths(&world, goes), [length]);
        ha.apply(with_prefix(2, &[], stays, None));
        world.until("it is carried out", || *ha.applied().borrow() == 2);
        assert_eq!(state(&ha), Some(GroupState::Active));
        assert_eq!((lengths(&world, goes).len(), lengths(&world, stays).len()), (0, 1));
        world.stop(&ha);
    }
}

#[test]
fn an_address_whose_prefix_is_changed_has_the_new_one_alone_and_goes_with_its_owner() {
    let world = World::new();
    for (address, before, after) in [(VIRTUAL_V4, 32, 24), (VIRTUAL_V6, 128, 64)] {
        let ha = world.start(0, with_prefix(1, &[], address, None));
        world.until_active(&ha);
        assert_eq!(lengths(&world, address), [before]);
        ha.apply(with_prefix(2, &[], address, Some(after)));
        world.until("it has the new one", || lengths(&world, address) == [after]);
        assert_eq!(state(&ha), Some(GroupState::Active));
        world.stop(&ha);
        assert!(lengths(&world, address).is_empty());
    }
}
