//! Waiting for a condition, level-triggered: what already holds is noticed, and nothing is slept through.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::time::MissedTickBehavior;

/// How often a condition is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Looks at `condition` until it holds; fails, naming `what`, once `limit` has passed.
///
/// # Errors
/// When the condition does not hold in time.
pub async fn wait_for<F>(what: &str, limit: Duration, mut condition: F) -> Result<()>
where
    F: AsyncFnMut() -> bool,
{
    wait_for_some(what, limit, async || condition().await.then_some(())).await
}

/// As [`wait_for`], for a value that appears.
///
/// # Errors
/// When nothing appears in time.
pub async fn wait_for_some<F, T>(what: &str, limit: Duration, mut value: F) -> Result<T>
where
    F: AsyncFnMut() -> Option<T>,
{
    let started = Instant::now();
    let mut ticks = tokio::time::interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(value) = value().await {
            return Ok(value);
        }
        if started.elapsed() > limit {
            bail!("after {:.1} s still waiting for {what}", started.elapsed().as_secs_f64());
        }
    }
}
