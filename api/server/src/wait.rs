//! Waiting until every live node carries a change out.

use std::time::Duration;

use ballast_model::Snapshot;
use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use crate::app::App;
use crate::peer::{Applied, WAIT_APPLIED, WaitApplied};

/// How long a peer is asked at a time: one that does not answer soon after is not live, and must
/// not make everybody wait for the whole time.
const SLICE: Duration = Duration::from_millis(750);
/// How long beyond its slice a peer may take to answer.
const ANSWER_GRACE: Duration = Duration::from_millis(500);
/// A peer that has not answered for this long is called unreachable: one lost call says little.
const SILENT_AFTER: Duration = Duration::from_secs(3);
/// Pause after a call that failed.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Waits until all live nodes carry out the configuration of `index`, at most for `timeout`;
/// returns those that do not, as `name=reason`.
pub(crate) async fn until_applied(
    app: &App,
    snapshot: &Snapshot,
    index: u64,
    timeout: Duration,
) -> Vec<String> {
    let deadline = Instant::now() + timeout;
    let nodes = snapshot.state.config.nodes.iter().map(|node| async {
        let id = node.spec.node_id;
        let reason = if id == app.store.node_id() {
            let applied = timeout_at(deadline, app.node.wait_applied(index, timeout)).await;
            verdict(&applied.unwrap_or_default())
        } else {
            peer(app, id, index, deadline).await
        };
        reason.map(|reason| format!("{}={reason}", node.name))
    });
    join_all(nodes).await.into_iter().flatten().collect()
}

async fn peer(app: &App, id: u64, index: u64, deadline: Instant) -> Option<&'static str> {
    let mut heard_at = Instant::now();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let slice = left.min(SLICE);
        let timeout_ms = u64::try_from(slice.as_millis()).unwrap_or(u64::MAX);
        let ask = WaitApplied { index, timeout_ms };
        let called = app.store.peers().call(id, WAIT_APPLIED, &ask, slice + ANSWER_GRACE).await;
        match called {
            Ok(Applied { applied: false, .. }) if left > SLICE => heard_at = Instant::now(),
            Ok(answer) => return verdict(&answer),
            Err(_) if left.is_zero() || heard_at.elapsed() >= SILENT_AFTER => {
                return Some("unreachable");
            }
            Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
        }
    }
}

/// Why a node's answer does not mean that it carries the configuration out.
fn verdict(answer: &Applied) -> Option<&'static str> {
    match answer {
        Applied { applied: false, .. } => Some("timeout"),
        Applied { errors, .. } if !errors.is_empty() => Some("error"),
        Applied { .. } => None,
    }
}
