//! SIGKILL of real processes at any moment loses nothing that was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use ballast_client::Client;
use ballast_model::PoolSpec;
use ballast_test_support::{Cluster, Lab, wait_for};
use ballast_tests_cluster::{ELECTION_LIMIT, sign_in, value_of, wait_writable, write_value};

/// Rounds of killing; the least that the project asks of itself.
const ROUND_COUNT: usize = 30;
/// Writers at once, each with a pool of its own.
const WRITER_COUNT: usize = 4;
/// Writes that must be acknowledged in a round before somebody is killed; varied by round.
const WRITES_BEFORE_KILL_MAX: u64 = 13;

/// Writes rising values into one pool, through one node after the other, and notes what was
/// acknowledged. After a write whose outcome is not known it goes on with a higher value.
struct Writer {
    pool: String,
    clients: Vec<Client>,
    acknowledged: AtomicU64,
    stop: AtomicBool,
}

impl Writer {
    async fn run(self: Arc<Self>, offset: usize) {
        for attempt in 1.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let client = &self.clients[(attempt + offset) % self.clients.len()];
            let value = attempt as u64;
            if write_value(client, &self.pool, value).await.is_ok() {
                self.acknowledged.store(value, Ordering::Relaxed);
            } else {
                tokio::task::yield_now().await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_loses_no_acknowledged_write() -> Result<()> {
    let lab = Lab::loopback()?;
    let mut cluster = Cluster::three_nodes(&lab).await?;
    let clients = sign_in(&cluster).await?;
    let writers: Vec<_> = (0..WRITER_COUNT)
        .map(|i| {
            Arc::new(Writer {
                pool: format!("writer-{i}"),
                clients: clients.clone(),
                acknowledged: AtomicU64::new(0),
                stop: AtomicBool::new(false),
            })
        })
        .collect();
    let tasks: Vec<_> =
        writers.iter().enumerate().map(|(i, w)| tokio::spawn(Arc::clone(w).run(i))).collect();
    for round in 0..ROUND_COUNT {
        wait_for_progress(&writers, 1 + round as u64 % WRITES_BEFORE_KILL_MAX).await?;
        let acknowledged = kill(&mut cluster, round, &writers).await?;
        wait_writable(&clients).await.with_context(|| format!("round {round}"))?;
        check_all(&clients, &writers, &acknowledged)
            .await
            .with_context(|| format!("round {round}"))?;
    }
    for writer in &writers {
        writer.stop.store(true, Ordering::Relaxed);
    }
    for task in tasks {
        task.await?;
    }
    Ok(())
}

/// Kills, in turn: the leader, one that follows, two at once, all at once; starts them again.
/// Returns what had been acknowledged at the moment of the kill.
async fn kill(cluster: &mut Cluster, round: usize, writers: &[Arc<Writer>]) -> Result<Vec<u64>> {
    let count = cluster.nodes.len();
    let victims: Vec<usize> = match round % 4 {
        0 => vec![leader(cluster).await?],
        1 => vec![(leader(cluster).await? + 1) % count],
        2 => vec![round % count, (round + 1) % count],
        _ => (0..count).collect(),
    };
    let acknowledged = writers.iter().map(|w| w.acknowledged.load(Ordering::Relaxed)).collect();
    for victim in &victims {
        cluster.nodes[*victim].sigkill()?;
    }
    cluster.start_all().await?;
    Ok(acknowledged)
}

async fn leader(cluster: &Cluster) -> Result<usize> {
    cluster.leader().await
}

async fn wait_for_progress(writers: &[Arc<Writer>], writes: u64) -> Result<()> {
    let before: Vec<_> = writers.iter().map(|w| w.acknowledged.load(Ordering::Relaxed)).collect();
    wait_for("every writer to get on", ELECTION_LIMIT, async || {
        writers
            .iter()
            .zip(&before)
            .all(|(w, before)| w.acknowledged.load(Ordering::Relaxed) >= before + writes)
    })
    .await
}

/// Every node, once it has caught up, has at least what was acknowledged.
async fn check_all(
    clients: &[Client],
    writers: &[Arc<Writer>],
    acknowledged: &[u64],
) -> Result<()> {
    for client in clients {
        for (writer, wanted) in writers.iter().zip(acknowledged) {
            let mut last = None;
            let caught_up = wait_for("acknowledged writes", ELECTION_LIMIT, async || {
                let pool = client.find::<PoolSpec>(&writer.pool).await;
                last = pool.ok().flatten().as_ref().and_then(value_of);
                last >= Some(*wanted)
            })
            .await;
            ensure!(
                caught_up.is_ok(),
                "{} was acknowledged {wanted}, {} has {last:?}",
                writer.pool,
                client.base_url()
            );
        }
    }
    Ok(())
}
