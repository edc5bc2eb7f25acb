use ballast_model::status::{DnsStatus, NodeStatus, RaftStatus};
use ballast_model::{NodeRole, Origin};

use super::*;

fn pool(states: &[AdminState]) -> PoolSpec {
    let member = |(i, state): (usize, &AdminState)| MemberSpec {
        name: Some(format!("m{i}")),
        admin_state: *state,
        ..MemberSpec::new(([10, 0, 0, 1], 8080).into())
    };
    PoolSpec { members: states.iter().enumerate().map(member).collect(), ..PoolSpec::default() }
}

fn member(name: &str, health: Health) -> MemberStatus {
    MemberStatus {
        pool: "web".to_owned(),
        member: name.to_owned(),
        address: "10.0.0.1:8080".to_owned(),
        admin_state: AdminState::Enabled,
        health,
        reason: String::new(),
        since_ms: 1_000,
        last_probe_us: None,
        in_flight: 2,
        requests_total: 10,
        failures_total: 1,
        last_error: None,
        agent: None,
    }
}

fn status(nodes: &[(&str, Vec<MemberStatus>)]) -> ClusterStatus {
    let node = |(name, members): &(&str, Vec<MemberStatus>)| NodeReport {
        name: (*name).to_owned(),
        role: NodeRole::Traffic,
        status: Some(NodeStatus {
            dns: Vec::new(),
            jwt_providers: Vec::new(),
            certificates: Vec::new(),
            persistence_tables: Vec::new(),
            share_peers: Vec::new(),
            ha: None,
            name: (*name).to_owned(),
            node_id: 1,
            role: NodeRole::Traffic,
            version: "0.1.0".to_owned(),
            started_at_ms: 0,
            raft: RaftStatus::default(),
            planes: Vec::new(),
            listeners: Vec::new(),
            members: members.clone(),
            virtual_servers: Vec::new(),
        }),
        error: None,
    };
    ClusterStatus {
        cluster_name: "test".to_owned(),
        index: 7,
        leader: Some("a".to_owned()),
        writable: true,
        problems: Vec::new(),
        nodes: nodes.iter().map(node).collect(),
    }
}

fn conditions(spec: &PoolSpec, status: &ClusterStatus) -> Vec<Condition> {
    members("web", spec, Some(status)).into_iter().map(|row| row.condition).collect()
}

#[test]
fn a_member_is_up_only_where_every_node_says_so() {
    let spec = pool(&[AdminState::Enabled; 4]);
    let seen = status(&[
        ("a", vec![member("m0", Health::Up), member("m1", Health::Up), member("m2", Health::Down)]),
        (
            "b",
            vec![member("m0", Health::Up), member("m1", Health::Down), member("m2", Health::Down)],
        ),
    ]);
    assert_eq!(
        conditions(&spec, &seen),
        [Condition::Up, Condition::Partial, Condition::Down, Condition::Checking]
    );
}

#[test]
fn what_the_operator_wants_goes_before_what_monitors_find() {
    use AdminState::{Disabled, Draining, ForcedOffline};
    let spec = pool(&[Disabled, Draining, ForcedOffline]);
    let seen = status(&[("a", ["m0", "m1", "m2"].map(|name| member(name, Health::Down)).to_vec())]);
    assert_eq!(
        conditions(&spec, &seen),
        [Condition::Disabled, Condition::Draining, Condition::Offline]
    );
}

#[test]
fn nodes_that_do_not_act_on_a_wish_yet_are_named() {
    let spec = pool(&[AdminState::Disabled]);
    let mut seen =
        status(&[("a", vec![member("m0", Health::Up)]), ("b", vec![member("m0", Health::Up)])]);
    let first = seen.nodes[0].status.as_mut().unwrap();
    first.members[0].admin_state = AdminState::Disabled;
    assert_eq!(members("web", &spec, Some(&seen))[0].lagging, ["b"]);
}

#[test]
fn counters_of_all_nodes_are_added_up() {
    let spec = pool(&[AdminState::Enabled]);
    let seen =
        status(&[("a", vec![member("m0", Health::Up)]), ("b", vec![member("m0", Health::Up)])]);
    let row = &members("web", &spec, Some(&seen))[0];
    assert_eq!((row.in_flight(), row.requests_total(), row.failures_total()), (4, 20, 2));
}

#[test]
fn members_of_other_pools_do_not_count() {
    let spec = pool(&[AdminState::Enabled]);
    let seen = status(&[("a", vec![member("m0", Health::Up)])]);
    assert!(members("other", &spec, Some(&seen))[0].seen.is_empty());
}

