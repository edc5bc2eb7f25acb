use super::*;
use crate::pick::tests::pool_of;

fn breaker(requests: Option<u32>, retries: Option<u32>) -> PoolSpec {
    let circuit_breaker =
        Some(CircuitBreaker { request_max_count: requests, retry_max_count: retries });
    PoolSpec { circuit_breaker, ..PoolSpec::default() }
}

#[test]
fn as_many_requests_are_let_in_as_the_breaker_says() {
    let pool = pool_of(breaker(Some(2), None));
    let first = pool.enter().unwrap();
    let second = pool.enter().unwrap();
    assert!(first.is_some() && second.is_some());
    assert_eq!(pool.enter().unwrap_err(), NoMember::CircuitOpen);
    let facts = pool.gate_facts().unwrap();
    assert_eq!((facts.request_count, facts.refused_requests), (2, 1));
    drop(first);
    assert!(pool.enter().is_ok());
}

#[test]
fn as_many_are_sent_again_as_the_breaker_says() {
    let pool = pool_of(breaker(None, Some(1)));
    let first = pool.enter_retry().unwrap();
    assert!(first.is_some() && pool.enter_retry().is_none());
    assert_eq!(pool.gate_facts().unwrap().refused_retries, 1);
    drop(first);
    assert!(pool.enter_retry().is_some());
}

#[test]
fn without_limits_there_is_no_gate() {
    let pool = pool_of(PoolSpec::default());
    assert!(pool.enter().unwrap().is_none() && pool.enter_retry().unwrap().is_none());
    assert_eq!(pool.gate_facts(), None);
    assert!(!pool.observes());
}

#[test]
fn the_adaptive_limit_lets_in_what_it_has_found() {
    let settings = AdaptiveConcurrency { min_limit: 2, ..AdaptiveConcurrency::default() };
    let pool = pool_of(PoolSpec { adaptive_concurrency: Some(settings), ..PoolSpec::default() });
    assert!(pool.observes());
    let held = [pool.enter().unwrap(), pool.enter().unwrap()];
    assert_eq!(pool.enter().unwrap_err(), NoMember::ConcurrencyLimit);
    for _ in 0..settings.min_rtt_request_count {
        pool.sample_time(1_000, 1);
    }
    // Not slower than the shortest: a window makes it 2 × 1.25 + √2.
    pool.sample_time(1_000, 1 + settings.sample_window_ms);
    assert_eq!(pool.gate_facts().unwrap().adaptive_limit, Some(3));
    let third = pool.enter().unwrap();
    assert_eq!(pool.enter().unwrap_err(), NoMember::ConcurrencyLimit);
    assert_eq!(pool.gate_facts().unwrap().refused_adaptive, 2);
    drop((held, third));
    assert_eq!(pool.gate_facts().unwrap().request_count, 0);
    let mut answered: Vec<_> = (0..3).map(|_| pool.enter().unwrap().unwrap()).collect();
    assert_eq!(pool.enter().unwrap_err(), NoMember::ConcurrencyLimit);
    answered[1].response_began();
    answered[1].response_began();
    let fourth = pool.enter().unwrap();
    assert_eq!(pool.enter().unwrap_err(), NoMember::ConcurrencyLimit);
    assert_eq!(pool.gate_facts().unwrap().request_count, 4, "it is in flight as before");
    drop((answered, fourth));
    assert_eq!(pool.gate_facts().unwrap().request_count, 0);
    let again: Vec<_> = (0..3).map(|_| pool.enter().unwrap()).collect();
    assert!(pool.enter().is_err() && again.len() == 3);
}
