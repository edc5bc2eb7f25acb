//! Asking in network namespaces of its own, which need root, and what is kept of what was seen.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;

use ballast_model::{
    AnyDraft, Draft, Edit, NodeInterface, NodeRole, NodeSpec, PoolSpec, TrackedGateway,
    TrafficGroupSpec, testing,
};
use nix::sched::{CloneFlags, setns, unshare};

use super::*;
use crate::kernel::Netlink;

const PATIENCE: Duration = Duration::from_secs(10);

/// The calling thread's new namespace has the device `own`; the gateway is in another one.
struct Segment {
    own: File,
    gateway: File,
}

impl Segment {
    fn new() -> Self {
        let namespace = || {
            unshare(CloneFlags::CLONE_NEWNET)
                .expect("this test makes network namespaces: run it as root");
            File::open("/proc/thread-self/ns/net").expect("its own namespace")
        };
        let (gateway, own) = (namespace(), namespace());
        let there = format!("/proc/{}/fd/{}", std::process::id(), gateway.as_raw_fd());
        ip("link add own type veth peer name gateway");
        ip(&format!("link set gateway netns {there}"));
        ip("address add 192.0.2.11/24 dev own");
        ip("address add fe80::11/64 dev own nodad");
        ip("link set own up");
        let segment = Self { own, gateway };
        segment.at_the_gateway("address add 192.0.2.1/24 dev gateway");
        segment.at_the_gateway("address add fe80::1/64 dev gateway nodad");
        segment.at_the_gateway("link set gateway up");
        segment
    }

    fn at_the_gateway(&self, arguments: &str) {
        setns(&self.gateway, CloneFlags::CLONE_NEWNET).expect("a namespace of this test");
        ip(arguments);
        setns(&self.own, CloneFlags::CLONE_NEWNET).expect("a namespace of this test");
    }

    /// The own device once its link is so.
    fn own_device(is_up: bool) -> Device {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let devices = Netlink::open().unwrap().devices().unwrap();
            let own = devices.into_iter().find(|device| device.name == "own").unwrap();
            if own.up == is_up {
                return own;
            }
            assert!(Instant::now() < deadline, "{own:?}");
        }
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("iproute2");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {said}");
}

/// Asks until the answer is as expected: an address that was just made may take a moment.
async fn eventually(line: &mut Option<Line>, device: &Device, gateway: &str, expected: bool) {
    let deadline = Instant::now() + PATIENCE;
    while ask(line, Some(device), gateway.parse().unwrap()).await != Ok(expected) {
        assert!(Instant::now() < deadline, "{gateway}: {expected}");
    }
}

#[tokio::test]
async fn a_gateway_answers_as_long_as_it_is_there() {
    let segment = Segment::new();
    let device = Segment::own_device(true);
    for (gateway, prefix_length) in [("192.0.2.1", 24), ("fe80::1", 64)] {
        let mut line = None;
        eventually(&mut line, &device, gateway, true).await;
        segment.at_the_gateway(&format!("address del {gateway}/{prefix_length} dev gateway"));
        eventually(&mut line, &device, gateway, false).await;
        segment.at_the_gateway(&format!("address add {gateway}/{prefix_length} dev gateway"));
        eventually(&mut line, &device, gateway, true).await;
    }
    for elsewhere in ["192.0.2.9", "fe80::9"] {
        assert_eq!(ask(&mut None, Some(&device), elsewhere.parse().unwrap()).await, Ok(false));
    }
}

#[tokio::test]
async fn a_link_that_goes_and_comes_back_takes_the_answers_along() {
    let segment = Segment::new();
    let mut line = None;
    eventually(&mut line, &Segment::own_device(true), "192.0.2.1", true).await;
    segment.at_the_gateway("link set gateway down");
    let away = Segment::own_device(false);
    assert_eq!(ask(&mut line, Some(&away), "192.0.2.1".parse().unwrap()).await, Ok(false));
    assert_eq!(ask(&mut line, None, "192.0.2.1".parse().unwrap()).await, Ok(false));
    segment.at_the_gateway("link set gateway up");
    eventually(&mut line, &Segment::own_device(true), "192.0.2.1", true).await;
}

#[tokio::test]
async fn what_the_node_itself_lacks_is_told_and_is_no_silence_of_the_gateway() {
    let _segment = Segment::new();
    let mut device = Segment::own_device(true);
    device.addresses.clear();
    let why = ask(&mut None, Some(&device), "fe80::1".parse().unwrap()).await.unwrap_err();
    assert!(why.contains("link-local"), "{why}");
}

