//! What the TCP connections of one worker share.
//!
//! Invariant: nothing here is borrowed across an `await`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use ballast_balance::{InFlight, NoMember, PickInput, PickState, Pool};
use ballast_telemetry::{AccessLog, AccessLogWriter, AccessRecord};
use ballast_workers::{
    Connection, ConnectionHandler, ConnectionTask, HandlerFactory, PoolSlot, Refused, WorkerContext,
};

use crate::buffer::BufferPool;
use crate::connection;
use crate::watch::Watches;

/// Picks that are made where other workers take the room between pick and begin.
const RACE_MAX_COUNT: usize = 4;

/// Makes the TCP handler of each worker.
#[derive(Clone, Debug)]
pub struct TcpHandlers {
    access_log: AccessLog,
}

impl TcpHandlers {
    /// Handlers that write one record per connection to `access_log`.
    pub fn new(access_log: AccessLog) -> Self {
        Self { access_log }
    }
}

impl HandlerFactory for TcpHandlers {
    fn build(&self, worker: &Rc<WorkerContext>) -> Rc<dyn ConnectionHandler> {
        Rc::new(TcpWorker::new(worker, &self.access_log))
    }
}

/// What the TCP connections of one worker share.
#[derive(Debug)]
pub(crate) struct TcpWorker {
    pub(crate) context: Rc<WorkerContext>,
    pub(crate) buffers: BufferPool,
    pub(crate) watches: Rc<Watches>,
    /// Whose turn it is, by the slot of the pool.
    picks: RefCell<HashMap<u64, PickPlace>>,
    access_log: RefCell<AccessLogWriter>,
}

#[derive(Debug)]
struct PickPlace {
    slot: Weak<PoolSlot>,
    state: PickState,
}

impl TcpWorker {
    pub(crate) fn new(worker: &Rc<WorkerContext>, access_log: &AccessLog) -> Self {
        Self {
            context: Rc::clone(worker),
            buffers: BufferPool::default(),
            watches: Rc::default(),
            picks: RefCell::default(),
            access_log: RefCell::new(access_log.writer()),
        }
    }

    /// Chooses a member of `pool`, which is in `slot`, and counts a connection as in flight there; its
    /// index.
    pub(crate) fn begin(
        &self,
        slot: &Arc<PoolSlot>,
        pool: &Pool,
        input: &PickInput<'_>,
    ) -> Result<(u32, InFlight), NoMember> {
        let mut picks = self.picks.borrow_mut();
        let place = picks.entry(slot.id).or_insert_with(|| PickPlace {
            slot: Arc::downgrade(slot),
            state: PickState::default(),
        });
        for _ in 0..RACE_MAX_COUNT {
            let picked = pool.pick(&mut place.state, input)?;
            if let Some(in_flight) = picked.member.state.begin(self.context.index) {
                return Ok((picked.index, in_flight));
            }
        }
        Err(NoMember::AllBusy)
    }

    /// Writes a record down.
    pub(crate) fn log(&self, record: &AccessRecord<'_>) {
        self.access_log.borrow_mut().record(record);
    }
}

impl ConnectionHandler for TcpWorker {
    fn serve(self: Rc<Self>, connection: Connection) -> ConnectionTask {
        Box::pin(connection::serve(self, connection))
    }

    /// A stream has no words for it: it is reset.
    fn refuse(&self, refused: &Refused) -> Option<Vec<u8>> {
        connection::log_refused(self, refused);
        None
    }

    fn tick(&self) -> bool {
        self.look_after()
    }
}

impl TcpWorker {
    /// What is done once a second; whether there is more to look after.
    pub(crate) fn look_after(&self) -> bool {
        self.watches.look(self.context.clock.coarse_unix_ms());
        let now_ms = self.context.clock.coarse_unix_ms();
        self.picks.borrow_mut().retain(|_, place| {
            let Some(slot) = place.slot.upgrade() else { return false };
            let pool = slot.current().load();
            for (member, reason) in pool.compare(now_ms) {
                let (pool, member) = (pool.name(), &*member.name);
                tracing::warn!(pool, member, reason, "member is ejected");
            }
            true
        });
        self.access_log.borrow_mut().flush();
        // Without connections there is nothing to look after.
        false
    }
}
