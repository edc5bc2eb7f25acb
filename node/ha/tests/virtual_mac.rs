//! Groups with virtual MACs on real devices: two nodes and a client on a bridge, each in a network
//! namespace of its own. Needs root; nothing of the machine's own network is touched.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ballast_ha::kernel::{Device, Netlink};
use ballast_model::ha::GroupState;
use ballast_model::{Snapshot, VirtualAddress};
use ballast_telemetry::Metrics;
use ballast_vrrp::State as Part;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

#[path = "shared/namespace.rs"]
mod namespace;
#[path = "shared/world.rs"]
mod world;

use namespace::ip;
use world::{PATIENCE, VIRTUAL_V4, VIRTUAL_V6, VRID, World, state};

const MAC_V4: &str = "00:00:5e:00:01:33";
const MAC_V6: &str = "00:00:5e:00:02:33";
/// The virtual router's own, which the group adds (RFC 9568 §5.2.9).
const LINK_LOCAL: &str = "fe80::200:5eff:fe00:233";
const GROUP: &str = "web";

fn snapshot(index: u64, virtual_mac: bool) -> Arc<Snapshot> {
    snapshot_of(index, virtual_mac, &[VIRTUAL_V4, VIRTUAL_V6])
}

fn snapshot_of(index: u64, virtual_mac: bool, addresses: &[&str]) -> Arc<Snapshot> {
    let mut group = world::group();
    let addresses = addresses.iter().map(|address| VirtualAddress::new(address.parse().unwrap()));
    group.addresses = addresses.collect();
    group.virtual_mac = virtual_mac;
    world::snapshot(index, world::nodes(), &[(GROUP, group)])
}

fn name(world: &World, number: usize, family: u8) -> String {
    let parent = world.device(number, "eth0").expect("eth0").index;
    format!("bv{family}-{VRID}-{parent}")
}

fn is_up(device: Option<&Device>) -> bool {
    device.and_then(|device| device.macvlan.as_ref()).expect("a macvlan").set_up
}

fn setting(path: &str) -> String {
    std::fs::read_to_string(format!("/proc/sys/net/{path}")).unwrap().trim().to_owned()
}

/// Hears every frame that passes the bridge.
struct Ears(OwnedFd);

impl Ears {
    fn new() -> Self {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let every = SockProtocol::EthAll;
        Self(socket(AddressFamily::Packet, SockType::Raw, flags, every).unwrap())
    }

    /// The frames of a time.
    fn frames(&self, time: Duration) -> Vec<Vec<u8>> {
        let deadline = Instant::now() + time;
        let mut frames = Vec::new();
        loop {
            let mut buffer = [0; 2_048];
            while let Ok(length) = rustix::io::read(&self.0, &mut buffer) {
                frames.push(buffer[..length].to_vec());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return frames;
            }
            let timeout = Timespec::try_from(left).unwrap();
            let _count = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&timeout));
        }
    }
}

