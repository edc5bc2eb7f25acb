//! `cargo xtask`: sets up, builds, shows, tests, checks and measures Ballast.
//!
//! It stays light so that it compiles in seconds: what needs Ballast's own crates (lab, demo,
//! benchmarks) is a binary under `tests/` that is built first and then run.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod bench;
mod build;
mod check;
mod console;
mod demo;
mod fnv;
mod fuzz;
mod process;
mod setup;
mod sweep;
mod test;
mod wasm;
mod workspace;

use crate::build::Profile;
use crate::setup::Purpose;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Sets up, builds, shows, tests, checks and measures Ballast"
)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing for everything below; fast when nothing is.
    Setup {
        /// Also the tools that only maintainers need (cargo-deny).
        #[arg(long)]
        all: bool,
    },
    /// Build the console, then ballastd and ballastctl.
    Build {
        /// Cargo profile: dev, release or dist.
        #[arg(long, default_value = "release")]
        profile: Profile,
    },
    /// Start a cluster in a lab and send traffic through it.
    Demo {
        /// Run the script, report, and exit 0 only if nothing was lost that should not be.
        #[arg(long)]
        check: bool,
        /// Use loopback addresses instead of network namespaces, even as root.
        #[arg(long)]
        loopback: bool,
    },
    /// Run every suite: unit, cluster, documentation, browser.
    Test {
        /// Passed on to nextest, e.g. a filter.
        #[arg(last = true)]
        nextest: Vec<String>,
    },
    /// Read-only checks: format, lints, tidiness, licences, OpenAPI drift, dead links.
    Check,
    /// The writing twin of `check`.
    Fix,
    /// Measure: l7, propagation, idle, failover or profile.
    Bench {
        /// Which benchmark.
        #[arg(value_parser = ["l7", "propagation", "idle", "failover", "profile"])]
        name: String,
        /// How many alternated rounds (or measurements, where there is no peer).
        #[arg(long)]
        rounds: Option<u32>,
        /// Where to write the result as JSON.
        #[arg(long)]
        json: Option<PathBuf>,
        /// Exit 1 when a bar does not hold.
        #[arg(long)]
        check: bool,
        /// Passed on to the benchmark, e.g. `-- --only sigkill --interval 100`.
        #[arg(last = true)]
        more: Vec<String>,
    },
    /// Look for inputs that break what strangers feed: see `fuzz/`.
    Fuzz {
        /// One of `fuzz/fuzz_targets`; all without it.
        target: Option<String>,
        /// For how long each, in seconds.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// Add to the corpus, which the tests replay, what leads somewhere new.
        #[arg(long)]
        keep: bool,
    },
    /// What `test` does for minutes, for hours: soak, properties, fuzzing.
    Sweep {
        /// How long the soak takes, and then the fuzzing, in minutes each.
        #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=10_080))]
        minutes: u32,
    },
    /// Namespaces to try things in by hand.
    Lab {
        #[command(subcommand)]
        action: LabAction,
    },
}

#[derive(Subcommand)]
enum LabAction {
    /// Start a lab with two traffic nodes, a witness, three origins and a client.
    Up,
    /// Remove it.
    Down,
    /// Say what is up.
    Status,
}

fn main() -> ExitCode {
    match perform(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("✗ {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<()> {
    match task {
        Task::Setup { all } => setup::run(if all { Purpose::All } else { Purpose::Test }),
        Task::Build { profile } => {
            setup::run(Purpose::Build)?;
            build::run(profile)
        }
        Task::Demo { check, loopback } => demo::run(check, loopback),
        Task::Test { nextest } => test::run(&nextest),
        Task::Check => check::run(),
        Task::Fix => check::fix(),
        Task::Bench { name, rounds, json, check, more } => {
            bench::run(&name, rounds, json.as_deref(), check, &more)
        }
        Task::Fuzz { target, seconds, keep } => fuzz::run(target.as_deref(), seconds, keep),
        Task::Sweep { minutes } => sweep::run(minutes),
        Task::Lab { action } => demo::lab(match action {
            LabAction::Up => "up",
            LabAction::Down => "down",
            LabAction::Status => "status",
        }),
    }
}
