//! Traffic groups as text.

use ballast_model::ha::{
    GroupMove, GroupOverview, GroupPart, GroupState, GroupStatus, HaNode, HaOverview, HaStep,
    HaTimeline, HaTransition, HeartbeatStatus, MoveReport, NodeLoad, Preview as Previewed,
    TakeoverWait, TrackedKind, TrackedState, TrackedStatus, WaitKind,
};

use super::*;

fn part(node: &str, status: GroupStatus) -> GroupPart {
    GroupPart { node: node.to_owned(), status }
}

fn overview() -> HaOverview {
    let owner = GroupStatus {
        state: GroupState::Active,
        since_ms: 1_700_000_000_000,
        reason: "nobody else was heard".to_owned(),
        priority: 254,
        manual: true,
        ..GroupStatus::default()
    };
    let standby = GroupStatus {
        state: GroupState::Backup,
        priority: 80,
        degraded: vec![
            "gateway 192.0.2.1 is lost".to_owned(),
            "the node is in maintenance".to_owned(),
        ],
        tracked: vec![TrackedStatus {
            kind: TrackedKind::Gateway,
            name: "192.0.2.1".to_owned(),
            state: TrackedState::Failed,
            since_ms: 1_700_000_000_000,
            weight: 20,
            reason: Some("gateway 192.0.2.1 is lost".to_owned()),
        }],
        ..GroupStatus::default()
    };
    let out = GroupStatus {
        unable: Some("the link of eth0 is down".to_owned()),
        ..GroupStatus::default()
    };
    let heartbeat =
        |node: &str, alive| HeartbeatStatus { node: node.to_owned(), alive, heard_before_ms: None };
    HaOverview {
        groups: vec![GroupOverview {
            group: "blue".to_owned(),
            addresses: vec!["198.51.100.10".to_owned(), "2001:db8::10".to_owned()],
            owners: vec!["lb1".to_owned()],
            next: Some("lb2".to_owned()),
            parts: vec![part("lb1", owner), part("lb2", standby), part("lb3", out)],
        }],
        nodes: vec![HaNode {
            node: "lb1".to_owned(),
            answers: true,
            heartbeats: vec![heartbeat("lb2", true), heartbeat("lb3", false)],
            ..HaNode::default()
        }],
        problems: vec!["traffic group blue: lb2 is degraded".to_owned()],
    }
}

/// The columns of a line, which are two spaces apart.
fn columns(line: &str) -> Vec<&str> {
    line.split("  ").map(str::trim).filter(|column| !column.is_empty()).collect()
}

#[track_caller]
fn has_row(text: &str, row: &[&str]) {
    assert!(text.lines().any(|line| columns(line) == row), "{row:?} is not in\n{text}");
}

#[test]
fn status_tells_faults_owners_and_why_each_node_has_its_part() {
    let text = render::status(&overview(), false);
    assert!(text.starts_with("! traffic group blue: lb2 is degraded\n"), "{text}");
    has_row(&text, &["blue", "198.51.100.10, 2001:db8::10", "lb1", "lb2"]);
    let since = "2023-11-14T22:13:20Z";
    let manual = "254 (moved by hand)";
    has_row(&text, &["blue", "lb1", "active", manual, since, "nobody else was heard"]);
    let degraded = "degraded: gateway 192.0.2.1 is lost since 2023-11-14T22:13:20Z; the node is in maintenance";
    has_row(&text, &["blue", "lb2", "backup", "80", "-", degraded]);
    has_row(&text, &["blue", "lb3", "takes no part", "-", "-", "the link of eth0 is down"]);
    has_row(&text, &["lb1", "available", "yes", "lb2"]);
}

#[test]
fn a_group_without_owner_and_one_with_two_stand_out() {
    let mut overview = overview();
    overview.groups[0].owners.clear();
    overview.groups[0].next = None;
    let text = render::status(&overview, true);
    assert_eq!(text.matches("nobody\u{1b}").count(), 2, "{text:?}");
    overview.groups[0].owners = vec!["lb1".to_owned(), "lb2".to_owned()];
    assert!(render::status(&overview, false).contains("lb1, lb2"));
    let calm = render::status(&HaOverview::default(), false);
    assert!(calm.starts_with("all is as it should be\n") && calm.contains("no traffic group"));
}

#[test]
fn what_nodes_wrote_drives_no_terminal() {
    let mut overview = overview();
    overview.problems[0] = "\u{1b}[2J".to_owned();
    overview.groups[0].parts[2].status.unable = Some("\u{1b}]0;x".to_owned());
    assert!(!render::status(&overview, false).contains('\u{1b}'));
    let error = Some("\u{1b}[2J".to_owned());
    let moves = vec![MoveReport { error, ..MoveReport::default() }];
    assert!(!render::report(&FailoverReport { moves }, false).contains('\u{1b}'));
}