fn written(mac: &[u8]) -> String {
    mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

#[test]
fn the_active_answers_with_the_virtual_mac_and_a_backup_not_at_all() {
    let world = World::new();
    let first = world.start(0, snapshot(1, true));
    world.until_active(&first);
    let second = world.start(1, snapshot(1, true));
    world.until("the second is a Backup", || state(&second) == Some(GroupState::Backup));
    for (address, mac, family) in [(VIRTUAL_V4, MAC_V4, 4), (VIRTUAL_V6, MAC_V6, 6)] {
        assert_eq!(world.mac_of(address), mac);
        let active = world.device(0, &name(&world, 0, family));
        assert_eq!(active.as_ref().map(|device| written(&device.mac)), Some(mac.to_owned()));
        assert!(is_up(active.as_ref()));
        let there = active.iter().flat_map(|device| &device.addresses);
        let there: Vec<_> = there.map(|it| it.address.to_string()).collect();
        let expected: &[&str] = if family == 4 { &[VIRTUAL_V4] } else { &[LINK_LOCAL, VIRTUAL_V6] };
        // RFC 9568 §7.4: no interface identifier is made of the virtual MAC.
        assert!(expected.iter().all(|it| there.iter().any(|one| one == it)), "{there:?}");
        assert_eq!(there.len(), expected.len(), "{there:?}");
        assert!(!is_up(world.device(1, &name(&world, 1, family)).as_ref()), "a Backup's is down");
    }
    // Its own addresses are where they were.
    let own = written(&world.device(0, "eth0").unwrap().mac);
    assert_eq!(world.mac_of("192.0.2.1"), own);
    assert_eq!(world.mac_of("2001:db8::1"), own);

    world.stop(&first);
    world.until_active(&second);
    for (address, mac) in [(VIRTUAL_V4, MAC_V4), (VIRTUAL_V6, MAC_V6)] {
        assert_eq!(world.mac_of(address), mac, "the same one, on the other node");
    }
    assert_eq!(world.device(0, &name(&world, 0, 4)), None, "nothing is left on who stopped");
    world.nodes[0].enter();
    assert_eq!(setting("ipv4/conf/eth0/arp_ignore"), "0");
    world.stop(&second);
}

#[test]
fn clients_are_served_by_both_families_under_a_strict_filter() {
    let world = World::new();
    let ha = world.start(0, snapshot(1, true));
    world.until_active(&ha);
    for (any, address) in [("0.0.0.0:0", VIRTUAL_V4), ("[::]:0", VIRTUAL_V6)] {
        world.nodes[0].enter();
        let listener = TcpListener::bind(any).unwrap();
        let port = listener.local_addr().unwrap().port();
        world.client.enter();
        let to = SocketAddr::new(address.parse().unwrap(), port);
        TcpStream::connect_timeout(&to, PATIENCE).unwrap_or_else(|why| panic!("{to}: {why}"));
    }
    world.stop(&ha);
}

#[test]
fn what_speaks_for_the_virtual_router_carries_its_mac() {
    let world = World::new();
    world.client.enter();
    let ears = Ears::new();
    world.nodes[0].enter();
    // What the kernel does not filter, the devices must keep to themselves.
    for device in ["all", "eth0"] {
        let path = format!("/proc/sys/net/ipv4/conf/{device}/rp_filter");
        std::fs::write(path, "0").unwrap();
    }
    let ha = world.start(0, snapshot(1, true));
    world.until_active(&ha);
    // The client asks, and the node asks for the client to answer it.
    world.nodes[0].enter();
    ip("neighbour flush dev eth0");
    assert_eq!(world.mac_of(VIRTUAL_V4), MAC_V4);
    assert_eq!(world.mac_of(VIRTUAL_V6), MAC_V6);
    let frames = ears.frames(Duration::from_millis(500));
    let virtual_v4 = VIRTUAL_V4.parse::<Ipv4Addr>().unwrap().octets();
    let virtual_v6 = VIRTUAL_V6.parse::<Ipv6Addr>().unwrap().octets();
    let (mut adverts, mut announcements, mut neighbours) = ([0; 2], 0, 0);
    for frame in &frames {
        let (source, kind) = (written(&frame[6..12]), &frame[12..14]);
        match kind {
            [0x08, 0x00] if frame[23] == 112 => {
                assert_eq!((source.as_str(), frame[22]), (MAC_V4, 255));
                adverts[0] += 1;
            }
            [0x86, 0xdd] if frame[20] == 112 => {
                assert_eq!((source.as_str(), frame[21]), (MAC_V6, 255));
                adverts[1] += 1;
            }
            // RFC 9568 §8.1.2: whatever names the address as its sender.
            [0x08, 0x06] if frame[28..32] == virtual_v4 => {
                assert_eq!((source.as_str(), written(&frame[22..28]).as_str()), (MAC_V4, MAC_V4));
                announcements += 1;
            }
            // Neighbour solicitations (RFC 4861 §4.3) are in the node's own name, advertisements (§4.4)
            // of the address carry the virtual MAC as their source and as their option.
            [0x86, 0xdd] if frame[20] == 58 && frame[54] == 135 => {
                assert_ne!(frame[22..38], virtual_v6);
            }
            [0x86, 0xdd] if frame[20] == 58 && frame[54] == 136 && frame[62..78] == virtual_v6 => {
                assert_eq!((source.as_str(), written(&frame[80..86]).as_str()), (MAC_V6, MAC_V6));
                neighbours += 1;
            }
            _ => {}
        }
    }
    assert!(adverts[0] >= 3 && adverts[1] >= 3, "{adverts:?}");
    assert!(announcements >= 2 && neighbours >= 2, "{announcements}, {neighbours}");
    world.stop(&ha);
}

#[test]
fn what_a_killed_process_left_is_removed_and_strangers_devices_stay() {
    let world = World::new();
    let eth0 = world.device(0, "eth0").expect("eth0").index;
    let mut netlink = Netlink::open().unwrap();
    let left_over = format!("bv4-{VRID}-{eth0}");
    let make = |netlink: &mut Netlink, name: &str, last: u8, alias: &str| {
        let index = netlink.add_macvlan(eth0, name, [0, 0, 0x5e, 0, 1, last], alias).unwrap();
        netlink.set_up(index, true).unwrap();
        index
    };
    let before = make(&mut netlink, &left_over, VRID, "ballast node-1 web");
    netlink.add_address(before, VIRTUAL_V4.parse().unwrap(), 32, PATIENCE).unwrap();
    make(&mut netlink, "bv4-9-9", 9, "ballast node-1 gone");
    make(&mut netlink, "bv4-8-8", 8, "ballast node-2 web");
    make(&mut netlink, "other", 7, "somebody's");

    let other = world.start(1, snapshot(1, true));
    world.until_active(&other);
    let ha = world.start(0, snapshot(1, true));
    world.until("a Backup", || state(&ha) == Some(GroupState::Backup));
    world.until("what no group needs is gone", || world.device(0, "bv4-9-9").is_none());
    let now = world.device(0, &left_over).expect("made anew");
    assert!(now.index != before && now.addresses.is_empty() && !is_up(Some(&now)), "{now:?}");
    assert!(world.device(0, "bv4-8-8").is_some() && world.device(0, "other").is_some());
    world.stop(&ha);
    world.stop(&other);
}

#[test]
fn a_group_that_turns_it_off_goes_back_to_the_device_below() {
    let world = World::new();
    let ha = world.start(0, snapshot(1, true));
    world.until_active(&ha);
    ha.apply(snapshot(2, false));
    let own = written(&world.device(0, "eth0").unwrap().mac);
    world.until("the addresses are back", || {
        let eth0 = world.device(0, "eth0").unwrap();
        eth0.addresses.iter().any(|it| it.address.to_string() == VIRTUAL_V4)
    });
    assert_eq!(world.mac_of(VIRTUAL_V4), own);
    let macvlan = name(&world, 0, 4);
    world.until("the device is gone", || world.device(0, &macvlan).is_none());
    assert_eq!(setting("ipv4/conf/eth0/arp_announce"), "0");
    world.stop(&ha);
}

#[test]
fn a_family_comes_and_goes_with_its_device_while_the_other_stays() {
    let world = World::new();
    let ha = world.start(0, snapshot(1, true));
    world.until_active(&ha);
    let (v4, v6) = (name(&world, 0, 4), name(&world, 0, 6));
    let before = world.device(0, &v4).expect("it is Active").index;
    ha.apply(snapshot_of(2, true, &[VIRTUAL_V4]));
    world.until("IPv6 is gone", || world.device(0, &v6).is_none());
    assert_eq!(world.mac_of(VIRTUAL_V4), MAC_V4);
    ha.apply(snapshot(3, true));
    let address: IpAddr = VIRTUAL_V6.parse().unwrap();
    world.until("IPv6 is back", || {
        world.device(0, &v6).is_some_and(|device| {
            is_up(Some(&device)) && device.addresses.iter().any(|it| it.address == address)
        })
    });
    assert_eq!(world.mac_of(VIRTUAL_V6), MAC_V6);
    assert_eq!(world.device(0, &v4).map(|device| device.index), Some(before));
    world.stop(&ha);
}

#[test]
fn a_device_that_somebody_removes_is_made_again() {
    let world = World::new();
    let ha = world.start(0, snapshot(1, true));
    world.until_active(&ha);
    let macvlan = name(&world, 0, 4);
    ip(&format!("link del {macvlan}"));
    let address: IpAddr = VIRTUAL_V4.parse().unwrap();
    world.until("it is back", || {
        world.device(0, &macvlan).is_some_and(|device| {
            is_up(Some(&device)) && device.addresses.iter().any(|it| it.address == address)
        })
    });
    assert_eq!(world.mac_of(VIRTUAL_V4), MAC_V4);
    world.stop(&ha);
}

#[test]
fn what_led_to_a_transition_can_be_played_again() {
    let world = World::new();
    let ha = world.start(0, snapshot(1, false));
    world.until_active(&ha);
    world.stop(&ha);
    let folder = world.directory.path().join("1/ha-recordings");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let states: Vec<_> = files
        .iter()
        .map(|file| ballast_ha::recordings::replay(file).expect("the same effects").machine.state())
        .collect();
    // Listening, Active, and stopped.
    assert_eq!(states, [Part::Backup, Part::Active, Part::Initialize]);
}

#[test]
fn an_idle_active_lists_devices_every_five_seconds_and_no_more() {
    let world = World::new();
    let ha = world.start(0, snapshot(1, false));
    world.until_active(&ha);
    let lookups = || -> u64 {
        let mut metrics = Metrics::default();
        ha.write_metrics(&mut metrics);
        let text = metrics.finish();
        let line = text.lines().find(|line| line.starts_with("ballast_ha_device_lookups_total"));
        line.and_then(|line| line.split(' ').nth(1)).expect("a number").parse().expect("a number")
    };
    let started = Instant::now();
    // What came with the takeover is looked at first.
    world.until("a second has passed", || started.elapsed() > Duration::from_secs(1));
    let (before, began) = (lookups(), Instant::now());
    world.until("two lists later", || lookups() >= before + 2);
    assert!(began.elapsed() > Duration::from_secs(5), "{:?}", began.elapsed());
    world.stop(&ha);
}
