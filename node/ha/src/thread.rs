//! Keeps the VRRP thread going: after a panic or an error of the kernel it is started again.
//!
//! Invariant: signing and what was heard of others go on where they were, so that no node takes what
//! comes after for a replay, and none replays what came before. Groups start anew: their addresses go,
//! at the latest by their lease.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use crate::Inner;
use crate::engine::{Command, Engine, EngineOptions};
use crate::kernel::{self, Netlink};

/// Priority among real-time threads: above everything that is not, below what the system itself runs.
const REALTIME_PRIORITY: i32 = 10;
/// Pause before the first new start; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Who ran for so long failed for a reason of its own: pauses begin anew.
const STEADY_AFTER: Duration = Duration::from_secs(60);
/// How long status shows a failure that is over.
const SHOWN_FOR: Duration = Duration::from_secs(600);

/// What the kernel granted to the thread, and how it fares.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scheduling {
    pub(crate) realtime: Option<Result<(), String>>,
    pub(crate) memory_locked: bool,
    pub(crate) failures_total: u64,
    last_failure: Option<Failure>,
}

#[derive(Clone, Debug)]
struct Failure {
    why: String,
    at: Instant,
    is_over: bool,
}

impl Scheduling {
    /// What is wrong, or was a short time ago, in a sentence.
    pub(crate) fn problem(&self) -> Option<String> {
        let failure = self.last_failure.as_ref()?;
        if !failure.is_over {
            return Some(format!(
                "the VRRP thread does not run and is started again: {}",
                failure.why
            ));
        }
        (failure.at.elapsed() < SHOWN_FOR).then(|| {
            let count = self.failures_total;
            format!(
                "the VRRP thread failed and was started again ({count} in all): {}",
                failure.why
            )
        })
    }
}

/// Runs the thread until it is told to stop.
pub(crate) fn run(inner: &Inner, mut options: EngineOptions) {
    let mut scheduling = Scheduling {
        realtime: Some(kernel::realtime(REALTIME_PRIORITY).map_err(|error| error.to_string())),
        memory_locked: kernel::lock_memory().is_ok(),
        ..Scheduling::default()
    };
    let mut pause = PAUSE_MIN;
    loop {
        inner.scheduling.store(Arc::new(scheduling.clone()));
        let started = Instant::now();
        let ended;
        (options, ended) = run_once(options);
        let Err(why) = ended else { return };
        tracing::error!("the VRRP thread failed: {why}");
        if started.elapsed() >= STEADY_AFTER {
            pause = PAUSE_MIN;
        }
        scheduling.failures_total += 1;
        let failure = Failure { why, at: Instant::now(), is_over: false };
        scheduling.last_failure = Some(failure.clone());
        inner.scheduling.store(Arc::new(scheduling.clone()));
        // What it owned it owns no more: nobody may be kept from taking it over.
        inner.published.store(Arc::default());
        if is_stopped_within(pause, &mut options) {
            return;
        }
        pause = (pause * 2).min(PAUSE_MAX);
        scheduling.last_failure = Some(Failure { is_over: true, ..failure });
        // It knows nothing any more: the control side tells it everything again.
        inner.is_out_of_step.store(true, Ordering::Release);
    }
}

fn run_once(options: EngineOptions) -> (EngineOptions, Result<(), String>) {
    let netlink = match Netlink::open() {
        Ok(netlink) => netlink,
        Err(error) => return (options, Err(format!("no netlink socket: {error}"))),
    };
    let mut engine = Engine::new(options, netlink);
    // Of an engine that panicked only what outlives it is looked at: counters that only go up.
    let ended = catch_unwind(AssertUnwindSafe(|| engine.run()));
    let ended = match ended {
        Ok(ended) => ended.map_err(|error| error.to_string()),
        Err(panic) => Err(format!("it panicked: {}", message(panic.as_ref()))),
    };
    if ended.is_err() {
        engine.hand_out_recordings();
    }
    (engine.into_options(), ended)
}

/// Waits, and answers who waits for an answer; whether the thread is to stop.
fn is_stopped_within(pause: Duration, options: &mut EngineOptions) -> bool {
    let deadline = Instant::now() + pause;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match options.commands.recv_timeout(left) {
            Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => return true,
            Ok(Command::Release { done }) => {
                options.is_released = true;
                // Nobody waiting any more is fine.
                let _told = done.try_send(());
            }
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => return false,
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}

#[cfg(test)]
mod tests;
