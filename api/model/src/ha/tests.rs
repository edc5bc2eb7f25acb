use std::sync::Arc;

use super::*;
use crate::command::Edit;
use crate::config::{AnyDraft, Config};
use crate::resource::Draft;
use crate::spec::node::{NodeRole, NodeSpec};
use crate::spec::traffic_group::TrafficGroupSpec;
use crate::status::NodeStatus;
use crate::testing;

fn fitness(rank: usize) -> Fitness<'static> {
    Fitness {
        placement: Placement::Order,
        rank,
        load_percent: 0,
        failed_weights: &[],
        in_maintenance: false,
    }
}

#[test]
fn the_order_decides_between_healthy_nodes() {
    assert_eq!(fitness(0).priority(), 220);
    assert_eq!(fitness(1).priority(), 209);
    assert!(fitness(400).priority() >= PRIORITY_HEALTHY_MIN);
}

#[test]
fn any_failure_puts_a_node_behind_every_healthy_one() {
    let failed = Fitness { failed_weights: &[1], ..fitness(0) };
    assert!(failed.priority() < PRIORITY_HEALTHY_MIN);
    let worse = Fitness { failed_weights: &[1, 30], ..fitness(0) };
    assert!(worse.priority() < failed.priority());
    let worst = Fitness { failed_weights: &[100, 100, 100], ..fitness(0) };
    assert_eq!(worst.priority(), 2, "better than a node that gives everything away");
}

#[test]
fn by_load_the_emptier_node_wins_and_all_stay_in_the_healthy_band() {
    let by_load = |load_percent, rank| {
        Fitness { placement: Placement::Load, load_percent, ..fitness(rank) }.priority()
    };
    assert!(by_load(10, 1) > by_load(20, 0));
    assert!(by_load(10, 0) > by_load(10, 1));
    assert!(by_load(5_000, 9) >= PRIORITY_HEALTHY_MIN);
    assert!(by_load(0, 0) < PRIORITY_MANUAL);
}

#[test]
fn a_node_in_maintenance_is_the_last_resort() {
    assert_eq!(Fitness { in_maintenance: true, ..fitness(0) }.priority(), 1);
}

fn config(groups: &[(&str, u8, &[&str])]) -> Config {
    let mut edits: Vec<_> = (1..=3_u64)
        .map(|id| {
            let role = if id == 3 { NodeRole::Witness } else { NodeRole::Traffic };
            let spec = NodeSpec::new(id, role, "192.0.2.1:7400", Vec::new());
            Edit::put(AnyDraft::Node(Draft::new(format!("node-{id}"), spec)), "uid")
        })
        .collect();
    for (name, vrid, nodes) in groups {
        let mut spec = TrafficGroupSpec::new(*vrid, [[198, 51, 100, *vrid].into()]);
        spec.nodes = nodes.iter().map(|name| (*name).to_owned()).collect();
        spec.load_factor = 60;
        edits.push(Edit::put(AnyDraft::TrafficGroup(Draft::new(*name, spec)), "uid"));
    }
    testing::config(edits)
}

fn status(node: &str, parts: &[(&str, GroupState)]) -> NodeStatus {
    let groups = parts.iter().map(|(group, state)| GroupStatus {
        group: (*group).to_owned(),
        state: *state,
        priority: 200,
        ..GroupStatus::default()
    });
    let ha = HaStatus { groups: groups.collect(), ..HaStatus::default() };
    NodeStatus {
        dns: Vec::new(),
        jwt_providers: Vec::new(),
        certificates: Vec::new(),
        persistence_tables: Vec::new(),
        share_peers: Vec::new(),
        name: node.to_owned(),
        node_id: 1,
        role: NodeRole::Traffic,
        version: String::new(),
        started_at_ms: 0,
        raft: crate::status::RaftStatus::default(),
        planes: Vec::new(),
        listeners: Vec::new(),
        members: Vec::new(),
        virtual_servers: Vec::new(),
        ha: Some(ha),
    }
}

fn two_groups() -> (Config, Vec<NodeStatus>) {
    let config =
        config(&[("blue", 10, &["node-1", "node-2"]), ("green", 20, &["node-2", "node-1"])]);
    let (active, backup) = (GroupState::Active, GroupState::Backup);
    let statuses = vec![
        status("node-1", &[("blue", active), ("green", backup)]),
        status("node-2", &[("blue", backup), ("green", active)]),
    ];
    (config, statuses)
}

#[test]
fn a_dead_nodes_group_goes_to_the_next_of_its_order_and_overload_is_told() {
    let (config, statuses) = two_groups();
    let down = ["node-1".to_owned()];
    let found = preview(&Situation { config: &config, statuses: &statuses, down: &down });
    assert_eq!(found.moves.len(), 1);
    assert_eq!(found.moves[0].group, "blue");
    assert_eq!(found.moves[0].to.as_deref(), Some("node-2"));
    let node = found.nodes.iter().find(|node| node.node == "node-2").unwrap();
    assert_eq!((node.load, node.load_then, node.capacity), (60, 120, 100));
    assert_eq!(found.warnings.len(), 1, "{:?}", found.warnings);
}

