//! The live tail for other nodes, who come again and again for what was made meanwhile.
//!
//! Invariant: a session whose node does not come back ends by itself, and with it what the workers do
//! for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::{TailAsk, TailBatch};
use crate::NodeView;
use crate::tail::TailFeed;

/// How long a node waits for the first record of an answer.
const FIRST_RECORD_LIMIT: Duration = Duration::from_millis(500);
/// How long for further ones.
const FURTHER_RECORDS_LIMIT: Duration = Duration::from_millis(50);
/// Most records in an answer.
const BATCH_MAX_COUNT: usize = 256;
/// A session that nobody asks for lasts so long.
const IDLE_LIMIT: Duration = Duration::from_secs(10);
/// How often it is looked which those are.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The sessions of other nodes; the node bounds how many there are.
pub(crate) struct TailSessions {
    node: Arc<dyn NodeView>,
    open: Arc<Mutex<HashMap<String, Session>>>,
    /// One task while there are sessions; ends with this.
    sweeper: Mutex<JoinSet<()>>,
}

struct Session {
    feed: Arc<AsyncMutex<Box<dyn TailFeed>>>,
    used_at: Instant,
}

impl TailSessions {
    pub(crate) fn new(node: Arc<dyn NodeView>) -> Self {
        Self { node, open: Arc::default(), sweeper: Mutex::default() }
    }

    /// What was made since the session asked last, or is made within a moment.
    pub(crate) async fn next(&self, ask: TailAsk) -> TailBatch {
        let feed = match self.feed(ask) {
            Ok(feed) => feed,
            Err(error) => return TailBatch { error: Some(error), ..TailBatch::default() },
        };
        let mut feed = feed.lock().await;
        let mut batch = TailBatch::default();
        let mut deadline = Instant::now() + FIRST_RECORD_LIMIT;
        while batch.records.len() < BATCH_MAX_COUNT {
            match timeout_at(deadline, feed.next()).await {
                Ok(Some(record)) => {
                    if batch.records.is_empty() {
                        deadline = Instant::now() + FURTHER_RECORDS_LIMIT;
                    }
                    batch.records.push(record);
                }
                Ok(None) | Err(_) => break,
            }
        }
        batch.left_out_count = feed.take_left_out();
        batch
    }

    /// How many sessions there are.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        lock(&self.open).len()
    }

    fn feed(&self, ask: TailAsk) -> Result<Arc<AsyncMutex<Box<dyn TailFeed>>>, String> {
        let mut open = lock(&self.open);
        if let Some(session) = open.get_mut(&ask.session) {
            session.used_at = Instant::now();
            return Ok(Arc::clone(&session.feed));
        }
        let feed = Arc::new(AsyncMutex::new(self.node.tail(ask.filter)?));
        let session = Session { feed: Arc::clone(&feed), used_at: Instant::now() };
        open.insert(ask.session, session);
        let mut sweeper = lock(&self.sweeper);
        // One that has ended has found nothing open, under the lock that is held here.
        while sweeper.try_join_next().is_some() {}
        if open.len() == 1 {
            sweeper.spawn(sweep(Arc::clone(&self.open)));
        }
        Ok(feed)
    }
}

/// Ends sessions that nobody asks for, until there are none.
async fn sweep(open: Arc<Mutex<HashMap<String, Session>>>) {
    let mut tick = interval(SWEEP_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let mut open = lock(&open);
        open.retain(|_, session| session.used_at.elapsed() < IDLE_LIMIT);
        if open.is_empty() {
            return;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is complete before anything may panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
