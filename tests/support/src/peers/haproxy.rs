//! HAProxy on a host of the lab, listening on addresses that keepalived moves.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::lab::Host;
use crate::process::{self, Process};

const LIMIT: Duration = Duration::from_secs(10);

/// An HTTP proxy in front of one origin.
#[derive(Debug)]
pub struct Haproxy {
    host: Host,
    config: PathBuf,
    process: Option<Process>,
}

impl Haproxy {
    /// Starts it; `listen` may be an address that the host does not hold yet.
    ///
    /// # Errors
    /// When it is not installed or the host's settings cannot be changed.
    pub async fn start(host: &Host, listen: SocketAddr, origin: SocketAddr) -> Result<Self> {
        let mut allow = host.command("sh");
        allow.args(["-c", "echo 1 > /proc/sys/net/ipv4/ip_nonlocal_bind"]);
        process::run(allow, LIMIT).await?;
        let config = host.dir()?.join("haproxy.cfg");
        let text = format!(
            "global\n  nbthread 1\n  maxconn 4096\ndefaults\n  mode http\n  timeout connect 1s\n  \
             timeout client 10s\n  timeout server 10s\n  http-reuse always\n\
             frontend probe\n  bind {listen}\n  default_backend origin\n\
             backend origin\n  server origin {origin}\n"
        );
        fs::write(&config, text)?;
        let mut haproxy = Self { host: host.clone(), config, process: None };
        haproxy.resume()?;
        Ok(haproxy)
    }

    /// Starts it again.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn resume(&mut self) -> Result<()> {
        let mut command = self.host.command("haproxy");
        command.arg("-db").arg("-f").arg(&self.config);
        let process = Process::start("haproxy", command, &self.host.dir()?.join("haproxy.log"));
        self.process = Some(process.context("haproxy (Debian package haproxy)")?);
        Ok(())
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.as_ref().context("it does not run")?.signal(signal)
    }

    /// Kills it.
    ///
    /// # Errors
    /// When it does not run.
    pub fn sigkill(&mut self) -> Result<()> {
        self.process.take().context("it does not run")?.kill()
    }
}
