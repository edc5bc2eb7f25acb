//! `ballastd run`: runs the node until it is told to stop.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result, bail};
use ballast_model::Transport;
use ballast_raft_store::identity;
use ballast_upgrade::{CommandLine, manager, predecessor};
use ballast_workers::Inherited;
use ballast_workers::listener::ListenSocket;

use crate::assembly::{self, Listeners, NodeOptions, Origin};
use crate::config::NodeConfig;
use crate::logging;
use crate::upgrade::Heir;

pub(crate) fn run(path: &Path) -> Result<()> {
    // First of all: what the environment says is for the process that it was meant for.
    let predecessor = predecessor().context("this process is no successor")?;
    let given = manager::sockets();
    let told = predecessor.as_ref().map(OwnedFd::try_clone).transpose()?;
    let ended = run_with(path, predecessor, given);
    if let (Err(error), Some(end)) = (&ended, told) {
        Heir::fail(end, error);
    }
    ended
}

fn run_with(path: &Path, predecessor: Option<OwnedFd>, given: Vec<OwnedFd>) -> Result<()> {
    let line = CommandLine::current().context("it is not known how this process was started")?;
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
    let runtime = assembly::control_runtime()?;
    let mut sockets = take_in(given);
    let heir = match predecessor {
        None => None,
        Some(end) => {
            let (heir, left) = runtime.block_on(Heir::greet(end, identity.node_id()))?;
            sockets = take_in(left);
            Some(Box::new(heir))
        }
    };
    let listeners = Listeners {
        cluster: listen("cluster.listen", config.cluster_listen, &mut sockets)?,
        api: config
            .api_listen
            .iter()
            .map(|address| listen("api.listen", *address, &mut sockets))
            .collect::<Result<_>>()?,
    };
    let origin = match heir {
        None => Origin::Fresh { line, sockets },
        Some(heir) => Origin::Heir { line, heir, sockets },
    };
    let options = NodeOptions { config, identity, listeners, origin };
    assembly::block_on_node(runtime, options, || {})
}

fn take_in(sockets: Vec<OwnedFd>) -> Inherited {
    let mut inherited = Inherited::default();
    for socket in sockets {
        if let Err(error) = inherited.insert(socket) {
            tracing::warn!(%error, "a socket that was given can't be used: closed");
        }
    }
    inherited
}

/// The socket that was given for this address, or a new one.
fn listen(setting: &str, address: SocketAddr, sockets: &mut Inherited) -> Result<TcpListener> {
    if let Some(ListenSocket::Stream(listener)) = sockets.take((Transport::Tcp, address)).pop() {
        return Ok(listener);
    }
    TcpListener::bind(address).with_context(|| format!("{setting}: can't listen on {address}"))
}
