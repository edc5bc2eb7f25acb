//! One process of a node takes its traffic groups over from another: mastership does not move, addresses
//! stay where they are, and nobody on the network is told of anything.
//!
//! Invariant: at most one of the two processes speaks for a group. The one that rests does not; it departs
//! when the other says that it owns the groups, or goes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ballast_model::Snapshot;
use ballast_vrrp::State;
use tokio::time::{Instant, interval};

use crate::Ha;
use crate::control::Judgements;
use crate::engine::Command;

/// Longest wait for the thread to rest.
const REST_LIMIT: Duration = Duration::from_secs(1);
/// How often it is looked whether groups are owned.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// Groups that are Active, each with whether an operator moved it here.
pub type OwnedGroups = BTreeMap<String, bool>;

impl Ha {
    /// Stops sending and renewing, and takes nothing away; returns the groups that are Active here. Their
    /// addresses last for some seconds, and other nodes wait for three intervals: within that time another
    /// process takes over ([`Ha::resume`]), or this one goes on ([`Ha::go_on`]).
    ///
    /// # Errors
    /// The thread does not run, in a sentence; it may rest or not, and should be told to go on.
    pub async fn rest(&self) -> Result<OwnedGroups, String> {
        let (done, resting) = std::sync::mpsc::sync_channel(1);
        self.0.command(Command::Rest { done });
        let rested = tokio::task::spawn_blocking(move || resting.recv_timeout(REST_LIMIT)).await;
        if !matches!(rested, Ok(Ok(()))) {
            return Err("the VRRP thread does not rest".to_owned());
        }
        let published = self.0.published.load();
        let active = published.groups.iter().filter(|group| group.view.state == State::Active);
        Ok(active.map(|group| (group.name.clone(), group.view.is_manual)).collect())
    }

    /// Returns once this process speaks for the node.
    pub async fn live(&self) {
        self.0.is_live.cancelled().await;
    }

    /// Goes on after a rest.
    pub fn go_on(&self) {
        self.0.command(Command::GoOn);
    }

    /// Ends the thread after a rest, with addresses and devices left as they are.
    pub fn depart(&self) {
        self.0.command(Command::Depart);
    }

    /// Carries `snapshot` out with these groups owned from the beginning, and speaks for the node from now
    /// on. Returns when each of them is Active, or after `limit` with those that are not.
    pub async fn resume(
        &self,
        groups: OwnedGroups,
        snapshot: Arc<Snapshot>,
        limit: Duration,
    ) -> Vec<String> {
        // What the process before had caught up with is in the store.
        let _known = self.0.caught_up.set(0);
        self.0.judgements.store(Arc::new(Judgements::resumed()));
        let index = snapshot.index;
        let wanted: Vec<String> = groups.keys().cloned().collect();
        self.0.command(Command::Assume(groups));
        if index > 0 {
            self.apply(snapshot);
        }
        self.0.is_live.cancel();
        let until = Instant::now() + limit;
        let mut looks = interval(LOOK_INTERVAL);
        loop {
            looks.tick().await;
            let published = self.0.published.load();
            let is_active = |name: &String| {
                let mut groups = published.groups.iter();
                groups.any(|group| group.name == *name && group.view.state == State::Active)
            };
            let missing: Vec<_> = wanted.iter().filter(|name| !is_active(name)).cloned().collect();
            if missing.is_empty() || Instant::now() >= until {
                return missing;
            }
        }
    }
}
