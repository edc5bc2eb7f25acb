//! Requests that wait for a member with room: one queue for each pool of a node, shared by its
//! workers.
//!
//! ```text
//! pick: all busy ─► enter ─► pick again ─► wait ─► granted ─► request
//!                                           ▲                  │
//!          slot given back: to the first that may have it ◄────┘
//! ```
//! Nothing here is touched while no member has a limit, and no lock is taken while nobody waits.
//!
//! Invariant: a slot that is given back while somebody waits for it goes to the first in line, by
//! priority and then by age, and is never free in between: nobody overtakes. Who was given a slot
//! that is of no use keeps its rank.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use crate::member::{MemberState, Slot};
use crate::persistence::MemberKey;
use crate::pool::Pool;

/// How soon a request is served; the higher, the sooner. 0 unless something else is said.
pub type Priority = i8;

/// Who waits for a pool's members.
#[derive(Debug, Default)]
pub struct PoolQueue {
    /// Kept beside the lock, so that looking whether anybody waits takes none.
    waiting_count: AtomicUsize,
    inner: Mutex<Inner>,
}

/// First by priority, then by age.
type Rank = (Reverse<Priority>, u64);

#[derive(Debug, Default)]
struct Inner {
    /// As compiled last: what members it would choose.
    pool: Weak<Pool>,
    next_number: u64,
    /// All that stand in line, and for which member, if not for any.
    in_line: BTreeMap<Rank, Option<MemberKey>>,
    /// Those of them that take any member.
    for_any: BTreeSet<Rank>,
    /// Those of them that belong to one.
    for_member: HashMap<MemberKey, BTreeSet<Rank>>,
    waiters: HashMap<u64, Waiter>,
}

#[derive(Debug, Default)]
struct Waiter {
    waker: Option<Waker>,
    outcome: Outcome,
}

/// What has become of one that waits.
#[derive(Debug, Default)]
enum Outcome {
    #[default]
    None,
    Granted(Slot),
    Displaced,
}

/// Who waited had to make room in the line for one of higher priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Displaced;

impl PoolQueue {
    /// Gets in line for `member`, or for any. Where `max_count` wait already, the youngest of the
    /// lowest priority among them makes room, if that is lower than `priority`; none otherwise. Then
    /// pick again: room at a member may have been made a moment ago.
    pub fn enter(
        self: &Arc<Self>,
        member: Option<MemberKey>,
        priority: Priority,
        max_count: u32,
    ) -> Option<Place> {
        let mut inner = self.lock();
        let is_full = self.waiting_count.load(SeqCst) >= max_count as usize;
        if is_full && (max_count == 0 || !self.displace(&mut inner, priority)) {
            return None;
        }
        let number = inner.next_number;
        inner.next_number += 1;
        let rank = (Reverse(priority), number);
        inner.waiters.insert(number, Waiter::default());
        // Under the lock, and before the caller picks again: see `MemberState::give_back`.
        self.join_line(&mut inner, rank, member);
        Some(Place { queue: Arc::clone(self), rank })
    }

    /// Has the last in line leave it, if its priority is lower.
    fn displace(&self, inner: &mut Inner, priority: Priority) -> bool {
        let Some((last, _)) = inner.in_line.last_key_value() else { return false };
        let last = *last;
        if last.0.0 >= priority {
            return false;
        }
        self.leave_line(inner, last);
        inner.decide(last, Outcome::Displaced);
        true
    }

    /// Goes by what that pool would choose from now on.
    pub(crate) fn serve(&self, pool: &Arc<Pool>) {
        self.lock().pool = Arc::downgrade(pool);
    }

    /// Gives the room that members of `pool` have to those that wait for it, in their order. Room is
    /// handed on by itself where it is given back; this is for members that were added, have come up
    /// or may take more.
    pub fn hand_out(&self, pool: &Pool) {
        for member in pool.members() {
            while self.waiting_count() > 0 && member.state.offer_room() {}
        }
    }

    /// How many wait.
    pub fn waiting_count(&self) -> usize {
        self.waiting_count.load(SeqCst)
    }

    /// Whether anybody waits who may have room at that member.
    pub(crate) fn awaits(&self, state: &MemberState) -> bool {
        self.lock().first_for(state).is_some()
    }

