use ballast_model::ha::{GroupMove, HeartbeatStatus};
use ballast_model::status::{NodeStatus, RaftStatus, VirtualServerStatus};
use ballast_model::{Protocol, Spec};

use super::*;

fn resource<S: Spec>(name: &str, spec: S) -> Resource<S> {
    Resource {
        name: name.to_owned(),
        labels: Default::default(),
        description: String::new(),
        spec,
        uid: "u".to_owned(),
        revision: 1,
        created_at_ms: 0,
        updated_at_ms: 0,
    }
}

fn node(name: &str, role: NodeRole) -> Resource<NodeSpec> {
    resource(name, NodeSpec::new(1, role, "10.0.0.1:7400", Vec::new()))
}

fn cluster() -> Vec<Resource<NodeSpec>> {
    use NodeRole::{Traffic, Witness};
    vec![node("a", Traffic), node("b", Traffic), node("w", Witness)]
}

fn group(name: &str) -> Resource<TrafficGroupSpec> {
    resource(name, TrafficGroupSpec::new(51, ["192.0.2.10".parse().unwrap()]))
}

fn part(group: &str, state: GroupState, priority: u8) -> GroupStatus {
    GroupStatus { group: group.to_owned(), state, priority, since_ms: 100, ..Default::default() }
}

fn report(name: &str, parts: Option<Vec<GroupStatus>>) -> NodeReport {
    let status = parts.map(|groups| NodeStatus {
        dns: Vec::new(),
        jwt_providers: Vec::new(),
        certificates: Vec::new(),
        persistence_tables: Vec::new(),
        share_peers: Vec::new(),
        name: name.to_owned(),
        node_id: 1,
        role: NodeRole::Traffic,
        version: String::new(),
        started_at_ms: 0,
        raft: RaftStatus::default(),
        planes: Vec::new(),
        listeners: Vec::new(),
        members: Vec::new(),
        virtual_servers: Vec::new(),
        ha: Some(HaStatus { groups, ..HaStatus::default() }),
    });
    let error = status.is_none().then(|| "it is gone".to_owned());
    NodeReport { name: name.to_owned(), role: NodeRole::Traffic, status, error }
}

fn status(nodes: Vec<NodeReport>) -> ClusterStatus {
    ClusterStatus {
        cluster_name: "c".to_owned(),
        index: 1,
        leader: None,
        writable: true,
        problems: Vec::new(),
        nodes,
    }
}

fn seen(a: Option<GroupStatus>, b: Option<GroupStatus>) -> GroupRow {
    let one = |name: &str, part: Option<GroupStatus>| report(name, part.map(|part| vec![part]));
    let status = status(vec![one("a", a), one("b", b)]);
    groups(&[group("blue")], &cluster(), Some(&status)).remove(0)
}

fn standings(row: &GroupRow) -> Vec<Standing> {
    row.cells.iter().map(|cell| cell.standing).collect()
}

#[test]
fn a_group_with_an_owner_and_a_backup_is_as_it_should_be() {
    let row = seen(
        Some(part("blue", GroupState::Active, 200)),
        Some(part("blue", GroupState::Backup, 196)),
    );
    assert_eq!(standings(&row), [Standing::Active, Standing::Backup], "a witness has no column");
    assert_eq!(row.ownership, Ownership::One("a".to_owned()));
    assert_eq!(row.next.as_deref(), Some("b"));
    assert_eq!(row.concerns(), []);
}

#[test]
fn no_owner_and_two_owners_are_grave() {
    let backup = || Some(part("blue", GroupState::Backup, 196));
    let active = || Some(part("blue", GroupState::Active, 200));
    let none = seen(backup(), backup()).concerns();
    let two = seen(active(), active()).concerns();
    assert_eq!(none, [Concern::Nobody { group: "blue".to_owned() }]);
    let owners = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(two, [Concern::Several { group: "blue".to_owned(), owners }]);
    assert!(none[0].is_grave() && two[0].is_grave());
}

