//! `sweep`: what `test` does for minutes, for hours: the soak, the properties with many more cases, and
//! every fuzz target.

use std::process::Command;

use anyhow::{Result, bail};

use crate::fuzz;
use crate::process::{self, Step};
use crate::test;

/// Cases of a property that has no number of its own; 256 in `test`.
const CASE_COUNT: &str = "20000";
/// Where the properties are: pure crates, and the codecs of the shells.
const PROPERTIES: &[&str] = &[
    "ballast-balance",
    "ballast-health",
    "ballast-l4",
    "ballast-l7",
    "ballast-model",
    "ballast-policy",
    "ballast-raft-store",
    "ballast-share",
    "ballast-telemetry",
    "ballast-vrrp",
    "ballast-workers",
];

/// Soaks for so many minutes, then fuzzes for as long, all targets together; goes on after a failure,
/// and fails then.
pub(crate) fn run(minutes: u32) -> Result<()> {
    test::build()?;
    let mut failed = Vec::new();
    let step = Step::start(format!("soak of {minutes} minutes"));
    let mut soak = patient_nextest("binary(soak)");
    soak.env("BALLAST_SOAK_S", (minutes * 60).to_string());
    note(&mut failed, "soak", step, process::run(&mut soak));
    let step = Step::start(format!("properties, {CASE_COUNT} cases each"));
    let filters = PROPERTIES.iter().map(|package| format!("package({package})"));
    let filter = filters.collect::<Vec<_>>().join(" or ");
    let mut properties = patient_nextest(&filter);
    properties.env("PROPTEST_CASES", CASE_COUNT);
    note(&mut failed, "properties", step, process::run(&mut properties));
    let seconds = minutes * 60 / fuzz::TARGET_COUNT;
    let step = Step::start(format!("fuzzing, {seconds} s each"));
    note(&mut failed, "fuzzing", step, fuzz::run(None, seconds.max(1), false));
    if failed.is_empty() {
        return Ok(());
    }
    bail!("the sweep has found something: {}", failed.join("; "))
}

/// Runs these tests, however long they take.
fn patient_nextest(filter: &str) -> Command {
    let arguments = ["--profile", "sweep", "--filterset", filter];
    test::nextest_command(&arguments.map(str::to_owned))
}

fn note(failed: &mut Vec<String>, name: &str, step: Step, result: Result<()>) {
    match result {
        Ok(()) => step.done(),
        Err(error) => {
            eprintln!("✗ {name}: {error:#}");
            failed.push(format!("{name}: {error:#}"));
        }
    }
}
