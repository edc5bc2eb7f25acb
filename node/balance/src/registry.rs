//! Keeps the compiled pools in step with the configuration.
//!
//! Invariant: a pool is compiled again only where its revision changed, and a member that keeps
//! pool, name and address keeps its [`MemberState`], whatever else changes.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use ballast_model::config::Table;
use ballast_model::status::Health;
use ballast_model::{AdminState, Config, MemberSpec, PoolSpec, Resource};
use ballast_tls::Security;

use crate::hash::hash_bytes;
use crate::health::WAITING;
use crate::member::{HealthReport, Member, MemberState};
use crate::observed::{Advice, Observed, PoolObserved};
use crate::persistence::PersistenceKey;
use crate::persistence::table::PersistenceTable;
use crate::pool::Pool;

/// Every compiled pool, by name.
pub type PoolMap = Arc<BTreeMap<String, Arc<Pool>>>;

/// The compiled pools of this node.
#[derive(Debug)]
pub struct PoolRegistry {
    worker_count: usize,
    key: PersistenceKey,
    pools: PoolMap,
    /// What `pools` was compiled from.
    source: Option<Table<PoolSpec>>,
    observed: Observed,
    generation: u64,
}

/// What a reconciliation changed, by pool name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolChanges {
    /// Pools that were compiled, because they are new or changed.
    pub compiled: Vec<String>,
    /// Pools that are no more.
    pub removed: Vec<String>,
}

impl PoolChanges {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.compiled.is_empty() && self.removed.is_empty()
    }
}

impl PoolRegistry {
    /// A registry without pools, for `worker_count` workers.
    pub fn new(worker_count: usize, key: PersistenceKey) -> Self {
        Self {
            worker_count,
            key,
            pools: PoolMap::default(),
            source: None,
            observed: Observed::default(),
            generation: 0,
        }
    }

    /// Compiles what changed in `config`. The time goes into the states of new members.
    pub fn reconcile(&mut self, config: &Config, now_ms: u64) -> PoolChanges {
        let mut changes = PoolChanges::default();
        if self.source.as_ref().is_some_and(|source| source.is_same(&config.pools)) {
            return changes;
        }
        for resource in config.pools.iter() {
            let existing = self.pools.get(&resource.name);
            if existing.is_some_and(|pool| is_current(pool, resource)) {
                continue;
            }
            let pool = self.compile(resource, existing.map(Arc::as_ref), now_ms);
            self.generation += 1;
            self.put(pool);
            changes.compiled.push(resource.name.clone());
        }
        // Everything declared is compiled by now, so that a surplus can only be pools to remove.
        if self.pools.len() > config.pools.len() {
            let gone = self.pools.keys().filter(|name| config.pools.get(name).is_none());
            changes.removed = gone.cloned().collect();
            for name in &changes.removed {
                if let Some(pool) = Arc::make_mut(&mut self.pools).remove(name) {
                    pool.members().iter().for_each(|member| member.state.remove());
                }
            }
        }
        self.source = Some(config.pools.clone());
        changes
    }

    /// Compiles anew the pools of whose members something else is seen than before; their names.
    pub fn observe(&mut self, observed: Observed, now_ms: u64) -> Vec<String> {
        self.observed = observed;
        let is_stale = |pool: &Pool| !pool.observed().is_same(&self.observed.of(pool.name()));
        let stale: Vec<_> = self.pools.values().filter(|pool| is_stale(pool)).cloned().collect();
        for previous in &stale {
            let pool = self.compile(previous.resource(), Some(previous), now_ms);
            let pool = pool.secured(previous.security().clone(), self.generation);
            self.generation += 1;
            self.put(pool);
        }
        stale.iter().map(|pool| pool.name().to_owned()).collect()
    }

    fn compile(
        &self,
        resource: &Arc<Resource<PoolSpec>>,
        previous: Option<&Pool>,
        now_ms: u64,
    ) -> Pool {
        let with = Compilation {
            key: &self.key,
            worker_count: self.worker_count,
            now_ms,
            generation: self.generation,
            observed: self.observed.of(&resource.name),
        };
        compile(resource, previous, &with)
    }

    /// Secures connections to the members of that pool as said, until it is compiled anew.
    pub fn secure(&mut self, name: &str, security: Security) {
        let Some(pool) = self.pools.get(name) else { return };
        let pool = pool.secured(security, self.generation);
        self.generation += 1;
        self.put(pool);
    }

    fn put(&mut self, pool: Pool) {
        let pool = Arc::new(pool);
        pool.queue().serve(&pool);
        Arc::make_mut(&mut self.pools).insert(pool.name().to_owned(), pool);
    }

