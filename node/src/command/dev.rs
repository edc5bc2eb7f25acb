//! `ballastd dev`: a cluster of one node on loopback, to try things out.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ballast_model::NodeRole;
use ballast_raft_store::IdentityError;
use ballast_raft_store::identity::{self, InitOptions};
use clap::Args;

use super::init::print_access;
use crate::assembly::{self, Listeners, NodeOptions, Origin};
use crate::config::{LogFormat, NodeConfig, access_log_to};
use crate::logging;

/// Where the console is looked for first.
const USUAL_API_PORT: u16 = 7443;

/// How to run a node to try things out.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Keeps the configuration in this directory. Default: one that goes when the node stops
    #[arg(long)]
    state: Option<PathBuf>,
    /// Where the API and the console are served. Default: 127.0.0.1:7443, or any free port
    #[arg(long)]
    api: Option<SocketAddr>,
    /// Worker threads; 0 is one for each CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
    /// The address that "0.0.0.0" in a virtual server means
    #[arg(long, default_value = "127.0.0.1")]
    any_ipv4: Ipv4Addr,
    /// File for the access log; "-" is standard error
    #[arg(long, default_value = "")]
    access_log: String,
    /// What is logged
    #[arg(long, default_value = "warn")]
    log_level: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let started = Instant::now();
    let passing = match &arguments.state {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("ballast-dev-").tempdir()?),
    };
    let state_dir = match (&arguments.state, &passing) {
        (Some(state_dir), _) => state_dir.clone(),
        (None, Some(passing)) => passing.path().to_owned(),
        (None, None) => unreachable!("one of the two was made above"),
    };
    let api = api_listener(arguments.api)?;
    let api_address = api.local_addr()?;
    let cluster = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let config = node_config(arguments, &state_dir, api_address, cluster.local_addr()?);
    logging::start(&config)?;
    match identity::init(&state_dir, &init_options(&config)?) {
        Ok(report) => print_access(&report),
        Err(IdentityError::Exists { .. }) => {
            println!("state: {} (made before)", state_dir.display());
        }
        Err(error) => return Err(error.into()),
    }
    let options = NodeOptions {
        identity: identity::load(&state_dir)?,
        config,
        listeners: Listeners { cluster, api: vec![api] },
        // What is kept for the time being goes with this process.
        origin: Origin::Alone,
    };
    assembly::block_on_node(assembly::control_runtime()?, options, move || {
        println!("console: https://{api_address}/");
        if passing.is_some() {
            println!("nothing is kept when this stops; --state DIR keeps it");
        }
        println!("ready in {} ms; Ctrl-C stops", started.elapsed().as_millis());
    })
}

fn api_listener(wanted: Option<SocketAddr>) -> Result<TcpListener> {
    if let Some(address) = wanted {
        return TcpListener::bind(address).with_context(|| format!("can't listen on {address}"));
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, USUAL_API_PORT))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .context("can't listen on loopback")
}

fn node_config(
    arguments: &Arguments,
    state_dir: &Path,
    api: SocketAddr,
    cluster: SocketAddr,
) -> NodeConfig {
    NodeConfig {
        name: "dev".to_owned(),
        role: NodeRole::Traffic,
        state_dir: state_dir.to_owned(),
        cluster_listen: cluster,
        cluster_advertise: cluster.to_string(),
        api_listen: vec![api],
        api_names: vec!["localhost".to_owned()],
        api_certificate: None,
        workers: match arguments.workers {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            given => given,
        },
        pin_workers: false,
        any_ipv4: Some(arguments.any_ipv4),
        any_ipv6: None,
        drain_timeout: Duration::from_secs(5),
        upgrade_timeout: Duration::from_secs(60),
        upgrade_drain_timeout: Duration::from_secs(5),
        buffering_max_bytes: 64 * 1024 * 1024,
        log_format: LogFormat::Text,
        log_level: arguments.log_level.clone(),
        access_log: access_log_to(&arguments.access_log),
        otlp: None,
    }
}

fn init_options(config: &NodeConfig) -> Result<InitOptions> {
    Ok(InitOptions {
        cluster_name: "dev".to_owned(),
        node_name: config.name.clone(),
        role: config.role,
        cluster_address: config.cluster_advertise.clone(),
        api_addresses: config.api_addresses(),
        admin_password: super::admin_password()?,
    })
}
