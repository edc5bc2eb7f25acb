//! Two to four machines on a virtual network and a virtual clock, under everything that networks
//! and clocks do. `BALLAST_VRRP_SEED=n` runs one world, `BALLAST_VRRP_SEEDS=n` so many,
//! and `BALLAST_VRRP_TRACE=1` tells what happens in them.

#[path = "simulation/node.rs"]
mod node;
#[path = "simulation/observer.rs"]
mod observer;
#[path = "simulation/plan.rs"]
mod plan;
#[path = "simulation/random.rs"]
mod random;
#[path = "simulation/world.rs"]
mod world;

use ballast_vrrp::Preempt;
use observer::Violation;
use plan::{Fault, Plan, Plant};
use world::run;

const SEEDS_COUNT: u64 = 600;

#[test]
fn every_world_ends_with_one_active_and_was_never_long_without() {
    let (first, count) = (number_from("BALLAST_VRRP_SEED"), number_from("BALLAST_VRRP_SEEDS"));
    let count = count.unwrap_or(if first.is_some() { 1 } else { SEEDS_COUNT });
    let seeds = first.unwrap_or(0)..first.unwrap_or(0) + count;
    let mut takeovers_count = 0;
    let mut faults_count = 0;
    for seed in seeds {
        let plan = Plan::generate(seed);
        match run(&plan) {
            Ok(outcome) => takeovers_count += outcome.takeovers_count,
            Err(violation) => fail(&plan, &violation),
        }
        faults_count += plan.faults.len();
    }
    // A world in which nothing happens proves nothing.
    assert!(takeovers_count > 0);
    assert!(count == 1 || faults_count as u64 > 4 * count);
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|number| number.parse().ok())
}

#[test]
fn a_quiet_world_has_one_takeover() {
    for seed in 0..20 {
        let mut plan = Plan::generate(seed);
        plan.faults.clear();
        plan.loss_percent = 0;
        plan.max_delay_us = 500;
        plan.preempt = Preempt::Never;
        plan.priorities = vec![200, 150];
        let outcome = run(&plan).unwrap_or_else(|violation| fail(&plan, &violation));
        // One move to Backup per node, and one to Active.
        let moves = (outcome.transitions_count, outcome.takeovers_count);
        assert_eq!(moves, (plan.priorities.len() + 1, 1), "seed {seed}");
    }
}

#[test]
fn a_silent_segment_makes_no_second_active_where_reports_pass() {
    let takeovers_count = |seed, has_heartbeat| {
        let mut plan = Plan::generate(seed);
        plan.priorities = vec![200, 196];
        plan.loss_percent = 0;
        plan.preempt = Preempt::Never;
        plan.has_heartbeat = has_heartbeat;
        let cuts = [(0, 1), (1, 0)].map(|(from, to)| (3_000_000, Fault::Cut(from, to, None)));
        plan.faults = [cuts.to_vec(), vec![(7_000_000, Fault::Heal)]].concat();
        run(&plan).unwrap_or_else(|violation| fail(&plan, &violation)).takeovers_count
    };
    for seed in 0..20 {
        assert!(takeovers_count(seed, true) < takeovers_count(seed, false), "seed {seed}");
    }
}

#[test]
fn a_missing_tie_break_is_caught() {
    assert_caught(Plant::NoTieBreak, "more than one Active");
}

#[test]
fn an_active_that_does_not_yield_is_caught() {
    assert_caught(Plant::NoYield, "more than one Active");
}

#[test]
fn a_timer_that_waits_too_long_is_caught() {
    assert_caught(Plant::SlowTimer, "nobody is Active");
}

#[test]
fn families_that_move_apart_are_caught() {
    assert_caught(Plant::SplitFamilies, "holds");
}

#[test]
fn addresses_that_are_kept_are_caught() {
    assert_caught(Plant::KeepsAddresses, "added twice");
}

#[test]
fn oscillation_is_caught() {
    assert_caught(Plant::Restless, "nothing disturbs");
}

/// Some seed among the first ones finds the planted bug, by the property that it breaks.
fn assert_caught(plant: Plant, by: &str) {
    let found: Vec<Violation> = (0..40)
        .filter_map(|seed| run(&Plan { plant: Some(plant), ..Plan::generate(seed) }).err())
        .collect();
    let is_caught = found.iter().any(|violation| violation.what.contains(by));
    assert!(is_caught, "{plant:?} went unnoticed, or: {found:#?}");
}

/// Leaves out whatever the failure does not need, then tells the rest.
fn fail(plan: &Plan, violation: &Violation) -> ! {
    let mut smallest = plan.clone();
    let mut seen = violation.clone();
    let mut index = 0;
    while index < smallest.faults.len() {
        let mut smaller = smallest.clone();
        smaller.faults.remove(index);
        match run(&smaller) {
            Err(still) => {
                smallest = smaller;
                seen = still;
            }
            Ok(_) => index += 1,
        }
    }
    panic!(
        "BALLAST_VRRP_SEED={}: {violation:?}\nsmallest plan: {seen:?}\n{smallest:#?}",
        plan.seed
    );
}
