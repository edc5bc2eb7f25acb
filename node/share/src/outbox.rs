//! What another node is still to be told.
//!
//! Invariant: bounded, whatever happens to the other node. What is dropped of tables is made up for by
//! sending everything; what limits have let through is dropped when it is no longer of use.

use std::collections::VecDeque;
use std::sync::Arc;

use ballast_balance::persistence::table::Cursor;
use ballast_balance::{PersistenceTable, TableRecord};
use ballast_policy::limiter::Consumption;

use crate::PeerCounts;
use crate::wire::{
    Answer, CONSUMPTION_MAX_COUNT, Message, RECORD_MAX_COUNT, SECTION_MAX_COUNT, Section,
};

/// Entries that wait for a node; the oldest is dropped for one more.
pub(crate) const PENDING_MAX_COUNT: usize = 64 * 1024;
/// Keys of rate limits that wait for a node; the oldest is dropped for one more.
pub(crate) const CONSUMPTION_PENDING_MAX_COUNT: usize = 64 * 1024;
/// How long it is of use to tell what a limit has let through, in ms. What comes later would hold
/// clients back for what they did long ago.
pub(crate) const CONSUMPTION_AGE_MAX_MS: u64 = 1_000;
/// How often a node is asked whether it is there and still the same process, in ms.
pub(crate) const HEARTBEAT_MS: u64 = 1_000;
/// Pause before a message is sent again that was not answered, in ms.
const RETRY_PAUSE_MS: u64 = 500;

/// A table and its pool's uid.
pub(crate) type NamedTable = (Arc<str>, Arc<PersistenceTable>);

/// See the module. Times are ms of one clock.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    records: VecDeque<Pending<(Arc<str>, TableRecord)>>,
    consumptions: VecDeque<Pending<Consumption>>,
    /// What is left to send of everything.
    walk: Option<Walk>,
    is_all_wanted: bool,
    /// What was sent and not answered, and since when it has been known here.
    in_flight: Option<(Message, u64)>,
    is_sending: bool,
    number: u64,
    /// The process that answered last; 0: none has.
    peer_boot: u64,
    next_ms: u64,
    counts: PeerCounts,
}

#[derive(Debug)]
struct Pending<T> {
    what: T,
    since_ms: u64,
}

#[derive(Debug)]
struct Walk {
    tables: VecDeque<NamedTable>,
    cursor: Cursor,
}

impl Outbox {
    /// An empty one, whose messages have numbers above `base_number`.
    pub(crate) fn new(base_number: u64) -> Self {
        Self { number: base_number, ..Self::default() }
    }

    /// Adds what has changed in a table.
    pub(crate) fn push_records(&mut self, uid: &Arc<str>, records: &[TableRecord], now_ms: u64) {
        for record in records {
            if self.records.len() >= PENDING_MAX_COUNT {
                self.records.pop_front();
                self.counts.dropped_count += 1;
                self.is_all_wanted = true;
            }
            self.records.push_back(Pending { what: (Arc::clone(uid), *record), since_ms: now_ms });
        }
    }

    /// Adds what limits have let through.
    pub(crate) fn push_consumptions(&mut self, consumptions: &[Consumption], now_ms: u64) {
        for consumption in consumptions {
            if self.consumptions.len() >= CONSUMPTION_PENDING_MAX_COUNT {
                self.consumptions.pop_front();
                self.counts.dropped_count += 1;
            }
            self.consumptions.push_back(Pending { what: *consumption, since_ms: now_ms });
        }
    }

    /// What to send now, as process `boot`; none where there is nothing, or where the last message is
    /// not answered. `tables` are all there are, should the node need everything.
    pub(crate) fn next(
        &mut self,
        boot: u64,
        now_ms: u64,
        tables: impl FnOnce() -> Vec<NamedTable>,
    ) -> Option<Message> {
        self.drop_old(now_ms);
        if self.is_sending {
            return None;
        }
        if let Some((message, _)) = &self.in_flight {
            if now_ms < self.next_ms {
                return None;
            }
            self.is_sending = true;
            return Some(message.clone());
        }
        if self.is_all_wanted && self.peer_boot != 0 {
            self.is_all_wanted = false;
            self.counts.full_count += 1;
            self.walk = Some(Walk { tables: tables().into(), cursor: Cursor::default() });
        }
        let is_idle =
            self.records.is_empty() && self.consumptions.is_empty() && self.walk.is_none();
        if is_idle && now_ms < self.next_ms {
            return None;
        }
        let since_ms = self.oldest_ms().unwrap_or(now_ms);
        self.number += 1;
        let mut message = Message { boot, number: self.number, ..Message::default() };
        self.take_pending(&mut message, now_ms);
        self.walk_on(&mut message, now_ms);
        self.in_flight = Some((message.clone(), since_ms));
        self.is_sending = true;
        Some(message)
    }

