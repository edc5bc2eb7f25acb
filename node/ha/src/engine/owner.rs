//! What a node that does not own a group knows of who does.
//!
//! Pure, of values. Invariant: what was heard counts for no longer than the owner would be waited for.

use std::time::Duration;

use ballast_vrrp::{GroupView, Heard, State};

/// RFC 9568 §6.1: so many intervals of silence, and the skew, and an owner is held for dead.
const ACTIVE_DOWN_INTERVALS_COUNT: u64 = 3;

/// The router that a Backup hears owning the group; none once it released or fell silent.
pub(crate) fn heard_owner(view: &GroupView) -> Option<Heard> {
    let latest = view.instances.iter().filter_map(|one| Some((one.heard?, one.heard_ago_us?)));
    let (heard, ago_us) = latest.min_by_key(|(_, ago_us)| *ago_us)?;
    let is_owner = heard.priority > 0
        && Duration::from_micros(ago_us) <= active_down_interval(view, heard.interval_cs);
    (view.state == State::Backup && is_owner).then_some(heard)
}

/// RFC 9568 §6.1, Active_Down_Interval, as this node waits for an owner with that interval.
fn active_down_interval(view: &GroupView, interval_cs: u16) -> Duration {
    let interval_us = u64::from(interval_cs) * 10_000;
    let skew_us = interval_us * (256 - u64::from(view.priority)) / 256;
    Duration::from_micros(ACTIVE_DOWN_INTERVALS_COUNT * interval_us + skew_us)
}

#[cfg(test)]
mod tests;
