//! The access log: one line for each request, as JSON or in a form of the operator's.
//!
//! ```text
//!   worker: AccessLogWriter ── full buffers ──► bounded channel ──► one thread: file, stdout, syslog
//!           formats into its buffer ◄── empty buffers ◄────────────────┘
//! ```
//!
//! Invariant: a worker never waits for the disk. Where the channel is full, the records of a buffer
//! are dropped and counted.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub mod format;
mod record;
mod sink;
pub mod syslog;

use crate::clock::now_ms;
pub use format::{FormatError, LogFormat};
pub use record::{AccessRecord, HEADER_VALUE_MAX_BYTES, HeaderValues};
pub(crate) use record::{RecordWriter, SecondText};
use sink::Output;
pub use sink::{AccessLogSink, Rotation};
pub use syslog::{SyslogAddress, SyslogTarget};

/// A worker hands its buffer over once it holds this much.
pub const BUFFER_HANDOVER_BYTES: usize = 32 * 1024;
/// A worker hands its buffer over with the first record after this time.
pub const BUFFER_HANDOVER_MS: u64 = 200;
/// Buffers that wait for the writing thread; more are dropped.
pub const QUEUE_MAX_COUNT: usize = 256;
/// How often the writing thread looks whether it is to reopen its file or to end.
const WRITER_TICK: Duration = Duration::from_millis(200);

/// How a node's access log is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLogOptions {
    /// Where records go.
    pub sink: AccessLogSink,
    /// What a record looks like.
    pub format: LogFormat,
    /// For files: when they are put aside.
    pub rotation: Option<Rotation>,
}

/// The access log of a node. Cheap to clone; give each worker a [`writer`](Self::writer).
#[derive(Clone, Debug)]
pub struct AccessLog {
    shared: Option<Arc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    full: SyncSender<Batch>,
    empty: Mutex<Receiver<Vec<u8>>>,
    counts: Arc<Counts>,
    format: LogFormat,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Counts {
    written_records: AtomicU64,
    dropped_records: AtomicU64,
    write_errors: AtomicU64,
    reopen: AtomicBool,
    is_following: AtomicBool,
    stop: AtomicBool,
}

/// Formatted records on their way to the writing thread.
#[derive(Debug)]
struct Batch {
    text: Vec<u8>,
    record_count: u64,
}

/// What became of the records so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessLogTotals {
    /// Records written.
    pub written_total: u64,
    /// Records dropped because the writing thread was too slow, or could not write.
    pub dropped_total: u64,
    /// Writes that failed.
    pub write_errors_total: u64,
}

impl AccessLog {
    /// Opens the sink and starts the writing thread; records are JSON.
    ///
    /// # Errors
    /// Where the sink can't be opened or the thread can't be started.
    pub fn start(sink: &AccessLogSink) -> io::Result<Self> {
        let sink = sink.clone();
        Self::start_with(AccessLogOptions { sink, format: LogFormat::Json, rotation: None })
    }

    /// Opens the sink and starts the writing thread.
    ///
    /// # Errors
    /// Where the sink can't be opened or the thread can't be started.
    pub fn start_with(options: AccessLogOptions) -> io::Result<Self> {
        let AccessLogOptions { sink, format, rotation } = options;
        let Some(output) = Output::open(&sink, rotation)? else { return Ok(Self::off()) };
        let (full, full_receiver) = sync_channel(QUEUE_MAX_COUNT);
        let (empty_sender, empty) = sync_channel(QUEUE_MAX_COUNT);
        let counts = Arc::new(Counts::default());
        let writer = Writer { output, empty: empty_sender, counts: Arc::clone(&counts) };
        let thread = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writer.run(&full_receiver))?;
        let (empty, thread) = (Mutex::new(empty), Mutex::new(Some(thread)));
        Ok(Self { shared: Some(Arc::new(Shared { full, empty, counts, format, thread })) })
    }

    /// A log that keeps nothing.
    pub fn off() -> Self {
        Self { shared: None }
    }

    /// A writer for one worker.
    pub fn writer(&self) -> AccessLogWriter {
        AccessLogWriter {
            log: self.clone(),
            buffer: Vec::new(),
            record_count: 0,
            handed_over_ms: 0,
            second: SecondText::default(),
        }
    }

    /// What became of the records so far.
    pub fn totals(&self) -> AccessLogTotals {
        let Some(shared) = &self.shared else { return AccessLogTotals::default() };
        AccessLogTotals {
            written_total: shared.counts.written_records.load(Relaxed),
            dropped_total: shared.counts.dropped_records.load(Relaxed),
            write_errors_total: shared.counts.write_errors.load(Relaxed),
        }
    }

    /// Has the file opened anew, after it was renamed by a log rotation.
    pub fn reopen(&self) {
        if let Some(shared) = &self.shared {
            shared.counts.reopen.store(true, Relaxed);
        }
    }

    /// Whether another process writes to the same file and rotates it: then this one never does, and goes
    /// on with the new file as soon as the name is that one's.
    pub fn follow(&self, is_following: bool) {
        if let Some(shared) = &self.shared {
            shared.counts.is_following.store(is_following, Relaxed);
        }
    }

    /// Writes what was handed over and ends the writing thread. Blocks until that is done; writers
    /// should have been flushed before. Records that come later are dropped and counted.
    pub fn shutdown(&self) {
        let Some(shared) = &self.shared else { return };
        shared.counts.stop.store(true, Relaxed);
        let thread = shared.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the access log's thread panicked");
        }
    }
}

