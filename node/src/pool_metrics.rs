//! The metrics of pools: what was counted, and what they are at this moment.

use std::time::{SystemTime, UNIX_EPOCH};

use ballast_balance::{Pool, PoolMap};
use ballast_telemetry::prometheus::{PoolFacts, write_pools};
use ballast_telemetry::{CounterRegistry, Metrics};

/// Writes the families of all pools, by name.
pub(crate) fn write(metrics: &mut Metrics, pools: &PoolMap, counters: &CounterRegistry) {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
    let counted = counters.pools();
    let facts: Vec<_> = pools
        .values()
        .map(|pool| PoolFacts {
            counters: counted.get(pool.name()).map(AsRef::as_ref),
            ..facts(pool, now_ms)
        })
        .collect();
    write_pools(metrics, &facts);
}

fn facts(pool: &Pool, now_ms: u64) -> PoolFacts<'_> {
    let members = pool.members();
    let count = |is: &dyn Fn(&ballast_balance::MemberState) -> bool| {
        members.iter().filter(|member| is(&member.state)).count() as u64
    };
    let breaker = pool.spec().circuit_breaker.unwrap_or_default();
    let gate = pool.gate_facts().unwrap_or_default();
    let limits = [
        ("requests", breaker.request_max_count, gate.refused_requests, gate.request_count),
        ("retries", breaker.retry_max_count, gate.refused_retries, gate.retry_count),
        ("adaptive", gate.adaptive_limit, gate.refused_adaptive, gate.request_count),
    ];
    let limits = limits
        .into_iter()
        .filter_map(|(name, limit, refused, count)| Some((name, limit?, refused, count)));
    PoolFacts {
        name: pool.name(),
        counters: None,
        in_flight: members.iter().map(|member| member.state.in_flight()).sum(),
        queued: pool.queue().waiting_count() as u64,
        available_members: count(&|state| state.takes_new() && state.is_available(now_ms)),
        ejected_members: count(&|state| state.is_ejected(now_ms)),
        ejections: match pool.spec().outlier_ejection {
            Some(_) => pool.ejections().map(|(cause, count)| (cause.as_str(), count)).collect(),
            None => Vec::new(),
        },
        circuit_refused: limits.clone().map(|(name, _, refused, _)| (name, refused)).collect(),
        circuit_open: limits.map(|(name, limit, _, count)| (name, count >= limit)).collect(),
        concurrency_limit: gate.adaptive_limit.map(u64::from),
        health_changes: members
            .iter()
            .filter(|_| !pool.spec().monitors.is_empty())
            .map(|member| {
                let (up, down) = member.state.health_changes();
                (&*member.name, up, down)
            })
            .collect(),
    }
}
