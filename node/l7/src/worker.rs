//! What the HTTP connections of one worker share: buffers, idle member connections, scratch space.
//!
//! Invariant: nothing here is borrowed across an `await`.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use ballast_telemetry::otlp::SpanSink;
use ballast_telemetry::{AccessLog, AccessLogWriter, AccessRecord, Tail};
use ballast_workers::{
    Connection, ConnectionHandler, ConnectionTask, HandlerFactory, Refused, WorkerContext,
};

use crate::buffer::BufferPool;
use crate::buffering::{Budget, BufferingTotals, WORKER_MAX_BYTES};
use crate::codec::head::Field;
use crate::connection;
use crate::own::DateLine;
use crate::policy::mirror::{MirrorTotals, Mirrors};
use crate::policy::{PolicyScratch, RateLimits};
use crate::refusal;
use crate::upstream::WorkerPools;

/// Longest text kept for reuse, in bytes.
const TEXT_KEPT_MAX_BYTES: usize = 4 * 1024;
/// Most texts kept for reuse.
const TEXT_KEPT_MAX_COUNT: usize = 256;

/// Makes the HTTP handler of each worker.
#[derive(Clone, Debug)]
pub struct HttpHandlers {
    access_log: AccessLog,
    rate_limits: Arc<RateLimits>,
    mirror_totals: Arc<MirrorTotals>,
    tail: Tail,
    spans: SpanSink,
    buffering_max_bytes: Option<usize>,
    buffering_totals: Arc<BufferingTotals>,
}

impl HttpHandlers {
    /// Handlers that write to `access_log`.
    pub fn new(access_log: AccessLog) -> Self {
        Self {
            access_log,
            rate_limits: Arc::default(),
            mirror_totals: Arc::default(),
            tail: Tail::default(),
            spans: SpanSink::default(),
            buffering_max_bytes: None,
            buffering_totals: Arc::default(),
        }
    }

    /// The same with so much memory on each worker for messages that are held; 64 MiB unless told.
    #[must_use]
    pub fn with_buffering(self, max_bytes: usize) -> Self {
        Self { buffering_max_bytes: Some(max_bytes), ..self }
    }

    /// What became of messages that were held.
    pub fn buffering_totals(&self) -> Arc<BufferingTotals> {
        Arc::clone(&self.buffering_totals)
    }

    /// The same with spans of recorded requests sent somewhere.
    #[must_use]
    pub fn with_spans(self, spans: SpanSink) -> Self {
        Self { spans, ..self }
    }

    /// The same with rate limits that are shared with others.
    #[must_use]
    pub fn with_rate_limits(self, rate_limits: Arc<RateLimits>) -> Self {
        Self { rate_limits, ..self }
    }

    /// The same with a live tail that others share.
    #[must_use]
    pub fn with_tail(self, tail: Tail) -> Self {
        Self { tail, ..self }
    }

    /// What became of copies for mirror pools.
    pub fn mirror_totals(&self) -> Arc<MirrorTotals> {
        Arc::clone(&self.mirror_totals)
    }
}

impl HandlerFactory for HttpHandlers {
    fn build(&self, worker: &Rc<WorkerContext>) -> Rc<dyn ConnectionHandler> {
        let mut http = HttpWorker::new(Rc::clone(worker), &self.access_log);
        http.rate_limits = Arc::clone(&self.rate_limits);
        http.mirrors = Mirrors::new(Arc::clone(&self.mirror_totals));
        http.tail = self.tail.clone();
        http.spans = self.spans.clone();
        http.budget = Budget::new(
            self.buffering_max_bytes.unwrap_or(WORKER_MAX_BYTES),
            Arc::clone(&self.buffering_totals),
        );
        Rc::new(http)
    }
}

/// What the HTTP connections of one worker share.
#[derive(Debug)]
pub(crate) struct HttpWorker {
    pub(crate) context: Rc<WorkerContext>,
    pub(crate) buffers: BufferPool,
    pub(crate) pools: WorkerPools,
    /// The fields of the head that is being looked at.
    pub(crate) fields: RefCell<Vec<Field>>,
    pub(crate) policy: RefCell<PolicyScratch>,
    pub(crate) rate_limits: Arc<RateLimits>,
    pub(crate) mirrors: Mirrors,
    pub(crate) tail: Tail,
    pub(crate) spans: SpanSink,
    /// For messages that are held.
    pub(crate) budget: Budget,
    pub(crate) date: DateLine,
    texts: RefCell<Vec<Vec<u8>>>,
    access_log: RefCell<AccessLogWriter>,
}

impl HttpWorker {
    pub(crate) fn new(context: Rc<WorkerContext>, access_log: &AccessLog) -> Self {
        let worker_index = context.index;
        Self {
            context,
            buffers: BufferPool::default(),
            pools: WorkerPools::new(worker_index),
            fields: RefCell::default(),
            policy: RefCell::default(),
            rate_limits: Arc::default(),
            mirrors: Mirrors::default(),
            tail: Tail::default(),
            spans: SpanSink::default(),
            budget: Budget::default(),
            date: DateLine::default(),
            texts: RefCell::default(),
            access_log: RefCell::new(access_log.writer()),
        }
    }

    /// Whether anything is written down at all.
    pub(crate) fn keeps_log(&self) -> bool {
        self.access_log.borrow().is_on()
    }

    /// Writes a record down.
    pub(crate) fn log(&self, record: &AccessRecord<'_>) {
        self.access_log.borrow_mut().record(record);
    }

    /// An empty text.
    pub(crate) fn take_text(&self) -> Vec<u8> {
        self.texts.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes a text back, to be used again.
    pub(crate) fn give_text(&self, mut text: Vec<u8>) {
        let mut texts = self.texts.borrow_mut();
        let is_worth_it = (1..=TEXT_KEPT_MAX_BYTES).contains(&text.capacity());
        if is_worth_it && texts.len() < TEXT_KEPT_MAX_COUNT {
            text.clear();
            texts.push(text);
        }
    }
}

impl ConnectionHandler for HttpWorker {
    fn serve(self: Rc<Self>, connection: Connection) -> ConnectionTask {
        Box::pin(connection::serve(self, connection))
    }

    fn refuse(&self, refused: &Refused) -> Option<Vec<u8>> {
        refusal::words(self, refused)
    }

    fn tick(&self) -> bool {
        let clock = &self.context.clock;
        self.access_log.borrow_mut().flush();
        self.pools.sweep(clock.coarse_ms(), clock.coarse_unix_ms())
    }
}
