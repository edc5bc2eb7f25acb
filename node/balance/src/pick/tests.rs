mod groups;
mod keyed;
mod timed;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ballast_model::config::AnyDraft;
use ballast_model::{AdminState, Config, Draft, Edit, MemberSpec, PoolSpec};
use proptest::prelude::*;

use super::*;
use crate::member::HealthReport;
use crate::persistence::PersistenceKey;
use crate::registry::PoolRegistry;

const ALGORITHMS: [Algorithm; 8] = [
    Algorithm::ConsistentHash,
    Algorithm::LeastConnections,
    Algorithm::LeastTime,
    Algorithm::P2c,
    Algorithm::PeakEwma,
    Algorithm::Random,
    Algorithm::RoundRobin,
    Algorithm::SourceHash,
];

fn spec(algorithm: Algorithm, weights: &[u16]) -> PoolSpec {
    let members = weights.iter().zip(1_u32..).map(|(weight, i)| MemberSpec {
        name: Some(format!("m{i}")),
        weight: *weight,
        ..MemberSpec::new((Ipv4Addr::from(0x0a00_0000 + i), 80).into())
    });
    PoolSpec { algorithm, members: members.collect(), ..PoolSpec::default() }
}

fn compile(spec: PoolSpec) -> Arc<Pool> {
    let edit = Edit::put(AnyDraft::Pool(Draft::new("pool", spec)), "uid");
    let config = Config::default().edited(&[edit], 1, 1).unwrap();
    let mut registry = PoolRegistry::new(2, PersistenceKey::new(&[3; 32]));
    registry.reconcile(&config, 0);
    Arc::clone(registry.pool("pool").unwrap())
}

/// A compiled pool of that specification.
pub(crate) fn pool_of(spec: PoolSpec) -> Arc<Pool> {
    compile(spec)
}

fn pool(algorithm: Algorithm, weights: &[u16]) -> Arc<Pool> {
    compile(spec(algorithm, weights))
}

fn set_health(pool: &Pool, index: usize, health: Health) {
    pool.members()[index].state.set_health(HealthReport { health, ..HealthReport::default() });
}

/// Picks with a client and random number of its own each time.
struct Picker {
    state: PickState,
    draws: Draws,
}

impl Picker {
    fn new(seed: u64) -> Self {
        Self { state: PickState::default(), draws: Draws::new(seed) }
    }

    fn input(&mut self) -> PickInput<'static> {
        PickInput {
            client: IpAddr::V4(Ipv4Addr::from(self.draws.next() as u32)),
            key: None,
            random: self.draws.next(),
            now_ms: 1_000,
            persistent: None,
            exclude: &[],
        }
    }

    fn pick(&mut self, pool: &Pool) -> Result<u32, NoMember> {
        let input = self.input();
        pool.pick(&mut self.state, &input).map(|picked| picked.index)
    }

    fn counts(&mut self, pool: &Pool, pick_count: usize) -> Vec<usize> {
        let mut counts = vec![0; pool.members().len()];
        for _ in 0..pick_count {
            counts[self.pick(pool).unwrap() as usize] += 1;
        }
        counts
    }
}

#[test]
fn idle_members_get_requests_by_weight_whatever_the_algorithm() {
    let weights = [1, 2, 3, 10, 0, 256];
    let total: u16 = weights.iter().sum();
    for algorithm in ALGORITHMS {
        let counts = Picker::new(1).counts(&pool(algorithm, &weights), 100_000);
        for (count, weight) in counts.iter().zip(weights) {
            let share = f64::from(weight) / f64::from(total);
            let deviation = (100_000.0 * share * (1.0 - share)).sqrt();
            let off = (*count as f64 - 100_000.0 * share).abs();
            assert!(off <= 5.0 * deviation + 1.0, "{algorithm:?}: {counts:?}");
        }
    }
}

#[test]
fn equal_members_take_turns() {
    let pool = pool(Algorithm::RoundRobin, &[1; 5]);
    let mut picker = Picker::new(3);
    let rounds: Vec<Vec<u32>> =
        (0..4).map(|_| (0..5).map(|_| picker.pick(&pool).unwrap()).collect()).collect();
    let mut sorted = rounds[0].clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [0, 1, 2, 3, 4]);
    assert!(rounds.iter().all(|round| *round == rounds[0]), "{rounds:?}");
}

