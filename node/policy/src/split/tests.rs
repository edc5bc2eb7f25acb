use ballast_model::spec::policy::{Scheme, SplitPool};

use super::*;
use crate::request::Request;

const A: PoolIndex = PoolIndex(0);
const B: PoolIndex = PoolIndex(1);

fn split(percent_of_a: u8, stable_by: Option<StableBy>) -> Split {
    let share = |pool: &str, percent| SplitPool { pool: pool.to_owned(), percent };
    let spec = spec::Split {
        pools: vec![share("a", percent_of_a), share("b", 100 - percent_of_a)],
        stable_by,
    };
    Split::new("rule", &spec, |name| if name == "a" { A } else { B })
}

fn pool(split: &Split, source: u32, cookie: Option<&str>, random: u64) -> PoolIndex {
    let value = cookie.map(|value| format!("x=1; uid={value}")).unwrap_or_default();
    let headers = [(b"Cookie".as_slice(), value.as_bytes())];
    let request = Request {
        method: b"GET",
        scheme: Scheme::Http,
        authority: b"a",
        path: b"/",
        query: None,
        source: IpAddr::V4(source.into()),
        request_id: b"",
        headers: &headers,
    };
    split.pool(&Subject { request: &request, host: b"a", path: b"/" }, random).unwrap()
}

#[test]
fn a_random_split_gives_each_its_share_of_the_numbers() {
    let split = split(25, None);
    let step = u64::MAX / 10_000;
    let count = (0..10_000).filter(|i| pool(&split, 1, None, i * step) == A).count();
    assert!((2_499..=2_501).contains(&count), "{count}");
    assert_eq!(pool(&split, 1, None, 0), A);
    assert_eq!(pool(&split, 1, None, u64::MAX), B);
}

#[test]
fn all_and_nothing_are_shares() {
    for random in [0, u64::MAX / 2, u64::MAX] {
        assert_eq!(pool(&split(100, None), 1, None, random), A);
        assert_eq!(pool(&split(0, None), 1, None, random), B);
    }
}

#[test]
fn a_stable_split_asks_no_chance_and_keeps_its_shares() {
    let split = split(30, Some(StableBy::Source));
    let count = (0..10_000).filter(|source| {
        let first = pool(&split, *source, None, 0);
        assert_eq!(first, pool(&split, *source, None, u64::MAX));
        first == A
    });
    let count = count.count();
    assert!((2_850..=3_150).contains(&count), "{count} of 10,000, 30 % expected");
}

#[test]
fn a_growing_share_takes_clients_and_gives_none() {
    let (before, after) = (split(30, Some(StableBy::Source)), split(40, Some(StableBy::Source)));
    for source in 0..2_000 {
        if pool(&before, source, None, 0) == A {
            assert_eq!(pool(&after, source, None, 0), A);
        }
    }
}

#[test]
fn a_client_keeps_its_pool_by_cookie_from_wherever_it_comes() {
    let split = split(50, Some(StableBy::Cookie("uid".to_owned())));
    let mut seen = std::collections::BTreeSet::new();
    for user in 0..50 {
        let name = format!("user-{user}");
        let first = pool(&split, 1, Some(&name), 0);
        assert!((2..20).all(|source| pool(&split, source, Some(&name), 0) == first));
        seen.insert(first);
    }
    assert_eq!(seen.len(), 2, "both pools are used");
    let without: std::collections::BTreeSet<_> =
        (0..50).map(|source| pool(&split, source, None, 0)).collect();
    assert_eq!(without.len(), 2, "without the cookie it goes by source");
}
