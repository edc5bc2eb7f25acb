//! Who has been heard of lately: what "has a quorum" and "can't reach node b" are said from.
//!
//! Invariant: it observes and never decides; Raft alone does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::ELECTION_TIMEOUT_MAX;

/// A node not heard of for this long is called unreachable.
const SILENT_AFTER: Duration = Duration::from_secs(3);

/// Contact with the other nodes.
pub(crate) struct Contact {
    heard: Mutex<Heard>,
    /// This node is leader and a quorum has answered lately.
    quorum_as_leader: AtomicBool,
    removed: watch::Sender<bool>,
}

struct Heard {
    nodes: BTreeMap<u64, Instant>,
    /// When there last was a quorum; at first, when this node started.
    quorum: Instant,
    /// When the leader last wrote, and whether it had a quorum then.
    leader: Option<(Instant, bool)>,
}

impl Default for Contact {
    fn default() -> Self {
        let heard = Heard { nodes: BTreeMap::new(), quorum: Instant::now(), leader: None };
        Self {
            heard: Mutex::new(heard),
            quorum_as_leader: AtomicBool::default(),
            removed: watch::Sender::default(),
        }
    }
}

impl Contact {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node answered, or sent something.
    pub(crate) fn heard(&self, node_id: u64) {
        self.lock().nodes.insert(node_id, Instant::now());
    }

    /// The leader wrote.
    pub(crate) fn heard_leader(&self, has_quorum: bool) {
        self.lock().leader = Some((Instant::now(), has_quorum));
    }

    /// Whether the leader wrote lately and had a quorum.
    pub(crate) fn leader_has_quorum(&self) -> bool {
        self.lock()
            .leader
            .is_some_and(|(at, has_quorum)| has_quorum && at.elapsed() < ELECTION_TIMEOUT_MAX)
    }

    /// How long a node has been silent, where that is long; `None` in it where it never spoke.
    pub(crate) fn silence(&self, node_id: u64) -> Option<Option<Duration>> {
        match self.lock().nodes.get(&node_id) {
            None => Some(None),
            Some(at) if at.elapsed() > SILENT_AFTER => Some(Some(at.elapsed())),
            Some(_) => None,
        }
    }

    /// There is a quorum now.
    pub(crate) fn note_quorum(&self) {
        self.lock().quorum = Instant::now();
    }

    /// How long ago there last was a quorum.
    pub(crate) fn without_quorum(&self) -> Duration {
        self.lock().quorum.elapsed()
    }

    pub(crate) fn set_quorum_as_leader(&self, has_quorum: bool) {
        self.quorum_as_leader.store(has_quorum, Ordering::Relaxed);
    }

    pub(crate) fn has_quorum_as_leader(&self) -> bool {
        self.quorum_as_leader.load(Ordering::Relaxed)
    }

    /// Another node said that this one was removed from the cluster.
    pub(crate) fn note_removed(&self) {
        self.removed.send_replace(true);
    }

    pub(crate) fn removed(&self) -> watch::Receiver<bool> {
        self.removed.subscribe()
    }
}
