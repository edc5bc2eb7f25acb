//! The node's own log: to standard error, for people or for programs.

use std::io::IsTerminal;

use anyhow::Result;
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, NodeConfig};

/// Starts the log. `RUST_LOG` overrides the file's level.
pub(crate) fn start(config: &NodeConfig) -> Result<()> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(filter) => filter.parse::<EnvFilter>()?,
        Err(_) => config.log_level.parse()?,
    };
    // The Raft library tells much that only its authors need.
    let filter =
        filter.add_directive("openraft=error".parse()?).add_directive("sled=warn".parse()?);
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match config.log_format {
        LogFormat::Json => log.json().init(),
        LogFormat::Text => log.with_target(false).init(),
    }
    Ok(())
}
