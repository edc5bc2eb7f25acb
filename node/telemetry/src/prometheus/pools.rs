//! The families of pools and of their members.

use super::{MEMBER_SERIES_MAX_COUNT, MetricKind, Metrics};
use crate::histogram::Histogram;
use crate::pool::{PoolCounters, PoolTotals, RetryKind};
use crate::reason::FailureReason;

/// Most pools with series of their own; of further ones only the number is told.
pub const POOL_SERIES_MAX_COUNT: usize = 10_000;

/// What a pool is at this moment, besides what was counted.
#[derive(Debug, Default)]
pub struct PoolFacts<'a> {
    /// The pool.
    pub name: &'a str,
    /// None where it has served nothing.
    pub counters: Option<&'a PoolCounters>,
    /// Requests or connections in flight to its members.
    pub in_flight: u64,
    /// Requests that wait for a member with room.
    pub queued: u64,
    /// Members that take requests.
    pub available_members: u64,
    /// Members that are ejected.
    pub ejected_members: u64,
    /// Ejections so far, by cause.
    pub ejections: Vec<(&'static str, u64)>,
    /// Requests that its circuit breaker has refused, by the limit; empty where it has none.
    pub circuit_refused: Vec<(&'static str, u64)>,
    /// Limits of the circuit breaker that are reached, as 1 or 0.
    pub circuit_open: Vec<(&'static str, bool)>,
    /// Requests that may be in flight by its adaptive limit, where it has one.
    pub concurrency_limit: Option<u64>,
    /// How often members were found to be up and to be down: name, up, down.
    pub health_changes: Vec<(&'a str, u64, u64)>,
}

/// Writes the families of all pools.
pub fn write_pools(metrics: &mut Metrics, pools: &[PoolFacts<'_>]) {
    let shown = &pools[..pools.len().min(POOL_SERIES_MAX_COUNT)];
    write_gauges(metrics, shown);
    let totals: Vec<_> = shown
        .iter()
        .map(|pool| (pool.name, pool.counters.map(PoolCounters::totals).unwrap_or_default()))
        .collect();
    write_counters(metrics, &totals);
    write_labelled(
        metrics,
        "ballast_pool_ejections_total",
        ("Members that were ejected, by cause.", "cause"),
        shown,
        |pool| &pool.ejections,
    );
    write_labelled(
        metrics,
        "ballast_pool_circuit_refused_total",
        ("What a circuit breaker has refused, by the limit that was reached.", "limit"),
        shown,
        |pool| &pool.circuit_refused,
    );
    let mut family = metrics.family(
        "ballast_pool_circuit_open",
        MetricKind::Gauge,
        "1 where a limit of the circuit breaker is reached now, else 0.",
    );
    for pool in shown {
        for (limit, is_open) in &pool.circuit_open {
            family.sample(&[("pool", pool.name), ("limit", limit)], u8::from(*is_open));
        }
    }
    let mut family = metrics.family(
        "ballast_pool_concurrency_limit",
        MetricKind::Gauge,
        "Requests that may be in flight by the adaptive limit, where a pool has one.",
    );
    for pool in shown {
        if let Some(limit) = pool.concurrency_limit {
            family.sample(&[("pool", pool.name)], limit);
        }
    }
    write_members(metrics, shown);
    metrics.single(
        "ballast_pools",
        MetricKind::Gauge,
        "Pools; beyond a limit they have no series of their own.",
        pools.len(),
    );
}

fn write_gauges(metrics: &mut Metrics, shown: &[PoolFacts<'_>]) {
    let mut gauge = |name, help: &str, value: fn(&PoolFacts<'_>) -> u64| {
        let mut family = metrics.family(name, MetricKind::Gauge, help);
        for pool in shown {
            family.sample(&[("pool", pool.name)], value(pool));
        }
    };
    gauge("ballast_pool_in_flight", "Requests or connections in flight to members.", |pool| {
        pool.in_flight
    });
    gauge("ballast_pool_queued", "Requests that wait for a member with room.", |pool| pool.queued);
    gauge(
        "ballast_pool_available_members",
        "Members that take requests now, as far as monitors and their answers tell.",
        |pool| pool.available_members,
    );
    gauge("ballast_pool_ejected_members", "Members that are ejected now.", |pool| {
        pool.ejected_members
    });
}

fn write_counters(metrics: &mut Metrics, pools: &[(&str, PoolTotals)]) {
    let mut requests = metrics.family(
        "ballast_pool_requests_total",
        MetricKind::Counter,
        "Requests by class of the response's status; \"none\" for those without a response and for \
         TCP connections and UDP sessions.",
    );
    for (pool, totals) in pools {
        classes(totals, |class, count| requests.sample(&[("pool", pool), ("class", class)], count));
    }
    let mut failures = metrics.family(
        "ballast_pool_failures_total",
        MetricKind::Counter,
        "Requests and connections that failed, by reason; reasons that never occurred are left out.",
    );
    for (pool, totals) in pools {
        reasons(totals, |reason, count| {
            failures.sample(&[("pool", pool), ("reason", reason)], count);
        });
    }
    let mut retries = metrics.family(
        "ballast_pool_retries_total",
        MetricKind::Counter,
        "Requests that were sent again, by cause; causes that never occurred are left out.",
    );
    for (pool, totals) in pools {
        for (kind, count) in RetryKind::ALL.iter().zip(totals.retries) {
            if count > 0 {
                retries.sample(&[("pool", pool), ("cause", kind.as_str())], count);
            }
        }
    }
    let mut refused = metrics.family(
        "ballast_pool_retries_refused_total",
        MetricKind::Counter,
        "Requests that were not sent again because the budget of retries was spent.",
    );
    for (pool, totals) in pools {
        refused.sample(&[("pool", pool)], totals.retries_refused_total);
    }
    let mut times = |name, help: &str, of: fn(&PoolTotals) -> &Histogram| {
        let mut family = metrics.family(name, MetricKind::Histogram, help);
        for (pool, totals) in pools {
            if of(totals).count() > 0 {
                family.histogram(&[("pool", pool)], of(totals));
            }
        }
    };
    times(
        "ballast_pool_queue_duration_seconds",
        "How long requests waited for a member with room; left out where none did.",
        |totals| &totals.queue,
    );
    times(
        "ballast_pool_connect_duration_seconds",
        "How long connecting to members took, without TLS; left out where there was none.",
        |totals| &totals.connect,
    );
}

fn write_labelled<'a>(
    metrics: &mut Metrics,
    name: &'static str,
    (help, label): (&str, &str),
    shown: &'a [PoolFacts<'_>],
    of: fn(&'a PoolFacts<'_>) -> &'a [(&'static str, u64)],
) {
    let mut family = metrics.family(name, MetricKind::Counter, help);
    for pool in shown {
        for (value, count) in of(pool) {
            family.sample(&[("pool", pool.name), (label, value)], count);
        }
    }
}

fn write_members(metrics: &mut Metrics, shown: &[PoolFacts<'_>]) {
    let mut changes = metrics.family(
        "ballast_member_health_changes_total",
        MetricKind::Counter,
        "How often monitors found a member to be up after it was down, and down after it was not.",
    );
    let all = shown.iter().flat_map(|pool| {
        pool.health_changes.iter().map(|(member, up, down)| (pool.name, *member, up, down))
    });
    for (pool, member, up, down) in all.take(MEMBER_SERIES_MAX_COUNT) {
        for (to, count) in [("up", up), ("down", down)] {
            changes.sample(&[("pool", pool), ("member", member), ("to", to)], count);
        }
    }
    let members: Vec<_> = shown
        .iter()
        .flat_map(|pool| {
            let members = pool.counters.map(PoolCounters::members).unwrap_or_default();
            members.into_iter().map(|member| (pool.name, member.totals(), member))
        })
        .take(MEMBER_SERIES_MAX_COUNT)
        .collect();
    let mut responses = metrics.family(
        "ballast_member_responses_total",
        MetricKind::Counter,
        "As ballast_pool_requests_total, by the member that served last; for pools with \
         member_metrics.",
    );
    for (pool, totals, member) in &members {
        classes(totals, |class, count| {
            let labels = [("pool", *pool), ("member", member.name()), ("class", class)];
            responses.sample(&labels, count);
        });
    }
    let mut failures = metrics.family(
        "ballast_member_failures_by_reason_total",
        MetricKind::Counter,
        "As ballast_pool_failures_total, by the member that was asked last; for pools with \
         member_metrics.",
    );
    for (pool, totals, member) in &members {
        reasons(totals, |reason, count| {
            let labels = [("pool", *pool), ("member", member.name()), ("reason", reason)];
            failures.sample(&labels, count);
        });
    }
    let mut connects = metrics.family(
        "ballast_member_connect_duration_seconds",
        MetricKind::Histogram,
        "How long connecting took, without TLS; for pools with member_metrics.",
    );
    for (pool, totals, member) in &members {
        if totals.connect.count() > 0 {
            connects.histogram(&[("pool", *pool), ("member", member.name())], &totals.connect);
        }
    }
}

fn classes(totals: &PoolTotals, mut sample: impl FnMut(&str, u64)) {
    for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"].iter().zip(totals.responses) {
        sample(class, count);
    }
    sample("none", totals.unanswered_total);
}

fn reasons(totals: &PoolTotals, mut sample: impl FnMut(&str, u64)) {
    for (reason, count) in FailureReason::ALL.iter().zip(totals.failures) {
        if count > 0 {
            sample(reason.code(), count);
        }
    }
}
