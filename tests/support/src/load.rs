//! Load: many connections that send request after request, and say exactly what became of each.
//!
//! The sender is a process of its own (`ballast-load`), so that it can run on the client's host.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::{ChildStdin, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::ChildStdout;

use crate::lab::Host;
use crate::process::Process;
use crate::programs;
use crate::wait::wait_for;

mod connection;
mod run;
mod tally;

pub use run::run;

/// Longest wait for the sender to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// What to send.
#[derive(Clone, Debug, Args)]
pub struct LoadOptions {
    /// `http`, `https`, `ws`, `wss` or `tcp` URL whose host is an address.
    #[arg(long)]
    pub url: String,
    /// Connections at once.
    #[arg(long, default_value_t = 8)]
    pub connections: u16,
    /// Stop after this many seconds; else when told to.
    #[arg(long)]
    pub duration_s: Option<f64>,
    /// Requests per second, all connections together: sent on schedule however slow the answers are.
    /// Absent: each connection sends its next request once it has the answer to the last.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Start a new connection after so many requests.
    #[arg(long)]
    pub requests_per_connection: Option<u64>,
    /// Certificates to trust (PEM), for `https` and `wss`.
    #[arg(long)]
    pub ca: Option<PathBuf>,
    /// Host name for `Host` and SNI. Absent: the URL's address.
    #[arg(long)]
    pub host_name: Option<String>,
    /// Send POST requests with a body of so many bytes.
    #[arg(long)]
    pub post_bytes: Option<usize>,
    /// Longest time a request may take, in ms.
    #[arg(long, default_value_t = 10_000)]
    pub timeout_ms: u64,
}

impl LoadOptions {
    /// Eight connections, each sending without pause until told to stop.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            connections: 8,
            duration_s: None,
            rate: None,
            requests_per_connection: None,
            ca: None,
            host_name: None,
            post_bytes: None,
            timeout_ms: 10_000,
        }
    }

    fn to_arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut add = |name: &str, value: Option<String>| {
            arguments.extend(value.map(|value| format!("--{name}={value}")));
        };
        add("url", Some(self.url.clone()));
        add("connections", Some(self.connections.to_string()));
        add("duration-s", self.duration_s.map(|value| value.to_string()));
        add("rate", self.rate.map(|value| value.to_string()));
        add("requests-per-connection", self.requests_per_connection.map(|value| value.to_string()));
        add("ca", self.ca.as_ref().map(|value| value.display().to_string()));
        add("host-name", self.host_name.clone());
        add("post-bytes", self.post_bytes.map(|value| value.to_string()));
        add("timeout-ms", Some(self.timeout_ms.to_string()));
        arguments
    }
}

/// What became of the requests so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LoadReport {
    /// Requests that were begun, connection attempts for them included.
    pub sent: u64,
    /// Those with a complete, good answer.
    pub ok: u64,
    /// The others, by reason.
    pub failed: BTreeMap<String, u64>,
    /// Good answers by the origin that gave them.
    pub by_origin: BTreeMap<String, u64>,
    /// Connections opened.
    pub connections: u64,
    /// Of those with TLS: how many began with a full handshake.
    #[serde(default)]
    pub tls_full: u64,
    /// And how many resumed a session.
    #[serde(default)]
    pub tls_resumed: u64,
    /// Connections that the other side closed between two requests, where HTTP allows it.
    pub closed_between_requests: u64,
    /// Latency of good answers, in µs, by percentile: `p50`, `p90`, `p99`, `p99.9`, `max`.
    pub latency_us: BTreeMap<String, u64>,
    /// Longest time without a good answer, in ms.
    pub longest_gap_ms: u64,
    /// Time since the start, in ms.
    pub elapsed_ms: u64,
    /// The first failures, each with its time since the start.
    pub first_failures: Vec<String>,
}

impl LoadReport {
    /// How many requests failed.
    pub fn failed_count(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Good answers of one origin.
    pub fn of_origin(&self, name: &str) -> u64 {
        self.by_origin.get(name).copied().unwrap_or(0)
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percentile = |name: &str| self.latency_us.get(name).copied().unwrap_or(0);
        write!(f, "{} sent, {} ok, {} failed", self.sent, self.ok, self.failed_count())?;
        write!(f, "; p50 {} µs, p99 {} µs", percentile("p50"), percentile("p99"))?;
        for (origin, count) in &self.by_origin {
            write!(f, "; {origin} {count}")?;
        }
        for (reason, count) in &self.failed {
            write!(f, "; {count} × {reason}")?;
        }
        for failure in self.first_failures.iter().take(3) {
            write!(f, "\n    {failure}")?;
        }
        Ok(())
    }
}

/// A running sender.
#[derive(Debug)]
pub struct Load {
    process: Process,
    // Dropped to stop the sender.
    stdin: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Load {
    /// Starts sending from `host`, and waits until the first request was answered or failed.
    ///
    /// # Errors
    /// When the sender cannot be started.
    pub async fn start(host: &Host, options: &LoadOptions) -> Result<Self> {
        let mut command = host.command(programs::find("ballast-load")?);
        command.arg("--controlled").args(options.to_arguments());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let log = host.dir()?.join("load.log");
        let mut process = Process::start_with_pipes("ballast-load", command, &log)?;
        let stdin = process.child_mut().stdin.take();
        let stdout = process.child_mut().stdout.take().context("its output is a pipe")?;
        let answers = BufReader::new(ChildStdout::from_std(stdout)?).lines();
        let mut load = Self { process, stdin, answers };
        load.wait_for_requests(1).await?;
        Ok(load)
    }

    /// What has become of the requests so far.
    ///
    /// # Errors
    /// When the sender has died.
    pub async fn snapshot(&mut self) -> Result<LoadReport> {
        use std::io::Write;
        let stdin = self.stdin.as_mut().context("it was told to stop")?;
        stdin.write_all(b"snapshot\n").context("the sender has died")?;
        self.answer().await
    }

    /// Waits until `count` more requests were answered or failed than now.
    ///
    /// # Errors
    /// When they are not in 30 s.
    pub async fn wait_for_requests(&mut self, count: u64) -> Result<LoadReport> {
        let before = self.snapshot().await?;
        let done = |report: &LoadReport| report.ok + report.failed_count();
        let mut last = before.clone();
        wait_for("requests to be sent", ANSWER_LIMIT, async || {
            if let Ok(report) = self.snapshot().await {
                last = report;
            }
            done(&last) >= done(&before) + count
        })
        .await
        .with_context(|| last.to_string())?;
        Ok(last)
    }

    /// Lets requests under way finish, and reports.
    ///
    /// # Errors
    /// When the sender has died.
    pub async fn stop(mut self) -> Result<LoadReport> {
        drop(self.stdin.take());
        let report = self.answer().await?;
        self.process.wait(ANSWER_LIMIT).await?;
        Ok(report)
    }

    async fn answer(&mut self) -> Result<LoadReport> {
        let line = tokio::time::timeout(ANSWER_LIMIT, self.answers.next_line()).await;
        let line = line.context("the sender does not answer")??;
        let log = self.process.log().display();
        let line = line.with_context(|| format!("the sender has ended; see {log}"))?;
        Ok(serde_json::from_str(&line)?)
    }
}
