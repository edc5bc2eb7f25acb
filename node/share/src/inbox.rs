//! What was heard from each node last.
//!
//! Invariant: a message counts as new once, however often it comes.

use std::collections::HashMap;

/// Shortest time between two requests to be sent everything, in ms.
const ASK_INTERVAL_MS: u64 = 2_000;

/// See the module. Bounded by the nodes that the cluster has had since this one started.
#[derive(Debug, Default)]
pub(crate) struct Inbox(HashMap<u64, Sender>);

#[derive(Debug, Default)]
struct Sender {
    boot: u64,
    number: u64,
    asked_ms: u64,
}

impl Inbox {
    /// Whether a message has not come before. A node sends the next one when it has the answer to the
    /// last, so that none is overtaken.
    pub(crate) fn is_new(&mut self, node_id: u64, boot: u64, number: u64) -> bool {
        let sender = self.0.entry(node_id).or_default();
        let is_new = sender.boot != boot || number > sender.number;
        if is_new {
            (sender.boot, sender.number) = (boot, number);
        }
        is_new
    }

    /// Whether that node may be asked for everything now; then it is noted that it was.
    pub(crate) fn may_ask_for_all(&mut self, node_id: u64, now_ms: u64) -> bool {
        let sender = self.0.entry(node_id).or_default();
        let is_due = now_ms.saturating_sub(sender.asked_ms) >= ASK_INTERVAL_MS;
        if is_due {
            sender.asked_ms = now_ms;
        }
        is_due
    }
}

#[cfg(test)]
mod tests;
