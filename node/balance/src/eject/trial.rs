//! Members that come back from an ejection: one request at a time, until one has gone well.
//!
//! ```text
//!            ejected            begins               goes well
//!   Sound ───────────► Required ───────► Under way ───────────► Sound
//!     ▲                   ▲                  │ fails: ejected again, for longer
//!     │                   └──────────────────┘ ends without telling anything
//!     └── goes well: one that was under way before
//! ```
//! Invariant: at most one trial of a member is under way on a node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use crate::member::MemberState;

const SOUND: u8 = 0;
const REQUIRED: u8 = 1;
const UNDER_WAY: u8 = 2;

/// Whether a member has to prove itself.
#[derive(Debug, Default)]
pub(crate) struct TrialState(AtomicU8);

impl TrialState {
    /// It has, from now on.
    pub(crate) fn require(&self) {
        self.0.store(REQUIRED, Relaxed);
    }

    /// It has done so.
    pub(crate) fn pass(&self) {
        self.0.store(SOUND, Relaxed);
    }

    pub(crate) fn is_required(&self) -> bool {
        self.0.load(Relaxed) != SOUND
    }

    pub(crate) fn is_under_way(&self) -> bool {
        self.0.load(Relaxed) == UNDER_WAY
    }

    fn swap(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Relaxed, Relaxed).is_ok()
    }
}

/// A trial that is under way. Dropping it lets another begin, unless it was passed.
#[derive(Debug)]
pub(crate) struct Trial(Arc<MemberState>);

impl Trial {
    /// Begins one; none where one is under way, or none is needed any more.
    pub(crate) fn begin(state: &Arc<MemberState>) -> Option<Self> {
        state.trial().swap(REQUIRED, UNDER_WAY).then(|| Self(Arc::clone(state)))
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.0.trial().swap(UNDER_WAY, REQUIRED);
    }
}
