//! `ballastd config`: looks at a node's file.

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;

use crate::config::{EXAMPLE, NodeConfig};

/// What to do with a node's file.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Says everything that is wrong with a node's file
    Check {
        /// The node's file
        #[arg(long, default_value = "/etc/ballast/node.toml")]
        config: PathBuf,
    },
    /// Prints a file with every key, its meaning and its default
    Example,
}

pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Check { config } => {
            let read = NodeConfig::read(config)?;
            println!(
                "{} is valid: {} node {:?}, {} worker threads",
                config.display(),
                read.role.as_str(),
                read.name,
                read.workers
            );
        }
        Command::Example => print!("{EXAMPLE}"),
    }
    Ok(())
}
