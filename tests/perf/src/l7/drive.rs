//! Runs this program's own driver on the load's CPU.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use ballast_test_support::{Lab, Process, process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::ChildStdout;
use tokio::time::timeout;

use super::certificate::Certificate;
use super::{LOAD_CPU, prompt};
use crate::driver::Outcome;

/// Longest time until all connections stand.
const OPEN_LIMIT: Duration = Duration::from_secs(60);

/// Handshakes for `seconds`.
pub(super) async fn handshakes(
    lab: &Lab,
    address: SocketAddr,
    certificate: &Certificate,
    resumed: bool,
    seconds: u32,
) -> Result<Outcome> {
    let sessions = if resumed { "resumed" } else { "full" };
    let ca = certificate.ca.display().to_string();
    let (address, time) = (address.to_string(), seconds.to_string());
    let arguments = [
        "handshakes",
        "--address",
        &address,
        "--ca",
        &ca,
        "--sessions",
        sessions,
        "--seconds",
        &time,
    ];
    once(lab, LOAD_CPU, &arguments, seconds).await
}

/// Requests at a fixed rate for `seconds`, answered by the load itself at `member`.
pub(super) async fn open_loop(
    lab: &Lab,
    address: SocketAddr,
    member: SocketAddr,
    rate: f64,
    seconds: u32,
) -> Result<Outcome> {
    let (address, member) = (address.to_string(), member.to_string());
    let (rate, time) = (rate.to_string(), seconds.to_string());
    let arguments = [
        "open-loop",
        "--address",
        &address,
        "--member",
        &member,
        "--rate",
        &rate,
        "--seconds",
        &time,
    ];
    once(lab, prompt::load(), &arguments, seconds).await
}

/// Datagrams for `seconds`.
pub(super) async fn datagrams(lab: &Lab, address: SocketAddr, seconds: u32) -> Result<Outcome> {
    let (address, time) = (address.to_string(), seconds.to_string());
    once(lab, LOAD_CPU, &["udp", "--address", &address, "--seconds", &time], seconds).await
}

async fn once(lab: &Lab, wrapper: &[&str], arguments: &[&str], seconds: u32) -> Result<Outcome> {
    let client = lab.host("client", 31)?;
    let mut command = client.command_with(wrapper, std::env::current_exe()?);
    command.arg("drive").args(arguments);
    let output = process::run(command, super::limit(seconds)).await?;
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).with_context(|| format!("the driver said:\n{text}"))
}

/// Connections that are open until they are dropped.
pub(super) struct IdleConnections {
    pub(super) count: u64,
    _process: Process,
}

/// Opens so many; each has had an answer when this returns.
pub(super) async fn idle(
    lab: &Lab,
    address: SocketAddr,
    certificate: Option<&Certificate>,
    count: usize,
) -> Result<IdleConnections> {
    let client = lab.host("client", 31)?;
    let mut command = client.command_with(LOAD_CPU, std::env::current_exe()?);
    command.args(["drive", "idle", "--address", &address.to_string()]);
    command.args(["--connections", &count.to_string()]);
    if let Some(certificate) = certificate {
        command.arg("--ca").arg(&certificate.ca);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let log = client.dir()?.join("idle.log");
    let mut process = Process::start_with_pipes("idle connections", command, &log)?;
    let stdout = process.child_mut().stdout.take().context("its output is a pipe")?;
    let mut lines = BufReader::new(ChildStdout::from_std(stdout)?).lines();
    let line = timeout(OPEN_LIMIT, lines.next_line()).await.context("they were not opened")??;
    let line = line.with_context(|| format!("it has ended; see {}", log.display()))?;
    let outcome: Outcome = serde_json::from_str(&line)?;
    Ok(IdleConnections { count: outcome.requests, _process: process })
}
