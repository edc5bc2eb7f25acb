//! `test`: every suite, from a clean checkout, with a summary of what ran and how long it took.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::build::{self, Profile};
use crate::console;
use crate::process::{self, Step, seconds};
use crate::setup::{self, Purpose};
use crate::workspace;

/// The console is compiled for WebAssembly only, but for tests of what needs no browser.
pub(crate) const HOST_PACKAGES: &[&str] = &["--workspace", "--exclude", "ballast-admin-ui"];

struct Suite {
    name: &'static str,
    passed: bool,
    time: Duration,
}

/// Sets up, builds and runs all suites, also those after a failed one; fails if any failed.
pub(crate) fn run(nextest: &[String]) -> Result<()> {
    let started = Instant::now();
    build()?;
    let mut suites = vec![suite("unit and cluster", nextest_command(nextest))?];
    if nextest.is_empty() {
        // What of the console needs no browser, for this machine.
        let mut console = build::cargo("nextest");
        console.args(["run", "--package", "ballast-admin-ui", "--no-default-features"]);
        suites.push(suite("console", console)?);
        let mut doctests = build::cargo("test");
        doctests.args(HOST_PACKAGES).arg("--doc");
        suites.push(suite("documentation", doctests)?);
        if let Some(browser) = browser_command() {
            suites.push(suite("browser", browser)?);
        }
    }
    report(&suites, started.elapsed())
}

/// Sets up, and builds the programs and the suites.
pub(crate) fn build() -> Result<()> {
    setup::run(Purpose::Test)?;
    console::build()?;
    let step = Step::start("building programs and suites (dev)");
    // One invocation for both: the suites run the programs, and must not find older ones.
    let mut cargo = build::cargo("build");
    process::run(cargo.args(HOST_PACKAGES).args(["--lib", "--bins", "--tests"]))?;
    step.done();
    Ok(())
}

/// nextest with these arguments, over all that is built for this machine.
pub(crate) fn nextest_command(arguments: &[String]) -> Command {
    let mut command = build::cargo("nextest");
    command.arg("run").args(HOST_PACKAGES).arg("--no-fail-fast").args(arguments);
    with_programs(command)
}

fn browser_command() -> Option<Command> {
    let folder = workspace::browser_dir();
    let configured = ["ts", "js", "mjs"]
        .iter()
        .any(|extension| folder.join(format!("playwright.config.{extension}")).is_file());
    configured.then(|| {
        let mut command = Command::new("npx");
        command.args(["--no-install", "playwright", "test"]).current_dir(&folder);
        with_programs(command)
    })
}

/// Says where the built programs are.
fn with_programs(mut command: Command) -> Command {
    let folder = Profile::Dev.folder();
    command
        .env("BALLASTD", folder.join("ballastd"))
        .env("BALLASTCTL", folder.join("ballastctl"))
        .env("BALLAST_BIN_DIR", &folder);
    command
}

fn suite(name: &'static str, mut command: Command) -> Result<Suite> {
    let step = Step::start(format!("suite: {name}"));
    let passed = process::status(&mut command)?.success();
    let time = step.elapsed();
    if passed {
        step.done();
    } else {
        eprintln!("✗ suite: {name}");
    }
    Ok(Suite { name, passed, time })
}

fn report(suites: &[Suite], total: Duration) -> Result<()> {
    println!();
    for suite in suites {
        let mark = if suite.passed { "✓" } else { "✗" };
        println!("{mark} {:<20} {}", suite.name, seconds(suite.time));
    }
    println!("  {:<20} {}", "all, with set-up", seconds(total));
    let failed: Vec<&str> = suites.iter().filter(|s| !s.passed).map(|s| s.name).collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}
