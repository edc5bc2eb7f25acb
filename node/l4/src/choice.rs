//! Which member a connection or a session goes to, and which one next where that one fails.
//!
//! Invariant: no member is tried twice, and nothing is in flight any more at one that failed when the
//! next is chosen.

use std::net::IpAddr;
use std::sync::Arc;

use ballast_balance::{InFlight, Member, MemberKey, NoMember, PickInput, Pool, Slot};
use ballast_telemetry::FailureReason;
use ballast_workers::{PoolSlot, VirtualServer};

use crate::persistence::Belonging;
use crate::worker::{TcpWorker, why_none};

/// Most members that are tried, whatever the settings say.
const ATTEMPT_MAX_COUNT: usize = 16;

/// A client's way through the members of a pool.
pub(crate) struct Choice<'a> {
    worker: &'a TcpWorker,
    slot: &'a Arc<PoolSlot>,
    pool: Arc<Pool>,
    client: IpAddr,
    belonging: Belonging,
    tried: [u32; ATTEMPT_MAX_COUNT],
    tried_count: usize,
    attempt_max_count: usize,
    /// Why the last one that was tried did not serve.
    failure: FailureReason,
}

/// A member, and what is in flight there.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) member: Arc<Member>,
    pub(crate) in_flight: InFlight,
}

impl<'a> Choice<'a> {
    /// Among the members that the pool in `slot` has now, of which so many are tried.
    pub(crate) fn new(
        worker: &'a TcpWorker,
        server: &VirtualServer,
        slot: &'a Arc<PoolSlot>,
        client: IpAddr,
        attempt_max_count: usize,
    ) -> Self {
        let pool = slot.current().load_full();
        let now_ms = worker.context.clock.coarse_unix_ms();
        let belonging = Belonging::find(server, &pool, client, now_ms);
        Self {
            worker,
            slot,
            pool,
            client,
            belonging,
            tried: [0; ATTEMPT_MAX_COUNT],
            tried_count: 0,
            attempt_max_count: attempt_max_count.min(ATTEMPT_MAX_COUNT),
            failure: FailureReason::NoMember,
        }
    }

    /// The pool.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// What the next choice goes by.
    pub(crate) fn input(&self) -> PickInput<'_> {
        let context = &self.worker.context;
        PickInput {
            client: self.client,
            key: None,
            random: context.random(),
            now_ms: context.clock.coarse_unix_ms(),
            persistent: self.belonging.member,
            exclude: &self.tried[..self.tried_count],
        }
    }

    /// Goes by the members that the pool has now. Only before the first was tried.
    pub(crate) fn refresh(&mut self) {
        debug_assert_eq!(self.tried_count, 0, "indices are those of one version of the pool");
        self.pool = self.slot.current().load_full();
    }

    /// Chooses one. Where those that could be chosen first of all have as much as they take, that:
    /// whoever can wait may do so.
    pub(crate) fn next(&mut self) -> Result<Result<Chosen, NoMember>, FailureReason> {
        if self.tried_count >= self.attempt_max_count {
            return Err(self.failure);
        }
        let mut belonging = self.belonging;
        let begun = belonging.begin(self.worker, self.slot, &self.pool, &self.input());
        self.belonging = belonging;
        match begun {
            Ok((index, in_flight)) => self.take(index, in_flight).map(Ok),
            Err(busy @ (NoMember::AllBusy | NoMember::PersistentBusy)) if self.tried_count == 0 => {
                Ok(Err(busy))
            }
            // The failure of the attempts so far says more than that there is nobody left.
            Err(why) => Err(why_none(why, self.failure)),
        }
    }

    /// Which member it waits for where that is why; none: any.
    pub(crate) fn awaited(&self, busy: NoMember) -> Option<MemberKey> {
        self.belonging.member.filter(|_| busy == NoMember::PersistentBusy)
    }

    /// Takes the room that the client was granted; none where the pool has that member no more, or a
    /// limit of its own that is reached.
    pub(crate) fn begin_granted(&mut self, slot: Slot) -> Option<Chosen> {
        self.refresh();
        let state = slot.member()?;
        let is_it = |member: &Arc<Member>| Arc::ptr_eq(&member.state, state);
        let index = self.pool.members().iter().position(is_it)? as u32;
        let permit = self.pool.enter_stream().ok()?;
        let in_flight = slot.begin(self.worker.context.index)?.with_permit(permit);
        self.belonging.note(&self.pool, index, self.worker.context.clock.coarse_unix_ms());
        self.take(index, in_flight).ok()
    }

    /// The member did not serve. An error: no other one would do better.
    pub(crate) fn failed(
        &mut self,
        chosen: Chosen,
        reason: FailureReason,
    ) -> Result<(), FailureReason> {
        if !reason.is_members_fault() {
            return Err(reason);
        }
        let Chosen { in_flight, .. } = chosen;
        in_flight.count_failure();
        // Not in flight there any more when the next is chosen.
        drop(in_flight);
        self.failure = reason;
        Ok(())
    }

    fn take(&mut self, index: u32, in_flight: InFlight) -> Result<Chosen, FailureReason> {
        let member = self.pool.member(index).ok_or(FailureReason::Internal)?;
        if let Some(place) = self.tried.get_mut(self.tried_count) {
            *place = index;
        }
        self.tried_count += 1;
        Ok(Chosen { member: Arc::clone(member), in_flight })
    }
}
