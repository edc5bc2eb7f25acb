//! The counters of all virtual servers and pools of a node.
//!
//! Invariant: what keeps its uid keeps its counters, whatever else of it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ballast_model::status::VirtualServerStatus;

use crate::counters::VirtualServerCounters;
use crate::pool::PoolCounters;

/// The counters of all virtual servers, by uid. Used while compiling and reporting, never on the
/// request path.
#[derive(Debug)]
pub struct CounterRegistry {
    worker_count: usize,
    by_uid: Mutex<BTreeMap<String, Arc<VirtualServerCounters>>>,
    /// By name: what was deleted and made anew goes on.
    pools: Mutex<BTreeMap<String, Arc<PoolCounters>>>,
}

impl CounterRegistry {
    /// No counters yet; `worker_count` shards each.
    pub fn new(worker_count: usize) -> Self {
        Self { worker_count, by_uid: Mutex::default(), pools: Mutex::default() }
    }

    /// The counters of the virtual server with that uid; new ones the first time.
    pub fn virtual_server(&self, uid: &str, name: &str) -> Arc<VirtualServerCounters> {
        let mut by_uid = self.lock();
        if let Some(counters) = by_uid.get(uid) {
            return Arc::clone(counters);
        }
        let counters = Arc::new(VirtualServerCounters::new(name, self.worker_count));
        by_uid.insert(uid.to_owned(), Arc::clone(&counters));
        counters
    }

    /// Forgets the virtual servers whose uid is not in `uids`. Whoever still holds their counters
    /// can go on counting.
    pub fn retain(&self, uids: &BTreeSet<&str>) {
        self.lock().retain(|uid, _| uids.contains(uid.as_str()));
    }

    /// Forgets one virtual server.
    pub fn remove(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// The counters of all, by name.
    pub fn all(&self) -> Vec<Arc<VirtualServerCounters>> {
        let mut all: Vec<_> = self.lock().values().cloned().collect();
        all.sort_by(|a, b| a.name().cmp(b.name()));
        all
    }

    /// What this node reports of all of them, by name.
    pub fn statuses(&self) -> Vec<VirtualServerStatus> {
        self.all().iter().map(|counters| counters.status()).collect()
    }

    /// The counters of the pool of that name; new ones the first time.
    pub fn pool(&self, name: &str) -> Arc<PoolCounters> {
        let mut pools = self.lock_pools();
        let new = || Arc::new(PoolCounters::new(name, self.worker_count));
        Arc::clone(pools.entry(name.to_owned()).or_insert_with(new))
    }

    /// The counters of all pools, by name.
    pub fn pools(&self) -> BTreeMap<String, Arc<PoolCounters>> {
        self.lock_pools().clone()
    }

    /// Forgets one pool.
    pub fn remove_pool(&self, name: &str) {
        self.lock_pools().remove(name);
    }

    fn lock_pools(&self) -> MutexGuard<'_, BTreeMap<String, Arc<PoolCounters>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<VirtualServerCounters>>> {
        self.by_uid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