/// One worker's end of the access log.
#[derive(Debug)]
pub struct AccessLogWriter {
    log: AccessLog,
    buffer: Vec<u8>,
    record_count: u64,
    handed_over_ms: u64,
    second: SecondText,
}

impl AccessLogWriter {
    /// Whether records are kept at all; if not, the caller can save itself making them.
    pub fn is_on(&self) -> bool {
        self.log.shared.is_some()
    }

    /// Writes one record into the buffer, and hands the buffer over if it is full or old.
    pub fn record(&mut self, record: &AccessRecord<'_>) {
        let Some(shared) = &self.log.shared else { return };
        RecordWriter::new(&mut self.buffer, &mut self.second).line(&shared.format, record);
        self.record_count += 1;
        let age_ms = record.time_ms.saturating_sub(self.handed_over_ms);
        if self.buffer.len() >= BUFFER_HANDOVER_BYTES || age_ms >= BUFFER_HANDOVER_MS {
            self.handed_over_ms = record.time_ms;
            self.flush();
        }
    }

    /// Hands over what is in the buffer. A worker calls this on its tick, so that the last records
    /// before a silence don't wait for the next request, and before it ends.
    pub fn flush(&mut self) {
        let Some(shared) = &self.log.shared else { return };
        if self.record_count == 0 {
            return;
        }
        // Only taken where nobody else is at it: a worker does not wait, it allocates instead.
        let reused = shared.empty.try_lock().ok().and_then(|empty| empty.try_recv().ok());
        let next = reused.unwrap_or_else(|| Vec::with_capacity(2 * BUFFER_HANDOVER_BYTES));
        let text = std::mem::replace(&mut self.buffer, next);
        let record_count = std::mem::take(&mut self.record_count);
        if let Err(error) = shared.full.try_send(Batch { text, record_count }) {
            shared.counts.dropped_records.fetch_add(record_count, Relaxed);
            let (TrySendError::Full(batch) | TrySendError::Disconnected(batch)) = error;
            self.buffer = batch.text;
            self.buffer.clear();
        }
    }
}

impl Drop for AccessLogWriter {
    fn drop(&mut self) {
        self.flush();
    }
}

struct Writer {
    output: Output,
    empty: SyncSender<Vec<u8>>,
    counts: Arc<Counts>,
}

impl Writer {
    fn run(mut self, full: &Receiver<Batch>) {
        loop {
            let stopping = self.counts.stop.load(Relaxed);
            match full.recv_timeout(if stopping { Duration::ZERO } else { WRITER_TICK }) {
                Ok(batch) => {
                    self.reopen_if_asked();
                    self.write(batch);
                }
                Err(RecvTimeoutError::Timeout) if stopping => return,
                Err(RecvTimeoutError::Timeout) => self.reopen_if_asked(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn write(&mut self, Batch { mut text, record_count }: Batch) {
        self.output.follow(self.counts.is_following.load(Relaxed));
        let (outcome, result) = self.output.write(&text, record_count);
        self.counts.written_records.fetch_add(outcome.written_count, Relaxed);
        self.counts.dropped_records.fetch_add(outcome.lost_count, Relaxed);
        if let Err(error) = result
            // The first of all is logged, the others are counted.
            && self.counts.write_errors.fetch_add(1, Relaxed) == 0
        {
            tracing::error!(%error, "the access log can't be written");
        }
        text.clear();
        // With no room for spare buffers, this one is freed.
        let _full_or_gone = self.empty.try_send(text);
    }

    fn reopen_if_asked(&mut self) {
        if !self.counts.reopen.swap(false, Relaxed) {
            return;
        }
        self.output.reopen();
    }
}

#[cfg(test)]
mod tests;
