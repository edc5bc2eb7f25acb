//! What this node shares with the other traffic nodes while it serves, in the shapes of the planes and
//! of the API.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use ballast_balance::PoolMap;
use ballast_l7::RateLimits;
use ballast_model::status::{PersistenceTableStatus, SharePeerStatus};
use ballast_policy::limiter::Consumption;
use ballast_share::{Limits, Share};
use ballast_telemetry::prometheus::{MetricKind, Metrics};
use tokio::sync::watch;

/// Shares the tables of these pools and those limits.
pub(crate) fn start(pools: watch::Receiver<PoolMap>, limits: Arc<RateLimits>) -> Share {
    // Random, and never 0, which means "no process".
    let boot = RandomState::new().hash_one(0_u8).max(1);
    Share::new(boot, pools, Arc::new(SharedLimits(limits)))
}

struct SharedLimits(Arc<RateLimits>);

impl Limits for SharedLimits {
    fn passed_count(&self) -> u64 {
        self.0.counts().passed_count
    }

    fn publish(&self, from: usize, max_count: usize, out: &mut Vec<Consumption>) -> usize {
        self.0.publish(from, max_count, out)
    }

    fn dump(&self, from: usize, max_count: usize, out: &mut Vec<Consumption>) -> usize {
        self.0.dump(from, max_count, out)
    }

    fn absorb(&self, consumption: &Consumption) {
        self.0.absorb(consumption);
    }
}

/// The tables of pools that remember clients, or did.
pub(crate) fn tables(pools: &PoolMap) -> Vec<PersistenceTableStatus> {
    let used = pools.values().filter(|pool| pool.persistence_table().is_used());
    let table = used.map(|pool| {
        let counts = pool.persistence_table().counts();
        PersistenceTableStatus {
            pool: pool.name().to_owned(),
            entry_count: counts.entry_count as u64,
            entry_max_count: counts.capacity as u64,
            evicted_total: counts.evicted_count,
        }
    });
    table.collect()
}

/// How the other nodes are told.
pub(crate) fn peers(share: &Share) -> Vec<SharePeerStatus> {
    let peers = share.peers().into_iter();
    let status = peers.map(|peer| SharePeerStatus {
        node: peer.node,
        reachable: peer.is_reachable,
        lag_ms: peer.lag_ms,
        pending_count: peer.pending_count,
        dropped_total: peer.dropped_count,
        full_transfers_total: peer.full_count,
    });
    status.collect()
}

/// Writes the metrics of tables and of sharing.
pub(crate) fn write_metrics(metrics: &mut Metrics, pools: &PoolMap, share: &Share) {
    let tables = tables(pools);
    let mut entries = metrics.family(
        "ballast_persistence_entries",
        MetricKind::Gauge,
        "Clients that a pool remembers.",
    );
    for table in &tables {
        entries.sample(&[("pool", &table.pool)], table.entry_count);
    }
    let mut evictions = metrics.family(
        "ballast_persistence_evictions_total",
        MetricKind::Counter,
        "Clients that a pool forgot before their time: its table was full.",
    );
    for table in &tables {
        evictions.sample(&[("pool", &table.pool)], table.evicted_total);
    }
    let received = share.received();
    for (name, help, value) in [
        (
            "ballast_share_received_messages_total",
            "Messages of other nodes about clients and rate limits.",
            received.message_count,
        ),
        (
            "ballast_share_received_entries_total",
            "Entries of persistence tables in messages of other nodes.",
            received.record_count,
        ),
        (
            "ballast_share_applied_entries_total",
            "Entries in messages of other nodes that were news.",
            received.news_count,
        ),
        (
            "ballast_share_absorbed_limits_total",
            "Keys of rate limits whose use by other nodes was counted.",
            received.consumption_count,
        ),
        (
            "ballast_share_refused_messages_total",
            "Messages of other nodes that could not be understood.",
            received.refused_count,
        ),
        (
            "ballast_share_unknown_entries_total",
            "Entries in messages of other nodes for pools that are not known here.",
            received.unknown_count,
        ),
    ] {
        metrics.single(name, MetricKind::Counter, help, value);
    }
    write_peers(metrics, share);
}

fn write_peers(metrics: &mut Metrics, share: &Share) {
    let peers = share.peers();
    let mut lag = metrics.family(
        "ballast_share_lag_seconds",
        MetricKind::Gauge,
        "How long another node has not known of something that this node knows.",
    );
    for peer in &peers {
        lag.sample(&[("peer", &peer.node)], peer.lag_ms as f64 / 1_000.0);
    }
    let mut pending = metrics.family(
        "ballast_share_pending",
        MetricKind::Gauge,
        "Entries and keys of limits that wait to be told to another node.",
    );
    for peer in &peers {
        pending.sample(&[("peer", &peer.node)], peer.pending_count);
    }
    for (name, help, value) in [
        (
            "ballast_share_sent_messages_total",
            "Messages that another node has answered.",
            (|peer| peer.message_count) as fn(&ballast_share::PeerCounts) -> u64,
        ),
        ("ballast_share_sent_entries_total", "Entries in them.", |peer| peer.record_count),
        (
            "ballast_share_dropped_total",
            "Entries and keys of limits that another node was not told: too many, or too late.",
            |peer| peer.dropped_count,
        ),
        (
            "ballast_share_full_transfers_total",
            "Times that another node was sent all that is remembered.",
            |peer| peer.full_count,
        ),
    ] {
        let mut family = metrics.family(name, MetricKind::Counter, help);
        for peer in &peers {
            family.sample(&[("peer", &peer.node)], value(peer));
        }
    }
}
