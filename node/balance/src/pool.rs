//! A pool as the data planes use it: declared settings, members in order, tables made once.
//!
//! Invariant: immutable once compiled; whatever changes while it serves lives in
//! [`MemberState`](crate::MemberState).

use std::cmp::Reverse;
use std::sync::Arc;

use ballast_model::status::MemberStatus;
use ballast_model::{AdminState, Algorithm, HashKey, PoolSpec, Resource};
use ballast_tls::Security;

use crate::eject::Judgement;
use crate::gate::Gate;
use crate::maglev::Maglev;
use crate::member::Member;
use crate::observed::PoolObserved;
use crate::persistence::MemberKey;
use crate::persistence::table::PersistenceTable;
use crate::queue::PoolQueue;
use crate::retry::RetryBudget;

/// A compiled pool.
#[derive(Clone, Debug)]
pub struct Pool {
    resource: Arc<Resource<PoolSpec>>,
    members: Box<[Arc<Member>]>,
    /// Sorted by key.
    by_key: Box<[(MemberKey, u32)]>,
    /// Sum of the weights before and including each member's.
    cumulative_weights: Box<[u64]>,
    /// For [`Algorithm::ConsistentHash`].
    maglev: Option<Arc<Maglev>>,
    /// Outlives recompilation, as the members' states do.
    queue: Arc<PoolQueue>,
    /// As the queue.
    judgement: Arc<Judgement>,
    /// As the queue.
    retry_budget: Arc<RetryBudget>,
    /// As the queue, while it has limits.
    gate: Option<Arc<Gate>>,
    /// As the queue.
    table: Arc<PersistenceTable>,
    /// Indices of the members by priority, the highest first; empty where priorities are not looked
    /// at.
    by_priority: Box<[u32]>,
    /// Differs between any two pools of a process.
    generation: u64,
    /// How connections to the members are secured.
    security: Security,
    /// What was seen of its members, beside what is declared.
    observed: PoolObserved,
}

impl Pool {
    pub(crate) fn new(
        resource: Arc<Resource<PoolSpec>>,
        members: Vec<Arc<Member>>,
        (queue, table): (Arc<PoolQueue>, Arc<PersistenceTable>),
        previous: Option<&Self>,
        generation: u64,
    ) -> Self {
        let maglev = maglev(&resource.spec, &members, previous);
        let same = previous.filter(|pool| pool.uid() == resource.uid);
        let retry_budget = same.map_or_else(Arc::default, |pool| Arc::clone(&pool.retry_budget));
        let judgement = same.map_or_else(Arc::default, |pool| Arc::clone(&pool.judgement));
        let gate = Gate::of(&resource.spec, same.and_then(|pool| pool.gate.as_ref()));
        let mut by_priority: Vec<u32> = match resource.spec.priority_min_members {
            Some(_) => (0..members.len() as u32).collect(),
            None => Vec::new(),
        };
        by_priority.sort_by_key(|index| Reverse(members[*index as usize].priority));
        let by_priority = by_priority.into();
        let mut by_key: Box<[_]> = members.iter().zip(0..).map(|(m, i)| (m.key, i)).collect();
        by_key.sort_unstable();
        let cumulative_weights = members
            .iter()
            .scan(0, |sum, member| {
                *sum += u64::from(member.weight);
                Some(*sum)
            })
            .collect();
        Self {
            resource,
            members: members.into(),
            by_key,
            cumulative_weights,
            maglev,
            queue,
            judgement,
            retry_budget,
            gate,
            table,
            by_priority,
            generation,
            security: Security::Plain,
            observed: PoolObserved::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.resource.name
    }

    /// Its identity, never used again.
    pub fn uid(&self) -> &str {
        &self.resource.uid
    }

    /// The Raft index that last changed it.
    pub fn revision(&self) -> u64 {
        self.resource.revision
    }

    /// What was declared.
    pub fn spec(&self) -> &PoolSpec {
        &self.resource.spec
    }

    /// The members, in the order of the declaration.
    pub fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    /// The member at `index`.
    pub fn member(&self, index: u32) -> Option<&Arc<Member>> {
        self.members.get(index as usize)
    }

    /// The position of the member with that keyed identity.
    pub fn index_of(&self, key: MemberKey) -> Option<u32> {
        let found = self.by_key.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        Some(self.by_key[found].1)
    }

    /// What this node reports of its members.
    pub fn statuses(&self, now_ms: u64) -> impl Iterator<Item = MemberStatus> + '_ {
        self.members.iter().map(move |member| member.status(self.name(), now_ms))
    }

