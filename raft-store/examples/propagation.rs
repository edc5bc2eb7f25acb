//! How long a write takes to be applied on three nodes, in one process over real mTLS.
//!
//! `cargo run --release --example propagation -p ballast-raft-store [writes]`

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use axum::Router;
use ballast_model::{
    AnyDraft, Command, CommandBody, Draft, Edit, MonitorSpec, NodeRole, Origin, Outcome,
};
use ballast_raft_store::identity::{self, InitOptions, JoinOptions};
use ballast_raft_store::{Listen, SnapshotPolicy, Store, StoreConfig};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let count: u64 = std::env::args().nth(1).map_or(Ok(1_000), |count| count.parse())?;
    let directory = tempfile::tempdir()?;
    let stores = cluster(directory.path()).await?;
    let mut one_by_one = Vec::new();
    for number in 0..count {
        let started = Instant::now();
        let index = propose(&stores[1], number).await?;
        for store in &stores {
            store.watch().wait_for(|snapshot| snapshot.index >= index).await?;
        }
        one_by_one.push(started.elapsed());
    }
    println!("one by one through a follower, until applied on all three:");
    print(&mut one_by_one);
    let started = Instant::now();
    let mut waiting = tokio::task::JoinSet::new();
    for worker in 0..32 {
        let store = stores[worker as usize % 3].clone();
        waiting.spawn(async move {
            let mut took = Vec::new();
            for number in 0..count / 8 {
                let started = Instant::now();
                propose(&store, number * 32 + worker).await?;
                took.push(started.elapsed());
            }
            Ok::<_, AnyError>(took)
        });
    }
    let mut at_once = Vec::new();
    while let Some(took) = waiting.join_next().await {
        at_once.extend(took??);
    }
    let per_s = at_once.len() as f64 / started.elapsed().as_secs_f64();
    println!("32 at once through all three, until applied where proposed: {per_s:.0}/s");
    print(&mut at_once);
    for store in &stores {
        store.shutdown().await;
    }
    Ok(())
}

async fn cluster(directory: &Path) -> Result<Vec<Store>, AnyError> {
    let mut stores: Vec<Store> = Vec::new();
    for name in ["a", "b", "c"] {
        let state_dir = directory.join(name);
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address: SocketAddr = listener.local_addr()?;
        let (node_name, cluster_address) = (name.to_owned(), address.to_string());
        if let Some(first) = stores.first() {
            let token = first.create_join_token(NodeRole::Traffic, Origin::default()).await?;
            let peer = first.cluster_listen_address().to_string();
            let options = JoinOptions { node_name, cluster_address, api_addresses: Vec::new() };
            identity::join(&state_dir, &token.text, &peer, &options).await?;
        } else {
            let options = InitOptions {
                cluster_name: "edge".to_owned(),
                node_name,
                role: NodeRole::Traffic,
                cluster_address,
                api_addresses: Vec::new(),
                admin_password: None,
            };
            identity::init(&state_dir, &options)?;
        }
        let config = StoreConfig {
            identity: identity::load(&state_dir)?,
            state_dir,
            listen: Listen::Bound(listener),
            snapshots: SnapshotPolicy::default(),
        };
        stores.push(Store::open(config, Router::new()).await?);
    }
    while stores[0].status().voters.len() < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(stores)
}

async fn propose(store: &Store, number: u64) -> Result<u64, AnyError> {
    let mut spec: MonitorSpec = serde_json::from_value(serde_json::json!({"type": "tcp"}))?;
    spec.rise = 1 + u32::try_from(number % 5)?;
    let draft = AnyDraft::Monitor(Draft::new(format!("m{}", number % 100), spec));
    let body = CommandBody::Edit { edits: vec![Edit::put(draft, "uid")] };
    let command = Command { origin: Origin::default(), at_ms: 1, idempotency: None, body };
    match store.propose(command).await? {
        Outcome::Applied { index, .. } => Ok(index),
        other => Err(format!("{other:?}").into()),
    }
}

fn print(took: &mut [Duration]) {
    took.sort();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    println!("  p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms", at(50), at(99), at(100));
}
