use std::sync::Arc;

use ballast_model::config::AnyDraft;
use ballast_model::{Config, Draft, Edit, MemberSpec, PoolSpec};

use super::*;
use crate::persistence::PersistenceKey;
use crate::registry::PoolRegistry;

fn pool() -> Arc<Pool> {
    let members = vec![MemberSpec::new("10.0.0.1:80".parse().unwrap())];
    let spec = PoolSpec { members, ..PoolSpec::default() };
    let edit = Edit::put(AnyDraft::Pool(Draft::new("pool", spec)), "uid");
    let config = Config::default().edited(&[edit], 1, 1).unwrap();
    let mut registry = PoolRegistry::new(2, PersistenceKey::new(&[3; 32]));
    registry.reconcile(&config, 0);
    Arc::clone(registry.pool("pool").unwrap())
}

fn serve(pool: &Pool, count: usize) {
    (0..count).for_each(|worker| drop(pool.members()[0].state.begin(worker)));
}

fn taken(pool: &Pool, policy: &RetryPolicy, now_ms: u64) -> usize {
    (0..100_000).take_while(|_| pool.take_retry(policy, now_ms)).count()
}

#[test]
fn budget_is_a_share_of_the_requests_and_a_minimum_and_not_one_more() {
    let pool = pool();
    let policy = RetryPolicy { budget_percent: 20, budget_min_per_s: 0, ..RetryPolicy::default() };
    assert_eq!(taken(&pool, &policy, 1_000_000), 0);
    serve(&pool, 1_000);
    assert_eq!(taken(&pool, &policy, 1_000_099), 0, "not counted yet");
    assert_eq!(taken(&pool, &policy, 1_000_100), 200);
    serve(&pool, 200);
    assert_eq!(taken(&pool, &policy, 1_000_200), 0, "retries earn no others");
    assert_eq!(taken(&pool, &policy, 1_009_900), 0);
    assert_eq!(taken(&pool, &policy, 1_010_000), 200, "the window before was as busy");
    assert_eq!(taken(&pool, &policy, 1_040_000), 0, "nobody asked for anything");
    let minimum = RetryPolicy { budget_min_per_s: 3, ..policy };
    assert_eq!(taken(&pool, &minimum, 1_060_000), 30);
}
