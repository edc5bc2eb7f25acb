//! The kernel-facing half in network namespaces of its own: two of them, joined by a veth pair.
//! Needs root; nothing of the machine's own network is touched.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use ballast_ha::kernel::{Datagram, Device, FrameSocket, Netlink, VrrpSocket};
use ballast_vrrp::announce::gratuitous_arp;
use ballast_vrrp::wire::{HOP_LIMIT, MULTICAST_V4, MULTICAST_V6};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

#[path = "shared/namespace.rs"]
mod namespace;

use namespace::{Namespace, ip};

const PATIENCE: Duration = Duration::from_secs(10);
const LONG_LEASE: Duration = Duration::from_secs(300);
const VIRTUAL_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));
const VIRTUAL_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100));
/// Locally administered; not the one of any device here.
const NEW_MAC: [u8; 6] = [0x02, 0, 0x5e, 0x10, 0x20, 0x30];

/// `left` and `right`, each in its namespace, 192.0.2.1 and .2, 2001:db8::1 and ::2.
struct Pair {
    left: Namespace,
    right: Namespace,
}

impl Pair {
    fn new() -> Self {
        let (right, left) = (Namespace::new(), Namespace::new());
        let there = format!("/proc/{}/fd/{}", std::process::id(), right.0.as_raw_fd());
        ip("link add left type veth peer name right");
        ip(&format!("link set right netns {there}"));
        for (namespace, name, host) in [(&left, "left", 1), (&right, "right", 2)] {
            namespace.enter();
            ip(&format!("address add 192.0.2.{host}/24 dev {name}"));
            ip(&format!("address add 2001:db8::{host}/64 dev {name} nodad"));
            ip(&format!("link set {name} up"));
        }
        for (namespace, name) in [(&left, "left"), (&right, "right")] {
            namespace.enter();
            let mut netlink = Netlink::open().unwrap();
            eventually(&mut netlink, &format!("{name} is up"), |netlink| device(netlink, name).up);
        }
        Self { left, right }
    }
}

fn device(netlink: &mut Netlink, name: &str) -> Device {
    let devices = netlink.devices().unwrap();
    devices.into_iter().find(|device| device.name == name).expect("the device of this test")
}

/// Waits for the monitor to tell of a change until `is_so`.
fn eventually(netlink: &mut Netlink, what: &str, mut is_so: impl FnMut(&mut Netlink) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so(netlink) {
        wait_readable(netlink, deadline, what);
        netlink.drain_monitor().unwrap();
    }
}

fn wait_readable(socket: &impl AsFd, deadline: Instant, what: &str) {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = Timespec::try_from(left).expect("a few seconds");
    let mut polled = [PollFd::new(socket, PollFlags::IN)];
    assert!(poll(&mut polled, Some(&timeout)).expect("poll") > 0, "in time: {what}");
}

fn received(socket: &VrrpSocket, what: &str) -> Datagram {
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 2_048];
    loop {
        if let Some(datagram) = socket.receive(&mut buffer).unwrap() {
            return datagram;
        }
        wait_readable(socket, deadline, what);
    }
}

#[test]
fn devices_are_told_with_their_addresses() {
    let pair = Pair::new();
    pair.left.enter();
    let mut netlink = Netlink::open().unwrap();
    let left = device(&mut netlink, "left");
    assert!(left.up && left.multicast && !left.loopback);
    let shown = ip("-o link show dev left");
    let mac: Vec<_> = left.mac.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(shown.contains(&format!("link/ether {}", mac.join(":"))), "{shown}");
    assert!(shown.starts_with(&format!("{}: left", left.index)), "{shown}");
    let told: Vec<_> = left.addresses.iter().map(|it| (it.address, it.prefix_length)).collect();
    assert!(told.contains(&("192.0.2.1".parse().unwrap(), 24)), "{told:?}");
    assert!(told.contains(&("2001:db8::1".parse().unwrap(), 64)), "{told:?}");
    assert!(left.addresses.iter().all(|it| !it.leased));
    let lo = device(&mut netlink, "lo");
    assert!(lo.loopback && lo.up);
}

#[test]
fn an_address_has_the_flags_of_a_virtual_one_and_is_taken_off_again() {
    let pair = Pair::new();
    pair.left.enter();
    let mut netlink = Netlink::open().unwrap();
    let left = device(&mut netlink, "left").index;
    for (address, prefix_length) in [(VIRTUAL_V4, 32), (VIRTUAL_V6, 128)] {
        netlink.add_address(left, address, prefix_length, LONG_LEASE).unwrap();
        // As the refresh does each second.
        netlink.add_address(left, address, prefix_length, LONG_LEASE).unwrap();
        let told = device(&mut netlink, "left").addresses;
        let told: Vec<_> = told.iter().filter(|it| it.address == address).collect();
        assert!(matches!(told[..], [it] if it.leased && it.prefix_length == prefix_length));
        let shown = ip(&format!("-o address show dev left to {address}"));
        assert!(shown.contains("noprefixroute"), "{shown}");
        assert!(
            shown.contains("valid_lft 300sec") || shown.contains("valid_lft 299sec"),
            "{shown}"
        );
        if address.is_ipv6() {
            assert!(shown.contains("nodad") && !shown.contains("tentative"), "{shown}");
            assert!(shown.contains("preferred_lft 0sec"), "{shown}");
        }
        netlink.remove_address(left, address, prefix_length).unwrap();
        let after = device(&mut netlink, "left").addresses;
        assert!(after.iter().all(|it| it.address != address), "{after:?}");
        netlink.remove_address(left, address, prefix_length).expect("gone already is no error");
        netlink.remove_address(9_999, address, prefix_length).expect("nor is a device that is not");
        let refused = netlink.add_address(9_999, address, prefix_length, LONG_LEASE);
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::ENODEV));
    }
}

