use ballast_model::{AnyDraft, Draft, Edit, NodeInterface, VirtualAddress, testing};

use super::*;

fn device(index: u32, name: &str, addresses: &[(&str, u8)]) -> Device {
    Device {
        index,
        name: name.to_owned(),
        mac: [2, 0, 0, 0, 0, 1],
        up: true,
        multicast: true,
        loopback: name == "lo",
        addresses: addresses
            .iter()
            .map(|(address, prefix_length)| DeviceAddress {
                address: address.parse().unwrap(),
                prefix_length: *prefix_length,
                leased: false,
            })
            .collect(),
        macvlan: None,
    }
}

fn config(spec: &TrafficGroupSpec, interfaces: Vec<NodeInterface>) -> Config {
    let mut node = NodeSpec::new(1, NodeRole::Traffic, "192.0.2.1:7400", Vec::new());
    node.interfaces = interfaces;
    let witness = NodeSpec::new(2, NodeRole::Witness, "192.0.2.2:7400", Vec::new());
    let edits = [
        Edit::put(AnyDraft::Node(Draft::new("node-1", node)), "a"),
        Edit::put(AnyDraft::Node(Draft::new("witness", witness)), "b"),
        Edit::put(AnyDraft::TrafficGroup(Draft::new("web", spec.clone())), "c"),
    ];
    testing::config(edits)
}

fn group() -> TrafficGroupSpec {
    TrafficGroupSpec::new(7, ["192.0.2.10".parse().unwrap(), "2001:db8::10".parse().unwrap()])
}

fn devices() -> Vec<Device> {
    vec![
        device(1, "lo", &[("127.0.0.1", 8)]),
        device(2, "eth0", &[("198.51.100.1", 24)]),
        device(3, "eth1", &[("192.0.2.10", 32), ("192.0.2.1", 24), ("fe80::1", 64)]),
    ]
}

fn plan_of(config: &Config, devices: &[Device]) -> Result<GroupPlan, String> {
    wanted(config, "node-1", devices).pop().unwrap().plan
}

#[test]
fn the_device_is_the_one_in_the_subnet_and_the_source_is_never_a_floating_address() {
    let plan = plan_of(&config(&group(), Vec::new()), &devices()).unwrap();
    assert_eq!(plan.device_name, "eth1");
    let sources: Vec<_> = plan.machine.instances.iter().map(|i| i.source.to_string()).collect();
    assert_eq!(sources, ["192.0.2.1", "fe80::1"]);
    assert_eq!(plan.machine.instances[1].addresses.len(), 2, "a link-local one comes first");
    assert!(plan.machine.signed);
    assert_eq!(plan.machine.interval_cs, 20);
}

#[test]
fn a_network_names_its_device() {
    let mut spec = group();
    spec.network = Some("front".to_owned());
    let interface = |device: &str| NodeInterface {
        network: "front".to_owned(),
        device: device.to_owned(),
        ipv4: Some([192, 0, 2, 1].into()),
        ipv6: Some("fe80::1".parse().unwrap()),
    };
    let plan = plan_of(&config(&spec, vec![interface("eth0")]), &devices()).unwrap();
    assert_eq!(plan.device_name, "eth0");
    let why = plan_of(&config(&spec, vec![interface("eth9")]), &devices()).unwrap_err();
    assert!(why.contains("eth9"), "{why}");
}

#[test]
fn without_a_device_in_the_subnet_the_reason_says_what_to_do() {
    let why = plan_of(&config(&group(), Vec::new()), &devices()[..2]).unwrap_err();
    assert!(why.contains("interfaces"), "{why}");
}

#[test]
fn witnesses_and_nodes_outside_the_order_have_no_part() {
    let mut spec = group();
    spec.nodes = vec!["node-1".to_owned()];
    let config = config(&spec, Vec::new());
    assert!(wanted(&config, "witness", &devices()).is_empty());
    assert!(wanted(&config, "node-9", &devices()).is_empty());
    assert_eq!(wanted(&config, "node-1", &devices()).len(), 1);
}

