//! What traffic nodes tell each other while they serve: which member each client belongs to, and what
//! rate limits have let through. Over the cluster's own mTLS, off the path of requests.
//!
//! ```text
//!  persistence tables ─ take_changes ─┐                      ┌─ merge  ─► persistence tables
//!                     ─ dump ─────────┤ Outbox ═ mTLS ═► Inbox ┤
//!  rate limits        ─ publish ──────┘ per node             └─ absorb ─► rate limits
//! ```
//! Every [`INTERVAL`] each node sends each other one what is new, and waits for the answer before it
//! sends more. A node that has just started, or to which something was lost, is sent everything, in
//! parts. Tables end up the same on all nodes because of two entries for a client the one with the
//! higher version stands, whoever tells of it, in whatever order and however often. What limits have
//! let through counts once: messages are numbered.
//!
//! A process that succeeds another on the same node gets all of it in a [parcel](Share::pack).
//!
//! Invariant: requests wait for none of this; what is kept for a node that can't be reached is
//! bounded, and what that costs is counted. A node that hears nothing from others serves with what it
//! knows, and limits alone.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Extension, Router};
use ballast_balance::{PersistenceTable, PoolMap};
use ballast_policy::limiter::Consumption;
use ballast_raft_store::{Caller, Store};
use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

mod exchange;
mod inbox;
mod outbox;
mod parcel;
mod wire;

use inbox::Inbox;
pub use parcel::{PARCEL_MAX_BYTES, ParcelError, UnpackedCounts};
pub use wire::WireError;
use wire::{Answer, MESSAGE_MAX_BYTES, Message};

/// Time between two messages to a node while there is something to tell.
pub const INTERVAL: Duration = Duration::from_millis(100);
/// Path below `/peer/v1/`.
const PUSH: &str = "share/v1/push";

/// The rate limits of a node, as they are told of.
pub trait Limits: Send + Sync {
    /// How many requests were let through so far: while that stays, there is nothing to tell.
    fn passed_count(&self) -> u64;

    /// See [`SharedLimiter::publish`](ballast_policy::SharedLimiter::publish).
    fn publish(&self, from: usize, max_count: usize, out: &mut Vec<Consumption>) -> usize;

    /// See [`SharedLimiter::dump`](ballast_policy::SharedLimiter::dump).
    fn dump(&self, from: usize, max_count: usize, out: &mut Vec<Consumption>) -> usize;

    /// See [`SharedLimiter::absorb`](ballast_policy::SharedLimiter::absorb).
    fn absorb(&self, consumption: &Consumption);
}

/// See the module. Cloning is cheap.
#[derive(Clone)]
pub struct Share(Arc<Inner>);

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Share")
    }
}

struct Inner {
    /// Differs between any two processes.
    boot: u64,
    /// How often it began to tell others.
    run_count: AtomicU64,
    limits: Arc<dyn Limits>,
    pools: watch::Receiver<PoolMap>,
    tables: Mutex<Tables>,
    inbox: Mutex<Inbox>,
    received: Received,
    peers: Mutex<Vec<PeerCounts>>,
}

/// The tables of pools by uid, and what they were found in.
#[derive(Default)]
struct Tables {
    source: PoolMap,
    by_uid: HashMap<String, Arc<PersistenceTable>>,
}

#[derive(Default)]
struct Received {
    messages: AtomicU64,
    records: AtomicU64,
    news: AtomicU64,
    consumptions: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
}

/// What has come from other nodes since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceivedCounts {
    /// Messages.
    pub message_count: u64,
    /// Entries of persistence tables in them.
    pub record_count: u64,
    /// Those among them that were news.
    pub news_count: u64,
    /// Keys of rate limits that others have let requests through for.
    pub consumption_count: u64,
    /// Messages that could not be understood.
    pub refused_count: u64,
    /// Entries for pools that are not known here.
    pub unknown_count: u64,
}

