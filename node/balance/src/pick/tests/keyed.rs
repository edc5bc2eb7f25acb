//! Consistent hashing over members as they come and go.

use ballast_model::{ConsistentHash, HashKey};

use super::*;
use crate::key::KeyHash;

fn keyed(weights: &[u16], load_excess_percent: Option<u32>) -> PoolSpec {
    let key = HashKey::Header { name: "x-user".to_owned() };
    let settings = ConsistentHash { key, load_excess_percent, ..ConsistentHash::default() };
    PoolSpec { consistent_hash: Some(settings), ..spec(Algorithm::ConsistentHash, weights) }
}

fn pick(pool: &Pool, key: u64) -> u32 {
    let key = Some(KeyHash::of_bytes(&key.to_be_bytes()));
    let input = PickInput { key, ..Picker::new(key.map_or(0, |key| key.0)).input() };
    pool.pick(&mut PickState::default(), &input).unwrap().index
}

fn homes(pool: &Pool) -> Vec<u32> {
    (0..20_000).map(|key| pick(pool, key)).collect()
}

#[test]
fn one_key_has_one_member_whatever_the_client() {
    let pool = compile(keyed(&[1; 5], None));
    assert!(pool.hash_key().is_some());
    let mut picker = Picker::new(1);
    let home = pick(&pool, 7);
    for _ in 0..100 {
        let input =
            PickInput { key: Some(KeyHash::of_bytes(&7_u64.to_be_bytes())), ..picker.input() };
        assert_eq!(pool.pick(&mut picker.state, &input).unwrap().index, home);
    }
}

#[test]
fn keys_of_a_member_that_is_down_spread_and_come_back_and_no_others_move() {
    let pool = compile(keyed(&[1, 1, 2, 1], None));
    let before = homes(&pool);
    set_health(&pool, 2, Health::Down);
    let mut moved = [0; 4];
    for (before, after) in before.iter().zip(homes(&pool)) {
        assert!(*before == after || *before == 2, "{before} -> {after}");
        if *before == 2 {
            moved[after as usize] += 1;
        }
    }
    // A third each of the 8000 that were at home there.
    assert!(moved[2] == 0, "{moved:?}");
    let thirds = [moved[0], moved[1], moved[3]];
    assert!(thirds.iter().all(|count| (2_450..2_900).contains(count)), "{moved:?}");
    set_health(&pool, 2, Health::Up);
    assert_eq!(before, homes(&pool));
}

#[test]
fn the_last_of_many_members_is_found() {
    let pool = compile(keyed(&[1; 300], None));
    (0..299).for_each(|index| set_health(&pool, index, Health::Down));
    assert!((0..100).all(|key| pick(&pool, key) == 299));
}

#[test]
fn a_table_is_kept_where_it_stays_the_same() {
    let put = |spec: PoolSpec, index| {
        let edit = Edit::put(AnyDraft::Pool(Draft::new("pool", spec)), "uid");
        Config::default().edited(&[edit], index, 1).unwrap()
    };
    let mut registry = PoolRegistry::new(2, PersistenceKey::new(&[3; 32]));
    registry.reconcile(&put(keyed(&[1; 3], None), 1), 0);
    let first = Arc::clone(registry.pool("pool").unwrap());
    registry.reconcile(&put(PoolSpec { connect_timeout_ms: 77, ..keyed(&[1; 3], None) }, 2), 0);
    let second = Arc::clone(registry.pool("pool").unwrap());
    assert!(!Arc::ptr_eq(&first, &second));
    assert!(std::ptr::eq(first.maglev().unwrap(), second.maglev().unwrap()));
    registry.reconcile(&put(keyed(&[1; 4], None), 3), 0);
    let third = registry.pool("pool").unwrap();
    assert!(!std::ptr::eq(first.maglev().unwrap(), third.maglev().unwrap()));
}

#[test]
fn a_key_that_everybody_asks_for_is_shared_out_within_the_bound() {
    let pool = compile(keyed(&[1; 4], Some(25)));
    let guards: Vec<_> =
        (0..1_000).map(|_| pool.member(pick(&pool, 7)).unwrap().state.begin(0).unwrap()).collect();
    let loads: Vec<_> = pool.members().iter().map(|m| m.state.in_flight()).collect();
    // ⌈1.25 · 1000 / 4⌉ = 313 at most; without a bound all would be at one.
    assert!(loads.iter().all(|load| *load <= 313), "{loads:?}");
    assert_eq!(loads.iter().sum::<u64>(), 1_000);
    assert_eq!(*loads.iter().max().unwrap(), 313);
    drop(guards);
    assert_eq!(pick(&pool, 7), pick(&compile(keyed(&[1; 4], None)), 7));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_member_exceeds_its_bound_and_somebody_always_serves(
        weights in prop::collection::vec(1_u16..=8, 1..12),
        percent in 1_u32..=100,
        keys in prop::collection::vec(0_u64..20, 1..400),
        ends in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
    ) {
        let pool = compile(keyed(&weights, Some(percent)));
        let total_weight: u64 = weights.iter().map(|w| u64::from(*w)).sum();
        let mut guards = Vec::new();
        for (turn, key) in keys.iter().enumerate() {
            if let Some(end) = ends.get(turn).filter(|_| !guards.is_empty()) {
                let end = end.index(guards.len());
                drop(guards.swap_remove(end));
            }
            let chosen = pool.member(pick(&pool, *key)).unwrap();
            guards.push(chosen.state.begin(turn).unwrap());
            let all = guards.len() as u64;
            let bound = (u64::from(100 + percent) * all * u64::from(chosen.weight))
                .div_ceil(100 * total_weight);
            prop_assert!(chosen.state.in_flight() <= bound);
        }
    }
}
