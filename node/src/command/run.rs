//! `ballastd run`: runs the node until it is told to stop.

use std::path::Path;

use anyhow::{Context, Result, bail};
use ballast_raft_store::{Listen, identity};

use crate::assembly::{self, NodeOptions};
use crate::config::NodeConfig;
use crate::logging;

pub(crate) fn run(path: &Path) -> Result<()> {
    let config = NodeConfig::read(path)?;
    logging::start(&config)?;
    let identity = identity::load(&config.state_dir)?;
    if identity.role() != config.role {
        bail!(
            "{} says role = \"{}\", but the cluster knows this node as a {} node",
            path.display(),
            config.role.as_str(),
            identity.role().as_str()
        );
    }
    let api_listeners = config
        .api_listen
        .iter()
        .map(|address| {
            std::net::TcpListener::bind(address)
                .with_context(|| format!("api.listen: can't listen on {address}"))
        })
        .collect::<Result<_>>()?;
    let cluster_listen = Listen::Address(config.cluster_listen);
    assembly::block_on_node(NodeOptions { config, identity, cluster_listen, api_listeners }, || {})
}
