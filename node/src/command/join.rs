//! `ballastd join`: makes this machine a node of a cluster that is there.

use std::path::PathBuf;

use anyhow::{Context, Result};
use ballast_raft_store::identity::{self, JoinOptions};
use clap::Args;

use crate::config::NodeConfig;

/// How to join a cluster.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The node's file
    #[arg(long, default_value = "/etc/ballast/node.toml")]
    config: PathBuf,
    /// The token, from `ballastctl cluster join-token`
    #[arg(long, env = "BALLAST_JOIN_TOKEN", hide_env_values = true)]
    token: String,
    /// host:port of the cluster address of any node of the cluster
    #[arg(long)]
    peer: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let config = NodeConfig::read(&arguments.config)?;
    let options = JoinOptions {
        node_name: config.name.clone(),
        cluster_address: config.cluster_advertise.clone(),
        api_addresses: config.api_addresses(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime
        .block_on(identity::join(&config.state_dir, &arguments.token, &arguments.peer, &options))
        .with_context(|| format!("can't join through {}", arguments.peer))?;
    println!(
        "joined cluster {:?} as {} node {}",
        report.cluster_name,
        report.role.as_str(),
        report.node_id
    );
    println!("API CA fingerprint (SHA-256): {}", report.ca_fingerprint_sha256);
    if report.role != config.role {
        println!(
            "the token makes this a {} node: set role = \"{}\" in {}",
            report.role.as_str(),
            report.role.as_str(),
            arguments.config.display()
        );
    }
    println!("next: ballastd run --config {}", arguments.config.display());
    Ok(())
}
