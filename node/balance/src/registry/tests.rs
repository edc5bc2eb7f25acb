use ballast_model::config::{AnyDraft, Kind};
use ballast_model::{AdminState, Draft, Edit};

use super::*;
use crate::persistence::CookieCodec;

fn registry() -> PoolRegistry {
    PoolRegistry::new(2, PersistenceKey::new(&[1; 32]))
}

fn member(last: u8) -> MemberSpec {
    MemberSpec::new(SocketAddr::from(([10, 0, 0, last], 80)))
}

fn spec(members: impl IntoIterator<Item = MemberSpec>) -> PoolSpec {
    PoolSpec { members: members.into_iter().collect(), ..PoolSpec::default() }
}

fn put(config: &Config, index: u64, name: &str, spec: PoolSpec) -> Config {
    let edit = Edit::put(AnyDraft::Pool(Draft::new(name, spec)), format!("uid-{index}"));
    config.edited(&[edit], index, index).unwrap()
}

fn delete(config: &Config, index: u64, name: &str) -> Config {
    config.edited(&[Edit::delete(Kind::Pool, name)], index, index).unwrap()
}

fn state(registry: &PoolRegistry, pool: &str, member: usize) -> Arc<MemberState> {
    Arc::clone(&registry.pool(pool).unwrap().members()[member].state)
}

fn compiled(names: &[&str]) -> PoolChanges {
    PoolChanges { compiled: names.iter().map(ToString::to_string).collect(), removed: vec![] }
}

#[test]
fn only_changed_pools_are_compiled() {
    let mut registry = registry();
    let config = put(&Config::default(), 1, "a", spec([member(1)]));
    let config = put(&config, 2, "b", spec([member(1)]));
    assert_eq!(registry.reconcile(&config, 0), compiled(&["a", "b"]));
    assert!(registry.reconcile(&config, 0).is_empty());
    let b = Arc::clone(registry.pool("b").unwrap());
    let config = put(&config, 3, "a", spec([member(1), member(2)]));
    assert_eq!(registry.reconcile(&config, 0), compiled(&["a"]));
    assert!(Arc::ptr_eq(&b, registry.pool("b").unwrap()));
    let config = delete(&config, 4, "a");
    let removed = PoolChanges { compiled: vec![], removed: vec!["a".to_owned()] };
    assert_eq!(registry.reconcile(&config, 0), removed);
    assert_eq!(registry.pools().len(), 1);
}

#[test]
fn member_keeps_its_state_across_edits() {
    let mut registry = registry();
    let config = put(&Config::default(), 1, "a", spec([member(1), member(2)]));
    registry.reconcile(&config, 0);
    let (first, second) = (state(&registry, "a", 0), state(&registry, "a", 1));
    let guard = first.begin(0).unwrap();

    let drained = MemberSpec {
        weight: 7,
        admin_state: AdminState::Draining,
        drain_until_ms: Some(5),
        ..member(1)
    };
    let config = put(&config, 2, "a", spec([member(3), drained]));
    registry.reconcile(&config, 0);
    let kept = state(&registry, "a", 1);
    assert!(Arc::ptr_eq(&first, &kept));
    assert_eq!((kept.in_flight(), kept.admin_state()), (1, AdminState::Draining));
    assert!(second.is_removed() && !first.is_removed());
    drop(guard);

    let config = delete(&config, 3, "a");
    let config = put(&config, 4, "a", spec([member(1)]));
    registry.reconcile(&config, 0);
    assert!(!Arc::ptr_eq(&first, &state(&registry, "a", 0)), "another pool of the same name");
    assert!(first.is_removed());
}

#[test]
fn member_that_moves_to_another_address_begins_anew() {
    let mut registry = registry();
    let named = |last| MemberSpec { name: Some("web".to_owned()), ..member(last) };
    let config = put(&Config::default(), 1, "a", spec([named(1)]));
    registry.reconcile(&config, 0);
    let (before, key) = (state(&registry, "a", 0), registry.pool("a").unwrap().members()[0].key);
    registry.reconcile(&put(&config, 2, "a", spec([named(2)])), 0);
    assert!(!Arc::ptr_eq(&before, &state(&registry, "a", 0)));
    assert!(before.is_removed());
    assert_eq!(registry.pool("a").unwrap().members()[0].key, key, "sessions find it again");
}

