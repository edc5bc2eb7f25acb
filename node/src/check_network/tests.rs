use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use ballast_ha::kernel::{Device, DeviceAddress};
use ballast_model::{AnyDraft, Draft, Edit, NodeInterface, NodeSpec, Snapshot, State, testing};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn device(name: &str, address: &str, prefix_length: u8) -> Device {
    let address = address.parse().unwrap();
    Device {
        index: 2,
        name: name.to_owned(),
        mac: [2, 0, 0, 0, 0, 1],
        up: true,
        multicast: true,
        loopback: false,
        addresses: vec![DeviceAddress { address, prefix_length, leased: false }],
        macvlan: None,
    }
}

fn interface(name: &str, address: [u8; 4]) -> NodeInterface {
    NodeInterface {
        network: "front".to_owned(),
        device: name.to_owned(),
        ipv4: Some(address.into()),
        ipv6: None,
    }
}

#[test]
fn a_named_device_is_there_up_and_has_its_address() {
    let eth0 = device("eth0", "192.0.2.1", 24);
    let judge = |interface: &NodeInterface, eth0: &Device| {
        devices::judge_interface(interface, std::slice::from_ref(eth0))
    };
    let good = interface("eth0", [192, 0, 2, 1]);
    assert_eq!(judge(&good, &eth0).verdict, Verdict::Ok);
    let absent = judge(&interface("eth9", [192, 0, 2, 1]), &eth0);
    assert_eq!(absent.verdict, Verdict::Failed);
    assert!(absent.remedy.is_some_and(|remedy| remedy.contains("eth0")), "names what there is");
    let other = judge(&interface("eth0", [192, 0, 2, 9]), &eth0);
    assert!(other.verdict == Verdict::Failed && other.found.contains("192.0.2.9"));
    let down = Device { up: false, ..eth0.clone() };
    assert_eq!(judge(&good, &down).verdict, Verdict::Failed);
    let bare = Device { addresses: Vec::new(), ..eth0 };
    let mut unnamed = good;
    unnamed.ipv4 = None;
    assert_eq!(judge(&unnamed, &bare).verdict, Verdict::Failed);
}

#[test]
fn addresses_to_come_need_a_subnet() {
    let eth0 = [device("eth0", "192.0.2.1", 24)];
    let verdict = |address: &str| {
        devices::addresses_to_come(&[address.parse().unwrap()], &eth0).remove(0).verdict
    };
    assert_eq!(verdict("192.0.2.100"), Verdict::Ok);
    assert_eq!(verdict("198.51.100.1"), Verdict::Failed);
    assert_eq!(verdict("2001:db8::1"), Verdict::Failed);
}

#[test]
fn a_node_that_listens_is_told_from_one_that_does_not() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    assert_eq!(peers::reach("lb2", &address).verdict, Verdict::Ok);
    drop(listener);
    let refused = peers::reach("lb2", &address);
    assert!(refused.verdict == Verdict::Warning && refused.found.contains("nothing listens"));
    assert_eq!(peers::reach("lb2", "no-such-host.invalid:7400").verdict, Verdict::Failed);
}

#[test]
fn capabilities_are_read_as_the_kernel_writes_them() {
    let status = "Name:\tx\nCapInh:\t0\nCapEff:\t0000000000003000\nCapBnd:\t0\n";
    assert_eq!(process::effective(status), Some(1 << 12 | 1 << 13));
    assert_eq!(process::effective("CapEff:\tnonsense"), None);
    assert_eq!(process::effective(""), None);
}

#[test]
fn what_to_do_stands_below_what_was_found() {
    let shown = Check::failed("device eth0", "it is down", "set it up").to_string();
    let lines: Vec<_> = shown.lines().map(str::trim).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("FAILED") && lines[0].ends_with("it is down"));
    assert_eq!(lines[1], "→ set it up");
    assert_eq!(Check::ok("device eth0", "it is up").to_string().lines().count(), 1);
}

#[tokio::test]
async fn what_is_known_is_there_for_a_command_after_each_change() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(known::read(directory.path()).unwrap(), None);
    let (snapshots, receiver) = watch::channel(Arc::new(Snapshot::default()));
    let stop = CancellationToken::new();
    let keep = known::keep(directory.path().to_owned(), receiver, stop.clone());
    let keep = tokio::spawn(keep);
    snapshots.send_replace(Arc::new(snapshot()));
    let written = async {
        loop {
            if let Ok(Some(known)) = known::read(directory.path()) {
                return known;
            }
            tokio::task::yield_now().await;
        }
    };
    let known = tokio::time::timeout(PATIENCE, written).await.expect("in time");
    assert_eq!(known.config.nodes.get("lb1").map(|node| node.spec.node_id), Some(1));
    stop.cancel();
    keep.await.unwrap();
    std::fs::write(known::path(directory.path()), "{").unwrap();
    assert!(known::read(directory.path()).is_err(), "what is damaged is no surprise to anybody");
}

fn snapshot() -> Snapshot {
    let node = NodeSpec::new(1, NodeRole::Traffic, "192.0.2.1:7400", Vec::new());
    let edit = Edit::put(AnyDraft::Node(Draft::new("lb1", node)), "n");
    let state = State { config: testing::config([edit]), ..State::default() };
    Snapshot { index: 1, state }
}