#[test]
fn an_owner_that_is_heard_and_does_not_answer_still_owns() {
    let heard = |by: &str| GroupStatus {
        heard: Some(by.to_owned()),
        ..part("blue", GroupState::Backup, 196)
    };
    let row = seen(None, Some(heard("a")));
    assert_eq!(standings(&row), [Standing::Silent, Standing::Backup]);
    assert_eq!(row.ownership, Ownership::Elsewhere("a".to_owned()));
    assert!(!row.concerns()[0].is_grave());
    // One that answers has said itself that it does not own it: what was heard is old.
    let row = seen(Some(part("blue", GroupState::Backup, 200)), Some(heard("a")));
    assert_eq!(row.ownership, Ownership::Nobody);
    // Nor does it count what a node heard before it took no part any more.
    let out = GroupStatus { state: GroupState::Initialize, ..heard("a") };
    assert_eq!(seen(None, Some(out)).ownership, Ownership::Nobody);
}

#[test]
fn before_anybody_has_spoken_nobody_is_blamed() {
    let row = groups(&[group("blue")], &cluster(), None).remove(0);
    assert_eq!(standings(&row), [Standing::Unknown, Standing::Unknown]);
    assert_eq!(row.ownership, Ownership::Unknown);
    assert_eq!(row.concerns(), []);
}

#[test]
fn nodes_that_an_order_leaves_out_are_not_missed() {
    let mut group = group("blue");
    group.spec.nodes = vec!["a".to_owned()];
    let status = status(vec![
        report("a", Some(vec![part("blue", GroupState::Active, 200)])),
        report("b", Some(vec![part("blue", GroupState::Initialize, 0)])),
    ]);
    let row = groups(&[group], &cluster(), Some(&status)).remove(0);
    assert_eq!(standings(&row), [Standing::Active, Standing::NotMeant]);
    assert_eq!(row.concerns(), []);
}

#[test]
fn a_node_that_can_t_take_over_says_why() {
    let unable = GroupStatus {
        unable: Some("eth0 has no link".to_owned()),
        ..part("blue", GroupState::Initialize, 0)
    };
    let row = seen(Some(part("blue", GroupState::Active, 200)), Some(unable));
    assert_eq!(row.cells[1].hindrances, ["eth0 has no link"]);
    let (group, owner, node) = ("blue".to_owned(), "a".to_owned(), "b".to_owned());
    let wanted = [Concern::NoStandby { group: group.clone(), owner }, Concern::Out { group, node }];
    assert_eq!(row.concerns(), wanted);
}

#[test]
fn what_an_operator_holds_back_is_no_concern_beside_a_missing_standby() {
    let mut nodes = cluster();
    nodes[1].spec.availability = Availability::Offline;
    let status = status(vec![
        report("a", Some(vec![part("blue", GroupState::Active, 200)])),
        report("b", Some(vec![part("blue", GroupState::Initialize, 0)])),
    ]);
    let row = groups(&[group("blue")], &nodes, Some(&status)).remove(0);
    assert!(row.cells[1].held_back);
    let wanted = Concern::NoStandby { group: "blue".to_owned(), owner: "a".to_owned() };
    assert_eq!(row.concerns(), [wanted]);
}

#[test]
fn the_backup_with_the_highest_priority_is_next() {
    let mut nodes = cluster();
    nodes.insert(2, node("c", NodeRole::Traffic));
    let said =
        |name: &str, state, priority| report(name, Some(vec![part("blue", state, priority)]));
    let status = status(vec![
        said("a", GroupState::Active, 200),
        said("b", GroupState::Backup, 90),
        said("c", GroupState::Backup, 192),
    ]);
    let row = groups(&[group("blue")], &nodes, Some(&status)).remove(0);
    assert_eq!(row.next.as_deref(), Some("c"));
}