#[test]
fn a_renewed_lease_is_no_news() {
    let pair = Pair::new();
    pair.left.enter();
    let mut netlink = Netlink::open().unwrap();
    let left = device(&mut netlink, "left").index;
    let addresses = [(VIRTUAL_V4, 32), (VIRTUAL_V6, 128)];
    let renew = |netlink: &mut Netlink| {
        for (address, prefix_length) in addresses {
            netlink.add_address(left, address, prefix_length, LONG_LEASE).unwrap();
        }
    };
    renew(&mut netlink);
    assert!(netlink.drain_monitor().unwrap(), "new ones are");
    device(&mut netlink, "left");
    for _ in 0..3 {
        renew(&mut netlink);
        let what = "the kernel tells of it all the same";
        wait_readable(&netlink, Instant::now() + PATIENCE, what);
        assert!(!netlink.drain_monitor().unwrap());
    }
    let before = netlink.lists_total();
    ip("address add 192.0.2.101/32 dev left");
    assert!(netlink.drain_monitor().unwrap(), "somebody else's is");
    assert_eq!(netlink.lists_total(), before, "the monitor lists nothing by itself");
}

#[test]
fn an_address_goes_by_itself_when_its_lease_is_not_renewed() {
    let pair = Pair::new();
    pair.left.enter();
    let mut netlink = Netlink::open().unwrap();
    let left = device(&mut netlink, "left").index;
    netlink.add_address(left, VIRTUAL_V4, 32, Duration::from_secs(1)).unwrap();
    netlink.add_address(left, VIRTUAL_V6, 128, Duration::from_secs(1)).unwrap();
    let holds = |netlink: &mut Netlink, address| {
        device(netlink, "left").addresses.iter().any(|it| it.address == address)
    };
    assert!(holds(&mut netlink, VIRTUAL_V4) && holds(&mut netlink, VIRTUAL_V6));
    eventually(&mut netlink, "both leases are over", |netlink| {
        !holds(netlink, VIRTUAL_V4) && !holds(netlink, VIRTUAL_V6)
    });
}

#[test]
fn the_monitor_tells_of_an_address_that_others_took_off() {
    let pair = Pair::new();
    pair.left.enter();
    let mut netlink = Netlink::open().unwrap();
    let left = device(&mut netlink, "left").index;
    netlink.add_address(left, VIRTUAL_V4, 32, LONG_LEASE).unwrap();
    assert!(device(&mut netlink, "left").addresses.iter().any(|it| it.address == VIRTUAL_V4));
    while netlink.drain_monitor().unwrap() {}
    ip(&format!("address del {VIRTUAL_V4}/32 dev left"));
    wait_readable(&netlink, Instant::now() + PATIENCE, "an address is gone");
    assert!(netlink.drain_monitor().unwrap());
    assert!(!netlink.drain_monitor().unwrap(), "it is told of once");
}

#[test]
fn the_monitor_tells_of_a_link_that_goes_down() {
    let pair = Pair::new();
    pair.left.enter();
    let mut netlink = Netlink::open().unwrap();
    assert!(device(&mut netlink, "left").up);
    pair.right.enter();
    ip("link set right down");
    pair.left.enter();
    wait_readable(&netlink, Instant::now() + PATIENCE, "the other end went down");
    assert!(netlink.drain_monitor().unwrap());
    eventually(&mut netlink, "left has no carrier", |netlink| !device(netlink, "left").up);
}

#[test]
fn adverts_pass_with_hop_limit_255_and_are_not_heard_by_their_sender() {
    let pair = Pair::new();
    for (v6, from, to, group) in [
        (false, "192.0.2.1", "192.0.2.2", IpAddr::V4(MULTICAST_V4)),
        (true, "2001:db8::1", "2001:db8::2", IpAddr::V6(MULTICAST_V6)),
    ] {
        let (from, to): (IpAddr, IpAddr) = (from.parse().unwrap(), to.parse().unwrap());
        pair.left.enter();
        let left = device(&mut Netlink::open().unwrap(), "left");
        let sender = VrrpSocket::open(v6, &left).unwrap();
        pair.right.enter();
        let right = device(&mut Netlink::open().unwrap(), "right");
        let hearer = VrrpSocket::open(v6, &right).unwrap();
        for (destination, payload) in [(group, b"multicast".as_slice()), (to, b"unicast")] {
            sender.send(from, destination, payload).unwrap();
            let expected = Datagram {
                source: from,
                destination,
                hop_limit: HOP_LIMIT,
                payload: payload.to_vec(),
            };
            assert_eq!(received(&hearer, "an advert"), expected);
        }
        let mut buffer = [0; 2_048];
        assert_eq!(sender.receive(&mut buffer).unwrap(), None, "its own are not heard");
        // What was sent before is there by now: the answer came after it.
        hearer.send(to, from, b"answer").unwrap();
        assert_eq!(received(&sender, "an answer").payload, b"answer");
        assert!(sender.send(to, group, b"not ours").is_err(), "a source of another node");
    }
}

