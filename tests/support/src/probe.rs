//! A client that asks all the time: a new connection with one request every few milliseconds, each
//! independent of the others, so that a hung one hides nothing. It measures gaps.
//!
//! The prober is a process of its own (`ballast-probe`) on the client's host; it and this process read the
//! same monotonic clock.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::lab::Host;
use crate::process::Process;
use crate::programs;
use crate::wait::wait_for;

/// Most requests under way at once; at 5 ms and a timeout of 1 s there are 200.
const UNDER_WAY_MAX_COUNT: usize = 1_000;
/// Longest answer that is read.
const ANSWER_MAX_BYTES: u64 = 64 * 1024;

/// What to ask and how often.
#[derive(Clone, Debug, Args)]
pub struct ProbeOptions {
    /// Where to connect to.
    pub target: SocketAddr,
    /// Time between two attempts, in ms.
    #[arg(long, default_value_t = 5)]
    pub interval_ms: u64,
    /// Longest time of an attempt, in ms.
    #[arg(long, default_value_t = 1_000)]
    pub timeout_ms: u64,
}

/// What became of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When it began, in µs on the monotonic clock.
    pub begun_us: u64,
    /// When it ended.
    pub ended_us: u64,
    /// The host in front of the origin, as the origin saw it; or why there was no answer.
    pub outcome: Result<String, String>,
}

/// A time without an answer, in µs on the clock of attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// When the last answer before it came.
    pub begin_us: u64,
    /// When the first one after it came.
    pub end_us: u64,
}

impl Gap {
    /// How long it was, in ms.
    pub fn ms(self) -> f64 {
        self.end_us.saturating_sub(self.begin_us) as f64 / 1_000.0
    }
}

/// A running prober; it ends when dropped.
#[derive(Debug)]
pub struct Probe {
    attempts: Arc<Mutex<Vec<Attempt>>>,
    process: Process,
    reader: Option<JoinHandle<()>>,
}

/// Now, in µs on the clock of attempts.
pub fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let (seconds, nanos) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    seconds.unwrap_or_default() * 1_000_000 + nanos.unwrap_or_default() / 1_000
}

impl Probe {
    /// Starts asking `target` from `host`.
    ///
    /// # Errors
    /// When the prober cannot be started.
    pub fn start(host: &Host, target: SocketAddr) -> Result<Self> {
        let mut command = host.command(programs::find("ballast-probe")?);
        command.arg(target.to_string()).stdin(Stdio::null()).stdout(Stdio::piped());
        let log = host.dir()?.join("probe.log");
        let mut process = Process::start_with_pipes("ballast-probe", command, &log)?;
        let stdout = process.child_mut().stdout.take().context("its output is a pipe")?;
        let attempts = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&attempts);
        // Ends with the prober, whose death closes the pipe.
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(attempt) = parse(&line) {
                    lock(&into).push(attempt);
                }
            }
        });
        Ok(Self { attempts, process, reader: Some(reader) })
    }

    /// Every attempt that has ended since `since_us`, in the order they ended.
    pub fn attempts_since(&self, since_us: u64) -> Vec<Attempt> {
        let attempts = lock(&self.attempts);
        attempts.iter().filter(|attempt| attempt.ended_us >= since_us).cloned().collect()
    }

    /// Forgets what it saw.
    pub fn forget(&self) {
        lock(&self.attempts).clear();
    }

    /// How many attempts that began at `since_us` or later were answered.
    pub fn answered_since(&self, since_us: u64) -> usize {
        let attempts = lock(&self.attempts);
        let good = |a: &&Attempt| a.begun_us >= since_us && a.outcome.is_ok();
        attempts.iter().filter(good).count()
    }

    /// The host that gave the last answer.
    pub fn last_answer(&self) -> Option<String> {
        lock(&self.attempts).iter().rev().find_map(|attempt| attempt.outcome.clone().ok())
    }

    /// Waits until `count` attempts that begin from now on are answered with none failing in between.
    ///
    /// # Errors
    /// When they are not in time.
    pub async fn wait_for_answers(&self, count: usize, limit: Duration) -> Result<()> {
        let since_us = now_us();
        let mut last = None;
        let waited = wait_for("answers in a row", limit, async || {
            let attempts = lock(&self.attempts);
            let ended = attempts.iter().rev().take_while(|a| a.begun_us >= since_us);
            last = attempts.last().cloned();
            ended.take_while(|attempt| attempt.outcome.is_ok()).count() >= count
        })
        .await;
        waited.with_context(|| format!("last attempt: {last:?}"))
    }

    /// The longest time without an answer, in ms, that touches or follows `since_us`: from the last
    /// answer before it (or itself) at the earliest, to now at the latest.
    pub fn longest_gap_ms(&self, since_us: u64) -> f64 {
        self.longest_gap(since_us).ms()
    }

    /// As [`Probe::longest_gap_ms`], with its place in time.
    pub fn longest_gap(&self, since_us: u64) -> Gap {
        longest_gap(&lock(&self.attempts), since_us, now_us())
    }

    /// Attempts since then that failed and were not under way in `gap`: one alone means that clients
    /// suffered from something else.
    pub fn failed_outside(&self, since_us: u64, gap: Gap) -> Vec<Attempt> {
        let is_outside = |a: &Attempt| a.ended_us < gap.begin_us || a.begun_us > gap.end_us;
        let failed = self.attempts_since(since_us).into_iter().filter(|a| a.outcome.is_err());
        failed.filter(is_outside).collect()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        drop(self.process.kill());
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
    }
}

