//! A node in front of four parsers, and what must never be seen behind it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use ballast_test_support::{Cluster, Lab};
use serde_json::json;

use crate::origins::{Origin, Parser};
use crate::wire::Wire;

/// A node, and a virtual server in front of each origin.
pub struct World {
    /// The origins, and where to ask for them.
    pub fronts: Vec<(Origin, SocketAddr)>,
    _cluster: Cluster,
}

impl World {
    /// Starts everything.
    ///
    /// # Errors
    /// When a program is missing or does not start.
    pub async fn start(lab: &Lab) -> Result<Self> {
        let cluster = Cluster::one_node(lab).await?;
        let host = cluster.nodes[0].host();
        let mut fronts = Vec::new();
        let (mut pools, mut servers) = (Vec::new(), Vec::new());
        for (parser, last) in Parser::ALL.into_iter().zip(41..) {
            let origin = Origin::start(lab, parser, last).await?;
            let front = host.socket(host.free_port()?);
            let member = json!({"address": origin.address.ip(), "port": origin.address.port()});
            pools.push(json!({"name": parser.name(), "spec": {"members": [member]}}));
            servers.push(json!({"name": parser.name(), "spec": {
                "protocol": "http",
                "addresses": [front.ip()],
                "ports": [front.port()],
                "pool": parser.name(),
                // Some of them look like the beginning of something.
                "http": {"header_timeout_ms": 1_000},
            }}));
            fronts.push((origin, front));
        }
        cluster.apply(&json!({"pools": pools, "virtual_servers": servers})).await?;
        Ok(Self { fronts, _cluster: cluster })
    }
}

/// Another client asks, perhaps over a connection that the one before has used.
///
/// # Errors
/// When it gets no answer, or somebody else's.
pub async fn canary(front: SocketAddr, path: &str) -> Result<()> {
    let mut wire = Wire::connect(front).await?;
    wire.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
    let answer = wire.answer().await?.context("the next client got no answer")?;
    ensure!(answer.path.as_deref() == Some(path), "the next client got {answer:?}");
    Ok(())
}

/// What an origin should not have seen, given how often it should have been asked for each path.
pub fn check_log(seen: &[String], expected: &[(String, usize)]) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut faults = Vec::new();
    for line in seen {
        let (method, target) = line.split_once(' ').unwrap_or((line, ""));
        if target.contains("smuggled") || method == "REFUSED" || method.is_empty() {
            faults.push(format!("saw {line}"));
        }
        *counts.entry(target.split('?').next().unwrap_or(target)).or_default() += 1;
    }
    for (path, expected) in expected {
        let count = counts.get(path.as_str()).copied().unwrap_or(0);
        if count != *expected {
            faults.push(format!("saw {path} {count} times"));
        }
    }
    faults
}
