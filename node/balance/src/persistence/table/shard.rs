//! A part of a persistence table: entries in a slab, found by a map, in the order in which they were
//! seen.
//!
//! Invariant: an entry is in the map, in the list and in use, or in none of them; the list begins with
//! the one seen last.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::{TableRecord, Version};
use crate::persistence::MemberKey;
use crate::persistence::client::{ClientKey, Known};

/// No entry.
const NONE: u32 = u32::MAX;
/// A client that is seen again is told of when this part of its timeout has passed since it last was.
const TOLD_PART: u32 = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct Shard {
    map: HashMap<ClientKey, u32, BuildHasherDefault<AlreadyHashed>>,
    slots: Vec<Slot>,
    /// Slots that are not in use.
    free: Vec<u32>,
    /// Slots that may hold something to tell, each once.
    changed: Vec<u32>,
    first: u32,
    last: u32,
    /// The highest stamp that was made or heard of.
    stamp: u64,
}

#[derive(Debug)]
struct Slot {
    client: ClientKey,
    member: MemberKey,
    version: Version,
    seen_ms: u64,
    /// When others were last told, or told us.
    told_ms: u64,
    timeout_ms: u32,
    before: u32,
    after: u32,
    is_used: bool,
    /// There is something to tell.
    has_changed: bool,
    /// It is in `changed`.
    is_listed: bool,
}

/// What a look-up found and did.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) member: Option<MemberKey>,
    pub(super) has_changed: bool,
    pub(super) has_expired: bool,
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            map: HashMap::default(),
            slots: Vec::new(),
            free: Vec::new(),
            changed: Vec::new(),
            first: NONE,
            last: NONE,
            stamp: 0,
        }
    }
}

impl Shard {
    /// Looks a client up and notes that it was seen. One that has expired is forgotten.
    pub(super) fn touch(&mut self, known: Known, now_ms: u64, node_id: u64) -> Found {
        let Some(at) = self.map.get(&known.client).copied() else { return Found::default() };
        if self.slots[at as usize].is_over(known.timeout_ms, now_ms, node_id) {
            self.remove(at);
            return Found { has_expired: true, ..Found::default() };
        }
        let slot = &mut self.slots[at as usize];
        slot.seen_ms = slot.seen_ms.max(now_ms);
        slot.timeout_ms = known.timeout_ms;
        let member = Some(slot.member);
        let untold_ms = now_ms.saturating_sub(slot.told_ms);
        let is_due = untold_ms >= u64::from(known.timeout_ms / TOLD_PART) && !slot.has_changed;
        self.move_to_front(at);
        if is_due {
            let version = self.next_version(now_ms, node_id);
            self.slots[at as usize].version = version;
            self.list(at);
        }
        Found { member, has_changed: is_due, has_expired: false }
    }

    pub(super) fn peek(&self, known: Known, now_ms: u64) -> Option<MemberKey> {
        let slot = &self.slots[*self.map.get(&known.client)? as usize];
        // Whose the entry is makes an eighth of a difference, to the end of its time only.
        (!slot.is_over(known.timeout_ms, now_ms, slot.version.node_id)).then_some(slot.member)
    }

    pub(super) fn version(&self, client: ClientKey) -> Option<Version> {
        Some(self.slots[*self.map.get(&client)? as usize].version)
    }

    /// A version above all that are known here.
    pub(super) fn next_version(&mut self, now_ms: u64, node_id: u64) -> Version {
        self.stamp = self.stamp.saturating_add(1).max(now_ms);
        Version { stamp: self.stamp, node_id }
    }

    pub(super) fn hear(&mut self, stamp: u64) {
        self.stamp = self.stamp.max(stamp);
    }

    /// Stores an entry, or replaces the client's. `is_own`: others are to be told.
    pub(super) fn insert(&mut self, record: &TableRecord, now_ms: u64, is_own: bool) {
        let at = match self.map.get(&record.client) {
            Some(at) => *at,
            None => {
                let at = self.take_slot();
                self.map.insert(record.client, at);
                self.link_first(at);
                at
            }
        };
        let slot = &mut self.slots[at as usize];
        slot.client = record.client;
        slot.member = record.member;
        slot.version = record.version;
        slot.seen_ms = now_ms.saturating_sub(record.idle_ms.into());
        slot.told_ms = now_ms;
        slot.timeout_ms = record.timeout_ms;
        slot.is_used = true;
        slot.has_changed = false;
        self.move_to_front(at);
        if is_own {
            self.list(at);
        }
    }

    /// Forgets the client that was not seen for longest; false where there is none.
    pub(super) fn evict(&mut self) -> bool {
        let last = self.last;
        if last != NONE {
            self.remove(last);
        }
        last != NONE
    }

    /// Forgets clients that have expired, at most so many; how many they were.
    pub(super) fn expire(&mut self, max_count: usize, now_ms: u64, node_id: u64) -> usize {
        let mut count = 0;
        while count < max_count && self.last != NONE {
            let slot = &self.slots[self.last as usize];
            if !slot.is_over(slot.timeout_ms, now_ms, node_id) {
                break;
            }
            self.remove(self.last);
            count += 1;
        }
        count
    }

