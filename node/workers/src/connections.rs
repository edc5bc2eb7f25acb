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
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
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
    /// What is quiesced, each under a number of its own.
    quiesces: RefCell<Vec<(u64, Arc<[IpAddr]>)>>,
    next_quiesce: Cell<u64>,
    /// Connections that are quiesced.
    quiesced_count: Cell<usize>,
    /// Wakes the ticking task when the first connection opens, and whoever waits for the last, or the last
    /// quiesced one, to go.
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
    /// The address that the client reached; none where quiescing it is nothing to the connection.
    local: Option<IpAddr>,
    /// Whether `local` is quiesced.
    is_quiesced: bool,
    waker: Option<Waker>,
}

impl Connections {
    /// Enters a connection of `group`; its place is free again when the ticket is dropped.
    pub fn open(self: &Rc<Self>, group: GroupId, clock: &Rc<Clock>) -> Ticket {
        self.open_at(group, None, clock)
    }

    /// As [`Connections::open`], for a connection that shall end while `local`, the address that
    /// its client reached, is quiesced.
    pub fn open_at(
        self: &Rc<Self>,
        group: GroupId,
        local: Option<IpAddr>,
        clock: &Rc<Clock>,
    ) -> Ticket {
        let is_quiesced = local.is_some_and(|local| self.is_quiesced(local));
        self.quiesced_count.set(self.quiesced_count.get() + usize::from(is_quiesced));
        let signal = self.everyone.get();
        let entry = Entry { group, signal, local, is_quiesced, ..Entry::default() };
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
        let (connections, clock) = (Rc::clone(self), Rc::clone(clock));
        Ticket { connections, clock, index, limit_ms: Cell::new(NEVER_MS) }
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

    /// Asks the connections that were opened with one of these addresses, also those still to come,
    /// to end once their current request is done; until what is returned is dropped.
    pub fn quiesce(self: &Rc<Self>, addresses: Arc<[IpAddr]>) -> Quiesced {
        let id = self.next_quiesce.replace(self.next_quiesce.get() + 1);
        self.quiesces.borrow_mut().push((id, addresses));
        self.mark_quiesced();
        Quiesced { connections: Rc::clone(self), id }
    }

    /// How many connections of quiesced addresses are open.
    pub fn quiesced_count(&self) -> usize {
        self.quiesced_count.get()
    }

    /// Returns when no connection of a quiesced address is open.
    pub async fn quiet(&self) {
        self.until(|| self.quiesced_count.get() == 0).await;
    }

    fn is_quiesced(&self, local: IpAddr) -> bool {
        self.quiesces.borrow().iter().any(|(_, addresses)| addresses.contains(&local))
    }

    /// Brings the entries in line with what is quiesced.
    fn mark_quiesced(&self) {
        let mut count = 0;
        for entry in &mut self.table.borrow_mut().entries {
            let is_quiesced = entry.local.is_some_and(|local| self.is_quiesced(local));
            if is_quiesced && !entry.is_quiesced {
                wake(entry);
            }
            entry.is_quiesced = is_quiesced;
            count += usize::from(is_quiesced);
        }
        self.set_quiesced_count(count);
    }

    fn count_out_quiesced(&self, was_quiesced: bool) {
        self.set_quiesced_count(self.quiesced_count.get() - usize::from(was_quiesced));
    }

    fn set_quiesced_count(&self, count: usize) {
        if self.quiesced_count.replace(count) > 0 && count == 0 {
            self.changed.notify_waiters();
        }
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
        self.until(|| self.open_count.get() > 0).await;
    }

    /// Returns when no connection is open.
    pub async fn none(&self) {
        self.until(|| self.open_count.get() == 0).await;
    }

    async fn until(&self, reached: impl Fn() -> bool) {
        loop {
            let changed = self.changed.notified();
            if reached() {
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

/// Keeps addresses quiesced.
#[derive(Debug)]
pub struct Quiesced {
    connections: Rc<Connections>,
    id: u64,
}

impl Drop for Quiesced {
    fn drop(&mut self) {
        self.connections.quiesces.borrow_mut().retain(|(id, _)| *id != self.id);
        self.connections.mark_quiesced();
    }
}

/// A connection's place among its worker's: holds its deadline, hears when it shall end.
#[derive(Debug)]
pub struct Ticket {
    connections: Rc<Connections>,
    clock: Rc<Clock>,
    index: usize,
    /// The deadline is never later than this.
    limit_ms: Cell<u64>,
}

impl Ticket {
    /// Moves the deadline to `timeout_ms` after the last reading of the clock.
    pub fn set_timeout_ms(&self, timeout_ms: u64) {
        self.set_deadline_ms(self.clock.coarse_ms().saturating_add(timeout_ms));
    }

    /// Moves the deadline to a time of the worker's clock.
    pub fn set_deadline_ms(&self, deadline_ms: u64) {
        let mut table = self.connections.table.borrow_mut();
        table.deadlines_ms[self.index] = deadline_ms.min(self.limit_ms.get());
        table.entries[self.index].expired = false;
    }

    /// Keeps every deadline that is set from now on from being later than `timeout_ms` after the last
    /// reading of the clock; none takes that away.
    pub fn set_limit_ms(&self, timeout_ms: Option<u64>) {
        let now_ms = self.clock.coarse_ms();
        let limit_ms = timeout_ms.map_or(NEVER_MS, |timeout_ms| now_ms.saturating_add(timeout_ms));
        self.limit_ms.set(limit_ms);
    }

    /// Whether the time that [`Ticket::set_limit_ms`] allowed is over.
    pub fn is_over_limit(&self) -> bool {
        self.clock.coarse_ms() >= self.limit_ms.get()
    }

    /// The last reading of the clock by which deadlines are kept, in ms.
    pub fn coarse_ms(&self) -> u64 {
        self.clock.coarse_ms()
    }

    /// Takes the deadline away.
    pub fn clear_deadline(&self) {
        self.set_deadline_ms(NEVER_MS);
    }

    /// Whether the connection shall end once nothing is under way.
    pub fn is_ending(&self) -> bool {
        let entry = &self.connections.table.borrow().entries[self.index];
        entry.signal >= Signal::End || entry.is_quiesced
    }

    /// Notes that quiescing the connection's address is nothing to it from now on: it has become a
    /// tunnel.
    pub fn outlast_quiesce(&self) {
        let entry = &mut self.connections.table.borrow_mut().entries[self.index];
        entry.local = None;
        let was_quiesced = std::mem::take(&mut entry.is_quiesced);
        self.connections.count_out_quiesced(was_quiesced);
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
        let entry = std::mem::take(&mut table.entries[self.index]);
        table.free.push(self.index);
        drop(table);
        self.connections.count_out_quiesced(entry.is_quiesced);
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
