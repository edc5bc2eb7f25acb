//! What the TCP connections of one worker share.
//!
//! Invariant: nothing here is borrowed across an `await`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use ballast_balance::{InFlight, NoMember, PickInput, PickState, Pool};
use ballast_telemetry::{AccessLog, AccessLogWriter, AccessRecord, FailureReason, Tail};
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
    tail: Tail,
}

impl TcpHandlers {
    /// Handlers that write one record per connection to `access_log`.
    pub fn new(access_log: AccessLog) -> Self {
        Self { access_log, tail: Tail::default() }
    }

    /// The same with a live tail that others share.
    #[must_use]
    pub fn with_tail(self, tail: Tail) -> Self {
        Self { tail, ..self }
    }
}

impl HandlerFactory for TcpHandlers {
    fn build(&self, worker: &Rc<WorkerContext>) -> Rc<dyn ConnectionHandler> {
        Rc::new(TcpWorker::new(worker, &self.access_log, self.tail.clone()))
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
    tail: Tail,
}

#[derive(Debug)]
struct PickPlace {
    slot: Weak<PoolSlot>,
    state: PickState,
}

impl TcpWorker {
    pub(crate) fn new(worker: &Rc<WorkerContext>, access_log: &AccessLog, tail: Tail) -> Self {
        Self {
            context: Rc::clone(worker),
            buffers: BufferPool::default(),
            watches: Rc::default(),
            picks: RefCell::default(),
            access_log: RefCell::new(access_log.writer()),
            tail,
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
        let permit = pool.enter_stream()?;
        for _ in 0..RACE_MAX_COUNT {
            let picked = pool.pick(&mut place.state, input)?;
            if let Some(in_flight) = picked.begin(self.context.index) {
                return Ok((picked.index, in_flight.with_permit(permit)));
            }
        }
        Err(NoMember::AllBusy)
    }

    /// Counts a connection or session that has ended, for its pool.
    pub(crate) fn count(
        &self,
        slot: &PoolSlot,
        reason: Option<FailureReason>,
        connect_us: Option<u64>,
    ) {
        let shard = slot.counters.shard(self.context.index);
        shard.request(0);
        if let Some(reason) = reason {
            shard.failure(reason);
        }
        if let Some(connect_us) = connect_us {
            shard.connected(connect_us);
        }
    }

    /// Writes a record down.
    pub(crate) fn log(&self, record: &AccessRecord<'_>) {
        self.access_log.borrow_mut().record(record);
        if self.tail.is_on() {
            self.tail.offer(record, self.context.clock.coarse_unix_ms());
        }
    }
}

/// Why a connection fails that no member was found for; `failed` is why the ones before did not serve.
pub(crate) fn why_none(why: NoMember, failed: FailureReason) -> FailureReason {
    match why {
        NoMember::CircuitOpen if failed == FailureReason::NoMember => FailureReason::CircuitOpen,
        _ => failed,
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