#[test]
fn workers_do_not_all_begin_with_the_same_member() {
    let pool = pool(Algorithm::RoundRobin, &[1; 4]);
    let counts = (0..4_000).fold([0; 4], |mut counts, seed| {
        counts[Picker::new(seed).pick(&pool).unwrap() as usize] += 1;
        counts
    });
    assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
}

#[test]
fn member_that_comes_back_is_not_flooded() {
    let pool = pool(Algorithm::RoundRobin, &[1; 20]);
    let mut picker = Picker::new(5);
    (0..12).for_each(|index| set_health(&pool, index, Health::Down));
    let counts = picker.counts(&pool, 8_000);
    assert!(counts[..12].iter().all(|count| *count == 0));
    assert!(counts[12..].iter().all(|count| (960..1_040).contains(count)), "{counts:?}");
    (0..12).for_each(|index| set_health(&pool, index, Health::Up));
    let counts = picker.counts(&pool, 100);
    assert!(counts.iter().all(|count| (4..=6).contains(count)), "{counts:?}");
}

#[test]
fn less_loaded_members_are_preferred() {
    for algorithm in [Algorithm::LeastConnections, Algorithm::P2c] {
        let pool = pool(algorithm, &[1, 1, 2]);
        let mut picker = Picker::new(7);
        let guards: Vec<_> = (0..4_000)
            .map(|_| {
                let index = picker.pick(&pool).unwrap();
                pool.member(index).unwrap().state.begin(index as usize).unwrap()
            })
            .collect();
        let loads: Vec<_> = pool.members().iter().map(|m| m.state.in_flight()).collect();
        assert!(loads[0].abs_diff(1_000) <= 10, "{algorithm:?}: {loads:?}");
        assert!(loads[1].abs_diff(1_000) <= 10, "{algorithm:?}: {loads:?}");
        assert!(loads[2].abs_diff(2_000) <= 20, "{algorithm:?}: {loads:?}");
        drop(guards);
        assert_eq!(pool.members()[2].state.in_flight(), 0);
    }
}

#[test]
fn source_hash_is_the_same_in_every_version() {
    let pool = pool(Algorithm::SourceHash, &[1, 2, 3, 4]);
    let chosen: Vec<_> = (0..16_u32)
        .map(|i| {
            let client = IpAddr::V4(Ipv4Addr::from(0xc000_0200 + i));
            let input = PickInput { client, ..Picker::new(0).input() };
            pool.pick(&mut PickState::default(), &input).unwrap().index
        })
        .collect();
    assert_eq!(chosen, [1, 3, 3, 3, 3, 2, 3, 2, 2, 3, 1, 3, 0, 2, 2, 3]);
}

fn homes(pool: &Pool) -> Vec<String> {
    (0..20_000_u32)
        .map(|i| {
            let client = IpAddr::V4(Ipv4Addr::from(i.wrapping_mul(0x9e37_79b9)));
            let input = PickInput { client, ..Picker::new(0).input() };
            pool.pick(&mut PickState::default(), &input).unwrap().member.name.to_string()
        })
        .collect()
}

#[test]
fn source_hash_moves_only_the_clients_of_what_changed() {
    let full = pool(Algorithm::SourceHash, &[1, 2, 3, 4]);
    let before = homes(&full);

    set_health(&full, 1, Health::Down);
    for (before, after) in before.iter().zip(homes(&full)) {
        assert!(*before == after || before == "m2", "{before} -> {after}");
    }
    set_health(&full, 1, Health::Up);
    assert_eq!(before, homes(&full));

    let heavier = homes(&pool(Algorithm::SourceHash, &[1, 2, 3, 8]));
    for (before, after) in before.iter().zip(&heavier) {
        assert!(before == after || after == "m4", "{before} -> {after}");
    }
    let longer = homes(&pool(Algorithm::SourceHash, &[1, 2, 3, 4, 5]));
    for (before, after) in before.iter().zip(&longer) {
        assert!(before == after || after == "m5", "{before} -> {after}");
    }
}

