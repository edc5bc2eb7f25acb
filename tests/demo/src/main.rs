//! The demonstration: a cluster in a lab, with real traffic through it while things break.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use ballast_test_support::{Kind, Lab, Topology};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

mod configuration;
mod floating;
mod script;
mod stage;
mod stay;

use crate::stage::Stage;

/// The declaration that is applied; addresses are the lab's.
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples/demo.json");

#[derive(Parser)]
#[command(about = "Starts a cluster in a lab and sends traffic through it")]
struct Arguments {
    /// Run the script and exit 0 only if nothing was lost that should not be.
    #[arg(long)]
    check: bool,
    /// Use loopback addresses instead of network namespaces, even as root.
    #[arg(long)]
    loopback: bool,
    /// The declaration to apply.
    #[arg(long, default_value = EXAMPLE)]
    declaration: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Dropping what `perform` holds removes the lab, so a signal only has to end it.
    let outcome = tokio::select! {
        outcome = perform(&arguments) => outcome,
        outcome = stopped() => outcome,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("✗ {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn perform(arguments: &Arguments) -> Result<()> {
    let stage = Stage::new();
    let lab = if arguments.loopback { Lab::loopback()? } else { Lab::new()? };
    stage.chapter(match lab.kind() {
        Kind::Namespaces => {
            "a lab of network namespaces, 10.77.0.0/24, cut off from this machine's network"
        }
        Kind::Loopback if arguments.loopback => "a lab on loopback addresses, as asked for",
        Kind::Loopback => {
            "a lab on loopback addresses, for network namespaces need root: the same processes and \
             traffic, but every host shares this machine's network"
        }
    });
    let topology = Topology::start(&lab, |step| stage.saw(step)).await?;
    let set = configuration::apply(&topology, &arguments.declaration, &stage).await?;
    if arguments.check {
        script::run(topology, &set, &stage).await
    } else {
        stay::run(topology, &set, &stage).await
    }
}

/// Returns once a person or the system wants an end.
async fn stopped() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    tokio::select! {
        _ = interrupt.recv() => {
            eprintln!("\nstopping; the lab is removed");
            Ok(())
        }
        _ = terminate.recv() => bail!("told to stop"),
    }
}
