//! `ballastd`: a node of a Ballast cluster.
//!
//! This crate only assembles: it reads the node's file, starts the planes, wires them, and stops
//! them in order. What they do is in their own crates.

#![forbid(unsafe_code)]

mod adopt;
mod api_tls;
mod assembly;
mod buffering;
mod check_network;
mod command;
mod config;
mod control_plane;
mod ha;
mod jwks;
mod logging;
mod metrics;
mod ocsp;
mod otlp;
mod pool_metrics;
mod share;
mod signals;
mod tickets;
mod traffic;
mod upgrade;
mod view;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Connections and requests come and go by the ten thousand a second on each worker.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A node of a Ballast cluster.
#[derive(Debug, Parser)]
#[command(name = "ballastd", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes a cluster and its first node
    Init(command::init::Arguments),
    /// Makes this machine a node of a cluster that is there
    Join(command::join::Arguments),
    /// Runs the node
    Run {
        /// The node's file
        #[arg(long, default_value = "/etc/ballast/node.toml")]
        config: PathBuf,
    },
    /// Runs a cluster of one node on loopback, without root and without a file, to try things out
    Dev(command::dev::Arguments),
    /// Says what of this machine's network would not work, and what to do
    CheckNetwork(check_network::Arguments),
    /// Plays a recording of a traffic group again, to see that this version decides as it was decided
    Replay(command::replay::Arguments),
    /// Looks at a node's file
    Config {
        #[command(subcommand)]
        command: command::config::Command,
    },
}

fn main() -> ExitCode {
    // The allocator asks for huge pages, of which each that is touched is resident as a whole: a node that
    // does nothing would be twice as large.
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        eprintln!("ballastd: huge pages can't be turned off, memory is used more freely: {error}");
    }
    let result = match Arguments::parse().command {
        Command::Init(arguments) => command::init::run(&arguments),
        Command::Join(arguments) => command::join::run(&arguments),
        Command::Run { config } => command::run::run(&config),
        Command::Dev(arguments) => command::dev::run(&arguments),
        Command::CheckNetwork(arguments) => check_network::run(&arguments),
        Command::Replay(arguments) => command::replay::run(&arguments),
        Command::Config { command } => command::config::run(&command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ballastd: {error:#}");
            ExitCode::FAILURE
        }
    }
}
