//! Algorithms that go by measured times.

use super::*;

const TIMED: [Algorithm; 2] = [Algorithm::LeastTime, Algorithm::PeakEwma];

/// Has every member measured as taking that long, in µs.
fn measure(pool: &Pool, times_us: &[u64]) {
    for (member, took_us) in pool.members().iter().zip(times_us) {
        let algorithm = pool.spec().algorithm;
        member.state.observe_latency(0, algorithm, *took_us, 1_000);
        member.state.observe_latency(1, algorithm, *took_us, 1_000);
    }
}

#[test]
fn idle_requests_go_to_the_fastest() {
    for algorithm in TIMED {
        let pool = pool(algorithm, &[1, 1, 1]);
        measure(&pool, &[9_000, 2_000, 30_000]);
        let counts = Picker::new(1).counts(&pool, 3_000);
        match algorithm {
            Algorithm::LeastTime => assert_eq!(counts, [0, 3_000, 0]),
            // The slowest of two that were drawn is never taken; the fastest is drawn in two of three.
            _ => assert!(counts[1] > 1_850 && counts[2] == 0, "{counts:?}"),
        }
    }
}

#[test]
fn under_load_requests_in_flight_follow_speed_and_weight() {
    for algorithm in TIMED {
        let pool = pool(algorithm, &[1, 1, 2]);
        measure(&pool, &[8_192, 16_384, 8_192]);
        let mut picker = Picker::new(2);
        let _guards: Vec<_> = (0..5_000)
            .map(|_| pool.member(picker.pick(&pool).unwrap()).unwrap().state.begin(0).unwrap())
            .collect();
        let loads: Vec<_> = pool.members().iter().map(|m| m.state.in_flight()).collect();
        // 2 : 1 : 4, as the first is twice as fast as the second and half as heavy as the third.
        for (load, due) in loads.iter().zip([1_428_u64, 714, 2_857]) {
            assert!(load.abs_diff(due) <= due / 10, "{algorithm:?}: {loads:?}");
        }
    }
}

#[test]
fn times_that_differ_by_noise_are_equal() {
    for algorithm in TIMED {
        let pool = pool(algorithm, &[1, 3]);
        measure(&pool, &[1_050, 1_100]);
        let counts = Picker::new(3).counts(&pool, 4_000);
        assert!((850..1_150).contains(&counts[0]), "{algorithm:?}: {counts:?}");
    }
}

#[test]
fn newcomer_gets_one_request_before_something_is_known_of_it() {
    for algorithm in TIMED {
        let pool = pool(algorithm, &[1, 1]);
        let known = &pool.members()[0].state;
        known.observe_latency(0, algorithm, 50_000, 1_000);
        let mut picker = Picker::new(4);
        assert_eq!(picker.pick(&pool), Ok(1), "{algorithm:?}");
        let _first = pool.members()[1].state.begin(0).unwrap();
        assert_eq!(picker.counts(&pool, 100), [100, 0], "{algorithm:?}");
    }
}

#[test]
fn a_member_that_refuses_is_not_the_fastest() {
    for algorithm in TIMED {
        let pool = pool(algorithm, &[1, 1]);
        measure(&pool, &[5_000, 5_000]);
        pool.members()[1].state.observe_failed_attempt(0, 40, 1_000);
        let counts = Picker::new(5).counts(&pool, 100);
        assert_eq!(counts, [100, 0], "{algorithm:?}");
    }
}
