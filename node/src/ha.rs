//! What high availability asks of the rest of the node.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use ballast_ha::{Ha, HaOptions, TrafficView};
use ballast_raft_store::Identity;
use futures_util::future::BoxFuture;

use crate::config::NodeConfig;
use crate::traffic::Traffic;

/// Starts high availability of a node that carries traffic.
pub(crate) fn start(
    config: &NodeConfig,
    identity: &Identity,
    traffic: Arc<Traffic>,
    is_successor: bool,
) -> Result<Ha> {
    let options = HaOptions {
        node_name: identity.node_name().to_owned(),
        node_id: identity.node_id(),
        state_dir: config.state_dir.clone(),
        advert_key: identity.keys().derive("vrrp adverts"),
        is_successor,
    };
    Ha::start(options, Arc::new(View(traffic))).context("high availability can't be started")
}

struct View(Arc<Traffic>);

impl TrafficView for View {
    fn ready(&self) -> Result<(), String> {
        self.0.ready_for_addresses()
    }

    fn data_plane_alive(&self) -> Result<(), String> {
        self.0.alive()
    }

    fn pool_up_percent(&self, pool: &str) -> Option<u8> {
        self.0.pool_up_percent(pool)
    }

    fn quiesce(&self, addresses: Vec<IpAddr>, limit: Duration) -> BoxFuture<'static, ()> {
        let traffic = Arc::clone(&self.0);
        Box::pin(async move { traffic.quiesce(&addresses, limit).await })
    }
}
