//! What is in flight to a member, and the room that it takes up there.
//!
//! Invariant: room is given back exactly once, after everything else that was held with it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::{MemberState, Shard};
use crate::eject::trial::Trial;
use crate::gate::Permit;
use crate::padded::Padded;

/// Keeps a request or connection counted as in flight. Dropping it ends that, on any thread.
#[derive(Debug)]
pub struct InFlight {
    shard: Arc<Padded<Shard>>,
    permit: Option<Permit>,
    _trial: Option<Trial>,
    /// Dropped last: who is granted the room may be at work before this thread goes on, and needs
    /// what the permit takes up.
    _slot: Option<Slot>,
}

impl InFlight {
    pub(super) fn new(shard: Arc<Padded<Shard>>, slot: Option<Slot>) -> Self {
        Self { shard, permit: None, _trial: None, _slot: slot }
    }

    /// The same, holding a permit of the pool's gate for as long.
    #[must_use]
    pub fn with_permit(mut self, permit: Option<Permit>) -> Self {
        self.permit = permit;
        self
    }

    /// The same, as the trial of its member until it ends.
    #[must_use]
    pub(crate) fn on_trial(mut self, trial: Trial) -> Self {
        self._trial = Some(trial);
        self
    }

    /// The first byte of its response is there: an adaptive limit, which is found by how long that
    /// takes, counts it no more, however long the rest or a tunnel goes on.
    pub fn response_began(&mut self) {
        if let Some(permit) = &mut self.permit {
            permit.response_began();
        }
    }

    /// Counts that this one failed on the member's side.
    pub fn count_failure(&self) {
        self.shard.failures_total.fetch_add(1, Relaxed);
    }
}

/// Room at a member that has a limit. Dropping it gives it back, or to who waits for it.
#[derive(Debug)]
pub struct Slot {
    /// None once it counts no more.
    member: Option<Arc<MemberState>>,
}

impl Slot {
    /// Room at that member, which has been taken there.
    pub(super) fn of(member: &Arc<MemberState>) -> Self {
        Self { member: Some(Arc::clone(member)) }
    }

    /// Does not give it back.
    pub(super) fn forget(mut self) {
        self.member = None;
    }

    /// The member.
    pub fn member(&self) -> Option<&Arc<MemberState>> {
        self.member.as_ref()
    }

    /// Counts the request or connection that `worker` uses it for.
    pub fn begin(self, worker: usize) -> Option<InFlight> {
        let member = Arc::clone(self.member.as_ref()?);
        Some(member.count_in(worker, Some(self)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(member) = self.member.take() {
            member.give_back();
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.shard.in_flight.fetch_sub(1, Relaxed);
    }
}