    /// Gives `slot` to the first that may have it; back where nobody may.
    pub(crate) fn hand_over(&self, state: &MemberState, slot: Slot) -> Result<(), Slot> {
        let mut inner = self.lock();
        let Some(rank) = inner.first_for(state) else { return Err(slot) };
        self.leave_line(&mut inner, rank);
        inner.decide(rank, Outcome::Granted(slot));
        Ok(())
    }

    fn join_line(&self, inner: &mut Inner, rank: Rank, member: Option<MemberKey>) {
        inner.in_line.insert(rank, member);
        inner.line(member).insert(rank);
        self.waiting_count.fetch_add(1, SeqCst);
    }

    fn leave_line(&self, inner: &mut Inner, rank: Rank) {
        let Some(member) = inner.in_line.remove(&rank) else { return };
        self.waiting_count.fetch_sub(1, SeqCst);
        let line = inner.line(member);
        line.remove(&rank);
        if line.is_empty()
            && let Some(member) = member
        {
            inner.for_member.remove(&member);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is complete before anything may panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Who is the first that may have room at that member.
    fn first_for(&self, state: &MemberState) -> Option<Rank> {
        let grants = self.pool.upgrade()?.grants(state, now_ms());
        let first = |line: &BTreeSet<Rank>| line.first().copied();
        let own = self.for_member.get(&state.key()).and_then(first).filter(|_| grants.to_own);
        let any = first(&self.for_any).filter(|_| grants.to_any);
        own.into_iter().chain(any).min()
    }

    /// Tells one that waits what has become of it.
    fn decide(&mut self, rank: Rank, outcome: Outcome) {
        // Entered before its rank, and removed after it.
        let Some(waiter) = self.waiters.get_mut(&rank.1) else { return };
        waiter.outcome = outcome;
        if let Some(waker) = waiter.waker.take() {
            waker.wake();
        }
    }

    fn line(&mut self, member: Option<MemberKey>) -> &mut BTreeSet<Rank> {
        match member {
            None => &mut self.for_any,
            Some(member) => self.for_member.entry(member).or_default(),
        }
    }
}

/// Time in ms since the Unix epoch; asked for only while somebody waits.
fn now_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_epoch.map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}

/// A place in line. Dropping it leaves the line; a slot that was granted meanwhile goes on to the
/// next.
#[derive(Debug)]
pub struct Place {
    queue: Arc<PoolQueue>,
    rank: Rank,
}

impl Place {
    /// Ready with room at a member once it is this one's turn, or with the news that it has to leave;
    /// pending keeps the waker. Room that nobody gave back, at a member that came up, is granted to
    /// nobody: pick again now and then.
    pub fn poll_granted(&self, cx: &Context<'_>) -> Poll<Result<Slot, Displaced>> {
        let mut inner = self.queue.lock();
        // Entered with the place, removed with it.
        let Some(waiter) = inner.waiters.get_mut(&self.rank.1) else { return Poll::Pending };
        match std::mem::take(&mut waiter.outcome) {
            Outcome::Granted(slot) => Poll::Ready(Ok(slot)),
            Outcome::Displaced => {
                waiter.outcome = Outcome::Displaced;
                Poll::Ready(Err(Displaced))
            }
            Outcome::None => {
                waiter.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Stands in line for `member`, or for any, with the rank it has had from the beginning, however
    /// many wait: for who can't use the slot it was granted, or finds that it waits for something
    /// else now. Where this changes anything, pick again as after [`PoolQueue::enter`].
    pub fn wait_for(&self, member: Option<MemberKey>) -> bool {
        let mut inner = self.queue.lock();
        let is_decided = inner
            .waiters
            .get(&self.rank.1)
            .is_none_or(|waiter| !matches!(waiter.outcome, Outcome::None));
        if is_decided || inner.in_line.get(&self.rank) == Some(&member) {
            return false;
        }
        self.queue.leave_line(&mut inner, self.rank);
        self.queue.join_line(&mut inner, self.rank, member);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let waiter = {
            let mut inner = self.queue.lock();
            self.queue.leave_line(&mut inner, self.rank);
            inner.waiters.remove(&self.rank.1)
        };
        // Outside of the lock: giving a slot back takes it again.
        drop(waiter);
    }
}

#[cfg(test)]
mod tests;
