//! Load that no installed tool makes: requests at a fixed rate, TLS handshakes, idle connections.
//!
//! `ballast-perf drive …` is started by the benchmarks, on a CPU of their choice, and prints one line
//! of JSON: an [`Outcome`].
//!
//! Invariant: an answer counts when it is complete and its status is 2xx; everything else is a failure.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::statistics::percentile;

mod handshakes;
mod idle;
pub(crate) mod open_loop;
mod tls;
pub(crate) mod udp;

/// Longest time that anything single may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest answer that is read, in bytes.
const ANSWER_MAX_BYTES: usize = 64 * 1024;

/// What to send.
#[derive(Debug, Subcommand)]
pub(crate) enum Drive {
    /// Requests at a fixed rate, whatever the answers do: time counts from when one was due.
    OpenLoop(open_loop::Options),
    /// A TLS handshake and one request per connection.
    Handshakes(handshakes::Options),
    /// Connections that ask once and then stay.
    Idle(idle::Options),
    /// Datagrams, so many under way.
    Udp(udp::Options),
}

/// Where to.
#[derive(Clone, Debug, Args)]
pub(crate) struct Target {
    /// The proxy.
    #[arg(long)]
    address: SocketAddr,
    /// The authority that signed the proxy's certificate, in PEM; without it no TLS is spoken.
    #[arg(long)]
    ca: Option<PathBuf>,
}

/// Whether sessions are taken up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sessions {
    /// Every handshake is a full one.
    Full,
    /// Every handshake but the first of a connection slot resumes.
    Resumed,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Answers of any status.
    pub(crate) requests: u64,
    /// Answers that were not 2xx or 3xx, and broken connections.
    pub(crate) failures: u64,
    pub(crate) duration_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Handshakes that resumed a session.
    #[serde(default)]
    pub(crate) resumed: u64,
    /// What was received, in bytes, where that is counted.
    #[serde(default)]
    pub(crate) bytes: u64,
}

impl Outcome {
    fn of(times_us: &[f64], failures: u64, began: Instant) -> Self {
        Self {
            requests: times_us.len() as u64,
            failures,
            duration_s: began.elapsed().as_secs_f64(),
            p50_us: percentile(times_us, 0.5),
            p99_us: percentile(times_us, 0.99),
            ..Self::default()
        }
    }
}

/// Sends, and prints what came of it.
pub(crate) fn run(drive: &Drive) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let outcome = match drive {
        Drive::OpenLoop(options) => open_loop::run(options)?,
        Drive::Handshakes(options) => local.block_on(&runtime, handshakes::run(options))?,
        Drive::Udp(options) => udp::run(options)?,
        Drive::Idle(options) => {
            let held = local.block_on(&runtime, idle::open(options))?;
            say(&Outcome { requests: held.len() as u64, ..Outcome::default() })?;
            // Until whoever started this has looked.
            std::io::stdin().read_to_end(&mut Vec::new())?;
            return Ok(());
        }
    };
    say(&outcome)
}

fn say(outcome: &Outcome) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, outcome)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// The request of everything here.
fn request(address: SocketAddr, closes: bool) -> Vec<u8> {
    let end = if closes { "Connection: close\r\n" } else { "" };
    format!("GET / HTTP/1.1\r\nHost: {address}\r\n{end}\r\n").into_bytes()
}

/// Sends a request and reads its answer, which must have a Content-Length; the status.
async fn ask<S>(stream: &mut S, request: &[u8], answer: &mut Vec<u8>) -> Result<u16>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(request).await?;
    stream.flush().await?;
    answer.clear();
    loop {
        if let Some((status, length)) = measured(answer)?
            && answer.len() >= length
        {
            return Ok(status);
        }
        if answer.len() > ANSWER_MAX_BYTES {
            bail!("an answer of more than {ANSWER_MAX_BYTES} bytes");
        }
        if stream.read_buf(answer).await? == 0 {
            bail!("the connection ended within an answer");
        }
    }
}

/// Status and whole length of the answer that begins with these bytes, once its head is there.
fn measured(answer: &[u8]) -> Result<Option<(u16, usize)>> {
    let Some(head_end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&answer[..head_end]).context("a head that is no text")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let status = status.context("an answer without a status")?;
    let length = length.context("an answer without Content-Length")?;
    Ok(Some((status, head_end + 4 + length)))
}

#[cfg(test)]
mod tests;