#[test]
fn persistent_client_finds_its_member() {
    for algorithm in ALGORITHMS {
        let mut spec = spec(algorithm, &[1, 0, 1, 1]);
        spec.members[2].admin_state = AdminState::Disabled;
        spec.members[3].admin_state = AdminState::Draining;
        spec.members[3].drain_until_ms = Some(2_000);
        let pool = compile(spec);
        let mut picker = Picker::new(1);
        let mut state = PickState::default();
        for index in 0..4 {
            let persistent = Some(pool.members()[index].key);
            let input = PickInput { persistent, ..picker.input() };
            let picked = pool.pick(&mut state, &input).unwrap();
            assert_eq!((picked.index as usize, picked.persistent), (index, true));

            let tried = [index as u32];
            let retry = PickInput { exclude: &tried, ..input };
            assert!(!pool.pick(&mut state, &retry).is_ok_and(|p| p.index == tried[0]));
        }
        let drained =
            PickInput { persistent: Some(pool.members()[3].key), now_ms: 2_000, ..picker.input() };
        let picked = pool.pick(&mut state, &drained).unwrap();
        assert_eq!((picked.index, picked.persistent), (0, false));
        set_health(&pool, 1, Health::Down);
        let down = PickInput { persistent: Some(pool.members()[1].key), ..picker.input() };
        assert_eq!(pool.pick(&mut state, &down).unwrap().index, 0);
    }
}

#[test]
fn unknown_identity_is_no_persistence() {
    let pool = pool(Algorithm::RoundRobin, &[1]);
    let stranger = PersistenceKey::new(&[9; 32]).member_key("uid", "m1");
    let input = PickInput { persistent: Some(stranger), ..Picker::new(1).input() };
    assert!(!pool.pick(&mut PickState::default(), &input).unwrap().persistent);
}

#[test]
fn reason_is_honest() {
    for algorithm in ALGORITHMS {
        let why = |pool: &Pool| Picker::new(1).pick(pool).unwrap_err();
        assert_eq!(why(&pool(algorithm, &[])), NoMember::NoMembers);
        assert_eq!(why(&pool(algorithm, &[0, 0])), NoMember::AllDisabled);

        let mut spec = spec(algorithm, &[1, 1]);
        spec.members[0].admin_state = AdminState::ForcedOffline;
        let pool = compile(spec.clone());
        set_health(&pool, 1, Health::Down);
        assert_eq!(why(&pool), NoMember::AllDown);
        set_health(&pool, 1, Health::Up);
        let tried = PickInput { exclude: &[1], ..Picker::new(1).input() };
        let nobody = pool.pick(&mut PickState::default(), &tried).unwrap_err();
        assert_eq!(nobody, NoMember::AllTried);

        spec.members[1].admin_state = AdminState::Disabled;
        assert_eq!(why(&compile(spec)), NoMember::AllDisabled);
    }
}

#[test]
fn fail_open_sends_to_all_when_all_are_down() {
    for algorithm in ALGORITHMS {
        let mut spec = spec(algorithm, &[1, 1, 1]);
        spec.fail_open = true;
        spec.members[2].admin_state = AdminState::Disabled;
        let pool = compile(spec);
        set_health(&pool, 0, Health::Down);
        let only_up = Picker::new(1).counts(&pool, 100);
        assert_eq!(only_up, [0, 100, 0], "{algorithm:?}");
        set_health(&pool, 1, Health::Down);
        let open = Picker::new(1).counts(&pool, 100);
        assert!(open[0] > 20 && open[1] > 20 && open[2] == 0, "{algorithm:?}: {open:?}");
        set_health(&pool, 1, Health::Checking);
        assert_eq!(Picker::new(1).counts(&pool, 100), [0, 100, 0], "{algorithm:?}");
    }
}

#[test]
fn unknown_members_serve_while_none_is_up() {
    for algorithm in ALGORITHMS {
        let pool = pool(algorithm, &[1, 1, 1, 0]);
        for index in 0..4 {
            set_health(&pool, index, Health::Checking);
        }
        set_health(&pool, 2, Health::Down);
        let counts = Picker::new(1).counts(&pool, 100);
        assert!(counts[0] > 20 && counts[1] > 20, "{algorithm:?}: {counts:?}");
        assert_eq!(counts[2..], [0, 0], "{algorithm:?}");
        set_health(&pool, 1, Health::Up);
        assert_eq!(Picker::new(1).counts(&pool, 100), [0, 100, 0, 0], "{algorithm:?}");
        let tried = PickInput { exclude: &[1], ..Picker::new(1).input() };
        let nobody = pool.pick(&mut PickState::default(), &tried).unwrap_err();
        assert_eq!(nobody, NoMember::AllTried);
        set_health(&pool, 0, Health::Down);
        set_health(&pool, 1, Health::Down);
        assert_eq!(Picker::new(1).pick(&pool), Err(NoMember::AllDown));
    }
}

