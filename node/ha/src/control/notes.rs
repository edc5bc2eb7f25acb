//! What the thread tells of that changed no state: sentences, and which of them belong into the timeline.
//!
//! Invariant: what flaps does not push transitions out of the timeline.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ballast_model::ha::{GroupState, HaTransition};
use ballast_vrrp::Note;

use super::{group_state, millis};
use crate::Inner;

/// How long the same is not told again of the same group.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What was told lately of which group.
#[derive(Debug, Default)]
pub(super) struct Noted(BTreeMap<(String, &'static str), Instant>);

impl Noted {
    /// Whether it was not told lately; then it counts as told now.
    pub(super) fn is_time(&mut self, group: &str, code: &'static str, now: Instant) -> bool {
        self.0.retain(|_, at| now.saturating_duration_since(*at) < TELL_AGAIN_AFTER);
        let key = (group.to_owned(), code);
        let is_time = !self.0.contains_key(&key);
        if is_time {
            self.0.insert(key, now);
        }
        is_time
    }
}

/// The stable code of a note that belongs into the timeline: why a group did not move, or has two
/// owners. The log has the others.
pub(super) fn code(note: &Note) -> Option<&'static str> {
    match note {
        Note::TakeoverVetoed { .. } => Some("takeover_vetoed"),
        Note::ActiveTwice { .. } => Some("active_twice"),
        Note::Braked { .. } => Some("braked"),
        Note::VridInUse { .. } => Some("vrid_in_use"),
        Note::VridClash { .. } => Some("vrid_clash"),
        _ => None,
    }
}

/// A note in the timeline: the group's state is the one before.
pub(super) fn entry(inner: &Inner, group: &str, code: &str, message: String) -> HaTransition {
    let published = inner.published.load();
    let view = published.groups.iter().find(|one| one.name == group).map(|one| &one.view);
    let state = view.map_or(GroupState::Initialize, |view| group_state(view.state));
    HaTransition {
        at_ms: millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()),
        node: inner.node_name.clone(),
        group: group.to_owned(),
        from: state,
        to: state,
        reason: code.to_owned(),
        message,
        priority: view.map_or(0, |view| view.priority),
        ..HaTransition::default()
    }
}

/// A note for people.
pub(super) fn sentence(inner: &Inner, note: &Note) -> String {
    let name = |id: &u64| inner.node_called(*id).unwrap_or_else(|| format!("number {id}"));
    match note {
        Note::VridInUse { by } => format!("its VRID is in use by {by}: this node does not join"),
        Note::VridFree => "its VRID is free again: this node joins".to_owned(),
        Note::VridClash { by } => format!("its VRID is used by {by} too, which is no node of ours"),
        Note::AddressListDiffers { source } => {
            format!("{source} advertises other virtual addresses for it")
        }
        Note::IntervalDiffers { source, interval_cs } => {
            format!("{source} advertises every {} ms", u32::from(*interval_cs) * 10)
        }
        Note::ConflictWon { source } => format!("{source} owned it too and has let go"),
        Note::TakeoverVetoed { node_id } => format!(
            "node {} is not heard on the segment but reports that it serves: not taken over",
            name(node_id)
        ),
        Note::ActiveTwice { node_id } => {
            format!("node {} owns it too, and neither hears the other", name(node_id))
        }
        Note::Braked { reason } => {
            format!("too many groups moved here within a minute: {} waits", reason.as_str())
        }
        Note::TakeOverRefused { .. } => "a move to this node was refused".to_owned(),
        Note::ConfigRefused(error) => format!("its configuration is refused: {error}"),
    }
}

#[cfg(test)]
mod tests;