#[test]
fn a_node_carries_the_load_of_what_it_owns() {
    let heartbeats = vec![HeartbeatStatus { node: "b".to_owned(), ..Default::default() }];
    let mut green = group("green");
    green.spec.load_factor = 5;
    let active = |group: &str| part(group, GroupState::Active, 200);
    let mut status = status(vec![report("a", Some(vec![active("blue"), active("green")]))]);
    let says = status.nodes[0].status.as_mut().and_then(|status| status.ha.as_mut()).unwrap();
    says.heartbeats = heartbeats.clone();
    let rows = nodes(&[group("blue"), green], &cluster(), Some(&status));
    let names: Vec<_> = rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!((rows[0].load, rows[0].owned.len()), (6, 2));
    assert_eq!(rows[0].says.as_ref().unwrap().heartbeats, heartbeats);
    assert_eq!((rows[1].load, rows[1].says.is_none(), rows[1].error.is_none()), (0, true, true));
}

fn transition(at_ms: u64, node: &str, to: GroupState) -> HaTransition {
    HaTransition {
        at_ms,
        node: node.to_owned(),
        group: "blue".to_owned(),
        to,
        reason: "silence".to_owned(),
        message: "Backup → Active: nothing was heard: for long".to_owned(),
        priority: 196,
        ..HaTransition::default()
    }
}

fn event(transition: HaTransition) -> Event {
    let (at_ms, node) = (transition.at_ms, transition.node.clone());
    Event { id: 1, at_ms, node, body: EventBody::Ha { transition } }
}

#[test]
fn a_takeover_is_shown_before_the_next_poll() {
    let said = |name: &str, state| report(name, Some(vec![part("blue", state, 200)]));
    let mut status = status(vec![said("a", GroupState::Active), said("b", GroupState::Backup)]);
    let active = event(transition(200, "b", GroupState::Active));
    assert!(apply_event(&mut status, &active));
    assert!(!apply_event(&mut status, &active), "it is known already");
    let late = event(transition(150, "b", GroupState::Backup));
    assert!(!apply_event(&mut status, &late), "what came before is no news");
    let row = groups(&[group("blue")], &cluster(), Some(&status)).remove(0);
    assert_eq!(standings(&row), [Standing::Active, Standing::Active]);
    let part = row.cells[1].status.as_ref().unwrap();
    assert_eq!((part.reason.as_str(), part.priority, part.since_ms), ("silence", 196, 200));
}

#[test]
fn the_timeline_has_each_transition_once_and_the_newest_first() {
    let mut timeline = Timeline::default();
    timeline.insert(transition(20, "b", GroupState::Active));
    let items =
        vec![transition(10, "a", GroupState::Active), transition(20, "b", GroupState::Active)];
    timeline.read(HaTimeline { items, missing: vec!["c".to_owned()] });
    timeline.insert(transition(30, "a", GroupState::Backup));
    timeline.insert(transition(30, "a", GroupState::Backup));
    let times: Vec<_> = timeline.items.iter().map(|item| item.at_ms).collect();
    assert_eq!(times, [30, 20, 10]);
    assert_eq!((timeline.is_read, timeline.missing.len()), (true, 1));
}

#[test]
fn the_timeline_is_bounded() {
    let mut timeline = Timeline::default();
    for at_ms in 0..TIMELINE_MAX_COUNT as u64 + 5 {
        timeline.insert(transition(at_ms, "a", GroupState::Active));
    }
    assert_eq!(timeline.items.len(), TIMELINE_MAX_COUNT);
    assert_eq!(timeline.items.last().map(|item| item.at_ms), Some(5));
}

#[test]
fn a_reason_loses_its_states_and_nothing_else() {
    assert_eq!(why(&transition(1, "a", GroupState::Active)), "nothing was heard: for long");
    let plain = HaTransition { message: "odd: but so".to_owned(), ..HaTransition::default() };
    assert_eq!(why(&plain), "odd: but so");
}

#[test]
fn only_a_takeover_from_the_dead_has_a_gap() {
    let item = HaTransition { silence_us: Some(600), ..transition(1, "a", GroupState::Active) };
    assert_eq!(gap_us(&item), Some(600));
    let moved = HaTransition { reason: "taken_over".to_owned(), ..item.clone() };
    assert_eq!(gap_us(&moved), None);
    assert_eq!(gap_us(&HaTransition { to: GroupState::Backup, ..item }), None);
}

