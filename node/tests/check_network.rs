//! `ballastd check-network` in network namespaces of its own. Needs root; nothing of the machine's own
//! network is touched.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use ballast_model::{AnyDraft, Draft, Edit, NodeRole, NodeSpec, TrafficGroupSpec, testing};
use serde_json::{Value, json};

const NODE_FILE: &str = r#"
name = "lb1"
state_dir = "STATE"
[cluster]
listen = "192.0.2.1:7400"
"#;
const DEVICES: &str = "ip link set lo up; ip link add eth0 type veth peer name eth1; \
                       ip address add 192.0.2.1/24 dev eth0; \
                       ip address add 2001:db8::1/64 dev eth0 nodad; \
                       ip address add 192.0.2.2/32 dev lo; \
                       ip link set eth1 up; ip link set eth0 up; ";

/// Runs it after `prepare`, in a namespace where eth0 is 192.0.2.1.
fn check(directory: &Path, prepare: &str, arguments: &str) -> Output {
    let file = directory.join("node.toml");
    let text = NODE_FILE.replace("STATE", &directory.display().to_string());
    std::fs::write(&file, text).unwrap();
    let script = format!(
        "{DEVICES} {prepare} exec {} check-network --config {} {arguments}",
        env!("CARGO_BIN_EXE_ballastd"),
        file.display()
    );
    Command::new("unshare").args(["--net", "sh", "-ec", &script]).output().expect("util-linux")
}

/// The checks by what was looked at.
fn checks(output: &Output) -> BTreeMap<String, Value> {
    let said = String::from_utf8_lossy(&output.stderr);
    let checks: Vec<Value> =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {said}"));
    let what = |check: &Value| check["what"].as_str().expect("a text").to_owned();
    checks.into_iter().map(|check| (what(&check), check)).collect()
}

/// What a node that has run knows: itself, another one and a group.
fn know(directory: &Path, address: &str, change: impl FnOnce(&mut TrafficGroupSpec)) {
    let node = |id: u64| {
        let spec = NodeSpec::new(id, NodeRole::Traffic, format!("192.0.2.{id}:7400"), Vec::new());
        Edit::put(AnyDraft::Node(Draft::new(format!("lb{id}"), spec)), format!("n{id}"))
    };
    let mut group = TrafficGroupSpec::new(51, [address.parse().unwrap()]);
    change(&mut group);
    let group = Edit::put(AnyDraft::TrafficGroup(Draft::new("web", group)), "g");
    let config = testing::config([node(1), node(2), group]);
    let known = json!({ "version": 1, "index": 1, "config": config });
    std::fs::write(directory.join("network.json"), known.to_string()).unwrap();
}

#[test]
fn a_machine_that_is_ready_passes_every_check() {
    let directory = tempfile::tempdir().unwrap();
    know(directory.path(), "192.0.2.100", |group| group.virtual_mac = true);
    // The other node's address is this machine's too, which answers that nothing listens there.
    let output = check(directory.path(), "", "--json --address 2001:db8::100");
    let checks = checks(&output);
    assert!(output.status.success(), "{checks:#?}");
    for what in ["CAP_NET_RAW", "group web", "multicast on eth0", "virtual MAC on eth0"] {
        assert_eq!(checks[what]["verdict"], "ok", "{what}: {}", checks[what]);
    }
    assert_eq!(checks["address 2001:db8::100"]["verdict"], "ok");
    assert_eq!(checks["cluster.listen"]["found"], "192.0.2.1:7400, on eth0");
}

#[test]
fn a_group_in_no_subnet_and_an_address_that_is_taken_are_failures() {
    let directory = tempfile::tempdir().unwrap();
    know(directory.path(), "198.51.100.7", |_| {});
    let output = check(directory.path(), "", "--json");
    assert_eq!(output.status.code(), Some(1));
    let found = checks(&output);
    assert_eq!(found["group web"]["verdict"], "failed", "{}", found["group web"]);
    assert!(found["group web"]["remedy"].as_str().is_some_and(|it| it.contains("interfaces")));

    know(directory.path(), "192.0.2.100", |_| {});
    let squatter = "ip address add 192.0.2.100/32 dev eth0;";
    let output = check(directory.path(), squatter, "--json");
    assert_eq!(output.status.code(), Some(1));
    let found = checks(&output);
    assert!(found["group web"]["found"].as_str().is_some_and(|it| it.contains("not by the node")));
}

#[test]
fn a_node_without_rights_is_told_which_it_lacks() {
    let directory = tempfile::tempdir().unwrap();
    know(directory.path(), "192.0.2.100", |_| {});
    let file = directory.path().join("node.toml");
    let text = NODE_FILE.replace("STATE", &directory.path().display().to_string());
    std::fs::write(&file, text).unwrap();
    let script = format!(
        "{DEVICES} exec setpriv --bounding-set -net_raw,-net_admin --inh-caps -all \
         {} check-network --json --config {}",
        env!("CARGO_BIN_EXE_ballastd"),
        file.display()
    );
    let output =
        Command::new("unshare").args(["--net", "sh", "-ec", &script]).output().expect("util-linux");
    assert_eq!(output.status.code(), Some(1));
    let found = checks(&output);
    for what in ["CAP_NET_RAW", "CAP_NET_ADMIN", "multicast on eth0"] {
        assert_eq!(found[what]["verdict"], "failed", "{what}: {}", found[what]);
    }
}

#[test]
fn a_packet_filter_that_drops_vrrp_is_found() {
    let directory = tempfile::tempdir().unwrap();
    know(directory.path(), "192.0.2.100", |_| {});
    for chain in ["input", "output"] {
        let filter = format!(
            "nft add table inet f; nft 'add chain inet f {chain} {{ type filter hook {chain} \
             priority 0; }}'; nft add rule inet f {chain} meta l4proto 112 drop;"
        );
        let output = check(directory.path(), &filter, "--json");
        assert_eq!(output.status.code(), Some(1), "{chain}");
        let found = checks(&output);
        let multicast = &found["multicast on eth0"];
        assert_eq!(multicast["verdict"], "failed", "{chain}: {multicast}");
        assert!(multicast["remedy"].as_str().is_some_and(|it| it.contains("nft")));
    }
}

#[test]
fn before_a_node_has_run_local_facts_are_told_in_a_table() {
    let directory = tempfile::tempdir().unwrap();
    let output = check(directory.path(), "", "");
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{shown}");
    assert!(shown.contains("warning  configuration"), "{shown}");
    assert!(shown.contains("ok       CAP_NET_RAW"), "{shown}");
}