#[derive(Clone, Debug)]
struct AnyMember {
    weight: u16,
    health: Health,
    admin_state: AdminState,
    excluded: bool,
}

fn any_member() -> impl Strategy<Value = AnyMember> {
    let health = prop::sample::select(vec![
        Health::Checking,
        Health::Down,
        Health::Unmonitored,
        Health::Up,
        Health::Up,
    ]);
    let admin_state = prop::sample::select(vec![
        AdminState::Disabled,
        AdminState::Draining,
        AdminState::Enabled,
        AdminState::Enabled,
        AdminState::Enabled,
        AdminState::ForcedOffline,
    ]);
    let weight = prop_oneof![Just(0), 1_u16..=4, Just(256)];
    (weight, health, admin_state, prop::bool::weighted(0.2)).prop_map(
        |(weight, health, admin_state, excluded)| AnyMember {
            weight,
            health,
            admin_state,
            excluded,
        },
    )
}

proptest! {
    #[test]
    fn ineligible_members_are_never_chosen_and_eligible_ones_always_found(
        members in prop::collection::vec(any_member(), 0..40),
        algorithm in prop::sample::select(ALGORITHMS.to_vec()),
        seed: u64,
    ) {
        let weights: Vec<_> = members.iter().map(|m| m.weight).collect();
        let mut spec = spec(algorithm, &weights);
        for (spec, member) in spec.members.iter_mut().zip(&members) {
            spec.admin_state = member.admin_state;
        }
        let pool = compile(spec);
        for (index, member) in members.iter().enumerate() {
            set_health(&pool, index, member.health);
        }
        let excluded = |(member, index): (&AnyMember, u32)| member.excluded.then_some(index);
        let exclude: Vec<u32> = members.iter().zip(0..).filter_map(excluded).collect();
        let takes_new = |member: &AnyMember| {
            member.weight > 0 && member.admin_state == AdminState::Enabled
        };
        let is_up =
            |member: &AnyMember| matches!(member.health, Health::Up | Health::Unmonitored);
        let any_up = members.iter().any(|member| takes_new(member) && is_up(member));
        let eligible = |member: &AnyMember| {
            let is_unknown = member.health == Health::Checking;
            takes_new(member) && (is_up(member) || !any_up && is_unknown) && !member.excluded
        };
        let any_eligible = members.iter().any(eligible);
        let mut picker = Picker::new(seed);
        for _ in 0..50 {
            let input = PickInput { exclude: &exclude, ..picker.input() };
            match pool.pick(&mut picker.state, &input) {
                Ok(picked) => prop_assert!(eligible(&members[picked.index as usize])),
                Err(_) => prop_assert!(!any_eligible),
            }
            picker.state.turns.check_invariants();
        }
    }

    #[test]
    fn round_robin_is_smooth(
        weights in prop::collection::vec(1_u16..=256, 1..30),
        seed: u64,
    ) {
        let pool = pool(Algorithm::RoundRobin, &weights);
        let total: f64 = weights.iter().map(|w| f64::from(*w)).sum();
        let mut picker = Picker::new(seed);
        let mut counts = BTreeMap::<u32, u32>::new();
        let bound = weights.len() as f64 / 2.0 + 1.5;
        for picks in 1..=600 {
            *counts.entry(picker.pick(&pool).unwrap()).or_default() += 1;
            for (index, weight) in (0..).zip(&weights) {
                let due = f64::from(picks) * f64::from(*weight) / total;
                let got = f64::from(counts.get(&index).copied().unwrap_or(0));
                // Every member is within one turn of its due on the virtual clock, which itself is
                // off by at most half a turn of each member.
                let slack = 1.0 + bound * f64::from(*weight) / total * 2.0;
                prop_assert!((got - due).abs() <= slack, "{index}: {got} of {due}");
            }
        }
    }
}
