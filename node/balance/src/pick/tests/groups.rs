//! Priority groups, the panic threshold, slow start and ejected members.

use super::*;

fn grouped(priorities: &[u32], min_members: u32) -> PoolSpec {
    let mut spec = spec(Algorithm::RoundRobin, &vec![1; priorities.len()]);
    for (member, priority) in spec.members.iter_mut().zip(priorities) {
        member.priority = *priority;
    }
    spec.priority_min_members = Some(min_members);
    spec
}

fn who_serves(pool: &Pool) -> Vec<usize> {
    let counts = Picker::new(1).counts(pool, 400);
    (0..counts.len()).filter(|index| counts[*index] > 0).collect()
}

#[test]
fn lower_groups_join_while_fewer_than_the_least_number_can_serve() {
    for algorithm in ALGORITHMS {
        let spec = PoolSpec { algorithm, ..grouped(&[5, 10, 10, 5, 1, 10], 2) };
        let pool = compile(spec);
        assert_eq!(who_serves(&pool), [1, 2, 5], "{algorithm:?}");
        set_health(&pool, 1, Health::Down);
        assert_eq!(who_serves(&pool), [2, 5], "{algorithm:?}: two are enough");
        set_health(&pool, 5, Health::Down);
        assert_eq!(who_serves(&pool), [0, 2, 3], "{algorithm:?}");
        set_health(&pool, 0, Health::Down);
        set_health(&pool, 3, Health::Down);
        assert_eq!(who_serves(&pool), [2, 4], "{algorithm:?}");
        set_health(&pool, 1, Health::Up);
        assert_eq!(who_serves(&pool), [1, 2], "{algorithm:?}");
    }
}

#[test]
fn a_retry_may_go_to_a_lower_group() {
    let pool = compile(grouped(&[10, 1], 1));
    let mut picker = Picker::new(1);
    assert_eq!(picker.pick(&pool), Ok(0));
    let input = PickInput { exclude: &[0], ..picker.input() };
    assert_eq!(pool.pick(&mut picker.state, &input).unwrap().index, 1);
}

#[test]
fn without_a_least_number_priorities_are_not_looked_at() {
    let spec = PoolSpec { priority_min_members: None, ..grouped(&[10, 1], 1) };
    assert_eq!(who_serves(&compile(spec)), [0, 1]);
}

#[test]
fn too_few_up_is_a_panic_at_the_threshold_and_not_before() {
    for algorithm in ALGORITHMS {
        let mut spec = spec(algorithm, &[1; 4]);
        spec.panic_threshold_percent = Some(50);
        let pool = compile(spec);
        set_health(&pool, 0, Health::Down);
        set_health(&pool, 1, Health::Down);
        assert_eq!(who_serves(&pool), [2, 3], "{algorithm:?}: half is not below half");
        set_health(&pool, 2, Health::Down);
        assert_eq!(who_serves(&pool), [0, 1, 2, 3], "{algorithm:?}");
        set_health(&pool, 1, Health::Checking);
        assert_eq!(who_serves(&pool), [3], "{algorithm:?}: not all are known");
    }
}

#[test]
fn a_member_that_came_up_gets_a_growing_share() {
    for algorithm in ALGORITHMS {
        let spec = PoolSpec { slow_start_s: 100, ..spec(algorithm, &[1; 4]) };
        let pool = compile(spec);
        let share = |now_ms: u64| {
            let mut picker = Picker::new(9);
            let picks = (0..4_000).filter(|_| {
                let input = PickInput { now_ms, ..picker.input() };
                pool.pick(&mut picker.state, &input).unwrap().index == 3
            });
            picks.count()
        };
        let whole = share(1_000);
        set_health(&pool, 3, Health::Down);
        let since_ms = 1_000_000;
        let report = HealthReport { health: Health::Up, since_ms, ..HealthReport::default() };
        pool.members()[3].state.set_health(report);
        let shares = [0, 25, 50, 99, 100].map(|age_s| share(since_ms + age_s * 1_000));
        assert!(shares.is_sorted(), "{algorithm:?}: {shares:?}");
        assert!((20..200).contains(&shares[0]), "{algorithm:?}: {shares:?}");
        let half = shares[2];
        assert!((whole / 3..whole * 3 / 4).contains(&half), "{algorithm:?}: {shares:?}");
        assert!(shares[4].abs_diff(whole) < 120, "{algorithm:?}: {shares:?} {whole}");
    }
}

#[test]
fn keys_come_over_once_while_a_share_grows() {
    let spec = PoolSpec { slow_start_s: 100, ..spec(Algorithm::ConsistentHash, &[1; 4]) };
    let pool = compile(spec);
    set_health(&pool, 2, Health::Down);
    let report = HealthReport { health: Health::Up, since_ms: 50_000, ..HealthReport::default() };
    pool.members()[2].state.set_health(report);
    let homes = |now_ms| -> Vec<u32> {
        let home = |i: u32| {
            let client = IpAddr::V4(Ipv4Addr::from(i.wrapping_mul(0x9e37_79b9)));
            let input = PickInput { client, now_ms, ..Picker::new(i.into()).input() };
            pool.pick(&mut PickState::default(), &input).unwrap().index
        };
        (0..2_000).map(home).collect()
    };
    let mut before = homes(50_000);
    for now_s in [60, 75, 90, 120, 150] {
        let after = homes(now_s * 1_000);
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after);
        assert!(moved.clone().all(|(_, after)| *after == 2));
        assert!(moved.count() > 0);
        before = after;
    }
}

#[test]
fn members_that_all_came_up_a_moment_ago_serve() {
    for algorithm in ALGORITHMS {
        let pool = compile(PoolSpec { slow_start_s: 3_600, ..spec(algorithm, &[1; 2]) });
        for index in 0..2 {
            set_health(&pool, index, Health::Down);
            let report =
                HealthReport { health: Health::Up, since_ms: 1_000, ..HealthReport::default() };
            pool.members()[index].state.set_health(report);
        }
        assert_eq!(who_serves(&pool), [0, 1], "{algorithm:?}");
    }
}

#[test]
fn ejected_members_are_not_chosen_until_their_time_is_over() {
    for algorithm in ALGORITHMS {
        let pool = pool(algorithm, &[1, 1, 1]);
        pool.members()[1].state.eject(500, 1_000, 9_000, "it failed");
        assert_eq!(who_serves(&pool), [0, 2], "{algorithm:?}");
        let persistent = Some(pool.members()[1].key);
        let mut picker = Picker::new(1);
        let input = PickInput { persistent, ..picker.input() };
        assert_ne!(pool.pick(&mut picker.state, &input).unwrap().index, 1);
        let later = PickInput { now_ms: 1_500, persistent, ..picker.input() };
        assert_eq!(pool.pick(&mut picker.state, &later).unwrap().index, 1);
    }
}
