//! A pool as the data planes use it: declared settings, members in order, tables made once.
//!
//! Invariant: immutable once compiled; whatever changes while it serves lives in
//! [`MemberState`](crate::MemberState).

use std::sync::Arc;

use ballast_model::status::MemberStatus;
use ballast_model::{AdminState, PoolSpec, Resource};

use crate::member::Member;
use crate::persistence::MemberKey;

/// A compiled pool.
#[derive(Debug)]
pub struct Pool {
    resource: Arc<Resource<PoolSpec>>,
    members: Box<[Arc<Member>]>,
    /// Sorted by key.
    by_key: Box<[(MemberKey, u32)]>,
    /// Sum of the weights before and including each member's.
    cumulative_weights: Box<[u64]>,
    /// Differs between any two pools of a process.
    generation: u64,
}

impl Pool {
    pub(crate) fn new(
        resource: Arc<Resource<PoolSpec>>,
        members: Vec<Arc<Member>>,
        generation: u64,
    ) -> Self {
        let mut by_key: Box<[_]> = members.iter().zip(0..).map(|(m, i)| (m.key, i)).collect();
        by_key.sort_unstable();
        let cumulative_weights = members
            .iter()
            .scan(0, |sum, member| {
                *sum += u64::from(member.weight);
                Some(*sum)
            })
            .collect();
        Self { resource, members: members.into(), by_key, cumulative_weights, generation }
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
    pub fn statuses(&self) -> impl Iterator<Item = MemberStatus> + '_ {
        self.members.iter().map(|member| member.status(self.name()))
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

    pub(crate) fn total_weight(&self) -> u64 {
        self.cumulative_weights.last().copied().unwrap_or(0)
    }

    /// The member on whose stretch of the summed weights `point` lies.
    pub(crate) fn index_at_weight(&self, point: u64) -> u32 {
        self.cumulative_weights.partition_point(|sum| *sum <= point) as u32
    }
}
