use std::time::Duration;

use ballast_vrrp::{AnnounceConfig, Family, GroupConfig, InstanceConfig, Preempt, Standing};

use super::*;

fn machine() -> GroupMachine {
    let instance = InstanceConfig {
        family: Family::V4,
        source: "192.0.2.1".parse().unwrap(),
        addresses: vec!["192.0.2.100".parse().unwrap()],
    };
    let config = GroupConfig {
        name: "web".to_owned(),
        vrid: 51,
        interval_cs: 10,
        instances: vec![instance],
        preempt: Preempt::Never,
        signed: true,
        foreign_routers: Vec::new(),
        announce: AnnounceConfig::default(),
    };
    GroupMachine::new(config, Time(0)).unwrap()
}

/// Of a machine that was told nothing.
pub(crate) fn recording_of_nothing(group: &str, is_of_note: bool) -> Recording {
    let machine = machine();
    Recording { is_of_note, ..Recorder::new(&machine).take(group, Time(0), &machine) }
}

/// Runs a machine for that many inputs: it becomes Active and advertises.
fn run(machine: &mut GroupMachine, recorder: &mut Recorder, count: usize) -> Time {
    let standing = Standing { priority: 200, unable: None, may_volunteer: true };
    let mut now = Time(0);
    let first = [Input::LinkUp, Input::Standing(standing)];
    for input in first.into_iter().chain(std::iter::repeat(Input::Tick)).take(count) {
        now = machine.next_deadline().unwrap_or(now + Duration::from_millis(1)).max(now);
        recorder.begin(now, &input);
        let mut effects = Vec::new();
        machine.handle(now, input, &mut effects);
        recorder.end(&effects, machine);
    }
    now
}

#[test]
fn what_is_taken_can_be_played_again_and_ends_where_the_machine_is() {
    for count in [0, 1, 10, SEGMENT_INPUT_COUNT, 3 * SEGMENT_INPUT_COUNT + 7] {
        let mut machine = machine();
        let mut recorder = Recorder::new(&machine);
        let now = run(&mut machine, &mut recorder, count);
        let copied = recorder.copy("web", now).lines().unwrap();
        let lines = recorder.take("web", now, &machine).lines().unwrap();
        assert_eq!(copied, lines);
        let replayed = record::replay(lines.as_bytes()).unwrap();
        assert_eq!(replayed.machine, machine);
        assert!(replayed.inputs_count >= count.min(SEGMENT_INPUT_COUNT), "{count}");
        assert!(replayed.inputs_count < 2 * SEGMENT_INPUT_COUNT, "bounded");
    }
}

#[test]
fn a_recording_goes_on_where_the_one_before_ended() {
    let mut machine = machine();
    let mut recorder = Recorder::new(&machine);
    let now = run(&mut machine, &mut recorder, 10);
    let before = machine.clone();
    recorder.take("web", now, &machine);
    let now = now + Duration::from_millis(100);
    recorder.begin(now, &Input::Shutdown);
    let mut effects = Vec::new();
    machine.handle(now, Input::Shutdown, &mut effects);
    recorder.end(&effects, &machine);
    let recording = recorder.take("web", now, &machine);
    assert_eq!((&recording.machine, recording.entries.len()), (&before, 1));
    assert_eq!(recording.entries[0].effects, effects);
}