#[test]
fn with_nobody_left_the_preview_says_so() {
    let (config, mut statuses) = two_groups();
    statuses[1].ha.as_mut().unwrap().groups[0].unable = Some("its link is down".to_owned());
    let down = ["node-1".to_owned()];
    let found = preview(&Situation { config: &config, statuses: &statuses, down: &down });
    assert_eq!(found.moves[0].to, None);
    assert!(found.warnings[0].contains("nobody"), "{:?}", found.warnings);
}

#[test]
fn with_nothing_down_nothing_moves() {
    let (config, statuses) = two_groups();
    let found = preview(&Situation { config: &config, statuses: &statuses, down: &[] });
    assert!(found.moves.is_empty() && found.warnings.is_empty(), "{found:?}");
    assert_eq!(found.nodes.len(), 2, "a witness owns nothing");
}

#[test]
fn vrids_and_addresses_belong_to_one_group_and_witnesses_to_none() {
    let config = Arc::new(config(&[("blue", 10, &[])]));
    let mut spec = TrafficGroupSpec::new(10, [[198, 51, 100, 10].into()]);
    spec.nodes = vec!["node-3".to_owned()];
    let edit = Edit::put(AnyDraft::TrafficGroup(Draft::new("green", spec)), "uid");
    let Err(crate::Rejection::Invalid { errors }) = config.edited(&[edit], 2, 2) else {
        panic!("it was accepted");
    };
    let codes: Vec<_> = errors.iter().map(|error| error.code.as_str()).collect();
    assert_eq!(codes, ["vrid_conflict", "address_conflict", "not_allowed"]);
}

#[test]
fn unicast_needs_each_nodes_address() {
    let config = config(&[]);
    let mut spec = TrafficGroupSpec::new(10, [[198, 51, 100, 10].into()]);
    spec.transport = crate::AdvertTransport::Unicast;
    let put = |spec: &TrafficGroupSpec| {
        [Edit::put(AnyDraft::TrafficGroup(Draft::new("blue", spec.clone())), "uid")]
    };
    let code = |config: &Config, spec: &TrafficGroupSpec| match config.edited(&put(spec), 2, 2) {
        Err(crate::Rejection::Invalid { errors }) => errors[0].code.clone(),
        other => format!("{other:?}"),
    };
    assert_eq!(code(&config, &spec), "required");
    spec.network = Some("front".to_owned());
    assert_eq!(code(&config, &spec), "missing_interface");
    let mut edits: Vec<_> = config
        .nodes
        .iter()
        .map(|node| {
            let mut draft = node.to_draft();
            draft.spec.interfaces = vec![crate::NodeInterface {
                network: "front".to_owned(),
                device: "eth0".to_owned(),
                ipv4: Some([198, 51, 100, 1].into()),
                ipv6: None,
            }];
            Edit::put(AnyDraft::Node(draft), "uid")
        })
        .collect();
    edits.extend(put(&spec));
    let config = config.edited(&edits, 2, 2).unwrap();

    let mut draft = config.nodes.get("node-1").unwrap().to_draft();
    draft.spec.interfaces[0].ipv4 = None;
    let lost = [Edit::put(AnyDraft::Node(draft.clone()), "uid")];
    let Err(crate::Rejection::Invalid { errors }) = config.edited(&lost, 3, 3) else {
        panic!("the others could not reach it");
    };
    let error = (errors[0].code.as_str(), errors[0].pointer.as_str());
    assert_eq!(error, ("missing_interface", "/spec/interfaces"));
    // Nobody refuses a node that joins: it can be set up, and emptied.
    let joined = NodeSpec::new(9, NodeRole::Traffic, "198.51.100.9:7400", Vec::new());
    let put = Edit::put(AnyDraft::Node(Draft::new("node-9", joined.clone())), "uid");
    let config = config.with_nodes(&[put], 4, 4);
    let busy = NodeSpec { availability: Availability::Maintenance, ..joined };
    let edit = Edit::put(AnyDraft::Node(Draft::new("node-9", busy)), "uid");
    assert!(config.edited(&[edit], 5, 5).is_ok());
}

#[test]
fn who_a_node_is_cant_be_edited_but_its_availability_can() {
    let config = config(&[]);
    let mut draft = config.nodes.get("node-1").unwrap().to_draft();
    draft.spec.availability = Availability::Maintenance;
    let edit = Edit::put(AnyDraft::Node(draft.clone()), "uid");
    assert!(config.edited(&[edit], 2, 2).is_ok());
    draft.spec.role = NodeRole::Witness;
    let edit = Edit::put(AnyDraft::Node(draft), "uid");
    assert!(config.edited(&[edit], 2, 2).is_err());
}
