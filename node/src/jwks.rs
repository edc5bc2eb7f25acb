//! Keys of JWT providers that are fetched by URL: by each traffic node for itself, on the control
//! runtime, never on a worker.
//!
//! Invariant: keys that were good are used until others have been fetched, however long that takes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ballast_model::JwtProviderSpec;
use ballast_workers::{ProviderMap, ProviderSlot};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

mod fetch;

use fetch::fetch;

/// How long a fetch may take as a whole.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// Shortest time between two fetches, however many tokens name keys that are not known.
const EARLY_MIN: Duration = Duration::from_secs(10);
/// First wait after a fetch that failed; doubled with each up to the time between two fetches.
const RETRY_MIN: Duration = Duration::from_secs(2);

/// Keeps the keys of all providers fresh until `stop`.
pub(crate) async fn follow(mut providers: watch::Receiver<ProviderMap>, stop: CancellationToken) {
    // By uid: the revision that is being kept. Dropping the set ends all of them.
    let mut kept = BTreeMap::<String, (u64, AbortHandle)>::new();
    let mut tasks = JoinSet::new();
    loop {
        let present = Arc::clone(&providers.borrow_and_update());
        let mut wanted = BTreeMap::new();
        for slot in present.values() {
            let Some((revision, spec)) = slot.source() else { continue };
            let known = kept.remove(&slot.uid);
            let handle = match known {
                Some((kept_revision, handle)) if kept_revision == revision => handle,
                known => {
                    if let Some((_, handle)) = known {
                        handle.abort();
                    }
                    tasks.spawn(keep(Arc::clone(slot), revision, spec))
                }
            };
            wanted.insert(slot.uid.clone(), (revision, handle));
        }
        for (_, handle) in std::mem::replace(&mut kept, wanted).into_values() {
            handle.abort();
        }
        // Cancel-safe: all branches only wait.
        tokio::select! {
            () = stop.cancelled() => return,
            Some(_ended) = tasks.join_next(), if !tasks.is_empty() => {}
            changed = providers.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

/// Fetches the keys of one declaration, again and again.
async fn keep(slot: Arc<ProviderSlot>, revision: u64, spec: JwtProviderSpec) {
    let refresh = Duration::from_secs(spec.refresh_s.into());
    let mut retry = RETRY_MIN;
    loop {
        let fetched_at = Instant::now();
        let next = match fetched(&spec).await.and_then(|document| {
            let taken = slot.fetched(revision, &document, now_ms());
            taken.map_err(|error| error.to_string())
        }) {
            Ok(()) => {
                retry = RETRY_MIN;
                refresh
            }
            Err(error) => {
                tracing::warn!(
                    provider = slot.name,
                    error,
                    "the keys of a JWT provider can't be had"
                );
                slot.failed(revision, error);
                let wait = retry.min(refresh);
                retry = wait * 2;
                wait
            }
        };
        // Cancel-safe: both branches only wait.
        tokio::select! {
            () = sleep_until(fetched_at + next) => {}
            () = slot.wished() => sleep_until(fetched_at + EARLY_MIN.min(next)).await,
        }
    }
}

async fn fetched(spec: &JwtProviderSpec) -> Result<Vec<u8>, String> {
    match tokio::time::timeout(FETCH_TIMEOUT, fetch(spec)).await {
        Ok(fetched) => fetched.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no whole answer within {} s", FETCH_TIMEOUT.as_secs())),
    }
}

fn now_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
