//! Two traffic nodes and a witness, configured through the API; the cluster talks on a network of its own.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use ballast_client::WriteOptions;
use ballast_model::{
    Draft, MemberSpec, NodeRole, PoolSpec, Protocol, TrafficGroupSpec, VirtualServerSpec,
};
use ballast_test_support::{Cluster, Host, Lab, NodeOptions, wait_for};

const VRID: u8 = 51;
const GROUP: &str = "floating";
const LIMIT: Duration = Duration::from_secs(60);

pub(super) struct BallastPair {
    cluster: Cluster,
}

impl BallastPair {
    pub(super) async fn start(
        lab: &Lab,
        listen: SocketAddr,
        origin: SocketAddr,
        interval_ms: u32,
    ) -> Result<Self> {
        let traffic = NodeOptions::new(NodeRole::Traffic);
        let witness = NodeOptions::new(NodeRole::Witness);
        let plan = [("node-1", traffic.clone()), ("node-2", traffic), ("witness", witness)];
        let cluster = Cluster::form(lab, &plan, |_| ()).await?;
        let wait = WriteOptions::new().wait_applied();
        let client = cluster.client();
        let pool = PoolSpec { members: vec![MemberSpec::new(origin)], ..PoolSpec::default() };
        client.put(&Draft::new("probe", pool), &wait).await?;
        let server = VirtualServerSpec::new(Protocol::Http, listen, "probe");
        client.put(&Draft::new("probe", server), &wait).await?;
        let mut group = TrafficGroupSpec::new(VRID, [listen.ip()]);
        group.advert_interval_ms = interval_ms;
        client.put(&Draft::new(GROUP, group), &wait).await?;
        Ok(Self { cluster })
    }

    pub(super) fn host(&self, index: usize) -> &Host {
        self.cluster.nodes[index].host()
    }

    pub(super) fn kill(&mut self, index: usize) -> Result<()> {
        self.cluster.nodes[index].sigkill()
    }

    pub(super) fn start_node(&mut self, index: usize) -> Result<()> {
        self.cluster.nodes[index].start()
    }

    pub(super) fn stop(&self, index: usize) -> Result<()> {
        self.cluster.nodes[index].sigstop()
    }

    pub(super) fn go_on(&self, index: usize) -> Result<()> {
        self.cluster.nodes[index].sigcont()
    }

    pub(super) async fn shutdown(&mut self, index: usize) -> Result<()> {
        self.cluster.nodes[index].sigterm(LIMIT).await?;
        Ok(())
    }

    pub(super) async fn move_away(&self, index: usize) -> Result<()> {
        let to = self.cluster.nodes[1 - index].name();
        let report = self.cluster.client_of(1 - index).fail_over(GROUP, Some(to)).await?;
        let refused = report.moves.iter().find_map(|one| one.error.clone());
        ensure!(refused.is_none(), "{refused:?}");
        Ok(())
    }

    /// Ready, and with a part in the group: what held it down after its start is over.
    pub(super) async fn ready(&mut self, index: usize) -> Result<()> {
        self.cluster.nodes[index].wait_ready(LIMIT).await?;
        let client = self.cluster.client_of(index);
        wait_for("the node to take part", LIMIT, async || {
            client.node_status().await.is_ok_and(|status| {
                let groups = status.ha.iter().flat_map(|ha| &ha.groups);
                groups.into_iter().any(|group| group.priority > 0)
            })
        })
        .await
    }
}