#[test]
fn what_is_longer_than_any_advertisement_is_refused() {
    let pair = Pair::new();
    pair.left.enter();
    let left = device(&mut Netlink::open().unwrap(), "left");
    let (v4, v6) = (VrrpSocket::open(false, &left), VrrpSocket::open(true, &left));
    pair.right.enter();
    let right = device(&mut Netlink::open().unwrap(), "right");
    for (is_v6, to, from, hearer) in [
        (false, "192.0.2.1", "192.0.2.2", v4.unwrap()),
        (true, "2001:db8::1", "2001:db8::2", v6.unwrap()),
    ] {
        pair.right.enter();
        let sender = VrrpSocket::open(is_v6, &right).unwrap();
        sender.send(from.parse().unwrap(), to.parse().unwrap(), &[7; 1_200]).unwrap();
        sender.send(from.parse().unwrap(), to.parse().unwrap(), &[7; 20]).unwrap();
        let mut buffer = [0; 600];
        wait_readable(&hearer, Instant::now() + PATIENCE, "a long one");
        assert!(hearer.receive(&mut buffer).is_err());
        assert_eq!(received(&hearer, "a short one").payload, [7; 20]);
    }
}

#[test]
fn gratuitous_arp_changes_what_the_neighbour_believes() {
    let pair = Pair::new();
    pair.right.enter();
    ip("neighbour replace 192.0.2.100 lladdr 02:00:00:00:00:01 nud stale dev right");
    pair.left.enter();
    let left = device(&mut Netlink::open().unwrap(), "left");
    let IpAddr::V4(address) = VIRTUAL_V4 else { panic!("an IPv4 address") };
    let frames = FrameSocket::open(&left).unwrap();
    frames.send(&gratuitous_arp(NEW_MAC, address)).unwrap();
    pair.right.enter();
    // A veth hands the frame over before the call returns or soon after it.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let shown = ip("neighbour show 192.0.2.100 dev right");
        if shown.contains("02:00:5e:10:20:30") {
            break;
        }
        assert!(Instant::now() < deadline, "{shown}");
    }
}

#[test]
fn frames_are_refused_on_a_device_that_is_down() {
    let pair = Pair::new();
    pair.left.enter();
    let left = device(&mut Netlink::open().unwrap(), "left");
    let frames = FrameSocket::open(&left).unwrap();
    ip("link set left down");
    assert!(frames.send(&gratuitous_arp(NEW_MAC, Ipv4Addr::LOCALHOST)).is_err());
}

#[test]
fn the_clock_goes_forward_in_microseconds() {
    let (before, instant) = (ballast_ha::kernel::monotonic(), Instant::now());
    let deadline = instant + Duration::from_millis(5);
    while Instant::now() < deadline {
        std::hint::spin_loop();
    }
    let passed = ballast_ha::kernel::monotonic().since(before);
    assert!(passed >= Duration::from_millis(5) && passed < PATIENCE, "{passed:?}");
}

#[test]
fn a_real_time_thread_is_one_alone() {
    let policies = std::thread::spawn(|| {
        ballast_ha::kernel::realtime(10)
            .expect("this test sets real-time priority: run it as root");
        let stat = |path: &str| {
            let stat = std::fs::read_to_string(path).expect("its own numbers");
            // Field 41 of proc(5); the name, field 2, may hold spaces.
            let (_, rest) = stat.rsplit_once(')').expect("a name in brackets");
            rest.split_whitespace().nth(38).expect("the policy").to_owned()
        };
        let child = std::thread::spawn(move || stat("/proc/thread-self/stat")).join();
        (stat("/proc/thread-self/stat"), child.expect("it only reads"))
    });
    let (own, child) = policies.join().expect("the thread says why");
    assert_eq!(own, libc::SCHED_FIFO.to_string());
    assert_eq!(child, libc::SCHED_OTHER.to_string());
    assert!(ballast_ha::kernel::realtime(1_000).is_err());
}

#[test]
fn locking_memory_reads_nothing_in() {
    let untouched = vec![0_u8; 64 << 20];
    ballast_ha::kernel::lock_memory().expect("this test locks memory: run it as root");
    let status = std::fs::read_to_string("/proc/self/status").expect("its own numbers");
    let field = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).expect("proc(5)");
        line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
    };
    assert!(field("VmLck:") > 64 * 1024, "{status}");
    assert!(field("VmRSS:") < 64 * 1024, "{status}");
    assert_eq!(untouched.len(), 64 << 20);
}
