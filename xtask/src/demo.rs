//! `demo` and `lab`: set up, build, then hand over to the programs of `tests/`.

use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};

use crate::build::{self, Profile};
use crate::setup::{self, Purpose};

const PACKAGES: &[&str] = &["ballastd", "ballast-cli", "ballast-test-support", "ballast-demo"];

/// Runs the demonstration; does not return when it could be started.
pub(crate) fn run(check: bool, loopback: bool) -> Result<()> {
    setup::run(Purpose::Lab)?;
    build::packages(Profile::Release, PACKAGES)?;
    let mut demo = build::program(Profile::Release, "ballast-demo");
    if check {
        demo.arg("--check");
    }
    if loopback {
        demo.arg("--loopback");
    }
    // Replaced, not waited for: Ctrl-C and the exit code are the demo's own.
    Err(demo.exec()).context("starting ballast-demo")
}

/// Runs `ballast-lab ACTION`; does not return when it could be started.
pub(crate) fn lab(action: &str) -> Result<()> {
    if action == "up" {
        setup::run(Purpose::Lab)?;
    }
    build::packages(Profile::Release, PACKAGES)?;
    Err(build::program(Profile::Release, "ballast-lab").arg(action).exec())
        .context("starting ballast-lab")
}
