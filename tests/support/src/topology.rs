//! The cast of the demonstration: two traffic nodes, a witness, three origins, a client.

use anyhow::Result;
use ballast_model::NodeRole;

use crate::cluster::Cluster;
use crate::lab::{Host, Lab};
use crate::node::NodeOptions;
use crate::origin::Origin;

/// A cluster with origins behind it and a client in front.
#[derive(Debug)]
pub struct Topology {
    /// The nodes: `node-1`, `node-2`, `witness`.
    pub cluster: Cluster,
    /// `origin-1` to `origin-3`, at .21 to .23.
    pub origins: Vec<Origin>,
    /// Where clients are, at .31.
    pub client: Host,
}

impl Topology {
    /// Starts everything; `progress` is told each step.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start(lab: &Lab, mut progress: impl FnMut(&str)) -> Result<Self> {
        let mut origins = Vec::new();
        for (number, last) in (1..=3).zip(21..) {
            origins.push(Origin::start(&lab.host(&format!("origin-{number}"), last)?).await?);
        }
        progress("three origins are serving");
        let client = lab.host("client", 31)?;
        let traffic = NodeOptions { workers: 2, ..NodeOptions::new(NodeRole::Traffic) };
        let witness = NodeOptions::new(NodeRole::Witness);
        let plan = [("node-1", traffic.clone()), ("node-2", traffic), ("witness", witness)];
        let cluster = Cluster::form(lab, &plan, progress).await?;
        Ok(Self { cluster, origins, client })
    }
}
