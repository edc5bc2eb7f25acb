//! What the HTTP connections of one worker share: buffers, idle member connections, scratch space.
//!
//! Invariant: nothing here is borrowed across an `await`.

use std::cell::RefCell;
use std::rc::Rc;

use ballast_telemetry::{AccessLog, AccessLogWriter, AccessRecord};
use ballast_workers::{
    Connection, ConnectionHandler, ConnectionTask, HandlerFactory, Refused, WorkerContext,
};

use crate::buffer::BufferPool;
use crate::codec::head::Field;
use crate::connection;
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
}

impl HttpHandlers {
    /// Handlers that write to `access_log`.
    pub fn new(access_log: AccessLog) -> Self {
        Self { access_log }
    }
}

impl HandlerFactory for HttpHandlers {
    fn build(&self, worker: &Rc<WorkerContext>) -> Rc<dyn ConnectionHandler> {
        Rc::new(HttpWorker::new(Rc::clone(worker), &self.access_log))
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
    texts: RefCell<Vec<Vec<u8>>>,
    access_log: RefCell<AccessLogWriter>,
}

impl HttpWorker {
    pub(crate) fn new(context: Rc<WorkerContext>, access_log: &AccessLog) -> Self {
        Self {
            context,
            buffers: BufferPool::default(),
            pools: WorkerPools::default(),
            fields: RefCell::default(),
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