fn load(node: &str, groups: &[&str], load: u32, connections: u64) -> NodeLoad {
    NodeLoad {
        node: node.to_owned(),
        capacity: 10,
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        load,
        connections,
        ..NodeLoad::default()
    }
}

#[test]
fn a_move_takes_its_load_along() {
    let mut row = seen(
        Some(part("blue", GroupState::Active, 200)),
        Some(part("blue", GroupState::Backup, 196)),
    );
    row.spec.load_factor = 3;
    let nodes = vec![load("a", &["blue", "green"], 4, 9), load("b", &[], 0, 0)];
    let then = moved(&Preview { nodes, ..Preview::default() }, &row, 7, "b");
    let found: Vec<_> = then
        .nodes
        .iter()
        .map(|node| (node.groups_then.join(","), node.load_then, node.connections_then))
        .collect();
    assert_eq!(found, [("green".to_owned(), 1, 2), ("blue".to_owned(), 3, 7)]);
    let now = Preview { nodes: then.nodes, ..Preview::default() };
    let nowhere = moved(&now, &row, 7, "");
    assert!(nowhere.nodes.iter().all(|node| node.load == node.load_then));
}

#[test]
fn what_nobody_else_can_take_stays_on_a_node_that_is_emptied() {
    let lost = |group: &str, from: Option<&str>, to: Option<&str>| GroupMove {
        group: group.to_owned(),
        from: from.map(str::to_owned),
        to: to.map(str::to_owned),
        why: String::new(),
    };
    let preview = Preview {
        moves: vec![
            lost("blue", Some("a"), None),
            lost("green", Some("a"), Some("b")),
            lost("red", None, None),
        ],
        nodes: vec![load("a", &["blue", "green"], 2, 5), load("b", &[], 0, 0)],
        warnings: vec!["nobody would own traffic group blue".to_owned()],
        ..Preview::default()
    };
    let active = part("blue", GroupState::Active, 200);
    let both = status(vec![report("a", Some(vec![active])), report("b", Some(Vec::new()))]);
    let rows = |nodes: &[_]| groups(&[group("blue"), group("green")], nodes, Some(&both));
    let empty = left(&preview, "a", &rows(&cluster()), |_| 4);
    let moves: Vec<_> = empty.moves.iter().map(|m| (m.group.as_str(), m.to.as_deref())).collect();
    assert_eq!(moves, [("blue", Some("a")), ("green", Some("b"))]);
    assert_eq!((empty.nodes[0].load_then, empty.nodes[0].connections_then), (1, 4));
    assert_eq!(empty.nodes[0].groups_then, ["blue"]);
    assert!(empty.warnings.is_empty(), "the node is not dead");
    // One in maintenance takes nothing from a node that serves.
    let mut nodes = cluster();
    nodes[1].spec.availability = Availability::Maintenance;
    let stuck = left(&preview, "a", &rows(&nodes), |_| 4);
    assert!(stuck.moves.iter().all(|moved| moved.to.as_deref() == Some("a")));
    assert_eq!(stuck.nodes[0].groups_then, ["blue", "green"]);
}

#[test]
fn connections_of_a_group_are_those_on_its_addresses() {
    let server = |address: &str| {
        let address = format!("{address}:80").parse().unwrap();
        VirtualServerSpec::new(Protocol::Http, address, "web")
    };
    let servers = [resource("shop", server("192.0.2.10")), resource("other", server("192.0.2.9"))];
    let count = |name: &str, connections| VirtualServerStatus {
        name: name.to_owned(),
        connections,
        ..VirtualServerStatus::default()
    };
    let mut status = status(vec![report("a", Some(Vec::new())), report("b", Some(Vec::new()))]);
    for (node, connections) in status.nodes.iter_mut().zip([3, 4]) {
        let counts = vec![count("shop", connections), count("other", 100)];
        node.status.as_mut().unwrap().virtual_servers = counts;
    }
    assert_eq!(connections(&group("blue").spec, &servers, Some(&status)), 7);
}
