//! The task that tells the other traffic nodes.
//!
//! Invariant: at most one message is on its way to each node; a node that does not answer holds up no
//! other.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use ballast_balance::TableRecord;
use ballast_model::NodeRole;
use ballast_policy::limiter::Consumption;
use ballast_raft_store::{PeerError, Store};
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::outbox::{NamedTable, Outbox};
use crate::wire::Answer;
use crate::{INTERVAL, Inner, PUSH, now_ms, since_ms};

/// How long a node may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// Entries that are taken from one table at once.
const CHANGE_MAX_COUNT: usize = 8_192;
/// Keys of limits that are looked up at once.
const CONSUMPTION_MAX_COUNT: usize = 8_192;
/// How often tables forget clients whose time is over.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(1);
/// Bits of a message's number below those that tell runs apart: enough for ten messages a second for
/// thousands of years.
const RUN_NUMBER_BITS: u32 = 40;

/// How a message ended.
type Told = (u64, Result<Answer, String>);

/// Tells the others until `stop`.
pub(crate) async fn run(inner: &Inner, store: &Store, stop: &CancellationToken) {
    let mut exchange = Exchange::new(inner, store);
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut messages: JoinSet<Told> = JoinSet::new();
    loop {
        // Cancel-safe: all branches only wait.
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => exchange.tell(&mut messages),
            Some(told) = messages.join_next() => match told {
                Ok((node_id, answer)) => exchange.take_answer(node_id, answer),
                Err(error) => tracing::error!(%error, "telling another node panicked"),
            },
        }
    }
    messages.shutdown().await;
}

struct Exchange<'a> {
    inner: &'a Inner,
    store: &'a Store,
    outboxes: BTreeMap<u64, (String, Outbox)>,
    /// Numbers of messages are above: a run's above those of the runs before.
    base_number: u64,
    expired_at: Instant,
    start: Instant,
    passed_count: u64,
    records: Vec<TableRecord>,
    consumptions: Vec<Consumption>,
}

impl<'a> Exchange<'a> {
    fn new(inner: &'a Inner, store: &'a Store) -> Self {
        Self {
            inner,
            store,
            outboxes: BTreeMap::new(),
            base_number: inner.run_count.fetch_add(1, Relaxed) << RUN_NUMBER_BITS,
            expired_at: Instant::now(),
            start: Instant::now(),
            passed_count: 0,
            records: Vec::new(),
            consumptions: Vec::new(),
        }
    }

    /// Gathers what is new and sends to each node what it is to be told now.
    fn tell(&mut self, messages: &mut JoinSet<Told>) {
        self.follow_nodes();
        let tables = self.tables();
        self.gather(&tables);
        self.gather_consumptions();
        if self.expired_at.elapsed() >= EXPIRE_INTERVAL {
            self.expired_at = Instant::now();
            tables.iter().for_each(|(_, table)| table.expire(now_ms()));
        }
        let tick_ms = since_ms(self.start);
        for (node_id, (_, outbox)) in &mut self.outboxes {
            let message = outbox.next(self.inner.boot, tick_ms, || tables.clone());
            let Some(message) = message else { continue };
            let (peers, node_id) = (self.store.peers().clone(), *node_id);
            messages.spawn(async move {
                let body = Bytes::from(message.encode());
                let answer = peers.call_bytes(node_id, PUSH, body, ANSWER_LIMIT).await;
                let answer = answer.map_err(|error: PeerError| error.to_string());
                let decoded = answer
                    .and_then(|bytes| Answer::decode(&bytes).map_err(|error| error.to_string()));
                (node_id, decoded)
            });
        }
        self.publish();
    }

    fn take_answer(&mut self, node_id: u64, answer: Result<Answer, String>) {
        let tick_ms = since_ms(self.start);
        if let Some((node, outbox)) = self.outboxes.get_mut(&node_id) {
            match answer {
                Ok(answer) => outbox.answered(answer, tick_ms),
                Err(error) => {
                    tracing::debug!(node, error, "what is shared does not reach a node");
                    outbox.failed(tick_ms);
                }
            }
        }
        self.publish();
    }

    /// An outbox for every other traffic node.
    fn follow_nodes(&mut self) {
        let snapshot = self.store.snapshot();
        let own_id = self.store.node_id();
        let nodes = snapshot.state.config.nodes.iter();
        let others: BTreeMap<u64, &str> = nodes
            .filter(|node| node.spec.role == NodeRole::Traffic && node.spec.node_id != own_id)
            .map(|node| (node.spec.node_id, node.name.as_str()))
            .collect();
        self.outboxes.retain(|node_id, _| others.contains_key(node_id));
        let base_number = self.base_number;
        for (node_id, name) in others {
            self.outboxes
                .entry(node_id)
                .or_insert_with(|| (name.to_owned(), Outbox::new(base_number)));
        }
    }

    /// The tables that hold something, or did.
    fn tables(&self) -> Vec<NamedTable> {
        let pools = Arc::clone(&self.inner.pools.borrow());
        let used = pools.values().filter(|pool| pool.persistence_table().is_used());
        used.map(|pool| (pool.uid().into(), Arc::clone(pool.persistence_table()))).collect()
    }

    fn gather(&mut self, tables: &[NamedTable]) {
        let tick_ms = since_ms(self.start);
        for (uid, table) in tables {
            // What is left is taken at the next tick.
            table.take_changes(CHANGE_MAX_COUNT, now_ms(), &mut self.records);
            for (_, outbox) in self.outboxes.values_mut() {
                outbox.push_records(uid, &self.records, tick_ms);
            }
            self.records.clear();
        }
    }

    fn gather_consumptions(&mut self) {
        let passed_count = self.inner.limits.passed_count();
        if passed_count == self.passed_count {
            return;
        }
        self.passed_count = passed_count;
        let tick_ms = since_ms(self.start);
        let mut from = 0;
        loop {
            from = self.inner.limits.publish(from, CONSUMPTION_MAX_COUNT, &mut self.consumptions);
            for (_, outbox) in self.outboxes.values_mut() {
                outbox.push_consumptions(&self.consumptions, tick_ms);
            }
            self.consumptions.clear();
            if from == 0 {
                break;
            }
        }
    }

    fn publish(&self) {
        let tick_ms = since_ms(self.start);
        let counts = self.outboxes.values().map(|(name, outbox)| {
            let mut counts = outbox.counts(tick_ms);
            counts.node.clone_from(name);
            counts
        });
        let counts = counts.collect();
        *self.inner.peers.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }
}
