//! The table in which a pool remembers its clients: which member each belongs to, and for how long.
//!
//! Nodes tell each other of what they remember. Of two entries for a client the one with the higher
//! [`Version`] stands, on every node and in whatever order they come, so that all nodes end with the
//! same. A client that is seen again is told of at most eight times in its timeout; an entry that came
//! from another node is kept an eighth longer for that.
//!
//! ```text
//!  request ─► remembered ─┐                ┌─► take_changes ─► other nodes   as it happens
//!  choice  ─► remember   ─┤  16 shards, a  ├─► dump         ─► other nodes   all of it, in parts
//!             merge      ◄┤  lock each, in │
//!             expire      └─ LRU order ────┘
//! ```
//! Invariant: never more entries than the capacity; one more takes the place of one that was not seen
//! for long. A lock is held for one entry, or a bounded number of them, and never across another.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::client::{ClientHasher, ClientKey, Known};
use super::{MemberKey, PersistenceKey};
use crate::padded::Padded;

mod shard;

use shard::Shard;

/// Parts with a lock of their own.
const SHARD_COUNT: usize = 16;
/// Entries that are evicted for one that comes, while a capacity was lowered.
const EVICTED_MAX_COUNT: usize = 2;
/// Entries looked at while a lock is held.
const LOCKED_MAX_COUNT: usize = 256;

/// Which of two entries for a client stands: the higher one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// A hybrid logical clock (Kulkarni et al., 2014): ms since the Unix epoch, or one more than the
    /// highest that was seen.
    pub stamp: u64,
    /// The node that made the entry.
    pub node_id: u64,
}

/// What one node tells another of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableRecord {
    /// The client.
    pub client: ClientKey,
    /// Where it belongs.
    pub member: MemberKey,
    /// Which entry this is.
    pub version: Version,
    /// How long it had not been seen when this was told, in ms.
    pub idle_ms: u32,
    /// How long it is remembered without being seen, in ms.
    pub timeout_ms: u32,
}

/// What a table has and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableCounts {
    /// Clients that are remembered.
    pub entry_count: usize,
    /// Most that may be.
    pub capacity: usize,
    /// Clients that were forgotten because others came.
    pub evicted_count: u64,
}

/// Where a walk through a table goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    shard: usize,
    slot: usize,
}

/// See the module. Shared by all workers.
#[derive(Debug)]
pub struct PersistenceTable {
    node_id: u64,
    hasher: ClientHasher,
    capacity: AtomicUsize,
    entry_count: AtomicUsize,
    evicted_count: AtomicU64,
    has_changes: AtomicBool,
    /// Entries up to this stamp were deleted.
    cleared_stamp: AtomicU64,
    /// Made when the first client is remembered, since most pools remember none.
    shards: OnceLock<Box<[Padded<Mutex<Shard>>]>>,
}

impl PersistenceTable {
    /// A table without entries.
    pub fn new(key: &PersistenceKey, capacity: usize) -> Self {
        Self {
            node_id: key.node_id(),
            hasher: key.client_hasher(),
            capacity: AtomicUsize::new(capacity.max(1)),
            entry_count: AtomicUsize::new(0),
            evicted_count: AtomicU64::new(0),
            has_changes: AtomicBool::new(false),
            cleared_stamp: AtomicU64::new(0),
            shards: OnceLock::new(),
        }
    }

    /// Makes the keys of its clients.
    pub fn hasher(&self) -> &ClientHasher {
        &self.hasher
    }

    /// Changes how many clients it remembers at most; a surplus leaves as others come.
    pub fn set_capacity(&self, capacity: usize) {
        self.capacity.store(capacity.max(1), Relaxed);
    }

    /// The member that a client belongs to; it counts as seen.
    pub fn remembered(&self, known: Known, now_ms: u64) -> Option<MemberKey> {
        let mut shard = self.existing(known.client)?;
        let found = shard.touch(known, now_ms, self.node_id);
        if found.has_expired {
            self.entry_count.fetch_sub(1, Relaxed);
        }
        self.note_changes(found.has_changed);
        found.member
    }