fn longest_gap(attempts: &[Attempt], since_us: u64, until_us: u64) -> Gap {
    let mut answers: Vec<u64> =
        attempts.iter().filter(|a| a.outcome.is_ok()).map(|a| a.ended_us).collect();
    answers.sort_unstable();
    let first = answers.partition_point(|at| *at < since_us);
    let begin_us = first.checked_sub(1).map_or(since_us, |before| answers[before]);
    let rest = answers[first..].iter().copied().filter(|at| *at <= until_us);
    let mut longest = Gap { begin_us, end_us: begin_us };
    let mut last_us = begin_us;
    for at in rest.chain([until_us]) {
        let gap = Gap { begin_us: last_us, end_us: at };
        if gap.ms() > longest.ms() {
            longest = gap;
        }
        last_us = at;
    }
    longest
}

fn parse(line: &str) -> Option<Attempt> {
    let mut words = line.splitn(4, ' ');
    let (begun_us, ended_us) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let outcome = match (words.next()?, words.next()?.to_owned()) {
        ("ok", text) => Ok(text),
        (_, text) => Err(text),
    };
    Some(Attempt { begun_us, ended_us, outcome })
}

fn lock(attempts: &Mutex<Vec<Attempt>>) -> MutexGuard<'_, Vec<Attempt>> {
    attempts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What `ballast-probe` does: attempts on schedule, a line for each that ends.
///
/// # Errors
/// When nobody reads the lines.
pub async fn run(options: ProbeOptions) -> Result<()> {
    let (lines, mut printed) = mpsc::channel::<String>(UNDER_WAY_MAX_COUNT);
    let under_way = Arc::new(Semaphore::new(UNDER_WAY_MAX_COUNT));
    let mut ticks = interval(Duration::from_millis(options.interval_ms));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                // At the limit an attempt is left out; the others will time out.
                let Ok(permit) = Arc::clone(&under_way).try_acquire_owned() else { continue };
                let (lines, options) = (lines.clone(), options.clone());
                tokio::spawn(async move {
                    drop(lines.send(attempt(&options).await).await);
                    drop(permit);
                });
            }
            Some(line) = printed.recv() => {
                let mut stdout = std::io::stdout().lock();
                writeln!(stdout, "{line}").and_then(|()| stdout.flush())?;
            }
        }
    }
}

async fn attempt(options: &ProbeOptions) -> String {
    let begun_us = now_us();
    let limit = Duration::from_millis(options.timeout_ms);
    let outcome = match timeout(limit, ask(options.target)).await {
        Ok(Ok(who)) => format!("ok {who}"),
        Ok(Err(error)) => format!("failed {}", format!("{error:#}").replace('\n', " ")),
        Err(_) => "failed no answer in time".to_owned(),
    };
    format!("{begun_us} {} {outcome}", now_us())
}

async fn ask(target: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(target).await.context("connect")?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n").await?;
    // The other side closes first, so that no port of ours waits out its old connections.
    let mut answer = String::new();
    stream.take(ANSWER_MAX_BYTES).read_to_string(&mut answer).await.context("read")?;
    let (head, _) = answer.split_once("\r\n\r\n").context("no whole head")?;
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    anyhow::ensure!(status.starts_with("HTTP/1.1 200"), "{status}");
    let peer = lines.filter_map(|line| line.split_once(": "));
    let peer = peer.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("x-peer"));
    Ok(peer.context("the origin does not say whom it saw")?.1.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64, good: bool) -> Attempt {
        let outcome = if good { Ok("10.77.0.11".to_owned()) } else { Err("no".to_owned()) };
        Attempt { begun_us: ms * 1_000, ended_us: ms * 1_000, outcome }
    }

    #[test]
    fn a_gap_is_from_the_last_answer_before_to_the_first_after() {
        let attempts = [at(10, true), at(15, true), at(20, false), at(600, true), at(605, true)];
        let gap = |attempts: &[Attempt], since_us, until_us| {
            let gap = longest_gap(attempts, since_us, until_us);
            (gap.begin_us, gap.end_us)
        };
        assert_eq!(gap(&attempts, 17_000, 606_000), (15_000, 600_000));
        // Nothing answered yet: the gap is still open.
        assert_eq!(gap(&attempts[..3], 17_000, 900_000), (15_000, 900_000));
        assert_eq!(gap(&attempts, 601_000, 606_000), (600_000, 605_000));
        // No answer before: the gap begins where it was asked from.
        assert_eq!(gap(&attempts, 4_000, 16_000), (4_000, 10_000));
    }

    #[test]
    fn a_line_is_an_attempt() {
        let good = parse("1 2 ok 10.77.0.11").unwrap();
        assert_eq!(good, Attempt { begun_us: 1, ended_us: 2, outcome: Ok("10.77.0.11".into()) });
        let bad = parse("1 2 failed connect: refused").unwrap();
        assert_eq!(bad.outcome, Err("connect: refused".to_owned()));
        assert_eq!(parse("1 2"), None);
    }
}