fn config() -> Config {
    let mut node = NodeSpec::new(1, NodeRole::Traffic, "192.0.2.11:7400", Vec::new());
    let (network, device) = ("back".to_owned(), "eth1".to_owned());
    node.interfaces = vec![NodeInterface { network, device, ipv4: None, ipv6: None }];
    let mut group = TrafficGroupSpec::new(7, [[192, 0, 2, 10].into()]);
    group.tracking.gateways = vec![TrackedGateway { address: [192, 0, 2, 1].into(), weight: 20 }];
    let edits = [
        Edit::put(AnyDraft::Node(Draft::new("node-1", node)), "a"),
        Edit::put(AnyDraft::TrafficGroup(Draft::new("web", group)), "b"),
    ];
    testing::config(edits)
}

fn device(name: &str, up: bool) -> Device {
    let (name, addresses) = (name.to_owned(), Vec::new());
    Device {
        index: 2,
        name,
        mac: [2, 0, 0, 0, 0, 1],
        up,
        multicast: true,
        loopback: false,
        addresses,
        macvlan: None,
    }
}

#[test]
fn a_link_is_unknown_until_devices_are_and_its_age_counts_from_the_change() {
    let (config, start) = (config(), Instant::now());
    let later = start + Duration::from_secs(5);
    let mut seen = Seen::default();
    seen.note_links(&config, "node-1", &[], start);
    assert_eq!(seen.link("eth1", start), Sighting::Unknown);
    seen.note_links(&config, "node-1", &[device("eth1", true)], start);
    assert_eq!(seen.link("eth1", start), Sighting::Well { lasts: Duration::MAX });
    let lost = |lasts| Sighting::Lost { lasts, why: "eth1 has no link".to_owned() };
    seen.note_links(&config, "node-1", &[device("eth1", false)], start);
    seen.note_links(&config, "node-1", &[device("eth0", true)], later);
    assert_eq!(seen.link("eth1", later), lost(Duration::from_secs(5)), "down or gone is the same");
    seen.note_links(&config, "node-1", &[device("eth1", true)], later);
    assert_eq!(seen.link("eth1", later), Sighting::Well { lasts: Duration::ZERO });
}

#[test]
fn the_first_verdict_is_awaited_unless_it_can_not_come() {
    let target = Target { device: "eth0".to_owned(), gateway: [192, 0, 2, 1].into() };
    let mut seen = Seen::default();
    assert!(seen.is_awaited(&target));
    let (verdict, stop) = (Verdict::default(), CancellationToken::new());
    seen.gateways.insert(target.clone(), Asked { verdict, obstacle: None, stop });
    assert!(seen.is_awaited(&target));
    let asked = seen.gateways.get_mut(&target).unwrap();
    asked.obstacle = Some("no right to".to_owned());
    assert!(!seen.is_awaited(&target));
    assert_eq!(seen.obstacles(), ["gateway 192.0.2.1 can't be watched: no right to"]);
    let asked = seen.gateways.get_mut(&target).unwrap();
    (asked.obstacle, asked.verdict) = (None, Verdict::default());
    asked.verdict.note(true, Instant::now());
    assert!(!seen.is_awaited(&target));
}

#[test]
fn a_pool_is_well_at_its_threshold_and_its_age_counts_from_when_it_crossed_it() {
    let (config, start) = (config(), Instant::now());
    let mut group = config.traffic_groups.get("web").unwrap().to_draft();
    let tracked = TrackedPool { pool: "app".to_owned(), up_min_percent: 50, weight: 20 };
    group.spec.tracking.pools = vec![tracked.clone()];
    let edits = [
        Edit::put(AnyDraft::Pool(Draft::new("app", PoolSpec::default())), "p"),
        Edit::put(AnyDraft::TrafficGroup(group), "b"),
    ];
    let config = config.edited(&edits, 2, 2).unwrap();
    let later = |s| start + Duration::from_secs(s);
    let mut seen = Seen::default();
    seen.note_pools(&config, |_| None, start);
    assert_eq!(seen.pool(&tracked, start), Sighting::Unknown);
    seen.note_pools(&config, |_| Some(50), start);
    assert_eq!(seen.pool(&tracked, start), Sighting::Well { lasts: Duration::MAX });
    seen.note_pools(&config, |_| Some(49), later(1));
    seen.note_pools(&config, |_| Some(20), later(2));
    let why = "has 20 % of its members up, 50 % should be".to_owned();
    let lost = Sighting::Lost { lasts: Duration::from_secs(2), why };
    assert_eq!(seen.pool(&tracked, later(3)), lost, "how much less does not matter");
    seen.note_pools(&config, |_| Some(100), later(4));
    assert_eq!(seen.pool(&tracked, later(4)), Sighting::Well { lasts: Duration::ZERO });
}
