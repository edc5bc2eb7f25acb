use super::*;
use crate::limiter::Limiter;

const NOW_NS: u64 = 1_000_000_000_000;

fn passes(limiter: &SharedLimiter, key: u128, rate: Rate, now_ns: u64) -> bool {
    limiter.check(key, rate, now_ns) == Admission::Passed
}

#[test]
fn it_decides_as_the_limiter_of_one_thread_does() {
    let (shared, mut single) = (SharedLimiter::new(64), Limiter::new(64));
    let rate = Rate::new(10, 1, 5);
    let (mut now_ns, mut passed_count) = (NOW_NS, 0);
    for step in 0..2_000_u64 {
        now_ns += step * 7_919 % 90_000_000;
        let key = u128::from(step % 3 + 1);
        let peeked = shared.peek(key, rate, now_ns);
        assert_eq!(shared.check(key, rate, now_ns), single.check(key, rate, now_ns), "{step}");
        let is_told = single.counts().passed_count + single.counts().refused_count;
        assert_eq!(is_told, step + 1);
        assert_eq!(peeked == Admission::Passed, shared.counts().passed_count > passed_count);
        passed_count = shared.counts().passed_count;
    }
    assert_eq!(shared.counts(), single.counts());
    assert!(shared.counts().refused_count > 0);
}

#[test]
fn threads_together_get_the_limit_and_not_one_more() {
    let limiter = SharedLimiter::new(1_024);
    let rate = Rate::new(100, 3_600, 100);
    let passed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| (0..1_000).filter(|_| passes(&limiter, 7, rate, NOW_NS)).count())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(passed, 100);
}

#[test]
fn a_full_set_forgets_the_key_that_matters_least() {
    let limiter = SharedLimiter::new(8);
    let rate = Rate::new(1, 1, 1);
    for key in 1..=8 {
        assert!(passes(&limiter, key, rate, NOW_NS + key as u64));
    }
    assert!(passes(&limiter, 9, rate, NOW_NS + 9), "the first key's place is taken");
    assert_eq!(limiter.counts().forgotten_count, 1);
    assert!(!passes(&limiter, 2, rate, NOW_NS + 10), "the second key is still known");
}

#[test]
fn three_limiters_that_tell_each_other_stay_within_the_bound() {
    // A burst of 10 and 10 a second; they tell each other every 100 ms.
    let rate = Rate::new(10, 1, 10);
    let nodes: Vec<_> = (0..3).map(|_| SharedLimiter::new(1_024)).collect();
    let (mut passed, mut out) = (0, Vec::new());
    let span_ms = 10_000;
    for ms in 0..span_ms {
        let now_ns = NOW_NS + ms * 1_000_000;
        passed += nodes.iter().filter(|node| passes(node, 7, rate, now_ns)).count();
        if ms % 100 == 99 {
            for (i, node) in nodes.iter().enumerate() {
                assert_eq!(node.publish(0, 100, &mut out), 0);
                for other in nodes.iter().enumerate().filter(|(j, _)| *j != i) {
                    out.iter().for_each(|told| other.1.absorb(told, now_ns));
                }
                out.clear();
            }
        }
    }
    // B + R·W + (N − 1)·(B + R·L)
    let bound = 10 + 10 * 10 + 2 * (10 + 1);
    assert!(passed <= bound, "{passed} of {bound}");
    assert!(passed >= 100, "{passed}: no less than the limit itself");
}

#[test]
fn what_is_published_is_published_once_and_in_parts_if_asked() {
    let limiter = SharedLimiter::new(64);
    let rate = Rate::new(10, 1, 10);
    for key in 1..=5 {
        assert!(passes(&limiter, key, rate, NOW_NS));
    }
    let mut out = Vec::new();
    let next = limiter.publish(0, 3, &mut out);
    assert!(next > 0);
    assert_eq!(limiter.publish(next, 3, &mut out), 0);
    let mut keys: Vec<_> = out.iter().map(|told| told.key).collect();
    keys.sort_unstable();
    assert_eq!(keys, [1, 2, 3, 4, 5]);
    assert!(out.iter().all(|told| told.charge_ns == 100_000_000));
    out.clear();
    limiter.publish(0, 10, &mut out);
    assert_eq!(out, []);
}

#[test]
fn a_limiter_that_is_told_what_keys_owe_decides_as_the_other_would() {
    let (old, new) = (SharedLimiter::new(64), SharedLimiter::new(64));
    let rate = Rate::new(1, 1, 5);
    let now_ns = 1_000_000;
    assert!((0..3).all(|_| passes(&old, 7, rate, now_ns)));
    assert!(passes(&old, 8, rate, now_ns));
    // Of another clock.
    let (later_ns, other_ns) = (now_ns + 1_000_000_000, 77);
    let mut owed = Vec::new();
    assert_ne!(old.dump(0, 1, now_ns, &mut owed), 0, "in parts if asked");
    owed.clear();
    assert_eq!(old.dump(0, 64, later_ns, &mut owed), 0);
    assert_eq!(owed.len(), 1, "what is paid off is not owed: {owed:?}");
    owed.iter().for_each(|owed| new.absorb(owed, other_ns));
    let left = |limiter: &SharedLimiter, now_ns| {
        (0..9).filter(|_| passes(limiter, 7, rate, now_ns)).count()
    };
    // And the one after that, which is told of keys that the second was never asked about.
    let third = SharedLimiter::new(64);
    let mut still_owed = Vec::new();
    assert_eq!(new.dump(0, 64, other_ns, &mut still_owed), 0);
    assert_eq!(still_owed, owed);
    still_owed.iter().for_each(|owed| third.absorb(owed, other_ns));
    let left_each = [left(&old, later_ns), left(&new, other_ns), left(&third, other_ns)];
    assert_eq!(left_each, [3, 3, 3]);
}
