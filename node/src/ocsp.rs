//! Answers of OCSP that are stapled to handshakes: fetched by each traffic node for itself, on the
//! control runtime, never on a worker. No node depends on another for them, nor on a quorum.
//!
//! Invariant: a good answer stays until its time is over, however long fetching fails; after that
//! nothing is stapled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ballast_workers::{Certificate, CertificateMap};
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

mod fetch;

use fetch::fetch;

/// How long a fetch may take as a whole.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// Fetches at once, all certificates together.
const FETCH_MAX_COUNT: usize = 8;
/// Shortest time between two fetches that succeed, in s.
const REFRESH_MIN_S: i64 = 60;
/// First wait after a fetch that failed; doubled with each up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_secs(15);
const RETRY_MAX: Duration = Duration::from_secs(3_600);

/// Keeps the staples of all certificates fresh until `stop`.
pub(crate) async fn follow(
    mut certificates: watch::Receiver<CertificateMap>,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(FETCH_MAX_COUNT));
    // By uid. Dropping the set ends all of them.
    let mut kept = BTreeMap::<String, (Arc<Certificate>, AbortHandle)>::new();
    let mut tasks = JoinSet::new();
    loop {
        let present = Arc::clone(&certificates.borrow_and_update());
        let mut wanted = BTreeMap::new();
        for (uid, certificate) in present.iter() {
            let is_fetched = certificate.staple_request().is_some();
            if !is_fetched && certificate.staple_times_s().is_none() {
                continue;
            }
            let handle = match kept.remove(uid) {
                Some((known, handle)) if Arc::ptr_eq(&known, certificate) => handle,
                known => {
                    if let Some((_, handle)) = known {
                        handle.abort();
                    }
                    tasks.spawn(keep(Arc::clone(certificate), Arc::clone(&permits)))
                }
            };
            wanted.insert(uid.clone(), (Arc::clone(certificate), handle));
        }
        for (_, handle) in std::mem::replace(&mut kept, wanted).into_values() {
            handle.abort();
        }
        // Cancel-safe: all branches only wait.
        tokio::select! {
            () = stop.cancelled() => return,
            Some(_ended) = tasks.join_next(), if !tasks.is_empty() => {}
            changed = certificates.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

/// Keeps the staple of one certificate.
async fn keep(certificate: Arc<Certificate>, permits: Arc<Semaphore>) {
    let mut retry = RETRY_MIN;
    loop {
        certificate.drop_expired(now_s());
        let wait = match certificate.staple_request() {
            None => None,
            Some(request) => match until_refresh(&certificate) {
                Some(wait) => Some(wait),
                None => match fetched(&certificate, request, &permits).await {
                    Ok(()) => {
                        retry = RETRY_MIN;
                        let least = Duration::from_secs(REFRESH_MIN_S.unsigned_abs());
                        Some(until_refresh(&certificate).unwrap_or(least).max(least))
                    }
                    Err(error) => {
                        let name = certificate.name();
                        tracing::warn!(certificate = name, error, "no new OCSP response");
                        certificate.note_failure(error);
                        let wait = retry;
                        retry = (retry * 2).min(RETRY_MAX);
                        Some(wait.mul_f64(0.8 + 0.4 * rand::random::<f64>()))
                    }
                },
            },
        };
        let until_end = certificate.staple_times_s().map(|(_, end_s)| seconds(end_s - now_s()));
        match wait.into_iter().chain(until_end).min() {
            Some(wait) => sleep(wait).await,
            // Nothing is stapled and nothing is to be fetched.
            None => return,
        }
    }
}

/// How long the present staple is good enough: to the middle of its time. None where there is none, or
/// it is past that.
fn until_refresh(certificate: &Certificate) -> Option<Duration> {
    let (begin_s, end_s) = certificate.staple_times_s()?;
    let left_s = begin_s + (end_s - begin_s) / 2 - now_s();
    (left_s > 0).then(|| seconds(left_s))
}

async fn fetched(
    certificate: &Certificate,
    request: Result<(&str, Vec<u8>), String>,
    permits: &Semaphore,
) -> Result<(), String> {
    let (url, request) = request?;
    let Ok(_permit) = permits.acquire().await else { return Err("the node stops".to_owned()) };
    let response = match tokio::time::timeout(FETCH_TIMEOUT, fetch(url, request)).await {
        Ok(fetched) => fetched.map_err(|error| format!("{url}: {error}"))?,
        Err(_) => return Err(format!("{url}: no answer within {} s", FETCH_TIMEOUT.as_secs())),
    };
    certificate.staple(&response, now_s()).map_err(|error| format!("{url}: {error}"))
}

fn seconds(s: i64) -> Duration {
    Duration::from_secs(u64::try_from(s).unwrap_or(0))
}

fn now_s() -> i64 {
    ballast_workers::tls::certificate::now_s()
}

#[cfg(test)]
mod tests;
