//! `ballastd init`: makes a cluster and its first node.

use std::path::PathBuf;

use anyhow::Result;
use ballast_raft_store::identity::{self, InitOptions, InitReport};
use clap::Args;

use crate::config::NodeConfig;

/// How to make a cluster.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The node's file
    #[arg(long, default_value = "/etc/ballast/node.toml")]
    config: PathBuf,
    /// The new cluster's name
    #[arg(long)]
    cluster_name: String,
    /// Prints one JSON object instead of sentences
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let config = NodeConfig::read(&arguments.config)?;
    let options = InitOptions {
        cluster_name: arguments.cluster_name.clone(),
        node_name: config.name.clone(),
        role: config.role,
        cluster_address: config.cluster_advertise.clone(),
        api_addresses: config.api_addresses(),
        admin_password: super::admin_password()?,
    };
    let report = identity::init(&config.state_dir, &options)?;
    if arguments.json {
        println!("{}", as_json(&report));
    } else {
        println!("cluster {:?} is made; this is its node {}", options.cluster_name, report.node_id);
        print_access(&report);
        println!("next: ballastd run --config {}", arguments.config.display());
    }
    Ok(())
}

/// How people get in: the code of the first sign-in, and what to compare the certificate with.
pub(crate) fn print_access(report: &InitReport) {
    match &report.setup_code {
        Some(code) => println!("setup code: {code}"),
        None => println!("user \"admin\" has the password that you gave"),
    }
    println!("API CA fingerprint (SHA-256): {}", report.ca_fingerprint_sha256);
}

fn as_json(report: &InitReport) -> serde_json::Value {
    serde_json::json!({
        "setup_code": report.setup_code,
        "ca_fingerprint_sha256": report.ca_fingerprint_sha256,
        "cluster_uid": report.cluster_uid,
        "node_id": report.node_id,
    })
}
