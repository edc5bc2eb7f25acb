//! Overview, plans of moves and problems, of values.

use ballast_model::ha::{GroupStatus, HaStatus, HeartbeatStatus, TakeoverWait, WaitKind};
use ballast_model::status::RaftStatus;
use ballast_model::{Draft, Edit, NodeSpec, TrafficGroupSpec, testing};

use super::*;

use GroupState::{Active, Backup};

/// Nodes a and b, the witness w, the group `blue` with the order b, a.
fn config() -> Config {
    config_with_b(Availability::Available)
}

fn config_with_b(availability: Availability) -> Config {
    let node = |(id, name, role)| {
        let mut spec = NodeSpec::new(id, role, format!("10.0.0.{id}:7444"), Vec::new());
        if name == "b" {
            spec.availability = availability;
        }
        Edit::put(AnyDraft::Node(Draft::new(name, spec)), "uid")
    };
    let nodes =
        [(1, "a", NodeRole::Traffic), (2, "b", NodeRole::Traffic), (3, "w", NodeRole::Witness)];
    let mut edits: Vec<_> = nodes.into_iter().map(node).collect();
    let mut spec = TrafficGroupSpec::new(10, [[198, 51, 100, 10].into()]);
    spec.nodes = vec!["b".to_owned(), "a".to_owned()];
    edits.push(Edit::put(AnyDraft::TrafficGroup(Draft::new("blue", spec)), "uid"));
    testing::config(edits)
}

fn report(name: &str, state: GroupState) -> NodeReport {
    let part = GroupStatus { group: "blue".to_owned(), state, ..GroupStatus::default() };
    let ha = HaStatus { groups: vec![part], ..HaStatus::default() };
    let status = NodeStatus {
        dns: Vec::new(),
        jwt_providers: Vec::new(),
        certificates: Vec::new(),
        persistence_tables: Vec::new(),
        share_peers: Vec::new(),
        ha: Some(ha),
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
    };
    NodeReport { name: name.to_owned(), role: NodeRole::Traffic, status: Some(status), error: None }
}

fn silent(name: &str) -> NodeReport {
    let error = Some("connection refused".to_owned());
    NodeReport { name: name.to_owned(), role: NodeRole::Traffic, status: None, error }
}

fn ha(report: &mut NodeReport) -> &mut HaStatus {
    report.status.as_mut().unwrap().ha.as_mut().unwrap()
}

fn refusal(reports: &[NodeReport], to: Option<&str>) -> String {
    moves::plan(&config(), reports, "blue", to).unwrap_err().problem.detail.clone()
}

#[test]
fn owner_is_asked_to_hand_over_to_the_next_or_to_the_one_named() {
    let reports = [report("a", Active), report("b", Backup)];
    let planned = Planned {
        group: "blue".to_owned(),
        from: Some("a".to_owned()),
        to: "b".to_owned(),
        ask: Some("a".to_owned()),
    };
    assert_eq!(moves::plan(&config(), &reports, "blue", None).unwrap(), planned);
    assert_eq!(moves::plan(&config(), &reports, "blue", Some("b")).unwrap(), planned);
    let there = moves::plan(&config(), &reports, "blue", Some("a")).unwrap();
    assert_eq!((there.to.as_str(), there.ask), ("a", None));
}

#[test]
fn target_is_asked_itself_where_no_owner_answers() {
    let reports = [silent("a"), report("b", Backup)];
    let planned = moves::plan(&config(), &reports, "blue", None).unwrap();
    assert_eq!((planned.from, planned.ask.as_deref()), (None, Some("b")));
}

#[test]
fn of_two_owners_the_one_that_is_not_meant_is_asked() {
    let reports = [report("a", Active), report("b", Active)];
    let planned = moves::plan(&config(), &reports, "blue", Some("a")).unwrap();
    assert_eq!(planned.ask.as_deref(), Some("b"));
}

#[test]
fn a_target_that_is_not_able_is_refused_with_its_reason() {
    let reports = [report("a", Active), silent("b")];
    assert!(refusal(&reports, Some("b")).contains("it does not answer"));
    let mut b = report("b", Backup);
    ha(&mut b).groups[0].unable = Some("the link of eth0 is down".to_owned());
    let reports = [report("a", Active), b];
    assert!(refusal(&reports, Some("b")).contains("the link of eth0 is down"));
    let anybody = refusal(&reports, None);
    assert!(anybody.contains("nobody else") && anybody.contains("the link of eth0"), "{anybody}");
    let mut b = report("b", Backup);
    ha(&mut b).held_down = Some("it waits 30 s after its start".to_owned());
    assert!(refusal(&[report("a", Active), b], Some("b")).contains("30 s after its start"));
    let witness = moves::plan(&config(), &reports, "blue", Some("w")).unwrap_err();
    assert_eq!(witness.problem.errors[0].code, "not_allowed");
}

#[test]
fn overview_names_owner_next_and_the_part_of_each() {
    let reports = [report("a", Active), report("b", Backup)];
    let overview = overview_of(&config(), &reports);
    let group = &overview.groups[0];
    assert_eq!(
        (group.owners.as_slice(), group.next.as_deref()),
        (&["a".to_owned()][..], Some("b"))
    );
    assert_eq!(group.parts.len(), 2);
    assert_eq!(overview.nodes.len(), 2);
    assert!(overview.problems.is_empty(), "{:?}", overview.problems);
}