#[test]
fn health_begins_by_whether_there_are_monitors() {
    let mut registry = registry();
    let monitor = ballast_model::MonitorSpec::new(ballast_model::MonitorKind::Tcp);
    let edit = Edit::put(AnyDraft::Monitor(Draft::new("tcp", monitor)), "uid-m");
    let config = Config::default().edited(&[edit], 1, 1).unwrap();
    let config = put(&config, 2, "free", spec([member(1)]));
    let monitored = PoolSpec { monitors: vec!["tcp".to_owned()], ..spec([member(1)]) };
    let config = put(&config, 3, "watched", monitored.clone());
    registry.reconcile(&config, 9);
    let (free, watched) = (state(&registry, "free", 0), state(&registry, "watched", 0));
    assert_eq!(free.health_report().health, Health::Unmonitored);
    assert_eq!((watched.health(), watched.health_report().since_ms), (Health::Checking, 9));

    let down = HealthReport { health: Health::Down, ..HealthReport::default() };
    watched.set_health(down);
    let config = put(&config, 4, "watched", spec([member(1)]));
    let config = put(&config, 5, "free", monitored);
    registry.reconcile(&config, 10);
    assert_eq!(watched.health(), Health::Unmonitored, "nobody would ever bring it up");
    assert_eq!(free.health(), Health::Unmonitored, "takes traffic until a probe says otherwise");
}

#[test]
fn ten_thousand_pools_do_not_make_an_edit_compile_more_than_one() {
    let mut registry = registry();
    let edits: Vec<_> = (0..10_000)
        .map(|i| {
            let draft = AnyDraft::Pool(Draft::new(format!("pool-{i}"), spec([member(1)])));
            Edit::put(draft, format!("uid-{i}"))
        })
        .collect();
    let config = Config::default().edited(&edits, 1, 1).unwrap();
    assert_eq!(registry.reconcile(&config, 0).compiled.len(), 10_000);
    let config = put(&config, 2, "pool-77", spec([member(2)]));
    assert_eq!(registry.reconcile(&config, 0), compiled(&["pool-77"]));
}

#[test]
fn a_cookie_of_one_node_names_the_same_member_at_every_node_with_its_key() {
    let first = put(&Config::default(), 1, "a", spec((1..=5).map(member)));
    // A node that was restarted with another order of members, and has other workers.
    let second = put(&first, 2, "a", spec((1..=5).rev().map(member)));
    let registry = |key: u8, worker_count, config: &Config| {
        let mut registry = PoolRegistry::new(worker_count, PersistenceKey::new(&[key; 32]));
        registry.reconcile(config, 0);
        registry
    };
    let (one, other) = (registry(1, 2, &first), registry(1, 7, &second));
    let stranger = registry(2, 2, &first);
    let pool = |registry: &PoolRegistry| Arc::clone(registry.pool("a").unwrap());
    for member in pool(&one).members() {
        let cookie = format!("BALLAST={}", CookieCodec::encode(member.key).as_str());
        let key = CookieCodec::find(cookie.as_bytes(), b"BALLAST").unwrap();
        let index = pool(&other).index_of(key).unwrap();
        assert_eq!(pool(&other).member(index).unwrap().address, member.address);
        assert_eq!(pool(&stranger).index_of(key), None, "another cluster's key");
    }
}

#[test]
fn advice_scales_the_weight_and_never_overrules_the_operator() {
    let mut registry = PoolRegistry::new(1, PersistenceKey::new(&[0; 32]));
    let put = |members: Vec<MemberSpec>, index| {
        let edit = Edit::put(AnyDraft::Pool(Draft::new("pool", spec(members))), "uid");
        Config::default().edited(&[edit], index, 0).unwrap()
    };
    let offline = MemberSpec { admin_state: AdminState::ForcedOffline, ..member(2) };
    let heavy = MemberSpec { weight: 3, ..member(1) };
    registry.reconcile(&put(vec![heavy, offline], 1), 0);
    let advise = |weight_percent, drain| {
        let advice = Advice { weight_percent, drain, connection_limit: None };
        let of = |last| {
            let address = SocketAddr::from(([10, 0, 0, last], 80));
            ((Arc::from(address.to_string()), address), advice)
        };
        let pools = BTreeMap::from([("pool".to_owned(), Arc::new([of(1), of(2)].into()))]);
        Observed { advice: Arc::new(pools), ..Observed::default() }
    };
    for (percent, weight) in [(100, 3), (50, 2), (1, 1), (0, 0), (25_600, 256)] {
        let observed = advise(percent, true);
        assert_eq!(registry.observe(observed.clone(), 0), ["pool"]);
        assert!(registry.observe(observed, 0).is_empty(), "nothing is new");
        let pool = registry.pool("pool").unwrap();
        assert_eq!(pool.members()[0].weight, weight);
        assert_eq!(pool.members()[0].state.admin_state(), AdminState::Disabled);
        assert_eq!(pool.members()[1].state.admin_state(), AdminState::ForcedOffline);
    }
    // A change of configuration does not forget what is seen.
    registry.reconcile(&put(vec![member(1)], 2), 0);
    assert_eq!(registry.pool("pool").unwrap().members()[0].weight, 256);
    assert_eq!(registry.observe(Observed::default(), 0), ["pool"]);
    assert_eq!(registry.pool("pool").unwrap().members()[0].weight, 1);
}
