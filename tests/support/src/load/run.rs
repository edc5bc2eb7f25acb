//! The sender's loop: connections that ask, until told to stop.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};

use super::connection::{Connection, Fault, Target};
use super::tally::Tally;
use super::{LoadOptions, LoadReport};

/// Pause after a failed connection attempt.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Sends as the options say. With `controlled`, each line on standard input prints a report and
/// its end stops the run; else a signal or the duration does.
///
/// # Errors
/// When the options make no sense.
pub async fn run(options: LoadOptions, controlled: bool) -> Result<LoadReport> {
    let tally = Arc::new(Mutex::new(Tally::new()));
    let (stop, stopped) = watch::channel(false);
    let options = Arc::new(options);
    let mut senders = JoinSet::new();
    for _ in 0..options.connections {
        let sender = Sender {
            // Each is a client of its own, with TLS sessions of its own.
            target: Target::new(&options)?,
            tally: Arc::clone(&tally),
            options: Arc::clone(&options),
            stopped: stopped.clone(),
        };
        senders.spawn(sender.run());
    }
    wait_for_stop(&options, controlled, &tally).await?;
    stop.send_replace(true);
    while senders.join_next().await.is_some() {}
    let report = lock(&tally).report();
    Ok(report)
}

async fn wait_for_stop(
    options: &LoadOptions,
    controlled: bool,
    tally: &Mutex<Tally>,
) -> Result<()> {
    let duration = options.duration_s.map(Duration::from_secs_f64);
    let end = async {
        match duration {
            // A timer that never rings is as good as none.
            None => std::future::pending().await,
            Some(duration) => timeout(duration, std::future::pending::<()>()).await,
        }
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = end => Ok(()),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        result = answer_lines(tally), if controlled => result,
    }
}

async fn answer_lines(tally: &Mutex<Tally>) -> Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while lines.next_line().await?.is_some() {
        let report = lock(tally).report();
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(())
}

/// One connection after the other.
struct Sender {
    target: Target,
    tally: Arc<Mutex<Tally>>,
    options: Arc<LoadOptions>,
    stopped: watch::Receiver<bool>,
}

impl Sender {
    async fn run(self) {
        let mut pace = self.pace();
        let mut retry = interval(RETRY_INTERVAL);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !*self.stopped.borrow() {
            match self.limited(self.target.connect()).await {
                Ok((connection, handshake)) => {
                    self.tally().connected(handshake);
                    self.ask_over(connection, &mut pace).await;
                }
                Err(fault) => {
                    self.tally().sent();
                    self.note(fault);
                    retry.reset();
                    retry.tick().await;
                }
            }
        }
    }

    /// Asks until the connection is used up, breaks, or the run stops.
    async fn ask_over(&self, mut connection: Connection, pace: &mut Option<Interval>) {
        let most = self.options.requests_per_connection.unwrap_or(u64::MAX);
        for number in 0..most {
            let started = match pace {
                Some(pace) => pace.tick().await,
                None => Instant::now(),
            };
            if *self.stopped.borrow() {
                break;
            }
            self.tally().sent();
            match self.limited(connection.ask(&self.target, number)).await {
                Ok(origin) => self.tally().ok(&origin, started.elapsed()),
                Err(fault) => {
                    // Waiting for a new connection must not hide the time that it costs, but
                    // the request itself is repeated only where it was certainly not sent.
                    self.note(fault);
                    return;
                }
            }
        }
        if let Err(fault) = self.limited(connection.close()).await {
            self.tally().sent();
            self.note(fault);
        }
    }

    fn note(&self, fault: Fault) {
        match fault {
            Fault::ClosedBefore => self.tally().closed_between_requests(),
            Fault::Failed(reason) => self.tally().failed(&reason),
        }
    }

    async fn limited<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let limit = Duration::from_millis(self.options.timeout_ms);
        let late = |_| Fault::Failed(format!("no answer in {} ms", limit.as_millis()));
        timeout(limit, work).await.map_err(late)?
    }

    fn pace(&self) -> Option<Interval> {
        let rate = self.options.rate?;
        let period = Duration::from_secs_f64(f64::from(self.options.connections) / rate.max(0.001));
        // Late requests are sent at once, and their latency counts from when they were due.
        let mut pace = interval(period);
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        Some(pace)
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        lock(&self.tally)
    }
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}
