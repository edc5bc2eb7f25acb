//! Nodes whose messages are lost, repeated and late, without a network.

use std::sync::atomic::AtomicU64;

use ballast_balance::{Known, MemberKey, PersistenceKey, PoolRegistry};
use ballast_model::config::AnyDraft;
use ballast_model::{Config, Draft, Edit, PoolSpec};
use ballast_policy::SharedLimiter;
use proptest::prelude::*;

use super::*;
use crate::outbox::Outbox;

#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) limiter: SharedLimiter,
    pub(crate) absorbed_ns: AtomicU64,
}

impl Limits for Counted {
    fn passed_count(&self) -> u64 {
        self.limiter.counts().passed_count
    }

    fn publish(&self, from: usize, max_count: usize, out: &mut Vec<Consumption>) -> usize {
        self.limiter.publish(from, max_count, out)
    }

    fn dump(&self, from: usize, max_count: usize, out: &mut Vec<Consumption>) -> usize {
        self.limiter.dump(from, max_count, 1, out)
    }

    fn absorb(&self, consumption: &Consumption) {
        self.absorbed_ns.fetch_add(consumption.charge_ns, Relaxed);
    }
}

/// A node with the pool `pool`, and what it tells the other one.
pub(crate) struct Side {
    pub(crate) inner: Arc<Inner>,
    pub(crate) table: Arc<PersistenceTable>,
    pub(crate) limits: Arc<Counted>,
    outbox: Outbox,
    _pools: watch::Sender<PoolMap>,
}

pub(crate) fn side(node_id: u64, pool: &str) -> Side {
    let edit =
        Edit::put(AnyDraft::Pool(Draft::new(pool, PoolSpec::default())), format!("u-{pool}"));
    let config = Config::default().edited(&[edit], 1, 1).unwrap();
    let mut registry = PoolRegistry::new(1, PersistenceKey::new(&[3; 32]).of_node(node_id));
    registry.reconcile(&config, 0);
    let table = Arc::clone(registry.pool(pool).unwrap().persistence_table());
    let (pools, receiver) = watch::channel(registry.pools());
    let limits =
        Arc::new(Counted { limiter: SharedLimiter::new(64), absorbed_ns: AtomicU64::new(0) });
    let share = Share::new(node_id * 100, receiver, Arc::<Counted>::clone(&limits));
    Side { inner: share.0, table, limits, outbox: Outbox::default(), _pools: pools }
}

pub(crate) fn known(client: u8) -> Known {
    let client = ballast_balance::ClientKey(u128::from(client) << 120 | u128::from(client));
    Known { client, timeout_ms: 3_600_000 }
}

impl Side {
    fn gather(&mut self, now_ms: u64) {
        let mut records = Vec::new();
        while self.table.take_changes(100, now_ms, &mut records) {}
        self.outbox.push_records(&"u-pool".into(), &records, now_ms);
    }

    fn next(&mut self, now_ms: u64) -> Option<Message> {
        let (boot, table) = (self.inner.boot, &self.table);
        self.outbox.next(boot, now_ms, || vec![("u-pool".into(), Arc::clone(table))])
    }

    pub(crate) fn content(&self) -> Vec<(u128, MemberKey, ballast_balance::Version)> {
        let mut records = Vec::new();
        let end = self.table.dump(Default::default(), 10_000, 0, &mut records);
        assert_eq!(end, None);
        let mut content: Vec<_> =
            records.iter().map(|r| (r.client.0, r.member, r.version)).collect();
        content.sort_unstable();
        content
    }
}

/// One message there, and its answer back; either may be lost, and what arrives may arrive twice.
fn pass(from: &mut Side, to: &Side, id: u64, fate: u8, now_ms: u64) {
    from.gather(now_ms);
    let Some(message) = from.next(now_ms) else { return };
    let message = Message::decode(&message.encode()).unwrap();
    let is_lost = fate & 1 == 1;
    if !is_lost {
        let answer = to.inner.take_in(id, &message, now_ms);
        if fate & 4 == 4 {
            to.inner.take_in(id, &message, now_ms);
        }
        if fate & 2 == 0 {
            return from.outbox.answered(answer, now_ms);
        }
    }
    from.outbox.failed(now_ms);
}

proptest! {
    #[test]
    fn two_nodes_end_with_the_same_whatever_is_lost_on_the_way(
        steps in prop::collection::vec((any::<bool>(), 0..20_u8, 0..4_u8, 0..8_u8), 1..80),
    ) {
        let mut sides = [side(1, "pool"), side(2, "pool")];
        let mut now_ms = 1_700_000_000_000;
        for (is_second, client, number, fate) in steps {
            now_ms += 200;
            let at = usize::from(is_second);
            let member = MemberKey::from_bytes([number; 16]);
            sides[at].table.put(known(client), member, now_ms);
            let [one, other] = &mut sides;
            pass(one, other, 1, fate, now_ms);
            pass(other, one, 2, fate >> 1, now_ms);
        }
        for _ in 0..20 {
            now_ms += 1_000;
            let [one, other] = &mut sides;
            pass(one, other, 1, 0, now_ms);
            pass(other, one, 2, 0, now_ms);
        }
        prop_assert_eq!(sides[0].content(), sides[1].content());
        prop_assert_eq!(sides[0].outbox.counts(now_ms).lag_ms, 0);
    }
}

#[test]
fn what_limits_let_through_counts_once_however_often_it_arrives() {
    let mut one = side(1, "pool");
    let other = side(2, "pool");
    let rate = ballast_policy::limiter::Rate::new(10, 1, 10);
    let _passed = one.limits.limiter.check(5, rate, 1);
    let mut out = Vec::new();
    assert_eq!(one.limits.publish(0, 10, &mut out), 0);
    one.outbox.push_consumptions(&out, 1_000);
    // It arrives, the answer is lost, it arrives again twice.
    pass(&mut one, &other, 1, 2, 1_000);
    pass(&mut one, &other, 1, 4, 1_600);
    assert_eq!(other.limits.absorbed_ns.load(Relaxed), 100_000_000);
    assert_eq!(other.inner.received.consumptions.load(Relaxed), 1);
}

#[test]
fn a_pool_that_is_not_known_yet_is_asked_for_later() {
    let mut one = side(1, "pool");
    let other = side(2, "elsewhere");
    one.table.put(known(1), MemberKey::from_bytes([1; 16]), 10_000);
    one.gather(10_000);
    let message = one.next(10_000).unwrap();
    assert!(other.inner.take_in(1, &message, 10_000).wants_all);
    assert!(!other.inner.take_in(1, &message, 10_500).wants_all, "not for each message");
    assert_eq!(other.inner.received.unknown.load(Relaxed), 2);
}
