use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;

fn passed(limiter: &mut Limiter, key: u128, rate: Rate, now_ns: u64) -> bool {
    limiter.check(key, rate, now_ns) == Admission::Passed
}

#[test]
fn a_burst_passes_and_no_more_until_the_rate_allows() {
    let (mut limiter, rate) = (Limiter::new(8), Rate::new(10, 1, 3));
    let now = SECOND_NS;
    assert!((0..3).all(|_| passed(&mut limiter, 1, rate, now)), "at the limit");
    let refused = limiter.check(1, rate, now);
    assert_eq!(refused, Admission::Refused { retry_after_ns: 100 * MS }, "limit + 1");
    assert!(!passed(&mut limiter, 1, rate, now + 100 * MS - 1));
    assert!(passed(&mut limiter, 1, rate, now + 100 * MS));
    assert!(!passed(&mut limiter, 1, rate, now + 100 * MS));
    assert!((0..3).all(|_| passed(&mut limiter, 1, rate, now + 10_000 * MS)), "a rest fills it");
    assert!(!passed(&mut limiter, 1, rate, now + 10_000 * MS));
    assert_eq!(limiter.counts().passed_count, 7);
    assert_eq!(limiter.counts().refused_count, 4);
}

#[test]
fn keys_do_not_share_a_limit() {
    let (mut limiter, rate) = (Limiter::new(64), Rate::new(1, 1, 1));
    for key in 0..32 {
        assert!(passed(&mut limiter, key, rate, 1));
        assert!(!passed(&mut limiter, key, rate, 1));
    }
}

#[test]
fn a_full_table_forgets_what_would_be_without_effect_first() {
    let (mut limiter, rate) = (Limiter::new(8), Rate::new(1, 1, 2));
    let now = SECOND_NS;
    for key in 1..=8 {
        assert!(passed(&mut limiter, key, rate, now + key as u64));
    }
    assert_eq!(limiter.counts().forgotten_count, 0, "at the limit");
    assert!(passed(&mut limiter, 9, rate, now + 9));
    assert_eq!(limiter.counts().forgotten_count, 1, "limit + 1");
    assert_eq!(limiter.counts().unpublished_count, 1);
    assert!(passed(&mut limiter, 8, rate, now + 9) && !passed(&mut limiter, 8, rate, now + 9));
    let later = now + 60 * SECOND_NS;
    assert!((20..28).all(|key| passed(&mut limiter, key, rate, later)));
    assert_eq!(limiter.counts().forgotten_count, 1, "those had no effect any more");
}

#[test]
fn what_passed_is_told_once_and_in_portions() {
    let (mut limiter, rate) = (Limiter::new(64), Rate::new(10, 1, 5));
    for key in [1, 2, 2, 3] {
        assert!(passed(&mut limiter, key, rate, 1));
    }
    let mut told = Vec::new();
    assert!(limiter.publish(2, &mut told), "one is left");
    assert!(!limiter.publish(2, &mut told));
    told.sort_by_key(|consumption| consumption.key);
    let charges: Vec<_> = told.iter().map(|c| (c.key, c.charge_ns / MS)).collect();
    assert_eq!(charges, [(1, 100), (2, 200), (3, 100)]);
    told.clear();
    assert!(!limiter.publish(10, &mut told) && told.is_empty());
    assert!(passed(&mut limiter, 2, rate, 1));
    limiter.publish(10, &mut told);
    assert_eq!(told.len(), 1);
}

#[test]
fn what_others_let_through_counts_and_is_not_told_on() {
    let (mut one, mut other, rate) = (Limiter::new(8), Limiter::new(8), Rate::new(10, 1, 5));
    assert!((0..5).all(|_| passed(&mut one, 7, rate, 1)));
    let mut told = Vec::new();
    one.publish(8, &mut told);
    for consumption in &told {
        other.absorb(consumption, 1);
    }
    assert!(!passed(&mut other, 7, rate, 1), "the burst is used up");
    assert!(passed(&mut other, 8, rate, 1));
    told.clear();
    other.publish(8, &mut told);
    assert_eq!(told.len(), 1, "of its own key alone");
}

#[test]
fn a_fault_elsewhere_does_not_lock_a_key_for_good() {
    let (mut limiter, rate) = (Limiter::new(8), Rate::new(10, 1, 10));
    let absurd = Consumption { key: 1, charge_ns: u64::MAX, tolerance_ns: rate.tolerance_ns };
    limiter.absorb(&absurd, 1);
    let debt_ns = DEBT_MAX_FACTOR * (rate.tolerance_ns + SECOND_NS);
    assert!(!passed(&mut limiter, 1, rate, debt_ns / 2));
    assert!(passed(&mut limiter, 1, rate, 1 + debt_ns));
}

#[test]
fn the_largest_limits_do_not_overflow() {
    let mut limiter = Limiter::new(8);
    let slowest = Rate::new(1, 86_400, u32::MAX);
    assert!((0..100).all(|_| passed(&mut limiter, 1, slowest, u64::MAX - 1)));
    let fastest = Rate::new(u32::MAX, 1, 1);
    assert!(passed(&mut limiter, 2, fastest, 1));
    assert!(passed(&mut Limiter::new(0), 1, Rate::new(0, 0, 0), 1));
}

