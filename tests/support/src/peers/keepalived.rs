//! keepalived on a host of the lab, its configuration written here.
//!
//! Its state is read from the addresses that its host holds: that is what counts.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::Host;
use crate::process::Process;
use crate::wait::wait_for;

/// Longest time for it to stop when asked to; it waits for its children.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// Longest time for it to read its configuration and join.
const START_LIMIT: Duration = Duration::from_secs(10);

/// What its configuration says. One instance is made for each address family of `addresses`.
#[derive(Clone, Debug)]
pub struct KeepalivedOptions {
    /// The virtual router.
    pub vrid: u8,
    /// Its priority, 1 to 254.
    pub priority: u8,
    /// Time between adverts, in ms.
    pub interval_ms: u32,
    /// The virtual addresses.
    pub addresses: Vec<IpAddr>,
    /// Whether it takes over from a router of lower priority.
    pub preempt: bool,
    /// The other routers, where adverts are unicast.
    pub unicast_peers: Vec<IpAddr>,
    /// Whether the instances of both families move together.
    pub synced: bool,
    /// Whether the addresses are at the virtual router's hardware address.
    pub virtual_mac: bool,
}

impl KeepalivedOptions {
    /// A router with 200 ms adverts, by multicast, that preempts as RFC 9568 has it by default.
    pub fn new(vrid: u8, priority: u8, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self {
            vrid,
            priority,
            interval_ms: 200,
            addresses: addresses.into_iter().collect(),
            preempt: true,
            unicast_peers: Vec::new(),
            synced: false,
            virtual_mac: false,
        }
    }

    fn configuration(&self, host: &Host, weight_file: &str) -> String {
        let mut text = format!(
            "global_defs {{\n  router_id {}\n  vrrp_version 3\n}}\n\
             vrrp_track_file handicap {{\n  file {weight_file}\n  weight 1\n  init_file 0\n}}\n",
            host.name()
        );
        let mut names = Vec::new();
        for is_v6 in [false, true] {
            let addresses: Vec<_> =
                self.addresses.iter().filter(|address| address.is_ipv6() == is_v6).collect();
            if addresses.is_empty() {
                continue;
            }
            let name = if is_v6 { "v6" } else { "v4" };
            names.push(name);
            self.instance(host, name, &addresses, &mut text);
        }
        if self.synced {
            let group =
                format!("vrrp_sync_group all {{\n  group {{\n    {}\n  }}\n", names.join("\n    "));
            text += &group;
            // Its files' weights are then the group's.
            text += "}\n";
        }
        text
    }

    fn instance(&self, host: &Host, name: &str, addresses: &[&IpAddr], text: &mut String) {
        let Self { vrid, priority, interval_ms, .. } = self;
        let interval_s = f64::from(*interval_ms) / 1_000.0;
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "vrrp_instance {name} {{\n  interface eth0\n  state BACKUP\n  virtual_router_id {vrid}\n  \
             priority {priority}\n  advert_int {interval_s}\n  garp_master_delay 1\n"
        );
        if !self.preempt {
            text.push_str("  nopreempt\n");
        }
        if self.virtual_mac {
            text.push_str("  use_vmac\n");
        }
        if !self.synced {
            text.push_str("  track_file {\n    handicap\n  }\n");
        }
        let is_v6 = name == "v6";
        let peers: Vec<_> = self.unicast_peers.iter().filter(|p| p.is_ipv6() == is_v6).collect();
        if !peers.is_empty() {
            let own = match host.ipv6() {
                Some(own) if is_v6 => IpAddr::from(own),
                _ => host.ip().into(),
            };
            let _ = write!(text, "  unicast_src_ip {own}\n  unicast_peer {{\n");
            for peer in peers {
                let _ = writeln!(text, "    {peer}");
            }
            text.push_str("  }\n");
        }
        text.push_str("  virtual_ipaddress {\n");
        for address in addresses {
            let length = if is_v6 { 128 } else { 32 };
            // With a hardware address of their own they go to the device that keepalived makes.
            let device = if self.virtual_mac { "" } else { " dev eth0" };
            let _ = writeln!(text, "    {address}/{length}{device}");
        }
        text.push_str("  }\n}\n");
    }
}