    /// The same without a trace.
    pub fn peek(&self, known: Known, now_ms: u64) -> Option<MemberKey> {
        self.existing(known.client)?.peek(known, now_ms)
    }

    /// Remembers that a client belongs to `member` now, where it was found to belong to `before`. If it
    /// has got another member meanwhile, by a request at the same time, that one stands and is
    /// returned.
    pub fn remember(
        &self,
        known: Known,
        member: MemberKey,
        before: Option<MemberKey>,
        now_ms: u64,
    ) -> Option<MemberKey> {
        let shard = self.shard_of(known.client);
        match shard.peek(known, now_ms) {
            Some(present) if present != member && Some(present) != before => Some(present),
            _ => {
                self.put_in(shard, known, member, now_ms);
                None
            }
        }
    }

    /// Remembers that a client belongs to `member`, whatever was before.
    pub fn put(&self, known: Known, member: MemberKey, now_ms: u64) {
        let shard = self.shard_of(known.client);
        self.put_in(shard, known, member, now_ms);
    }

    fn put_in(
        &self,
        mut shard: MutexGuard<'_, Shard>,
        known: Known,
        member: MemberKey,
        now_ms: u64,
    ) {
        let cleared_stamp = self.cleared_stamp.load(Relaxed);
        let version = shard.next_version(now_ms.max(cleared_stamp.saturating_add(1)), self.node_id);
        let record = TableRecord {
            client: known.client,
            member,
            version,
            idle_ms: 0,
            timeout_ms: known.timeout_ms,
        };
        let is_room_needed = self.insert(&mut shard, &record, now_ms, true);
        drop(shard);
        self.note_changes(true);
        if is_room_needed {
            self.evict_elsewhere(known.client);
        }
    }

    /// Takes in what another node tells; whether that was news.
    pub fn merge(&self, record: &TableRecord, now_ms: u64) -> bool {
        if record.version.stamp <= self.cleared_stamp.load(Relaxed) {
            return false;
        }
        let mut shard = self.shard_of(record.client);
        shard.hear(record.version.stamp);
        let is_old = shard.version(record.client).is_some_and(|present| present >= record.version);
        if is_old || shard::is_expired(record, self.node_id) {
            return false;
        }
        let is_room_needed = self.insert(&mut shard, record, now_ms, false);
        drop(shard);
        if is_room_needed {
            self.evict_elsewhere(record.client);
        }
        true
    }

    /// Whether there is anything for [`take_changes`](Self::take_changes).
    pub fn has_changes(&self) -> bool {
        self.has_changes.load(Relaxed)
    }

    /// Appends what has changed here since it was last told, of about `max_count` clients at most;
    /// whether there is more.
    pub fn take_changes(&self, max_count: usize, now_ms: u64, out: &mut Vec<TableRecord>) -> bool {
        if !self.has_changes.swap(false, Relaxed) {
            return false;
        }
        let end = out.len() + max_count;
        for shard in self.shards.get().into_iter().flatten() {
            while out.len() < end {
                let count = LOCKED_MAX_COUNT.min(end - out.len());
                if !lock(shard).take_changes(count, now_ms, out) {
                    break;
                }
            }
            if out.len() >= end {
                // The rest may be nothing: then it is found out next time.
                self.has_changes.store(true, Relaxed);
                return true;
            }
        }
        false
    }

