//! New keys for TLS session tickets, made by whichever node leads.

use std::convert::Infallible;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ballast_model::{Command, Origin, Outcome};
use ballast_raft_store::Store;
use ballast_workers::{rotation, rotation_due};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often it is looked whether a new key is due.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Proposes new keys when they are due and this node leads, until `stop`.
pub(crate) async fn rotate(store: Store, stop: CancellationToken) {
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Cancel-safe: both branches only wait.
        tokio::select! {
            () = stop.cancelled() => return,
            _ = looks.tick() => {}
        }
        let status = store.status();
        if status.leader_id != Some(store.node_id()) || !status.has_quorum {
            continue;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let snapshot = store.snapshot();
        let cluster = &snapshot.state.cluster;
        if cluster.uid.is_empty() || !rotation_due(&cluster.ticket_keys, at_ms) {
            continue;
        }
        let seal = |secret: &[u8]| Ok::<_, Infallible>(store.keys().seal(secret));
        let body = match rotation(&cluster.ticket_keys, at_ms, seal) {
            Ok(body) => body,
            Err(error) => {
                tracing::error!(%error, "no new key for session tickets");
                continue;
            }
        };
        let actor = format!("node/{}", store.node_name());
        let origin = Origin { actor, ..Origin::default() };
        match store.propose(Command { origin, at_ms, idempotency: None, body }).await {
            Ok(Outcome::Applied { .. }) => tracing::info!("session tickets have a new key"),
            Ok(outcome) => {
                tracing::debug!(?outcome, "the new key for session tickets was not taken");
            }
            Err(error) => tracing::warn!(%error, "no new key for session tickets"),
        }
    }
}
