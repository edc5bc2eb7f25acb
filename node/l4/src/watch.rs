//! Ends connections whose member is taken offline, drained to its deadline, or whose virtual server
//! is gone.
//!
//! Looked at once a second for all connections of a worker together, so that a silent connection is
//! not woken to look for itself.
//!
//! Invariant: a place belongs to exactly one living [`Watch`].

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use ballast_balance::MemberState;
use ballast_telemetry::FailureReason;
use ballast_workers::VirtualServerSlot;

/// The watched connections of one worker.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    table: RefCell<Table>,
}

#[derive(Debug, Default)]
struct Table {
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
}

#[derive(Debug)]
struct Entry {
    member: Arc<MemberState>,
    slot: Arc<VirtualServerSlot>,
    verdict: Option<FailureReason>,
    waker: Option<Waker>,
}

impl Watches {
    /// Watches a connection to `member`.
    pub(crate) fn add(
        self: &Rc<Self>,
        member: &Arc<MemberState>,
        slot: &Arc<VirtualServerSlot>,
    ) -> Watch {
        let entry = Entry {
            member: Arc::clone(member),
            slot: Arc::clone(slot),
            verdict: None,
            waker: None,
        };
        let mut table = self.table.borrow_mut();
        let index = if let Some(index) = table.free.pop() {
            table.entries[index] = Some(entry);
            index
        } else {
            table.entries.push(Some(entry));
            table.entries.len() - 1
        };
        Watch { watches: Rc::clone(self), index }
    }

    /// Wakes the connections that are to end.
    pub(crate) fn look(&self, now_unix_ms: u64) {
        for entry in self.table.borrow_mut().entries.iter_mut().flatten() {
            if entry.verdict.is_some() {
                continue;
            }
            entry.verdict = entry.judge(now_unix_ms);
            if let (Some(_), Some(waker)) = (entry.verdict, &entry.waker) {
                waker.wake_by_ref();
            }
        }
    }
}

impl Entry {
    fn judge(&self, now_unix_ms: u64) -> Option<FailureReason> {
        if self.member.is_cut(now_unix_ms) {
            Some(FailureReason::MemberOffline)
        } else if self.slot.current().load().is_none() {
            Some(FailureReason::VirtualServerDisabled)
        } else {
            None
        }
    }
}

/// A connection being watched.
#[derive(Debug)]
pub(crate) struct Watch {
    watches: Rc<Watches>,
    index: usize,
}

impl Watch {
    /// Whether the connection may go on. Keeps the task's waker, so that the task hears of it.
    ///
    /// # Errors
    /// Why it shall end.
    pub(crate) fn check(&self, cx: &Context<'_>) -> Result<(), FailureReason> {
        let mut table = self.watches.table.borrow_mut();
        let Some(entry) = table.entries[self.index].as_mut() else { return Ok(()) };
        if !entry.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            entry.waker = Some(cx.waker().clone());
        }
        entry.verdict.map_or(Ok(()), Err)
    }

    /// As [`Watches::look`], for this connection and at once.
    pub(crate) fn look(&self, now_unix_ms: u64) -> Result<(), FailureReason> {
        let table = self.watches.table.borrow();
        let verdict = table.entries[self.index].as_ref().and_then(|entry| entry.judge(now_unix_ms));
        verdict.map_or(Ok(()), Err)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut table = self.watches.table.borrow_mut();
        table.entries[self.index] = None;
        table.free.push(self.index);
    }
}
