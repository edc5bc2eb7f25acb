//! All names of all pools, and the task that keeps them.
//!
//! Invariant: a name of a pool is asked for by one lookup at a time, and at most
//! [`LOOKUP_MAX_COUNT`] lookups are under way; outcomes for what is no longer declared are not heard.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use ballast_balance::{PoolMap, PoolResolved, ResolvedMap};
use ballast_model::status::DnsStatus;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Duration, Instant, sleep_until};

use crate::lookup::{LookupFn, by_name_server};
use crate::source::{Answer, Source};

/// Most lookups under way at once.
pub const LOOKUP_MAX_COUNT: usize = 32;

/// Keeps the names of this node's pools resolved.
#[derive(Debug)]
pub struct Names {
    pools: watch::Sender<Option<PoolMap>>,
    resolved: watch::Receiver<ResolvedMap>,
    statuses: Arc<Mutex<Vec<DnsStatus>>>,
    first_round_done: watch::Receiver<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What tells one name from another: the pool's uid, the host and the port.
type Key = (String, String, Option<u16>);

struct Named {
    pool: String,
    source: Source,
    is_under_way: bool,
}

struct Keeper {
    lookup: LookupFn,
    sources: BTreeMap<Key, Named>,
    lookups: JoinSet<(Key, Result<Answer, String>)>,
    resolved: watch::Sender<ResolvedMap>,
    statuses: Arc<Mutex<Vec<DnsStatus>>>,
    first_round_done: watch::Sender<bool>,
    /// What time it is, as `Instant`s tell: a clock that is set does not matter.
    began: (Instant, u64),
}

impl Names {
    /// Starts the task on `runtime`; nothing is asked for before [`Names::apply`].
    pub fn start(runtime: &Handle) -> Self {
        Self::start_with(by_name_server(), runtime)
    }

    pub(crate) fn start_with(lookup: LookupFn, runtime: &Handle) -> Self {
        let (pools, wanted) = watch::channel(None);
        let (resolved_sender, resolved) = watch::channel(ResolvedMap::default());
        let (first_sender, first_round_done) = watch::channel(false);
        let statuses = Arc::new(Mutex::default());
        let keeper = Keeper {
            lookup,
            sources: BTreeMap::new(),
            lookups: JoinSet::new(),
            resolved: resolved_sender,
            statuses: Arc::clone(&statuses),
            first_round_done: first_sender,
            began: (Instant::now(), unix_ms()),
        };
        let task = runtime.spawn(keeper.run(wanted));
        Self { pools, resolved, statuses, first_round_done, task: Mutex::new(Some(task)) }
    }

    /// Keeps the names of `pools` from now on. Returns at once.
    pub fn apply(&self, pools: PoolMap) {
        self.pools.send_replace(Some(pools));
    }

    /// Who the names are, and when that changes: for
    /// [`PoolRegistry::observe`](ballast_balance::PoolRegistry::observe).
    pub fn resolved(&self) -> watch::Receiver<ResolvedMap> {
        self.resolved.clone()
    }

    /// What is told of every name.
    pub fn statuses(&self) -> Vec<DnsStatus> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Turns true, for good, when every name of the first pools has been asked for, with or without a
    /// good answer. [`LOOKUP_TIMEOUT`](crate::lookup::LOOKUP_TIMEOUT) bounds how long one takes.
    pub fn first_round_done(&self) -> watch::Receiver<bool> {
        self.first_round_done.clone()
    }

    /// Ends the task and all lookups.
    pub async fn shutdown(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.abort();
            // Cancelled: that is what was asked for.
            let _cancelled = task.await;
        }
    }
}