/// How far above `burst + rate · time` any span of the arrivals is, in requests.
#[derive(Default)]
struct Excess {
    level: f64,
    highest: f64,
    at_ns: u64,
}

impl Excess {
    fn count(&mut self, now_ns: u64, per_second: f64) {
        let drained = (now_ns - self.at_ns) as f64 / SECOND_NS as f64 * per_second;
        self.level = (self.level - drained).max(0.0) + 1.0;
        self.highest = self.highest.max(self.level);
        self.at_ns = now_ns;
    }
}

#[derive(Clone, Copy, Debug)]
struct Cluster {
    node_count: usize,
    requests_per_s: u32,
    burst: u32,
    publish_every_ms: u64,
    way_ms: u64,
}

/// Lets clients ask nodes as `asks` says (how many requests each node gets at each millisecond) and
/// tells the passed ones and the worst excess.
fn simulate(cluster: Cluster, asks: impl Fn(u64, usize) -> u32, ms: u64) -> (u64, f64) {
    let rate = Rate::new(cluster.requests_per_s, 1, cluster.burst);
    let mut nodes: Vec<_> = (0..cluster.node_count).map(|_| Limiter::new(64)).collect();
    let mut on_the_way: VecDeque<(u64, usize, Consumption)> = VecDeque::new();
    let (mut excess, mut passed_count) = (Excess::default(), 0);
    for now_ms in 1..=ms {
        let now_ns = now_ms * MS;
        while on_the_way.front().is_some_and(|(at_ms, ..)| *at_ms <= now_ms) {
            let Some((_, from, consumption)) = on_the_way.pop_front() else { break };
            for (_, node) in nodes.iter_mut().enumerate().filter(|(to, _)| *to != from) {
                node.absorb(&consumption, now_ns);
            }
        }
        for (i, node) in nodes.iter_mut().enumerate() {
            for _ in 0..asks(now_ms, i) {
                if passed(node, 1, rate, now_ns) {
                    passed_count += 1;
                    excess.count(now_ns, f64::from(cluster.requests_per_s));
                }
            }
            // The nodes do not publish at the same time.
            if (now_ms + i as u64 * 7).is_multiple_of(cluster.publish_every_ms) {
                let mut told = Vec::new();
                node.publish(64, &mut told);
                on_the_way.extend(told.into_iter().map(|c| (now_ms + cluster.way_ms, i, c)));
            }
        }
    }
    (passed_count, excess.highest)
}

/// The bound that the module's documentation states.
fn highest_allowed(cluster: Cluster) -> f64 {
    let lag_s = (cluster.publish_every_ms + cluster.way_ms) as f64 / 1_000.0;
    let (burst, rate) = (f64::from(cluster.burst), f64::from(cluster.requests_per_s));
    burst + (cluster.node_count as f64 - 1.0) * (burst + rate * lag_s)
}

#[test]
fn nodes_asked_all_at_once_let_through_about_what_one_would() {
    for node_count in [2, 3, 5] {
        let cluster = Cluster {
            node_count,
            requests_per_s: 200,
            burst: 40,
            publish_every_ms: 100,
            way_ms: 10,
        };
        let seconds = 60;
        let (passed_count, excess) = simulate(cluster, |_, _| 5, seconds * 1_000);
        assert!(excess <= highest_allowed(cluster), "{excess} of {cluster:?}");
        let one = 40 + 200 * seconds;
        assert!(passed_count >= one * 95 / 100, "{passed_count} of {one} with {node_count}");
        let most = one as f64 + highest_allowed(cluster);
        assert!(passed_count as f64 <= most, "{passed_count} of {one} with {node_count}");
    }
}

#[test]
fn a_client_of_one_node_gets_exactly_the_limit() {
    let cluster =
        Cluster { node_count: 3, requests_per_s: 100, burst: 10, publish_every_ms: 50, way_ms: 5 };
    let (passed_count, excess) = simulate(cluster, |_, node| u32::from(node == 0), 10_000);
    assert!((1_008..=1_010).contains(&passed_count), "{passed_count}");
    assert!(excess <= 10.0 + 1e-6, "{excess}");
}

#[test]
fn after_a_failover_the_other_node_goes_on_where_the_first_was() {
    let cluster =
        Cluster { node_count: 2, requests_per_s: 10, burst: 100, publish_every_ms: 50, way_ms: 5 };
    let moved = |now_ms: u64, node: usize| u32::from((now_ms < 2_000) == (node == 0));
    let (passed_count, _) = simulate(cluster, moved, 4_000);
    assert!((139..=145).contains(&passed_count), "{passed_count}, not a second burst of 100");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_span_of_time_exceeds_the_stated_bound(
        node_count in 1..6_usize,
        requests_per_s in 1..500_u32,
        burst in 1..60_u32,
        publish_every_ms in 1..200_u64,
        way_ms in 0..100_u64,
        asks in proptest::collection::vec(0..8_u32, 1..50),
    ) {
        let cluster = Cluster { node_count, requests_per_s, burst, publish_every_ms, way_ms };
        let at = |now_ms: u64, node: usize| asks[(now_ms as usize / 20 + node * 3) % asks.len()];
        let (_, excess) = simulate(cluster, at, 2_000);
        // Emission times are rounded down to ns.
        prop_assert!(excess <= highest_allowed(cluster) + 0.01, "{} of {:?}", excess, cluster);
    }
}
