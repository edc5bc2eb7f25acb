//! The connections of one worker: their deadlines, and the word that they shall end.
//!
//! A connection has one deadline, which it moves by a store to a table; a tick of the worker looks
//! for those that have passed. So a request costs no timer operation at all, and a timeout may fire
//! up to one tick ([`TICK_MS`]) late, never early.
//!
//! Invariant: an index belongs to exactly one living [`Ticket`]; everything here is used by one
//! thread.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

use crate::clock::Clock;

/// Time between two looks at the deadlines, in ms.
pub const TICK_MS: u64 = 50;

const NEVER_MS: u64 = u64::MAX;

/// Why a wait was broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Interrupted {
    /// The deadline passed.
    #[error("the deadline passed")]
    Expired,
    /// The connection shall end as soon as nothing is under way; only idle waits say so.
    #[error("the connection was asked to end")]
    Ending,
    /// The connection shall end now.
    #[error("the connection was cut")]
    Cut,
}

/// How urgently a connection shall end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Signal {
    #[default]
    Serve,
    End,
    Cut,
}

/// What a [`Ticket`] stands for; groups let all connections of a virtual server be ended at once.
pub type GroupId = u64;

/// The connections of one worker.
#[derive(Debug, Default)]
pub struct Connections {
    table: RefCell<Table>,
    /// Given to connections that open while the whole worker drains.
    everyone: Cell<Signal>,
    open_count: Cell<usize>,
    /// Wakes the ticking task when the first connection opens, and whoever waits for the last.
    changed: Notify,
}

/// Columns of equal length; the deadlines stand alone so that a tick reads a few cache lines only.
#[derive(Debug, Default)]
struct Table {
    deadlines_ms: Vec<u64>,
    entries: Vec<Entry>,
    free: Vec<usize>,
}

#[derive(Debug, Default)]
struct Entry {
    group: GroupId,
    signal: Signal,
    expired: bool,
    waker: Option<Waker>,
}

impl Connections {
    /// Enters a connection of `group`; its place is free again when the ticket is dropped.
    pub fn open(self: &Rc<Self>, group: GroupId, clock: &Rc<Clock>) -> Ticket {
        let entry = Entry { group, signal: self.everyone.get(), ..Entry::default() };
        let mut table = self.table.borrow_mut();
        let index = if let Some(index) = table.free.pop() {
            table.entries[index] = entry;
            table.deadlines_ms[index] = NEVER_MS;
            index
        } else {
            table.entries.push(entry);
            table.deadlines_ms.push(NEVER_MS);
            table.entries.len() - 1
        };
        drop(table);
        if self.open_count.replace(self.open_count.get() + 1) == 0 {
            clock.tick();
            self.changed.notify_waiters();
        }
        Ticket { connections: Rc::clone(self), clock: Rc::clone(clock), index }
    }

    /// How many are open.
    pub fn open_count(&self) -> usize {
        self.open_count.get()
    }

    /// Asks every connection of these groups, which are in order, to end once its current request
    /// is done.
    pub fn end_groups(&self, groups: &[GroupId]) {
        debug_assert!(groups.is_sorted());
        self.raise(Signal::End, |entry| groups.binary_search(&entry.group).is_ok());
    }

    /// Asks every connection, also those still to come, to end once its current request is done.
    pub fn end_all(&self) {
        self.everyone.set(self.everyone.get().max(Signal::End));
        self.raise(Signal::End, |_| true);
    }

    /// Ends every connection, also those still to come, now.
    pub fn cut_all(&self) {
        self.everyone.set(Signal::Cut);
        self.raise(Signal::Cut, |_| true);
    }

    fn raise(&self, signal: Signal, concerned: impl Fn(&Entry) -> bool) {
        let mut table = self.table.borrow_mut();
        for entry in table.entries.iter_mut().filter(|entry| concerned(entry)) {
            if entry.signal < signal {
                entry.signal = signal;
                wake(entry);
            }
        }
    }