#[test]
fn events_tell_the_gap_and_steps_that_failed() {
    let step = |step: &str, after_us, error: Option<&str>| HaStep {
        step: step.to_owned(),
        after_us,
        error: error.map(str::to_owned),
    };
    let taken = HaTransition {
        at_ms: 1_700_000_000_000,
        node: "lb2".to_owned(),
        group: "blue".to_owned(),
        from: GroupState::Backup,
        to: GroupState::Active,
        message: "lb1 fell silent".to_owned(),
        silence_us: Some(612_345),
        steps: vec![step("addresses added", 840, None), step("announced", 1_210, None)],
        ..HaTransition::default()
    };
    let mut failed = taken.clone();
    failed.steps.push(step("announced", 1_300, Some("no such device")));
    let timeline = HaTimeline { items: vec![failed, taken], missing: vec!["lb3".to_owned()] };
    let text = render::events(&timeline, false);
    assert!(text.starts_with("! node lb3 does not answer"), "{text}");
    let at = "2023-11-14T22:13:20Z";
    let change = "backup → active";
    has_row(&text, &[at, "blue", "lb2", change, "612.3 ms", "1.2 ms", "lb1 fell silent"]);
    let why = "lb1 fell silent; announced failed: no such device";
    has_row(&text, &[at, "blue", "lb2", change, "612.3 ms", "1.3 ms", why]);
    assert_eq!(render::events(&HaTimeline::default(), false), "nothing happened");
}

#[test]
fn preview_tells_moves_and_overload() {
    let previewed = Previewed {
        down: vec!["lb1".to_owned()],
        moves: vec![GroupMove {
            group: "blue".to_owned(),
            from: Some("lb1".to_owned()),
            to: None,
            why: "no other node".to_owned(),
        }],
        nodes: vec![NodeLoad {
            node: "lb2".to_owned(),
            capacity: 100,
            groups_then: vec!["green".to_owned()],
            load: 60,
            load_then: 120,
            connections: 5,
            connections_then: 9,
            ..NodeLoad::default()
        }],
        warnings: vec!["nobody would own traffic group blue".to_owned()],
    };
    let text = render::preview(&previewed, false);
    assert!(text.starts_with("! nobody would own"), "{text}");
    has_row(&text, &["blue", "lb1", "nobody", "no other node"]);
    has_row(&text, &["lb2", "100", "60", "120", "5", "9", "green"]);
    assert!(render::preview(&Previewed::default(), false).contains("no traffic group would move"));
}

#[test]
fn a_report_names_each_move_and_counts_those_that_failed() {
    let moved = MoveReport {
        group: "blue".to_owned(),
        from: Some("lb1".to_owned()),
        to: "lb2".to_owned(),
        quiesced_ms: 40,
        moved_ms: 3,
        error: None,
    };
    let there = MoveReport { from: Some("lb2".to_owned()), ..moved.clone() };
    let taken = MoveReport { from: None, ..moved.clone() };
    let failed = MoveReport { error: Some("lb2 is gone".to_owned()), ..moved.clone() };
    let report = FailoverReport { moves: vec![moved, there, taken, failed] };
    assert_eq!(
        render::report(&report, false),
        "blue: lb1 → lb2 in 3 ms, after 40 ms for idle connections\n\
         blue: lb2 has it already\n\
         blue: lb2 took it in 3 ms\n\
         blue: not moved: lb2 is gone"
    );
    assert_eq!(unmoved(&report), 1);
    assert_eq!(render::report(&FailoverReport::default(), false), "there was nothing to move");
}

#[test]
fn what_a_backup_waits_for_and_a_second_owner_that_is_not_heard_are_told() {
    let waiting = |kind, message: &str, ends_in_ms| GroupStatus {
        state: GroupState::Backup,
        priority: 209,
        wait: Some(TakeoverWait { kind, message: message.to_owned(), ends_in_ms }),
        ..GroupStatus::default()
    };
    let twice = GroupStatus {
        state: GroupState::Active,
        priority: 220,
        unheard_owner: Some("lb1".to_owned()),
        ..GroupStatus::default()
    };
    let mut overview = overview();
    overview.groups[0].parts = vec![
        part("lb2", waiting(WaitKind::Veto, "node lb1 is not heard", None)),
        part("lb3", waiting(WaitKind::Failback, "it is preferred", Some(41_001))),
        part("lb4", twice),
    ];
    let text = render::status(&overview, false);
    has_row(&text, &["blue", "lb2", "backup", "209", "-", "node lb1 is not heard"]);
    has_row(&text, &["blue", "lb3", "backup", "209", "-", "it is preferred: 42 s"]);
    let twice = "lb1 reports to own it too, and is not heard on the segment";
    has_row(&text, &["blue", "lb4", "active", "220", "-", twice]);
}

#[test]
fn an_entry_that_changed_nothing_is_no_change() {
    let item = HaTransition {
        group: "blue".to_owned(),
        node: "lb2".to_owned(),
        from: GroupState::Backup,
        to: GroupState::Backup,
        message: "node lb1 is not heard".to_owned(),
        ..HaTransition::default()
    };
    let timeline = HaTimeline { items: vec![item], missing: Vec::new() };
    let text = render::events(&timeline, false);
    assert!(text.contains("stays backup") && !text.contains('→'), "{text}");
}
