//! The newest entries, in memory: what replication and applying read, nearly always.
//!
//! Invariant: they are consecutive and exactly what is stored; what is not here is read from disk.

use std::collections::VecDeque;

use openraft::EntryPayload;

use crate::raft::Entry;

/// Bytes of commands that are kept.
const KEEP_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Entries that are kept.
const KEEP_MAX_COUNT: usize = 1_024;

#[derive(Default)]
pub(super) struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Tail {
    pub(super) fn append(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            let follows =
                self.entries.back().is_none_or(|last| last.log_id.index + 1 == entry.log_id.index);
            if !follows {
                self.clear();
            }
            self.bytes += size_of_entry(&entry);
            self.entries.push_back(entry);
        }
        while self.bytes > KEEP_MAX_BYTES || self.entries.len() > KEEP_MAX_COUNT {
            self.pop_front();
        }
    }

    /// Removes the entries from `index` on.
    pub(super) fn truncate(&mut self, index: u64) {
        while self.entries.back().is_some_and(|entry| entry.log_id.index >= index) {
            if let Some(entry) = self.entries.pop_back() {
                self.bytes -= size_of_entry(&entry);
            }
        }
    }

    /// Removes the entries up to `index`.
    pub(super) fn purge(&mut self, index: u64) {
        while self.entries.front().is_some_and(|entry| entry.log_id.index <= index) {
            self.pop_front();
        }
    }

    /// The entries of `start..end`, as many as fit `max_bytes` but at least one; none where they are
    /// not all here.
    pub(super) fn read(&self, start: u64, end: u64, max_bytes: usize) -> Option<Vec<Entry>> {
        let first = self.entries.front()?.log_id.index;
        let skip = usize::try_from(start.checked_sub(first)?).ok()?;
        let mut found: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        for entry in self.entries.iter().skip(skip) {
            bytes += size_of_entry(entry);
            if entry.log_id.index >= end || (!found.is_empty() && bytes > max_bytes) {
                break;
            }
            found.push(entry.clone());
        }
        Some(found)
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= size_of_entry(&entry);
        }
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }
}

fn size_of_entry(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(command) => command.len_bytes(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}