    /// The pool of that name.
    pub fn pool(&self, name: &str) -> Option<&Arc<Pool>> {
        self.pools.get(name)
    }

    /// Every pool. Cheap: shares the map.
    pub fn pools(&self) -> PoolMap {
        Arc::clone(&self.pools)
    }
}

fn is_current(pool: &Pool, resource: &Resource<PoolSpec>) -> bool {
    pool.revision() == resource.revision && pool.uid() == resource.uid
}

struct Compilation<'a> {
    key: &'a PersistenceKey,
    worker_count: usize,
    now_ms: u64,
    generation: u64,
    observed: PoolObserved,
}

fn compile(
    resource: &Arc<Resource<PoolSpec>>,
    previous: Option<&Pool>,
    with: &Compilation<'_>,
) -> Pool {
    let specs = with.observed.members(&resource.spec);
    let names: Vec<_> = specs.iter().map(MemberSpec::name).collect();
    let mut kept: HashMap<(&str, SocketAddr), &Arc<MemberState>> = HashMap::new();
    for member in previous.iter().flat_map(|pool| pool.members()) {
        if previous.is_some_and(|pool| pool.uid() == resource.uid) {
            kept.insert((&member.name, member.address), &member.state);
        } else {
            // Deleted and made anew under the same name: another pool.
            member.state.remove();
        }
    }
    let unmonitored = resource.spec.monitors.is_empty();
    let same = previous.filter(|pool| pool.uid() == resource.uid);
    let queue = same.map_or_else(Arc::default, |pool| Arc::clone(pool.queue()));
    let remembering = resource.spec.persistence_table.clone().unwrap_or_default();
    let capacity = remembering.entry_max_count;
    let table = match same {
        Some(pool) => Arc::clone(pool.persistence_table()),
        None => Arc::new(PersistenceTable::new(with.key, capacity as usize)),
    };
    table.set_capacity(capacity as usize);
    table.clear_until(remembering.forgotten_until_ms.unwrap_or(0));
    let members = specs.iter().zip(&names).map(|(spec, name)| {
        let kept = kept.remove(&(name.as_ref(), spec.socket_address()));
        let is_new = kept.is_none();
        let state = match kept {
            Some(state) => Arc::clone(state),
            None => Arc::new(MemberState::new(
                with.worker_count,
                with.key.member_key(&resource.uid, name),
                Arc::clone(&queue),
                first_report(unmonitored, with.now_ms),
            )),
        };
        if unmonitored && state.health() != Health::Unmonitored {
            state.set_health(first_report(unmonitored, with.now_ms));
        }
        if is_new && same.is_some() {
            // It joins others that serve already.
            state.ramp_from(with.now_ms);
        }
        let advice = with.observed.advice(name, spec.socket_address());
        Arc::new(compile_member(spec, advice, state, with.now_ms))
    });
    let members = members.collect();
    kept.values().for_each(|state| state.remove());
    let kept = (queue, table);
    let pool = Pool::new(Arc::clone(resource), members, kept, previous, with.generation);
    pool.observing(with.observed.clone())
}

fn compile_member(
    spec: &MemberSpec,
    advice: Option<Advice>,
    state: Arc<MemberState>,
    now_ms: u64,
) -> Member {
    let name = Arc::from(spec.name().as_ref());
    let mut spec = spec.clone();
    if let Some(advice) = advice {
        advice.follow(&mut spec);
    }
    state.set_agent(advice.map(|advice| advice.to_string()));
    state.set_limit(spec.connection_limit);
    if spec.admin_state == AdminState::Enabled && !state.takes_new() {
        state.ramp_from(now_ms);
    }
    state.set_admin_state(spec.admin_state, spec.drain_until_ms);
    Member {
        address: spec.socket_address(),
        weight: spec.weight,
        priority: spec.priority,
        key: state.key(),
        // The name only: two pools of the same members send a client to the same one, and a member
        // that moves to another address keeps its clients.
        hash_seed: hash_bytes(str::as_bytes(&name)),
        name,
        state,
    }
}

/// What is known of a member before the first probe.
fn first_report(unmonitored: bool, now_ms: u64) -> HealthReport {
    let (health, reason) = if unmonitored {
        (Health::Unmonitored, "the pool has no monitor")
    } else {
        (Health::Checking, WAITING)
    };
    HealthReport { health, reason: reason.to_owned(), since_ms: now_ms, last_probe_us: None }
}

#[cfg(test)]
mod tests;