    /// Appends what is remembered, from `cursor` on, of about `max_count` clients at most; where to go
    /// on, none at the end.
    pub fn dump(
        &self,
        cursor: Cursor,
        max_count: usize,
        now_ms: u64,
        out: &mut Vec<TableRecord>,
    ) -> Option<Cursor> {
        let shards = self.shards.get()?;
        let (mut at, end) = (cursor, out.len() + max_count);
        while let Some(shard) = shards.get(at.shard) {
            if out.len() >= end {
                return Some(at);
            }
            let count = LOCKED_MAX_COUNT.min(end - out.len());
            at = match lock(shard).dump(at.slot, count, now_ms, out) {
                Some(slot) => Cursor { slot, ..at },
                None => Cursor { shard: at.shard + 1, slot: 0 },
            };
        }
        None
    }

    /// Forgets clients that have not been seen for longer than they are remembered.
    pub fn expire(&self, now_ms: u64) {
        for shard in self.shards.get().into_iter().flatten() {
            loop {
                let count = lock(shard).expire(LOCKED_MAX_COUNT, now_ms, self.node_id);
                self.entry_count.fetch_sub(count, Relaxed);
                if count < LOCKED_MAX_COUNT {
                    break;
                }
            }
        }
    }

    /// Forgets the clients of which entries up to that stamp tell, whoever still tells of them.
    pub fn clear_until(&self, stamp: u64) {
        if self.cleared_stamp.fetch_max(stamp, Relaxed) >= stamp {
            return;
        }
        for shard in self.shards.get().into_iter().flatten() {
            let count = lock(shard).clear_until(stamp);
            self.entry_count.fetch_sub(count, Relaxed);
        }
    }

    /// What it has and has done.
    pub fn counts(&self) -> TableCounts {
        TableCounts {
            entry_count: self.entry_count.load(Relaxed),
            capacity: self.capacity.load(Relaxed),
            evicted_count: self.evicted_count.load(Relaxed),
        }
    }

    /// Whether it was ever used.
    pub fn is_used(&self) -> bool {
        self.shards.get().is_some()
    }

    /// Stores an entry; whether room must be made elsewhere, because there is none to make here.
    fn insert(&self, shard: &mut Shard, record: &TableRecord, now_ms: u64, is_own: bool) -> bool {
        let mut lacks_room = false;
        if shard.version(record.client).is_none() {
            let count = self.entry_count.fetch_add(1, Relaxed) + 1;
            let surplus = count.saturating_sub(self.capacity.load(Relaxed));
            let evicted = (0..surplus.min(EVICTED_MAX_COUNT)).take_while(|_| shard.evict()).count();
            self.count_evicted(evicted);
            lacks_room = surplus > 0 && evicted == 0;
        }
        shard.insert(record, now_ms, is_own);
        lacks_room
    }

    /// Makes room for an entry of that client, whose own part had nothing else.
    fn evict_elsewhere(&self, client: ClientKey) {
        let Some(shards) = self.shards.get() else { return };
        let own = shard_index(client);
        let mut others = (1..SHARD_COUNT).map(|distance| &shards[(own + distance) % SHARD_COUNT]);
        if others.any(|shard| lock(shard).evict()) {
            self.count_evicted(1);
        }
    }

    fn count_evicted(&self, count: usize) {
        self.entry_count.fetch_sub(count, Relaxed);
        self.evicted_count.fetch_add(count as u64, Relaxed);
    }

    fn note_changes(&self, has_changed: bool) {
        if has_changed && !self.has_changes.load(Relaxed) {
            self.has_changes.store(true, Relaxed);
        }
    }

    fn existing(&self, client: ClientKey) -> Option<MutexGuard<'_, Shard>> {
        Some(lock(&self.shards.get()?[shard_index(client)]))
    }

    fn shard_of(&self, client: ClientKey) -> MutexGuard<'_, Shard> {
        let shards = self
            .shards
            .get_or_init(|| std::iter::repeat_with(Padded::default).take(SHARD_COUNT).collect());
        lock(&shards[shard_index(client)])
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// By the upper bits: the map of a shard goes by the lower ones.
fn shard_index(client: ClientKey) -> usize {
    (client.0 >> 124) as usize % SHARD_COUNT
}

#[cfg(test)]
mod tests;
