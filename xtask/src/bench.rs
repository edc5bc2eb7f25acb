//! `bench`: set up, build optimised, then hand over to `ballast-perf`.

use std::os::unix::process::CommandExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::build::{self, Profile};
use crate::setup::{self, Purpose};

/// Runs a benchmark; does not return when it could be started.
pub(crate) fn run(
    name: &str,
    rounds: Option<u32>,
    json: Option<&Path>,
    check: bool,
    more: &[String],
) -> Result<()> {
    setup::run(Purpose::Bench)?;
    let tools = ["ballast-cli", "ballast-test-support", "ballast-perf"];
    // The peers are measured as they are shipped, so is ballastd.
    build::packages(Profile::Dist, &["ballastd"])?;
    build::packages(Profile::Release, &tools)?;
    let mut perf = build::program(Profile::Release, "ballast-perf");
    perf.env("BALLASTD", Profile::Dist.folder().join("ballastd")).arg(name);
    if let Some(rounds) = rounds {
        perf.args(["--rounds", &rounds.to_string()]);
    }
    if let Some(json) = json {
        perf.arg("--json").arg(std::path::absolute(json)?);
    }
    if check {
        perf.arg("--check");
    }
    perf.args(more);
    Err(perf.exec()).context("starting ballast-perf")
}