impl Keeper {
    async fn run(mut self, mut wanted: watch::Receiver<Option<PoolMap>>) {
        loop {
            let next = self.next();
            let sleep = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            // All branches are cancel-safe: `changed` and `join_next` by their documentation, the sleep
            // because it is made anew each round.
            tokio::select! {
                changed = wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let pools = wanted.borrow_and_update().clone();
                    if let Some(pools) = pools {
                        self.reconcile(&pools);
                    }
                }
                Some(done) = self.lookups.join_next() => match done {
                    Ok((key, answer)) => self.finish(&key, answer),
                    Err(error) => tracing::error!(%error, "a lookup failed"),
                },
                () = sleep => {}
            }
            self.go_on();
        }
    }

    fn now_ms(&self) -> u64 {
        let (began, began_ms) = self.began;
        let passed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        began_ms.saturating_add(passed_ms)
    }

    /// When the next name is due; none where nothing is to be done by time.
    fn next(&self) -> Option<Instant> {
        let has_room = self.lookups.len() < LOOKUP_MAX_COUNT;
        let due = self.sources.values().flat_map(|named| {
            let ask_at_ms = named.source.ask_at_ms();
            let ask = (has_room && !named.is_under_way).then_some(ask_at_ms);
            ask.into_iter().chain(named.source.gone_at_ms())
        });
        let (began, began_ms) = self.began;
        due.min().map(|at_ms| began + Duration::from_millis(at_ms.saturating_sub(began_ms)))
    }

    /// Begins the lookups that are due, and lets addresses go.
    fn go_on(&mut self) {
        let now_ms = self.now_ms();
        let mut has_changed = false;
        for (key, named) in &mut self.sources {
            has_changed |= named.source.expire(now_ms);
            let is_due = !named.is_under_way && named.source.ask_at_ms() <= now_ms;
            if is_due && self.lookups.len() < LOOKUP_MAX_COUNT {
                named.is_under_way = true;
                let (key, lookup) = (key.clone(), (self.lookup)(named.source.spec().clone()));
                self.lookups.spawn(async move { (key, lookup.await) });
            }
        }
        if has_changed {
            self.publish();
        }
    }

    fn reconcile(&mut self, pools: &PoolMap) {
        let now_ms = self.now_ms();
        let mut before = std::mem::take(&mut self.sources);
        let names = pools
            .values()
            .flat_map(|pool| pool.spec().dns_members.iter().map(move |spec| (pool, spec.clone())));
        for (pool, spec) in names {
            let key = (pool.uid().to_owned(), spec.host.clone(), spec.port);
            let named = match before.remove(&key) {
                Some(mut named) => {
                    named.source.set_spec(spec, now_ms);
                    Named { pool: pool.name().to_owned(), ..named }
                }
                None => Named {
                    pool: pool.name().to_owned(),
                    source: Source::new(spec, now_ms),
                    is_under_way: false,
                },
            };
            self.sources.insert(key, named);
        }
        self.publish();
    }

    fn finish(&mut self, key: &Key, answer: Result<Answer, String>) {
        let now_ms = self.now_ms();
        let Some(named) = self.sources.get_mut(key) else { return };
        named.is_under_way = false;
        let (pool, host) = (named.pool.as_str(), key.1.as_str());
        let had_error = named.source.status(pool).error.is_some();
        match &answer {
            Err(error) if !had_error => {
                tracing::warn!(pool, host, error, "a name is not resolved: the last answer stays");
            }
            Ok(_) if had_error => tracing::info!(pool, host, "a name is resolved again"),
            _ => {}
        }
        if named.source.answered(answer, now_ms) {
            let members = named.source.members().len();
            tracing::info!(pool, host, members, "a name stands for other addresses");
        }
        self.publish();
    }

    /// Tells what is known. Pools that are as before keep what they were given, so that they are not
    /// compiled anew.
    fn publish(&self) {
        let mut pools = BTreeMap::<String, PoolResolved>::new();
        for ((_, host, port), named) in &self.sources {
            let members = named.source.members();
            if !members.is_empty() {
                let names = pools.entry(named.pool.clone()).or_default();
                names.insert((host.clone(), *port), members);
            }
        }
        self.resolved.send_if_modified(|published| {
            let is_same = published.len() == pools.len()
                && pools.iter().all(|(name, names)| {
                    published.get(name).is_some_and(|other| **other == *names)
                });
            if is_same {
                return false;
            }
            let kept = |name: &str, names: PoolResolved| match published.get(name) {
                Some(other) if **other == names => Arc::clone(other),
                _ => Arc::new(names),
            };
            let pools = pools.into_iter().map(|(name, names)| {
                let names = kept(&name, names);
                (name, names)
            });
            *published = Arc::new(pools.collect());
            true
        });
        let statuses = self.sources.values().map(|named| named.source.status(&named.pool));
        *self.statuses.lock().unwrap_or_else(PoisonError::into_inner) = statuses.collect();
        let is_done = self.sources.values().all(|named| named.source.was_asked());
        if is_done && !*self.first_round_done.borrow() {
            self.first_round_done.send_replace(true);
        }
    }
}

fn unix_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