    /// Forgets entries up to that stamp; how many they were.
    pub(super) fn clear_until(&mut self, stamp: u64) -> usize {
        self.hear(stamp);
        let mut count = 0;
        for at in 0..self.slots.len() {
            let slot = &self.slots[at];
            if slot.is_used && slot.version.stamp <= stamp {
                self.remove(at as u32);
                count += 1;
            }
        }
        count
    }

    /// Appends what there is to tell of at most so many clients; whether there is more.
    pub(super) fn take_changes(
        &mut self,
        max_count: usize,
        now_ms: u64,
        out: &mut Vec<TableRecord>,
    ) -> bool {
        let end = out.len() + max_count;
        while out.len() < end {
            let Some(at) = self.changed.pop() else { return false };
            let slot = &mut self.slots[at as usize];
            slot.is_listed = false;
            if slot.is_used && std::mem::take(&mut slot.has_changed) {
                slot.told_ms = now_ms;
                out.push(slot.record(now_ms));
            }
        }
        !self.changed.is_empty()
    }

    /// Appends the entries of at most so many slots; the slot to go on at.
    pub(super) fn dump(
        &self,
        from: usize,
        max_count: usize,
        now_ms: u64,
        out: &mut Vec<TableRecord>,
    ) -> Option<usize> {
        let end = from.saturating_add(max_count).min(self.slots.len());
        let slots = self.slots.get(from..end).unwrap_or_default();
        out.extend(slots.iter().filter(|slot| slot.is_used).map(|slot| slot.record(now_ms)));
        (end < self.slots.len()).then_some(end)
    }

    /// Notes that there is something to tell of an entry.
    fn list(&mut self, at: u32) {
        let slot = &mut self.slots[at as usize];
        slot.has_changed = true;
        if !std::mem::replace(&mut slot.is_listed, true) {
            self.changed.push(at);
        }
    }

    fn take_slot(&mut self) -> u32 {
        if let Some(at) = self.free.pop() {
            return at;
        }
        self.slots.push(Slot::default());
        // The capacity of a table is far below.
        (self.slots.len() - 1) as u32
    }

    fn remove(&mut self, at: u32) {
        self.unlink(at);
        let slot = &mut self.slots[at as usize];
        slot.is_used = false;
        slot.has_changed = false;
        self.map.remove(&slot.client);
        self.free.push(at);
    }

    fn move_to_front(&mut self, at: u32) {
        if self.first != at {
            self.unlink(at);
            self.link_first(at);
        }
    }

    fn link_first(&mut self, at: u32) {
        let first = std::mem::replace(&mut self.first, at);
        let slot = &mut self.slots[at as usize];
        (slot.before, slot.after) = (NONE, first);
        match first {
            NONE => self.last = at,
            first => self.slots[first as usize].before = at,
        }
    }

    fn unlink(&mut self, at: u32) {
        let Slot { before, after, .. } = self.slots[at as usize];
        match before {
            NONE => self.first = after,
            before => self.slots[before as usize].after = after,
        }
        match after {
            NONE => self.last = before,
            after => self.slots[after as usize].before = before,
        }
    }
}

/// Whether a record came too late to be of use.
pub(super) fn is_expired(record: &TableRecord, node_id: u64) -> bool {
    u64::from(record.idle_ms) >= kept_ms(record.timeout_ms, record.version.node_id != node_id)
}

/// How long an entry is kept without being seen here: of another node's it is not known to the eighth
/// when it was seen last.
fn kept_ms(timeout_ms: u32, is_told: bool) -> u64 {
    let grace_ms = if is_told { timeout_ms / TOLD_PART } else { 0 };
    u64::from(timeout_ms) + u64::from(grace_ms)
}

impl Slot {
    fn is_over(&self, timeout_ms: u32, now_ms: u64, node_id: u64) -> bool {
        let idle_ms = now_ms.saturating_sub(self.seen_ms);
        idle_ms >= kept_ms(timeout_ms, self.version.node_id != node_id)
    }

    fn record(&self, now_ms: u64) -> TableRecord {
        let idle_ms = now_ms.saturating_sub(self.seen_ms);
        TableRecord {
            client: self.client,
            member: self.member,
            version: self.version,
            idle_ms: u32::try_from(idle_ms).unwrap_or(u32::MAX),
            timeout_ms: self.timeout_ms,
        }
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            client: ClientKey(0),
            member: MemberKey::default(),
            version: Version::default(),
            seen_ms: 0,
            told_ms: 0,
            timeout_ms: 0,
            before: NONE,
            after: NONE,
            is_used: false,
            has_changed: false,
            is_listed: false,
        }
    }
}

/// Keys are keyed hashes already.
#[derive(Debug, Default)]
pub(super) struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, number: u128) {
        self.0 = number as u64;
    }
}
