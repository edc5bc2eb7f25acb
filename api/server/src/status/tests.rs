use ballast_model::status::{ListenerStatus, MemberStatus, PlaneStatus};

use super::*;

fn raft(has_quorum: bool) -> RaftStatus {
    RaftStatus {
        state: "follower".to_owned(),
        leader_id: has_quorum.then_some(1),
        voters: vec![1, 2, 3],
        applied_index: 10,
        has_quorum,
        ..RaftStatus::default()
    }
}

fn report(name: &str, id: u64) -> NodeReport {
    let status = NodeStatus {
        dns: Vec::new(),
        jwt_providers: Vec::new(),
        certificates: Vec::new(),
        persistence_tables: Vec::new(),
        share_peers: Vec::new(),
        ha: None,
        name: name.to_owned(),
        node_id: id,
        role: NodeRole::Traffic,
        version: String::new(),
        started_at_ms: 0,
        raft: raft(true),
        planes: Vec::new(),
        listeners: Vec::new(),
        members: Vec::new(),
        virtual_servers: Vec::new(),
    };
    NodeReport { name: name.to_owned(), role: NodeRole::Traffic, status: Some(status), error: None }
}

fn silent(name: &str) -> NodeReport {
    let error = Some("connection refused".to_owned());
    NodeReport { name: name.to_owned(), role: NodeRole::Traffic, status: None, error }
}

fn down(reason: &str) -> MemberStatus {
    MemberStatus {
        pool: "web".to_owned(),
        member: "m1".to_owned(),
        address: "10.0.0.1:80".to_owned(),
        admin_state: AdminState::Enabled,
        health: Health::Down,
        reason: reason.to_owned(),
        since_ms: 0,
        last_probe_us: None,
        in_flight: 0,
        requests_total: 0,
        failures_total: 0,
        last_error: None,
        agent: None,
    }
}

fn said(raft: &RaftStatus, nodes: &[NodeReport]) -> Vec<String> {
    problems(&Config::default(), raft, nodes)
}

#[test]
fn healthy_cluster_has_no_problems() {
    assert!(said(&raft(true), &[report("a", 1), report("b", 2), report("c", 3)]).is_empty());
}

#[test]
fn lost_quorum_says_who_is_missing() {
    let problems = said(&raft(false), &[report("a", 1), silent("b"), silent("c")]);
    assert_eq!(
        problems[0],
        "the configuration is read-only, traffic flows on: 1 of 3 voting nodes answer, 2 are \
         needed; missing: number 2, number 3"
    );
    assert_eq!(problems[1], "node b does not answer: connection refused");
}

#[test]
fn member_that_all_see_down_is_named_once() {
    let mut nodes = [report("a", 1), report("b", 2)];
    for node in &mut nodes {
        node.status.as_mut().unwrap().members.push(down("connection refused."));
    }
    let expected = "pool web: member m1 (10.0.0.1:80) is down: connection refused";
    assert_eq!(said(&raft(true), &nodes), [expected]);
    nodes[1].status.as_mut().unwrap().members[0].health = Health::Up;
    let expected = "pool web: member m1 (10.0.0.1:80) is down as seen by a: connection refused";
    assert_eq!(said(&raft(true), &nodes), [expected]);
    nodes[0].status.as_mut().unwrap().members[0].admin_state = AdminState::ForcedOffline;
    assert!(said(&raft(true), &nodes).is_empty(), "it is meant to be out");
}

#[test]
fn planes_and_listeners_say_what_they_could_not_do() {
    let mut node = report("a", 1);
    let status = node.status.as_mut().unwrap();
    let plane = |plane: &str, applied_index, error: Option<&str>| PlaneStatus {
        plane: plane.to_owned(),
        applied_index,
        error: error.map(str::to_owned),
    };
    status.planes =
        vec![plane("proxy", 10, Some("a certificate can't be opened")), plane("health", 8, None)];
    status.listeners = vec![ListenerStatus {
        virtual_server: "shop".to_owned(),
        address: "0.0.0.0:80".to_owned(),
        listening: false,
        error: Some("address in use".to_owned()),
    }];
    let expected = [
        "node a, proxy plane: a certificate can't be opened",
        "node a: the health plane carries out index 8, the newest is 10",
        "virtual server shop: node a does not listen on 0.0.0.0:80: address in use",
    ];
    assert_eq!(said(&raft(true), &[node]), expected);
}

#[test]
fn problems_are_bounded() {
    let mut node = report("a", 1);
    for i in 0..=PROBLEM_MAX_COUNT {
        let mut member = down(&"x".repeat(REASON_MAX_CHARS + 1));
        member.member = format!("m{i}");
        node.status.as_mut().unwrap().members.push(member);
    }
    let problems = said(&raft(true), &[node]);
    assert_eq!(problems.len(), PROBLEM_MAX_COUNT + 1);
    assert_eq!(problems.last().unwrap(), "and 1 more");
    assert!(problems[0].ends_with("x…"));
}
