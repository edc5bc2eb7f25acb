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
//! priority and then by age, and is never free in between: nobody overtakes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::mem;
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
    /// Those that take any member.
    for_any: BTreeMap<Rank, ()>,
    /// Those that belong to one.
    for_member: HashMap<MemberKey, BTreeMap<Rank, ()>>,
    waiters: HashMap<u64, Waiter>,
}

#[derive(Debug, Default)]
struct Waiter {
    waker: Option<Waker>,
    granted: Option<Slot>,
}

impl PoolQueue {
    /// Gets in line for `member`, or for any; none where `max_count` wait already. Then pick again:
    /// room may have been made a moment ago.
    pub fn enter(
        self: &Arc<Self>,
        member: Option<MemberKey>,
        priority: Priority,
        max_count: u32,
    ) -> Option<Place> {
        let mut inner = self.lock();
        if self.waiting_count.load(SeqCst) >= max_count as usize {
            return None;
        }
        let number = inner.next_number;
        inner.next_number += 1;
        let rank = (Reverse(priority), number);
        inner.waiters.insert(number, Waiter::default());
        inner.line(member).insert(rank, ());
        // Under the lock, and before the caller picks again: see `MemberState::give_back`.
        self.waiting_count.fetch_add(1, SeqCst);
        Some(Place { queue: Arc::clone(self), member, rank })
    }

    /// Goes by what that pool would choose from now on.
    pub(crate) fn serve(&self, pool: &Arc<Pool>) {
        self.lock().pool = Arc::downgrade(pool);
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
        let Some((rank, member)) = inner.first_for(state) else { return Err(slot) };
        self.leave_line(&mut inner, member, rank);
        if let Some(waiter) = inner.waiters.get_mut(&rank.1) {
            waiter.granted = Some(slot);
            if let Some(waker) = waiter.waker.take() {
                waker.wake();
            }
        }
        Ok(())
    }

    fn leave_line(&self, inner: &mut Inner, member: Option<MemberKey>, rank: Rank) {
        if inner.line(member).remove(&rank).is_some() {
            self.waiting_count.fetch_sub(1, SeqCst);
        }
        if let Some(member) = member
            && inner.for_member.get(&member).is_some_and(BTreeMap::is_empty)
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
    /// Who is the first that may have room at that member, and what it waits for.
    fn first_for(&self, state: &MemberState) -> Option<(Rank, Option<MemberKey>)> {
        let grants = self.pool.upgrade()?.grants(state, now_ms());
        let first = |line: &BTreeMap<Rank, ()>| line.keys().next().copied();
        let own = self.for_member.get(&state.key()).and_then(first).filter(|_| grants.to_own);
        let any = first(&self.for_any).filter(|_| grants.to_any);
        let own = own.map(|rank| (rank, Some(state.key())));
        own.into_iter().chain(any.map(|rank| (rank, None))).min_by_key(|(rank, _)| *rank)
    }

    fn line(&mut self, member: Option<MemberKey>) -> &mut BTreeMap<Rank, ()> {
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
    member: Option<MemberKey>,
    rank: Rank,
}

impl Place {
    /// Ready with room at a member once it is this one's turn; pending keeps the waker. Room that
    /// nobody gave back, at a member that came up, is granted to nobody: pick again now and then.
    pub fn poll_granted(&self, cx: &Context<'_>) -> Poll<Slot> {
        let mut inner = self.queue.lock();
        // Entered with the place, removed with it.
        let Some(waiter) = inner.waiters.get_mut(&self.rank.1) else { return Poll::Pending };
        match waiter.granted.take() {
            Some(slot) => Poll::Ready(slot),
            None => {
                waiter.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let waiter = {
            let mut inner = self.queue.lock();
            self.queue.leave_line(&mut inner, self.member, self.rank);
            inner.waiters.remove(&self.rank.1)
        };
        // Outside of the lock: giving a slot back takes it again.
        drop(waiter.map(|mut waiter| mem::take(&mut waiter.granted)));
    }
}

#[cfg(test)]
mod tests;
