//! Suites that run real clusters: what they share.

#![forbid(unsafe_code)]

pub mod churn;
pub mod origins;
pub mod outside;

use std::time::Duration;

use anyhow::{Context, Result};
use ballast_client::{Client, ClientError, Trust, WriteOptions};
use ballast_model::{AdminState, Draft, MemberSpec, PoolSpec, Resource};
use ballast_test_support::Cluster;
use ballast_test_support::wait::wait_for_some;

/// Longest time for a cluster that has a quorum to take a write again after it lost its leader.
pub const ELECTION_LIMIT: Duration = Duration::from_secs(20);

/// A client of every node's API, signed in as the administrator. For labs on loopback: a client in
/// this process can't reach into a namespace.
///
/// # Errors
/// When a node does not let the administrator in.
pub async fn sign_in(cluster: &Cluster) -> Result<Vec<Client>> {
    let password = std::fs::read_to_string(cluster.password_file())?;
    let mut clients = Vec::new();
    for node in &cluster.nodes {
        let trust = Trust::CaFingerprint(cluster.identity.ca_fingerprint_sha256.clone());
        let client = Client::builder(format!("https://{}", node.api())).trust(trust).build()?;
        client.log_in("admin", &password).await?;
        clients.push(client);
    }
    Ok(clients)
}

/// Writes `value` into the pool `name`, as its only member's weight and its description.
///
/// # Errors
/// Where the write was refused or its outcome is not known.
pub async fn write_value(client: &Client, name: &str, value: u64) -> Result<(), ClientError> {
    client.put(&pool_with_value(name, value), &WriteOptions::new()).await.map(drop)
}

/// The value that [`write_value`] wrote.
pub fn value_of(pool: &Resource<PoolSpec>) -> Option<u64> {
    pool.description.parse().ok()
}

/// Tries until a write succeeds, which shows that the cluster has a leader again.
///
/// # Errors
/// When none does in time.
pub async fn wait_writable(clients: &[Client]) -> Result<()> {
    let mut attempt = 0;
    wait_for_some("a write to succeed", ELECTION_LIMIT, async || {
        attempt += 1;
        let client = &clients[attempt % clients.len()];
        write_value(client, "canary", attempt as u64).await.ok()
    })
    .await
    .context("the cluster takes no writes")
}

fn pool_with_value(name: &str, value: u64) -> Draft<PoolSpec> {
    let member = MemberSpec {
        weight: u16::try_from(value % 257).unwrap_or_default(),
        admin_state: AdminState::Disabled,
        ..MemberSpec::new(([127, 0, 0, 1], 9).into())
    };
    let spec = PoolSpec { members: vec![member], ..PoolSpec::default() };
    Draft::new(name, spec).described(value.to_string())
}