    /// Notes that the last message was answered.
    pub(crate) fn answered(&mut self, answer: Answer, now_ms: u64) {
        self.is_sending = false;
        if let Some((message, _)) = self.in_flight.take() {
            self.counts.message_count += 1;
            self.counts.record_count += message.record_count() as u64;
        }
        // Another process than before knows nothing of what was told.
        if self.peer_boot != answer.boot || answer.wants_all {
            self.is_all_wanted = true;
        }
        self.peer_boot = answer.boot;
        self.counts.is_reachable = true;
        self.next_ms = now_ms + HEARTBEAT_MS;
    }

    /// Notes that the last message was not answered: it will be sent again.
    pub(crate) fn failed(&mut self, now_ms: u64) {
        self.is_sending = false;
        self.counts.is_reachable = false;
        self.next_ms = now_ms + RETRY_PAUSE_MS;
    }

    /// How the node is told.
    pub(crate) fn counts(&self, now_ms: u64) -> PeerCounts {
        let in_flight = self.in_flight.as_ref().map(|(message, since_ms)| {
            let is_empty = message.record_count() == 0 && message.consumptions.is_empty();
            if is_empty { now_ms } else { *since_ms }
        });
        let oldest_ms = self.oldest_ms().into_iter().chain(in_flight).min();
        let pending_count = self.records.len() + self.consumptions.len();
        PeerCounts {
            lag_ms: oldest_ms.map_or(0, |oldest_ms| now_ms.saturating_sub(oldest_ms)),
            pending_count: pending_count as u64,
            ..self.counts.clone()
        }
    }

    fn oldest_ms(&self) -> Option<u64> {
        let record = self.records.front().map(|pending| pending.since_ms);
        let consumption = self.consumptions.front().map(|pending| pending.since_ms);
        record.into_iter().chain(consumption).min()
    }

    /// Drops what limits let through too long ago, also of a message that is to be sent again.
    fn drop_old(&mut self, now_ms: u64) {
        let is_old = |since_ms: u64| now_ms.saturating_sub(since_ms) > CONSUMPTION_AGE_MAX_MS;
        while self.consumptions.front().is_some_and(|pending| is_old(pending.since_ms)) {
            self.consumptions.pop_front();
            self.counts.dropped_count += 1;
        }
        if let Some((message, since_ms)) = &mut self.in_flight
            && !self.is_sending
            && is_old(*since_ms)
        {
            self.counts.dropped_count += message.consumptions.len() as u64;
            message.consumptions.clear();
        }
    }

    fn take_pending(&mut self, message: &mut Message, now_ms: u64) {
        for _ in 0..RECORD_MAX_COUNT {
            let Some(Pending { what: (uid, record), since_ms }) = self.records.pop_front() else {
                break;
            };
            let waited_ms = u32::try_from(now_ms.saturating_sub(since_ms)).unwrap_or(u32::MAX);
            let idle_ms = record.idle_ms.saturating_add(waited_ms);
            let record = TableRecord { idle_ms, ..record };
            let is_full = message.sections.len() >= SECTION_MAX_COUNT;
            match message.sections.last_mut() {
                Some(section) if *section.pool_uid == *uid => section.records.push(record),
                _ if is_full => {
                    self.records.push_front(Pending { what: (uid, record), since_ms: now_ms });
                    break;
                }
                _ => message
                    .sections
                    .push(Section { pool_uid: uid.to_string(), records: vec![record] }),
            }
        }
        let count = self.consumptions.len().min(CONSUMPTION_MAX_COUNT);
        message.consumptions = self.consumptions.drain(..count).map(|told| told.what).collect();
    }

    /// Fills a message up with a part of everything.
    fn walk_on(&mut self, message: &mut Message, now_ms: u64) {
        let mut room = RECORD_MAX_COUNT - message.record_count();
        while room > 0
            && message.sections.len() < SECTION_MAX_COUNT
            && let Some(walk) = &mut self.walk
        {
            let Some((uid, table)) = walk.tables.front() else {
                self.walk = None;
                return;
            };
            let mut records = Vec::new();
            let next = table.dump(walk.cursor, room, now_ms, &mut records);
            room -= records.len().min(room);
            message.sections.push(Section { pool_uid: uid.to_string(), records });
            match next {
                Some(cursor) => walk.cursor = cursor,
                None => {
                    walk.tables.pop_front();
                    walk.cursor = Cursor::default();
                }
            }
        }
        if self.walk.as_ref().is_some_and(|walk| walk.tables.is_empty()) {
            self.walk = None;
        }
    }
}

#[cfg(test)]
mod tests;
