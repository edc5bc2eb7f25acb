use std::net::IpAddr;

use super::*;
use crate::config::{AnnounceConfig, GroupConfig, InstanceConfig, Preempt};
use crate::input::Standing;
use crate::wire::Family;

fn machine() -> GroupMachine {
    let addresses: Vec<IpAddr> = vec![[10, 0, 0, 100].into()];
    let config = GroupConfig {
        name: "web".to_owned(),
        vrid: 51,
        interval_cs: 20,
        instances: vec![InstanceConfig {
            family: Family::V4,
            source: [10, 0, 0, 5].into(),
            addresses,
        }],
        preempt: Preempt::After { delay_ms: 1_000 },
        signed: false,
        foreign_routers: Vec::new(),
        announce: AnnounceConfig::default(),
    };
    GroupMachine::new(config, Time(0)).unwrap()
}

/// A takeover and a shutdown, as a shell would write them down.
fn recording() -> Vec<String> {
    let mut machine = machine();
    let mut lines = vec![first_line(&machine).unwrap()];
    let standing = Standing { unable: None, priority: 200, may_volunteer: true };
    let inputs = [
        (1, Input::LinkUp),
        (2, Input::Standing(standing)),
        (700_000, Input::Tick),
        (800_000, Input::Shutdown),
    ];
    for (now, input) in inputs {
        let mut effects = Vec::new();
        machine.handle(Time(now), input.clone(), &mut effects);
        lines.push(line(Time(now), &input, &effects).unwrap());
    }
    lines
}

fn replay_lines(lines: &[String]) -> Result<Replayed, ReplayError> {
    replay(lines.join("\n").as_bytes())
}

#[test]
fn a_recording_repeats_itself() {
    let lines = recording();
    assert!(lines[3].contains("add_addresses"), "{}", lines[3]);
    let replayed = replay_lines(&lines).unwrap();
    assert_eq!(replayed.inputs_count, 4);
    assert_eq!(replayed.machine.state(), crate::State::Initialize);
}

#[test]
fn a_recording_can_begin_in_the_middle() {
    let lines = recording();
    let begin = replay_lines(&lines[..3]).unwrap().machine;
    let rest = [vec![first_line(&begin).unwrap()], lines[3..].to_vec()].concat();
    assert_eq!(replay_lines(&rest).unwrap().inputs_count, 2);
}

#[test]
fn the_first_difference_is_told_with_its_line() {
    let mut lines = recording();
    lines[3] = lines[3].replace("\"repeat_count\":5", "\"repeat_count\":4");
    let error = replay_lines(&lines).unwrap_err();
    assert!(matches!(error, ReplayError::Different { line: 4, .. }), "{error}");
}

#[test]
fn what_is_no_recording_is_refused() {
    assert!(matches!(replay(&b""[..]), Err(ReplayError::Empty)));
    assert!(matches!(replay(&b"{}"[..]), Err(ReplayError::Malformed { line: 1, .. })));
    let other = recording()[0].replacen("\"format\":1", "\"format\":2", 1);
    assert!(matches!(replay_lines(&[other]), Err(ReplayError::Format(2))));
    let mut lines = recording();
    lines[2].pop();
    assert!(matches!(replay_lines(&lines), Err(ReplayError::Malformed { line: 3, .. })));
}

#[test]
fn a_machine_that_cannot_be_is_refused() {
    let with = |from: &str, to: &str| {
        let first = recording()[0].clone();
        assert!(first.contains(from), "{first}");
        replay_lines(&[first.replacen(from, to, 1)])
    };
    let error = with("\"vrid\":51", "\"vrid\":0");
    assert!(matches!(error, Err(ReplayError::Config(ConfigError::ZeroVrid))));
    let error = with("\"state\":\"initialize\"", "\"state\":\"active\"");
    assert!(matches!(error, Err(ReplayError::Unsound(_))));
}

#[test]
fn a_line_has_a_length() {
    let long = |bytes: usize| [recording()[0].clone(), "x".repeat(bytes)];
    let at_limit = replay_lines(&long(MAX_LINE_BYTES)).unwrap_err();
    assert!(matches!(at_limit, ReplayError::Malformed { line: 2, .. }), "{at_limit}");
    let over = replay_lines(&long(MAX_LINE_BYTES + 1)).unwrap_err();
    assert!(matches!(over, ReplayError::LineTooLong { line: 2 }), "{over}");
}