    /// Wakes the connections whose deadline has passed.
    pub fn expire(&self, now_ms: u64) {
        let mut table = self.table.borrow_mut();
        let Table { deadlines_ms, entries, .. } = &mut *table;
        for (deadline_ms, entry) in deadlines_ms.iter_mut().zip(entries) {
            if *deadline_ms <= now_ms {
                *deadline_ms = NEVER_MS;
                entry.expired = true;
                wake(entry);
            }
        }
    }

    /// Returns when at least one connection is open.
    pub async fn some(&self) {
        self.until(|open_count| open_count > 0).await;
    }

    /// Returns when no connection is open.
    pub async fn none(&self) {
        self.until(|open_count| open_count == 0).await;
    }

    async fn until(&self, reached: impl Fn(usize) -> bool) {
        loop {
            let changed = self.changed.notified();
            if reached(self.open_count.get()) {
                return;
            }
            changed.await;
        }
    }
}

fn wake(entry: &mut Entry) {
    if let Some(waker) = &entry.waker {
        waker.wake_by_ref();
    }
}

/// A connection's place among its worker's: holds its deadline, hears when it shall end.
#[derive(Debug)]
pub struct Ticket {
    connections: Rc<Connections>,
    clock: Rc<Clock>,
    index: usize,
}

impl Ticket {
    /// Moves the deadline to `timeout_ms` after the last reading of the clock.
    pub fn set_timeout_ms(&self, timeout_ms: u64) {
        self.set_deadline_ms(self.clock.coarse_ms().saturating_add(timeout_ms));
    }

    /// Moves the deadline to a time of the worker's clock.
    pub fn set_deadline_ms(&self, deadline_ms: u64) {
        let mut table = self.connections.table.borrow_mut();
        table.deadlines_ms[self.index] = deadline_ms;
        table.entries[self.index].expired = false;
    }

    /// Takes the deadline away.
    pub fn clear_deadline(&self) {
        self.set_deadline_ms(NEVER_MS);
    }

    /// Whether the connection shall end once nothing is under way.
    pub fn is_ending(&self) -> bool {
        self.connections.table.borrow().entries[self.index].signal >= Signal::End
    }

    /// Whether the deadline has passed or the connection is cut. Keeps the task's waker, so that
    /// the task hears of it; call it whenever a poll ends in `Pending`.
    ///
    /// # Errors
    /// Why the wait shall be broken off.
    pub fn check(&self, cx: &Context<'_>) -> Result<(), Interrupted> {
        let mut table = self.connections.table.borrow_mut();
        let entry = &mut table.entries[self.index];
        if entry.signal == Signal::Cut {
            return Err(Interrupted::Cut);
        }
        if entry.expired {
            return Err(Interrupted::Expired);
        }
        if !entry.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            entry.waker = Some(cx.waker().clone());
        }
        Ok(())
    }

    /// As [`Ticket::check`], for a wait in which nothing is under way.
    ///
    /// # Errors
    /// Why the wait shall be broken off.
    pub fn check_idle(&self, cx: &Context<'_>) -> Result<(), Interrupted> {
        self.check(cx)?;
        if self.is_ending() { Err(Interrupted::Ending) } else { Ok(()) }
    }

    /// `wait`, unless the deadline passes or the connection is cut first. Cancel-safe where `wait`
    /// is.
    pub fn guard<F: Future + Unpin>(&self, wait: F) -> Guard<'_, F> {
        Guard { ticket: self, wait }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut table = self.connections.table.borrow_mut();
        table.deadlines_ms[self.index] = NEVER_MS;
        table.entries[self.index] = Entry::default();
        table.free.push(self.index);
        drop(table);
        let open_count = self.connections.open_count.get() - 1;
        self.connections.open_count.set(open_count);
        if open_count == 0 {
            self.connections.changed.notify_waiters();
        }
    }
}

/// A wait that a [`Ticket`] can break off.
#[derive(Debug)]
pub struct Guard<'a, F> {
    ticket: &'a Ticket,
    wait: F,
}

impl<F: Future + Unpin> Future for Guard<'_, F> {
    type Output = Result<F::Output, Interrupted>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.wait).poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => match self.ticket.check(cx) {
                Ok(()) => Poll::Pending,
                Err(interrupted) => Poll::Ready(Err(interrupted)),
            },
        }
    }
}

#[cfg(test)]
mod tests;