#[test]
fn a_group_on_the_second_of_its_order_is_no_problem() {
    assert!(problems(&config(), &[report("a", Active), report("b", Backup)]).is_empty());
}

#[test]
fn a_node_in_maintenance_is_a_problem_only_where_it_has_to_own_a_group() {
    let config = config_with_b(Availability::Maintenance);
    let mut b = report("b", Backup);
    ha(&mut b).groups[0].degraded = vec!["the node is in maintenance".to_owned()];
    assert_eq!(problems(&config, &[report("a", Active), b.clone()]), [""; 0]);
    ha(&mut b).groups[0].state = Active;
    let told = problems(&config, &[report("a", Backup), b]);
    assert!(told.len() == 1 && told[0].contains("b is degraded"), "{told:?}");
}

#[test]
fn a_group_is_moved_to_no_node_in_maintenance_and_away_from_one_at_any_time() {
    let config = config_with_b(Availability::Maintenance);
    let plan = |reports: &[NodeReport], to| moves::plan(&config, reports, "blue", to);
    let reports = [report("a", Active), report("b", Backup)];
    for to in [None, Some("b")] {
        let refused = plan(&reports, to).unwrap_err();
        assert_eq!((refused.problem.status, refused.code()), (409, "not_able"));
        let detail = &refused.problem.detail;
        assert!(detail.contains("b") && detail.contains("it is in maintenance"), "{detail}");
    }
    let if_a_died = imagine(&config, &reports, &["a".to_owned()]);
    assert_eq!(if_a_died.moves[0].to.as_deref(), Some("b"), "by itself it is the last resort");
    assert!(if_a_died.moves[0].why.contains("in maintenance"), "{}", if_a_died.moves[0].why);
    let reports = [report("a", Backup), report("b", Active)];
    assert_eq!(plan(&reports, None).unwrap().to, "a");
    assert_eq!(plan(&reports, Some("b")).unwrap().ask, None, "it has it already");
}

#[test]
fn each_fault_is_told_once() {
    let config = config();
    let said = |reports: &[NodeReport]| problems(&config, reports);
    let one = |reports: &[NodeReport], text: &str| {
        let said = said(reports);
        assert!(said.len() == 1 && said[0].contains(text), "{text}: {said:?}");
    };
    one(&[report("a", Active), report("b", Active)], "owned by a and b at once");
    one(&[report("a", Active), silent("b")], "no standby left: if a fails");
    one(&[report("a", Backup), report("b", Backup)], "nobody owns traffic group blue");

    let mut heard = report("a", Backup);
    ha(&mut heard).groups[0].heard = Some("b".to_owned());
    one(&[heard.clone(), silent("b")], "its owner b is heard, but does not answer");
    // Who answers and owns nothing is no owner, whatever another heard of it: the reasons count.
    let mut offline = report("b", GroupState::Initialize);
    ha(&mut offline).groups[0].unable = Some("worker 1 hangs".to_owned());
    one(&[heard.clone(), offline], "nobody owns traffic group blue: b: worker 1 hangs");
    ha(&mut heard).groups[0].state = GroupState::Initialize;
    one(&[heard, silent("b")], "nobody owns traffic group blue");

    let mut degraded = report("a", Active);
    ha(&mut degraded).groups[0].degraded = vec!["gateway 192.0.2.1 is lost".to_owned()];
    one(&[degraded, report("b", Backup)], "a is degraded: gateway 192.0.2.1 is lost");

    // What keeps a backup from taking over, and what only passes.
    let mut vetoed = report("b", Backup);
    let message = "node a is not heard on the segment, but reports that it serves".to_owned();
    let wait = TakeoverWait { kind: WaitKind::Veto, message, ends_in_ms: None };
    ha(&mut vetoed).groups[0].wait = Some(wait.clone());
    one(
        &[report("a", Active), vetoed.clone()],
        "blue: b waits: node a is not heard on the segment",
    );
    one(
        &[silent("a"), vetoed.clone()],
        "nobody owns traffic group blue: a: it does not answer; b:",
    );
    ha(&mut vetoed).groups[0].wait = Some(TakeoverWait { kind: WaitKind::Failback, ..wait });
    assert_eq!(said(&[report("a", Active), vetoed]), [""; 0]);
    let mut twice = report("b", Active);
    ha(&mut twice).groups[0].unheard_owner = Some("a".to_owned());
    one(&[report("a", Active), twice.clone()], "by a and b at once: they do not hear each other");
    let told = said(&[silent("a"), twice]);
    assert!(told.iter().any(|one| one.contains("a reports to own it too")), "{told:?}");

    let mut deaf = report("b", Backup);
    ha(&mut deaf).heartbeats =
        vec![HeartbeatStatus { node: "a".to_owned(), alive: false, heard_before_ms: None }];
    one(&[report("a", Active), deaf], "node b gets no heartbeats from a");

    let mut waiting = report("b", Backup);
    ha(&mut waiting).held_down = Some("it has just started".to_owned());
    let told = said(&[report("a", Active), waiting]);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("no standby left") && told[1].contains("owns nothing yet"));

    let mut clashing = report("b", GroupState::Initialize);
    ha(&mut clashing).groups[0].clash = Some("VRID 10 in use by 192.0.2.9".to_owned());
    let told = said(&[report("a", Active), clashing]);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].contains("node b: VRID 10 in use by 192.0.2.9"), "{told:?}");
}
