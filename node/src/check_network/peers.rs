//! Whether the other nodes can be reached where they say that they are.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::{Check, Known};
use crate::config::NodeConfig;

/// Longest wait for a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

pub(super) fn check(config: &NodeConfig, known: &Known) -> Vec<Check> {
    let mut checks = vec![advertised(&config.cluster_advertise)];
    let others = known.config.nodes.iter().filter(|node| node.name != config.name);
    checks.extend(others.map(|node| reach(&node.name, &node.spec.cluster_address)));
    checks
}

/// What the others are told to connect to.
fn advertised(address: &str) -> Check {
    let what = "cluster.advertise";
    match address.to_socket_addrs().map(|mut found| found.next()) {
        Ok(Some(found)) => Check::ok(what, format!("{address} is {}", found.ip())),
        Ok(None) => Check::failed(what, format!("{address} is no address"), "correct the name"),
        Err(error) => Check::failed(
            what,
            format!("{address} can't be resolved: {error}"),
            "correct the name, or write the address itself",
        ),
    }
}

pub(super) fn reach(node: &str, address: &str) -> Check {
    let what = format!("node {node}");
    let found = match address.to_socket_addrs() {
        Ok(found) => found,
        Err(error) => {
            let remedy = "make the name known here, or let the node advertise its address";
            return Check::failed(what, format!("{address} can't be resolved: {error}"), remedy);
        }
    };
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in found {
        match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
            Ok(_) => return Check::ok(what, format!("{address} takes connections")),
            Err(error) => last = error,
        }
    }
    if last.kind() == io::ErrorKind::ConnectionRefused {
        return Check::warning(
            what,
            format!("{address} is reached, but nothing listens there"),
            "start the node, if it should run",
        );
    }
    Check::failed(
        what,
        format!("{address} can't be reached: {last}"),
        "let TCP to that port pass between the nodes; look at cables, routes and packet filters",
    )
}