/// A keepalived.
#[derive(Debug)]
pub struct Keepalived {
    host: Host,
    dir: PathBuf,
    /// Where this run's lines begin in the log.
    log_start: u64,
    process: Option<Process>,
}

impl Keepalived {
    /// Starts it on `host`.
    ///
    /// # Errors
    /// When files cannot be written or it is not installed.
    pub fn start(host: &Host, options: &KeepalivedOptions) -> Result<Self> {
        let dir = host.dir()?.join("keepalived");
        fs::create_dir_all(&dir)?;
        let mut keepalived = Self { host: host.clone(), dir, log_start: 0, process: None };
        let weight_file = keepalived.dir.join("handicap");
        fs::write(&weight_file, "0\n")?;
        let text = options.configuration(host, &weight_file.display().to_string());
        fs::write(keepalived.dir.join("keepalived.conf"), text)?;
        keepalived.resume()?;
        Ok(keepalived)
    }

    /// Starts it again, after a stop or a kill.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn resume(&mut self) -> Result<()> {
        let mut command = self.host.command("keepalived");
        // Children are not started again by a parent that a test is about to kill.
        command.args(["--vrrp", "--dont-fork", "--log-console", "--log-detail", "--no-syslog"]);
        command.args(["--dont-respawn", "--use-file"]).arg(self.dir.join("keepalived.conf"));
        command.arg("--pid").arg(self.dir.join("keepalived.pid"));
        command.arg("--vrrp_pid").arg(self.dir.join("vrrp.pid"));
        let log = self.host.dir()?.join("keepalived.log");
        self.log_start = fs::metadata(&log).map_or(0, |file| file.len());
        let process = Process::start("keepalived", command, &log);
        self.process = Some(process.context("keepalived (Debian package keepalived)")?);
        Ok(())
    }

    /// Adds `points` (below 0 to lower it) to its priority while it runs, as an operator does who
    /// moves the addresses away.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_handicap(&self, points: i8) -> Result<()> {
        Ok(fs::write(self.dir.join("handicap"), format!("{points}\n"))?)
    }

    /// Sends a signal to it and its child.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let process = self.process.as_ref().context("it does not run")?;
        for child in children(process.id()) {
            // It may have ended; then the parent notices.
            let _ = kill_process(child, signal);
        }
        process.signal(signal)
    }

    /// Kills it and its child: its addresses stay on the host.
    ///
    /// # Errors
    /// When it does not run.
    pub fn sigkill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.process.take().context("it does not run")?.kill()?;
        // It would believe that the child, which nobody may have waited for yet, is another keepalived.
        for name in ["keepalived.pid", "vrrp.pid"] {
            drop(fs::remove_file(self.dir.join(name)));
        }
        Ok(())
    }

    /// Asks it to stop, and waits until it has.
    ///
    /// # Errors
    /// When it does not.
    pub async fn stop(&mut self) -> Result<()> {
        let mut process = self.process.take().context("it does not run")?;
        process.signal(Signal::TERM)?;
        process.wait(STOP_LIMIT).await?;
        Ok(())
    }

    /// The host it is on.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// What it logged since it was started last.
    pub fn log(&self) -> String {
        let log = self.process.as_ref().map(|process| process.log().to_owned());
        let text = log.and_then(|log| fs::read(log).ok()).unwrap_or_default();
        let start = usize::try_from(self.log_start).unwrap_or(usize::MAX).min(text.len());
        String::from_utf8_lossy(&text[start..]).into_owned()
    }

    /// Waits until it takes part, as master or backup.
    ///
    /// # Errors
    /// When it does not in time; the message has its log.
    pub async fn wait_ready(&self) -> Result<()> {
        let ready = async || self.log().contains("Entering BACKUP STATE");
        let waited = wait_for("keepalived to take part", START_LIMIT, ready).await;
        waited.with_context(|| self.log())
    }
}

/// The child processes of `pid` (proc(5)).
fn children(pid: u32) -> Vec<Pid> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}
