//! A node that stops: its groups go to others before it lets go, where others can take them.
//!
//! Invariant: addresses are here until another node is heard to own them, or until nobody took them in
//! the time that this takes where somebody can.

use std::time::Duration;

use ballast_vrrp::State;
use tokio::time::{Instant, interval};

use crate::engine::Command;
use crate::{Ha, Inner};

/// Longest wait for the thread to let go.
const RELEASE_LIMIT: Duration = Duration::from_secs(2);
/// What another node may need beyond an interval, in which it hears of it and waits its skew.
const TAKEN_SLACK: Duration = Duration::from_millis(200);
/// Longest wait for others, however long intervals are.
const TAKEN_LIMIT_MAX: Duration = Duration::from_secs(2);
/// How often it is looked whether others have taken over.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

impl Ha {
    /// Lets clients go for `limit`, has others take every group over, and gives up with priority 0 what
    /// nobody took, addresses first.
    pub async fn release_all(&self, limit: Duration) {
        let addresses = self.0.held();
        if !addresses.is_empty() {
            self.0.view.quiesce(addresses, limit).await;
            self.0.let_others_take_over().await;
        }
        self.0.pulse.ask_for_release();
        let (done, released) = std::sync::mpsc::sync_channel(1);
        self.0.command(Command::Release { done });
        let waited = tokio::task::spawn_blocking(move || released.recv_timeout(RELEASE_LIMIT));
        if !matches!(waited.await, Ok(Ok(()))) {
            tracing::warn!("the VRRP thread did not say in time that it let go");
        }
    }
}

impl Inner {
    async fn let_others_take_over(&self) {
        if !self.is_another_heard() {
            return;
        }
        let until = Instant::now() + self.taken_limit();
        self.command(Command::Leave);
        let mut looks = interval(LOOK_INTERVAL);
        while self.owns_any() && Instant::now() < until {
            looks.tick().await;
        }
    }

    fn is_another_heard(&self) -> bool {
        self.heartbeat_statuses().iter().any(|status| status.alive)
    }

    fn taken_limit(&self) -> Duration {
        let snapshot = self.snapshot.load();
        let published = self.published.load();
        let owned = published.groups.iter().filter(|group| group.view.state == State::Active);
        let intervals = owned.filter_map(|group| {
            let group = snapshot.state.config.traffic_groups.get(&group.name)?;
            Some(Duration::from_millis(group.spec.advert_interval_ms.into()))
        });
        (intervals.max().unwrap_or_default() + TAKEN_SLACK).min(TAKEN_LIMIT_MAX)
    }

    fn owns_any(&self) -> bool {
        self.published.load().groups.iter().any(|group| group.view.state == State::Active)
    }
}
