//! Benchmarks: ratios to peers in alternated rounds on one machine, and the bars that must hold.
//!
//! Absolute rates swing with the machine; CPU per request, counts per request and ratios within a
//! round do not, so only those are held against bars.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

mod document;
mod driver;
mod failover;
mod idle;
mod l7;
mod procfs;
mod profile;
mod propagation;
mod report;
mod statistics;

use crate::report::Report;

#[derive(Parser)]
#[command(about = "Measures Ballast")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Bench(Bench),
    /// Where the instructions of a keep-alive request go.
    Profile(profile::ProfileOptions),
    /// Makes load; what the benchmarks start.
    #[command(subcommand, hide = true)]
    Drive(driver::Drive),
}

#[derive(Subcommand)]
enum Bench {
    /// The HTTP data plane beside HAProxy and nginx.
    L7(l7::L7Options),
    /// From a write to its effect on three nodes.
    Propagation(Options),
    /// What a node costs that has nothing to do.
    Idle(Options),
    /// How long a virtual address is silent, beside keepalived with HAProxy.
    Failover(failover::FailoverOptions),
}

#[derive(Clone, Debug, Args)]
struct Options {
    /// How many alternated rounds; for `propagation`, how many writes.
    #[arg(long)]
    rounds: Option<u32>,
    /// Where to write the result as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Exit 1 when a bar does not hold.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Drive(drive) => driver::run(&drive).map(|()| true),
        Command::Profile(options) => tokio::runtime::Runtime::new()
            .map_err(anyhow::Error::from)
            .and_then(|runtime| runtime.block_on(profile::run(&options)))
            .map(|()| true),
        Command::Bench(bench) => tokio::runtime::Runtime::new()
            .map_err(anyhow::Error::from)
            .and_then(|runtime| runtime.block_on(measure(bench))),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("✗ {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Measures, reports, and says whether the caller should be content.
async fn measure(bench: Bench) -> Result<bool> {
    let (options, report): (Options, Report) = match bench {
        Bench::L7(options) => {
            let rounds = options.common.rounds.unwrap_or(6);
            (options.common.clone(), l7::run(&options, rounds).await?)
        }
        Bench::Propagation(options) => {
            (options.clone(), propagation::run(options.rounds.unwrap_or(300)).await?)
        }
        Bench::Idle(options) => (options.clone(), idle::run(options.rounds.unwrap_or(1)).await?),
        Bench::Failover(options) => {
            let rounds = options.common.rounds.unwrap_or(50);
            (options.common.clone(), failover::run(&options, rounds).await?)
        }
    };
    println!("{report}");
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(!options.check || report.bars.iter().all(|bar| bar.holds))
}
