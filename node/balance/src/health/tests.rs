use proptest::prelude::*;

use super::*;

const SETTINGS: HealthSettings = HealthSettings { rise: 2, fall: 3 };

fn good() -> Probe {
    Probe { passed: true, facts: "HTTP 200 after 3 ms".to_owned(), took_us: 3_000 }
}

fn bad() -> Probe {
    let facts = "HTTP 503 after 12 ms; expected 200-399".to_owned();
    Probe { passed: false, facts, took_us: 12_000 }
}

fn machine(health: Health) -> HealthMachine {
    HealthMachine::new(SETTINGS, health, 0)
}

#[test]
fn first_probe_decides_a_new_member() {
    let mut up = machine(Health::Checking);
    assert_eq!(up.report().reason, "waiting for the first health check");
    let to_up = Transition { from: Health::Checking, to: Health::Up };
    assert_eq!(up.observe(good(), 5), Some(to_up));
    assert_eq!((up.report().since_ms, up.report().last_probe_us), (5, Some(3_000)));

    let mut down = machine(Health::Checking);
    let to_down = Transition { from: Health::Checking, to: Health::Down };
    assert_eq!(down.observe(bad(), 5), Some(to_down));
    let reason = "HTTP 503 after 12 ms; expected 200-399; the first check failed";
    assert_eq!(down.report().reason, reason);
}

#[test]
fn fall_failures_in_a_row_take_down_and_rise_successes_bring_up() {
    let mut machine = machine(Health::Up);
    assert_eq!(machine.observe(bad(), 1), None);
    assert_eq!(machine.observe(bad(), 2), None);
    assert!(machine.report().reason.ends_with("; 2 of 3 checks failed"));
    assert_eq!(machine.observe(good(), 3), None, "a success in between starts the count anew");
    assert_eq!(machine.observe(bad(), 4), None);
    assert_eq!(machine.observe(bad(), 5), None);
    let to_down = Transition { from: Health::Up, to: Health::Down };
    assert_eq!(machine.observe(bad(), 6), Some(to_down));
    let reason = "HTTP 503 after 12 ms; expected 200-399; 3 of 3 checks failed";
    assert_eq!((machine.report().reason.as_str(), machine.report().since_ms), (reason, 6));
    assert_eq!(machine.observe(bad(), 7), None);
    assert_eq!(machine.report().reason, reason);
    assert_eq!(machine.observe(good(), 8), None);
    assert_eq!(machine.report().reason, "HTTP 200 after 3 ms; 1 of 2 checks passed");
    let to_up = Transition { from: Health::Down, to: Health::Up };
    assert_eq!(machine.observe(good(), 9), Some(to_up));
    assert_eq!(machine.report().reason, "HTTP 200 after 3 ms");
}

#[test]
fn a_live_member_that_gets_a_monitor_is_not_taken_down_by_one_failure() {
    let mut machine = machine(Health::Unmonitored);
    assert_eq!(machine.observe(bad(), 1), None);
    assert_eq!(machine.health(), Health::Up);
}

#[test]
fn fewer_needed_results_wait_for_the_next_one() {
    let mut machine = machine(Health::Up);
    machine.observe(bad(), 1);
    machine.observe(bad(), 2);
    machine.set_settings(HealthSettings { rise: 1, fall: 1 });
    machine.check_invariants().unwrap();
    assert_eq!(machine.health(), Health::Up);
    assert!(machine.observe(bad(), 3).is_some());
}

fn report(health: Health) -> HealthReport {
    HealthReport { health, since_ms: 1, ..HealthReport::default() }
}

#[test]
fn up_while_all_monitors_say_so() {
    let (mut up, mut down) = (machine(Health::Checking), machine(Health::Checking));
    up.observe(good(), 1);
    down.observe(bad(), 1);
    let both = combine(&report(Health::Up), &[("a", &up), ("b", &down)], 9);
    assert_eq!((both.health, both.since_ms), (Health::Down, 9));
    assert!(both.reason.starts_with("b: HTTP 503"), "{}", both.reason);
    let agreed = combine(&report(Health::Up), &[("a", &up), ("b", &up)], 9);
    assert_eq!((agreed.health, agreed.since_ms), (Health::Up, 1));
}

#[test]
fn added_monitor_that_has_said_nothing_changes_nothing() {
    let (mut up, new) = (machine(Health::Checking), machine(Health::Checking));
    up.observe(good(), 1);
    let monitors = [("a", &up), ("b", &new)];
    assert_eq!(combine(&report(Health::Up), &monitors, 9).health, Health::Up);
    assert_eq!(combine(&report(Health::Checking), &monitors, 9).health, Health::Checking);
    assert_eq!(combine(&report(Health::Unmonitored), &[("b", &new)], 9).health, Health::Up);
}

proptest! {
    #[test]
    fn sides_change_only_after_enough_results_in_a_row(
        results in prop::collection::vec(any::<bool>(), 0..200),
        rise in 1_u32..5,
        fall in 1_u32..5,
    ) {
        let mut machine =
            HealthMachine::new(HealthSettings { rise, fall }, Health::Checking, 0);
        let mut run = 0;
        let mut last = None;
        for (passed, now_ms) in results.into_iter().zip(1..) {
            run = if last == Some(passed) { run + 1 } else { 1 };
            last = Some(passed);
            let before = machine.health();
            let transition = machine.observe(if passed { good() } else { bad() }, now_ms);
            machine.check_invariants().unwrap();
            let expected = match before {
                Health::Checking => true,
                Health::Down => passed && run >= rise,
                _ => !passed && run >= fall,
            };
            prop_assert_eq!(transition.is_some(), expected);
            if let Some(transition) = transition {
                let side = if passed { Health::Up } else { Health::Down };
                prop_assert_eq!(transition, Transition { from: before, to: side });
                prop_assert_eq!(machine.report().since_ms, now_ms);
            }
            prop_assert_eq!(machine.report().health, machine.health());
        }
    }
}