#[test]
fn an_address_that_may_go_is_the_nodes_own_where_no_other_is() {
    let (mut other, config) = (group(), config(&group(), Vec::new()));
    other.virtual_router_id = 8;
    other.addresses =
        vec![VirtualAddress { address: "192.0.2.20".parse().unwrap(), prefix_length: Some(24) }];
    let put = Edit::put(AnyDraft::TrafficGroup(Draft::new("other", other)), "d");
    let config = config.edited(&[put], 2, 2).unwrap();
    let floating = [("192.0.2.10", 32), ("192.0.2.20", 24), ("fe80::200:5eff:fe00:208", 64)];
    let mut devices = vec![device(2, "eth0", &floating), device(3, "eth1", &floating)];
    devices[1].addresses.extend(device(0, "", &[("192.0.2.1", 24), ("fe80::1", 64)]).addresses);
    let mut leased = devices.clone();
    leased.iter_mut().flat_map(|it| &mut it.addresses).for_each(|it| it.leased = true);
    let sources = |devices: &[Device]| -> (String, Vec<String>) {
        let plan = wanted(&config, "node-1", devices).pop().unwrap().plan.unwrap();
        (plan.device_name, plan.machine.instances.iter().map(|i| i.source.to_string()).collect())
    };
    let expected = ("eth1".to_owned(), vec!["192.0.2.1".to_owned(), "fe80::1".to_owned()]);
    assert_eq!(sources(&leased), expected);

    // One that stays is better, on this device and on another.
    let steady = device(0, "", &[("192.0.2.2", 24), ("fe80::2", 64)]).addresses;
    leased[1].addresses.extend(steady);
    assert_eq!(sources(&leased).1, ["192.0.2.2", "fe80::2"]);
    let last = leased[1].addresses.split_off(floating.len() + 2);
    leased.push(Device { index: 4, name: "eth2".to_owned(), addresses: last, ..leased[0].clone() });
    assert_eq!(sources(&leased).0, "eth2");
}

#[test]
fn a_device_with_floating_addresses_alone_is_no_place_for_a_group() {
    let mut devices = vec![device(2, "eth0", &[("192.0.2.10", 24)])];
    let why = plan_of(&config(&group(), Vec::new()), &devices).unwrap_err();
    assert!(why.contains("of its own in the subnet"), "{why}");
    devices[0].addresses[0].leased = true;
    plan_of(&config(&group(), Vec::new()), &devices).unwrap_err();
}

/// `group()` by unicast, with addresses of both nodes on the network.
fn unicast() -> Config {
    let interface = |ipv4: [u8; 4], ipv6: &str| NodeInterface {
        network: "front".to_owned(),
        device: "eth1".to_owned(),
        ipv4: Some(ipv4.into()),
        ipv6: Some(ipv6.parse().unwrap()),
    };
    let interfaces = [interface([192, 0, 2, 1], "fe80::1"), interface([192, 0, 2, 2], "fe80::2")];
    let nodes = (1..).zip(interfaces).map(|(id, interface)| {
        let mut node = NodeSpec::new(id, NodeRole::Traffic, "192.0.2.1:7400", Vec::new());
        node.interfaces = vec![interface];
        Edit::put(AnyDraft::Node(Draft::new(format!("node-{id}"), node)), "n")
    });
    let mut spec = group();
    spec.transport = AdvertTransport::Unicast;
    spec.network = Some("front".to_owned());
    let group = Edit::put(AnyDraft::TrafficGroup(Draft::new("web", spec)), "g");
    testing::config(nodes.chain([group]))
}

#[test]
fn unicast_goes_to_each_other_nodes_address() {
    let plan = plan_of(&unicast(), &devices()).unwrap();
    assert_eq!(plan.destinations(Family::V4), ["192.0.2.2".parse::<IpAddr>().unwrap()]);
    assert_eq!(plan.destinations(Family::V6), ["fe80::2".parse::<IpAddr>().unwrap()]);
}

#[test]
fn a_node_whose_address_the_others_do_not_know_takes_no_part_in_unicast() {
    let whole = serde_json::to_value(unicast()).unwrap();
    for lost in ["ipv4", "ipv6", "all"] {
        // As one is that has just joined.
        let mut value = whole.clone();
        let interfaces = &mut value["nodes"][0]["spec"]["interfaces"];
        match lost {
            "all" => *interfaces = serde_json::Value::Array(Vec::new()),
            address => interfaces[0][address] = serde_json::Value::Null,
        }
        let config = serde_json::from_value(value).unwrap();
        let why = plan_of(&config, &devices()).unwrap_err();
        assert!(why.contains("node node-1 names no address on network front"), "{why}");
    }
}

#[test]
fn unicast_without_a_peer_is_no_multicast() {
    let mut value = serde_json::to_value(unicast()).unwrap();
    value["nodes"].as_array_mut().unwrap().truncate(1);
    let plan = plan_of(&serde_json::from_value(value).unwrap(), &devices()).unwrap();
    assert!(plan.destinations(Family::V4).is_empty() && plan.destinations(Family::V6).is_empty());
}