    /// How many of its members take traffic, in percent, rounded down: those that are up or
    /// unmonitored among those that the operator has not disabled or forced offline. None where no
    /// member counts.
    pub fn up_percent(&self) -> Option<u8> {
        let states = self.members.iter().map(|member| &member.state);
        let (mut counted, mut up): (usize, usize) = (0, 0);
        for state in states {
            if !matches!(state.admin_state(), AdminState::Disabled | AdminState::ForcedOffline) {
                counted += 1;
                up += usize::from(state.is_up());
            }
        }
        // At most 100, as `up` is at most `counted`.
        (up * 100).checked_div(counted).map(|percent| percent as u8)
    }

    /// Differs between any two pools of a process, also between two compilations of one pool.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Who waits for its members to have room.
    pub fn queue(&self) -> &Arc<PoolQueue> {
        &self.queue
    }

    /// What it remembers of its clients.
    pub fn persistence_table(&self) -> &Arc<PersistenceTable> {
        &self.table
    }

    /// What of a request the algorithm goes by; none where it goes by none.
    pub fn hash_key(&self) -> Option<&HashKey> {
        self.maglev.as_ref()?;
        self.spec().consistent_hash.as_ref().map(|settings| &settings.key)
    }

    /// Whether the algorithm goes by how long members take: see
    /// [`MemberState::observe_latency`](crate::MemberState::observe_latency).
    pub fn measures_time(&self) -> bool {
        self.spec().algorithm.measures_time()
    }

    pub(crate) fn gate(&self) -> Option<&Arc<Gate>> {
        self.gate.as_ref()
    }

    pub(crate) fn retry_budget(&self) -> &RetryBudget {
        &self.retry_budget
    }

    pub(crate) fn judgement(&self) -> &Judgement {
        &self.judgement
    }

    /// Indices of the members, the highest priority first; empty where priorities are not looked at.
    pub(crate) fn by_priority(&self) -> &[u32] {
        &self.by_priority
    }

    pub(crate) fn maglev(&self) -> Option<&Maglev> {
        self.maglev.as_deref()
    }

    /// How connections to the members are secured.
    pub fn security(&self) -> &Security {
        &self.security
    }

    pub(crate) fn resource(&self) -> &Arc<Resource<PoolSpec>> {
        &self.resource
    }

    pub(crate) fn observed(&self) -> &PoolObserved {
        &self.observed
    }

    pub(crate) fn observing(self, observed: PoolObserved) -> Self {
        Self { observed, ..self }
    }

    pub(crate) fn secured(&self, security: Security, generation: u64) -> Self {
        Self { security, generation, ..self.clone() }
    }

    pub(crate) fn total_weight(&self) -> u64 {
        self.cumulative_weights.last().copied().unwrap_or(0)
    }

    /// The member on whose stretch of the summed weights `point` lies.
    pub(crate) fn index_at_weight(&self, point: u64) -> u32 {
        self.cumulative_weights.partition_point(|sum| *sum <= point) as u32
    }
}

/// The lookup table of a pool that needs one; that of `previous` where it is the same.
fn maglev(
    spec: &PoolSpec,
    members: &[Arc<Member>],
    previous: Option<&Pool>,
) -> Option<Arc<Maglev>> {
    if spec.algorithm != Algorithm::ConsistentHash {
        return None;
    }
    let size = spec.consistent_hash.clone().unwrap_or_default().table_size;
    let source: Vec<_> = members.iter().map(|m| (Arc::clone(&m.name), m.weight)).collect();
    let kept = previous.and_then(|pool| pool.maglev.as_ref());
    match kept.filter(|table| table.is_of(&source, size)) {
        Some(table) => Some(Arc::clone(table)),
        None => Maglev::new(source, size).map(Arc::new),
    }
}
