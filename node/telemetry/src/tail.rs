//! The live tail: access records as they are made, for whoever watches.
//!
//! ```text
//!   worker: Tail::offer ── filter ── rate ── JSON ──► bounded channel of each reader ──► TailReader
//! ```
//! Nobody watches: a request costs one atomic load. Where a reader is slow, or more happens than it has
//! asked for, what it misses is counted and it is told.
//!
//! Invariant: a worker waits for no reader, and takes no lock; secrets do not get into a record.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use arc_swap::ArcSwap;
use ballast_model::tail::{ANY_REASON, TailFilter};
use tokio::sync::mpsc;

use crate::access_log::{AccessRecord, RecordWriter, SecondText};

mod mask;

/// Most readers at once on a node.
pub const READER_MAX_COUNT: usize = 16;
/// Records that a reader may be behind; further ones are dropped and counted.
pub const BEHIND_MAX_COUNT: usize = 512;

/// The live tail of a node. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    reader_count: AtomicUsize,
    readers: ArcSwap<Vec<Arc<Reader>>>,
}

#[derive(Debug)]
struct Reader {
    filter: TailFilter,
    records: mpsc::Sender<String>,
    left_out: AtomicU64,
    /// The second of the last record, and how many it has had: [`COUNT_BITS`] of them.
    rate: AtomicU64,
}

/// Bits of the count in [`Reader::rate`]: more than any rate.
const COUNT_BITS: u32 = 16;

/// All places are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{READER_MAX_COUNT} readers watch this node already")]
pub struct TooManyReaders;

impl Tail {
    /// Whether anybody watches.
    pub fn is_on(&self) -> bool {
        self.shared.reader_count.load(Relaxed) > 0
    }

    /// Shows a record to those who want it, at `now_ms` since the Unix epoch.
    pub fn offer(&self, record: &AccessRecord<'_>, now_ms: u64) {
        let readers = self.shared.readers.load();
        let mut text: Option<String> = None;
        for reader in readers.iter().filter(|reader| matches(&reader.filter, record)) {
            let is_shown = reader.has_turn(now_ms) && {
                let text = text.get_or_insert_with(|| json(record));
                reader.records.try_send(text.clone()).is_ok()
            };
            if !is_shown {
                reader.left_out.fetch_add(1, Relaxed);
            }
        }
    }

    /// Begins to watch.
    ///
    /// # Errors
    /// As many as may watch do so.
    pub fn watch(&self, filter: TailFilter) -> Result<TailReader, TooManyReaders> {
        let taken = self.shared.reader_count.fetch_add(1, Relaxed);
        if taken >= READER_MAX_COUNT {
            self.shared.reader_count.fetch_sub(1, Relaxed);
            return Err(TooManyReaders);
        }
        let (sender, records) = mpsc::channel(BEHIND_MAX_COUNT);
        let reader = Arc::new(Reader {
            filter,
            records: sender,
            left_out: AtomicU64::new(0),
            rate: AtomicU64::new(0),
        });
        self.shared.readers.rcu(|readers| {
            let mut readers = Vec::clone(readers);
            readers.push(Arc::clone(&reader));
            readers
        });
        Ok(TailReader { tail: self.clone(), reader, records })
    }
}

impl Reader {
    /// Whether one more record may be shown in this second.
    fn has_turn(&self, now_ms: u64) -> bool {
        let this_second = (now_ms / 1_000) << COUNT_BITS;
        let rate = u64::from(self.filter.rate_max_per_s);
        let take = |held: u64| {
            // Workers' clocks differ by little: one that is behind counts into the newer second.
            let held = held.max(this_second);
            (held & ((1 << COUNT_BITS) - 1) < rate).then_some(held + 1)
        };
        self.rate.fetch_update(Relaxed, Relaxed, take).is_ok()
    }
}

/// Whether the record is one of those that are wanted.
fn matches(filter: &TailFilter, record: &AccessRecord<'_>) -> bool {
    let same =
        |wanted: &Option<String>, own: &str| wanted.as_deref().is_none_or(|wanted| wanted == own);
    let prefix = filter.path_prefix.as_deref().unwrap_or_default();
    let reason = record.reason.map(|reason| reason.code());
    same(&filter.virtual_server, record.virtual_server)
        && same(&filter.pool, record.pool)
        && same(&filter.member, record.member.unwrap_or_default())
        && filter.status.is_none_or(|status| status.contains(record.status))
        && filter.reason.as_deref().is_none_or(|wanted| match wanted {
            ANY_REASON => reason.is_some(),
            wanted => reason == Some(wanted),
        })
        && record.uri.starts_with(prefix.as_bytes())
        && filter.client.is_none_or(|network| network.contains(record.client.ip()))
        && record.total_us >= filter.min_duration_ms.saturating_mul(1_000)
}

/// The record as JSON, without its secrets.
fn json(record: &AccessRecord<'_>) -> String {
    let mut text = Vec::with_capacity(512);
    let uri = mask::query(record.uri);
    let request_headers = mask::headers(record.request_headers);
    let response_headers = mask::headers(record.response_headers);
    let record = AccessRecord {
        uri: &uri,
        request_headers: record.request_headers.with_values(&request_headers),
        response_headers: record.response_headers.with_values(&response_headers),
        ..*record
    };
    RecordWriter::new(&mut text, &mut SecondText::default()).json(&record);
    // What is written is text.
    String::from_utf8(text).unwrap_or_default()
}

/// Somebody who watches. Dropping it ends that.
#[derive(Debug)]
pub struct TailReader {
    tail: Tail,
    reader: Arc<Reader>,
    records: mpsc::Receiver<String>,
}

impl TailReader {
    /// The next record, as JSON. Safe to cancel.
    pub async fn next(&mut self) -> Option<String> {
        self.records.recv().await
    }

    /// How many records were left out since this was last asked.
    pub fn take_left_out(&self) -> u64 {
        self.reader.left_out.swap(0, Relaxed)
    }
}

impl Drop for TailReader {
    fn drop(&mut self) {
        self.tail.shared.readers.rcu(|readers| {
            let others = readers.iter().filter(|other| !Arc::ptr_eq(other, &self.reader));
            others.cloned().collect::<Vec<_>>()
        });
        self.tail.shared.reader_count.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests;