/// How another node is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerCounts {
    /// Its name.
    pub node: String,
    /// Whether it answered the last message.
    pub is_reachable: bool,
    /// How long it has not known of something that this node knows, in ms; 0 where it knows all.
    pub lag_ms: u64,
    /// Entries and keys that wait for it.
    pub pending_count: u64,
    /// Messages that it answered.
    pub message_count: u64,
    /// Entries in them.
    pub record_count: u64,
    /// Entries and keys that were dropped because too many waited, or for too long.
    pub dropped_count: u64,
    /// Times that it was sent everything.
    pub full_count: u64,
}

impl Share {
    /// Shares the tables of these pools, and those limits. `boot` is a random number.
    pub fn new(boot: u64, pools: watch::Receiver<PoolMap>, limits: Arc<dyn Limits>) -> Self {
        Self(Arc::new(Inner {
            boot,
            run_count: AtomicU64::new(0),
            limits,
            pools,
            tables: Mutex::default(),
            inbox: Mutex::default(),
            received: Received::default(),
            peers: Mutex::default(),
        }))
    }

    /// What other nodes call, below `/peer/v1`.
    pub fn peer_router(&self) -> Router {
        Router::new()
            .route(&format!("/{PUSH}"), post(receive))
            .layer(DefaultBodyLimit::max(MESSAGE_MAX_BYTES))
            .with_state(Arc::clone(&self.0))
    }

    /// Tells the other traffic nodes, until `stop`; may be called again then.
    pub async fn run(self, store: Store, stop: CancellationToken) {
        exchange::run(&self.0, &store, &stop).await;
    }

    /// What has come from other nodes.
    pub fn received(&self) -> ReceivedCounts {
        let received = &self.0.received;
        ReceivedCounts {
            message_count: received.messages.load(Relaxed),
            record_count: received.records.load(Relaxed),
            news_count: received.news.load(Relaxed),
            consumption_count: received.consumptions.load(Relaxed),
            refused_count: received.refused.load(Relaxed),
            unknown_count: received.unknown.load(Relaxed),
        }
    }

    /// How the other traffic nodes are told.
    pub fn peers(&self) -> Vec<PeerCounts> {
        self.0.peers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Takes a message of another node in.
async fn receive(
    State(inner): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Result<Vec<u8>, (StatusCode, String)> {
    let refused = |why: &dyn fmt::Display| {
        inner.received.refused.fetch_add(1, Relaxed);
        (StatusCode::BAD_REQUEST, why.to_string())
    };
    let node_id = caller.node_id().ok_or_else(|| refused(&"no node sent this"))?;
    let message = Message::decode(&body).map_err(|error| refused(&error))?;
    Ok(inner.take_in(node_id, &message, now_ms()).encode())
}

impl Inner {
    fn take_in(&self, node_id: u64, message: &Message, now_ms: u64) -> Answer {
        let received = &self.received;
        received.messages.fetch_add(1, Relaxed);
        let mut wants_all = false;
        for section in &message.sections {
            received.records.fetch_add(section.records.len() as u64, Relaxed);
            let Some(table) = self.table(&section.pool_uid) else {
                // The configuration that makes the pool is on its way, or the one that deletes it.
                received.unknown.fetch_add(section.records.len() as u64, Relaxed);
                wants_all = true;
                continue;
            };
            let news = section.records.iter().filter(|record| table.merge(record, now_ms)).count();
            received.news.fetch_add(news as u64, Relaxed);
        }
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        if inbox.is_new(node_id, message.boot, message.number) {
            received.consumptions.fetch_add(message.consumptions.len() as u64, Relaxed);
            message.consumptions.iter().for_each(|told| self.limits.absorb(told));
        }
        // Not for every message: a pool that was deleted here is still known there for a moment.
        let wants_all = wants_all && inbox.may_ask_for_all(node_id, now_ms);
        Answer { boot: self.boot, wants_all }
    }

    fn table(&self, pool_uid: &str) -> Option<Arc<PersistenceTable>> {
        let present = Arc::clone(&self.pools.borrow());
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&tables.source, &present) {
            let by_uid = present
                .values()
                .map(|pool| (pool.uid().to_owned(), Arc::clone(pool.persistence_table())));
            tables.by_uid = by_uid.collect();
            tables.source = present;
        }
        tables.by_uid.get(pool_uid).cloned()
    }
}

fn now_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since `start`.
fn since_ms(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