fn health_event(node: &str, at_ms: u64, health: Health) -> Event {
    Event {
        id: 1,
        at_ms,
        node: node.to_owned(),
        body: EventBody::Health {
            pool: "web".to_owned(),
            member: "m0".to_owned(),
            health,
            reason: "connection refused".to_owned(),
        },
    }
}

#[test]
fn a_health_event_shows_at_once_on_its_node_only() {
    let mut seen =
        status(&[("a", vec![member("m0", Health::Up)]), ("b", vec![member("m0", Health::Up)])]);
    assert!(apply_event(&mut seen, &health_event("b", 5_000, Health::Down)));
    let of = |node: usize| seen.nodes[node].status.as_ref().unwrap().members[0].clone();
    assert_eq!(of(0).health, Health::Up);
    assert_eq!((of(1).health, of(1).since_ms), (Health::Down, 5_000));
    assert_eq!(of(1).reason, "connection refused");
}

#[test]
fn an_event_older_than_the_status_changes_nothing() {
    let mut seen = status(&[("a", vec![member("m0", Health::Up)])]);
    assert!(!apply_event(&mut seen, &health_event("a", 999, Health::Down)));
    assert!(!apply_event(&mut seen, &health_event("gone", 5_000, Health::Down)));
}

#[test]
fn other_events_leave_members_alone() {
    let mut seen = status(&[("a", vec![member("m0", Health::Up)])]);
    let before = seen.clone();
    let body = EventBody::Config { index: 8, changed: Vec::new(), origin: Origin::default() };
    let event = Event { id: 2, at_ms: 9_000, node: "a".to_owned(), body };
    assert!(!apply_event(&mut seen, &event));
    assert_eq!(seen, before);
}

#[test]
fn a_few_members_have_a_part_of_the_bar_each() {
    let parts = bar(&[(Condition::Up, 3), (Condition::Down, 1)].into());
    let conditions: Vec<_> = parts.iter().map(|(condition, ..)| *condition).collect();
    assert_eq!(conditions, [Condition::Up, Condition::Up, Condition::Up, Condition::Down]);
    assert_eq!(parts.first().map(|part| part.1), Some(0));
    assert_eq!(parts.last().map(|part| part.1 + part.2), Some(BAR_WIDTH));
}

#[test]
fn one_dead_member_of_thousands_still_shows() {
    let parts = bar(&[(Condition::Up, 4_095), (Condition::Down, 1)].into());
    assert_eq!(parts.len(), 2);
    assert!(parts[1].2 >= BAR_GAP);
    assert!(bar(&Counts::new()).is_empty());
}

#[test]
fn addresses_of_a_host_name_have_rows_of_their_own() {
    let mut spec = pool(&[AdminState::Enabled]);
    spec.dns_members.push(ballast_model::DnsMember::new("app.test", 8080));
    let leaving = MemberStatus {
        address: "10.0.0.2:8080".to_owned(),
        admin_state: AdminState::Draining,
        ..member("app.test@10.0.0.2:8080", Health::Up)
    };
    let resolved = member("app.test@10.0.0.1:8080", Health::Up);
    let stranger = member("gone.test@10.0.0.1:8080", Health::Up);
    let mut status = status(&[("a", vec![member("m0", Health::Up), resolved, leaving, stranger])]);
    let rows = members("web", &spec, Some(&status));
    let told: Vec<_> =
        rows.iter().map(|row| (row.name.as_str(), row.condition, row.is_resolved)).collect();
    let expected = [
        ("m0", Condition::Up, false),
        ("app.test@10.0.0.1:8080", Condition::Up, true),
        ("app.test@10.0.0.2:8080", Condition::Draining, true),
    ];
    assert_eq!(told, expected);

    let told = |dns: DnsStatus| DnsStatus {
        pool: "web".to_owned(),
        host: "app.test".to_owned(),
        port: Some(8080),
        ..dns
    };
    let node = status.nodes[0].status.as_mut().unwrap();
    node.dns = vec![told(DnsStatus {
        addresses: vec!["10.0.0.1:8080".to_owned()],
        error: Some("NXDOMAIN".to_owned()),
        ..DnsStatus::default()
    })];
    let names = host_names("web", &spec, Some(&status));
    let expected = HostName {
        host: "app.test".to_owned(),
        addresses: ["10.0.0.1:8080".to_owned()].into(),
        faults: vec![("a".to_owned(), "NXDOMAIN".to_owned())],
    };
    assert_eq!(names, [expected]);
}
