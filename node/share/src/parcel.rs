//! All that a process knows of clients and of rate limits, for the one that succeeds it on the same node.
//!
//! ```text
//! parcel   version u8 = 1 │ (length u32 │ message)…      messages as between nodes
//! ```
//! What a limit's key still owes stands in the place of what was let through.
//!
//! Invariant: a parcel has at most [`PARCEL_MAX_BYTES`]; what finds no room in it is counted.

use std::sync::Arc;

use ballast_balance::TableRecord;
use ballast_balance::persistence::table::Cursor;

use crate::wire::{
    CONSUMPTION_MAX_COUNT, MESSAGE_MAX_BYTES, Message, RECORD_MAX_COUNT, Section, WireError,
};
use crate::{Inner, Share, now_ms};

/// The largest parcel, in bytes: some two million clients.
pub const PARCEL_MAX_BYTES: usize = 128 * 1024 * 1024;

const VERSION: u8 = 1;

/// What is wrong with a parcel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParcelError {
    /// It is of a version that this process does not know.
    #[error("a parcel of version {0}, which is not known here")]
    UnknownVersion(u8),
    /// It ends too early.
    #[error("the parcel ends too early")]
    Short,
    /// A message in it.
    #[error("a message of the parcel")]
    Message(#[source] WireError),
}

/// What came of a parcel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnpackedCounts {
    /// Clients that are remembered now.
    pub record_count: u64,
    /// Clients of pools that are not known here.
    pub unknown_count: u64,
    /// Keys of rate limits.
    pub limit_count: u64,
}

struct Parcel {
    bytes: Vec<u8>,
    max_bytes: usize,
    /// Clients and keys for which there was no room.
    left_out_count: usize,
}

impl Share {
    /// What the tables and the limits hold, and how many clients and keys found no room. What changes from
    /// now on is for [`pack_changes`](Self::pack_changes): no other node may be told meanwhile. Blocks.
    pub fn pack(&self) -> (Vec<u8>, usize) {
        self.0.pack(PARCEL_MAX_BYTES)
    }

    /// What has changed in the tables since [`pack`](Self::pack). Blocks.
    pub fn pack_changes(&self) -> (Vec<u8>, usize) {
        let mut parcel = Parcel::new(PARCEL_MAX_BYTES);
        self.0.each_change(|uid, records| parcel.push_records(uid, records));
        (parcel.bytes, parcel.left_out_count)
    }

    /// Takes in what another process has packed. Blocks.
    ///
    /// # Errors
    /// It can't be understood from some point on; what came before counts.
    pub fn unpack(&self, parcel: &[u8]) -> Result<UnpackedCounts, ParcelError> {
        self.0.unpack(parcel)
    }
}

impl Inner {
    fn pack(&self, max_bytes: usize) -> (Vec<u8>, usize) {
        let mut parcel = Parcel::new(max_bytes);
        // They are in the tables.
        self.each_change(|_, _| ());
        let mut records = Vec::new();
        for pool in Arc::clone(&self.pools.borrow()).values() {
            let mut cursor = Some(Cursor::default());
            while let Some(from) = cursor {
                let table = pool.persistence_table();
                cursor = table.dump(from, RECORD_MAX_COUNT, now_ms(), &mut records);
                parcel.push_records(pool.uid(), &records);
                records.clear();
            }
        }
        let mut from = 0;
        loop {
            let mut message = Message::default();
            from = self.limits.dump(from, CONSUMPTION_MAX_COUNT, &mut message.consumptions);
            let count = message.consumptions.len();
            if count > 0 {
                parcel.push(&message, count);
            }
            if from == 0 {
                return (parcel.bytes, parcel.left_out_count);
            }
        }
    }

    fn each_change(&self, mut each: impl FnMut(&str, &[TableRecord])) {
        let mut records = Vec::new();
        for pool in Arc::clone(&self.pools.borrow()).values() {
            let table = pool.persistence_table();
            let mut has_more = table.has_changes();
            while has_more {
                has_more = table.take_changes(RECORD_MAX_COUNT, now_ms(), &mut records);
                each(pool.uid(), &records);
                records.clear();
            }
        }
    }

    fn unpack(&self, parcel: &[u8]) -> Result<UnpackedCounts, ParcelError> {
        let mut counts = UnpackedCounts::default();
        let mut rest = match parcel.split_first() {
            Some((&VERSION, rest)) => rest,
            Some((version, _)) => return Err(ParcelError::UnknownVersion(*version)),
            None => return Err(ParcelError::Short),
        };
        while !rest.is_empty() {
            let (length, after) = rest.split_first_chunk().ok_or(ParcelError::Short)?;
            let length = u32::from_be_bytes(*length) as usize;
            let (message, after) = after.split_at_checked(length).ok_or(ParcelError::Short)?;
            rest = after;
            let message = Message::decode(message).map_err(ParcelError::Message)?;
            for section in &message.sections {
                let count = section.records.len() as u64;
                let Some(table) = self.table(&section.pool_uid) else {
                    counts.unknown_count += count;
                    continue;
                };
                for record in &section.records {
                    // Old news is that this process knows better.
                    let _news = table.merge(record, now_ms());
                }
                counts.record_count += count;
            }
            counts.limit_count += message.consumptions.len() as u64;
            message.consumptions.iter().for_each(|owed| self.limits.absorb(owed));
        }
        Ok(counts)
    }
}

impl Parcel {
    fn new(max_bytes: usize) -> Self {
        Self { bytes: vec![VERSION], max_bytes, left_out_count: 0 }
    }

    fn push_records(&mut self, pool_uid: &str, records: &[TableRecord]) {
        if records.is_empty() {
            return;
        }
        let (pool_uid, count) = (pool_uid.to_owned(), records.len());
        let section = Section { pool_uid, records: records.to_vec() };
        self.push(&Message { sections: vec![section], ..Message::default() }, count);
    }

    /// A message about so many clients or keys.
    fn push(&mut self, message: &Message, count: usize) {
        let message = message.encode();
        // As between nodes: what has so many records has no more bytes.
        debug_assert!(message.len() <= MESSAGE_MAX_BYTES);
        if self.bytes.len() + 4 + message.len() > self.max_bytes {
            self.left_out_count += count;
            return;
        }
        self.bytes.extend((message.len() as u32).to_be_bytes());
        self.bytes.extend(message);
    }
}

#[cfg(test)]
mod tests;
