//! FRR's zebra and vrrpd on a host of the lab, with the macvlan devices that they want.
//!
//! FRR owns an address by putting its macvlan device up (`protodown` off): the address is always on the
//! device, so its state is asked for, not read from addresses.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::lab::Host;
use crate::process::{self, Process};
use crate::wait::wait_for;

const FOLDER: &str = "/usr/lib/frr";
const LIMIT: Duration = Duration::from_secs(10);

/// What its configuration says.
#[derive(Clone, Debug)]
pub struct FrrOptions {
    /// The virtual router.
    pub vrid: u8,
    /// Its priority, 1 to 254.
    pub priority: u8,
    /// Time between adverts, in ms; a multiple of 10.
    pub interval_ms: u32,
    /// The virtual addresses; the first of IPv6 should be link-local (RFC 9568 §5.2.9).
    pub addresses: Vec<IpAddr>,
    /// Whether it takes over from a router of lower priority.
    pub preempt: bool,
}

impl FrrOptions {
    /// A router with 200 ms adverts that preempts.
    pub fn new(vrid: u8, priority: u8, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let addresses = addresses.into_iter().collect();
        Self { vrid, priority, interval_ms: 200, addresses, preempt: true }
    }

    fn configuration(&self) -> String {
        let Self { vrid, priority, interval_ms, .. } = self;
        let mut text = format!(
            "interface eth0\n vrrp {vrid} version 3\n vrrp {vrid} priority {priority}\n \
             vrrp {vrid} advertisement-interval {interval_ms}\n"
        );
        if !self.preempt {
            text += &format!(" no vrrp {vrid} preempt\n");
        }
        for address in &self.addresses {
            let family = if address.is_ipv4() { "ip" } else { "ipv6" };
            text += &format!(" vrrp {vrid} {family} {address}\n");
        }
        text
    }

    /// Devices with the virtual router's hardware addresses (RFC 9568 §7.3).
    fn devices(&self, own_last: u8) -> String {
        let mut text = String::new();
        for (family, code) in [(4, "01"), (6, "02")] {
            let addresses: Vec<_> =
                self.addresses.iter().filter(|a| a.is_ipv4() == (family == 4)).collect();
            if addresses.is_empty() {
                continue;
            }
            let (device, vrid) = (format!("vrrp{family}"), self.vrid);
            text += &format!(
                "link add {device} link eth0 address 00:00:5e:00:{code}:{vrid:02x} type macvlan mode bridge\n\
                 link set {device} addrgenmode none\n"
            );
            if family == 6 {
                // Its own, for the source of adverts: both routers' devices have the same hardware address.
                text += &format!("address add fe80::5e:{own_last}/64 dev {device} nodad\n");
            }
            for address in addresses {
                let suffix = if family == 4 { "/24" } else { "/64 nodad" };
                let (length, flags) = suffix.split_once(' ').unwrap_or((suffix, ""));
                text += &format!("address add {address}{length} dev {device} {flags}\n");
            }
            text += &format!("link set {device} up\n");
        }
        text
    }
}

/// zebra and vrrpd.
#[derive(Debug)]
pub struct Frr {
    host: Host,
    dir: PathBuf,
    zebra: Process,
    vrrpd: Option<Process>,
}

impl Frr {
    /// Starts both on `host`.
    ///
    /// # Errors
    /// When they are not installed or do not get ready.
    pub async fn start(host: &Host, options: &FrrOptions) -> Result<Self> {
        // Its sockets' paths must be short (108 bytes), and its user must be able to write there.
        let dir = host.dir()?.join("frr");
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("zebra.conf"), "interface eth0\n")?;
        fs::write(dir.join("vrrpd.conf"), options.configuration())?;
        let devices = dir.join("devices");
        fs::write(&devices, options.devices(host.ip().octets()[3]))?;
        let mut batch = host.command("ip");
        batch.arg("-batch").arg(&devices);
        process::run(batch, LIMIT).await.context("macvlan devices")?;
        let mut chown = host.command("chown");
        chown.args(["-R", "frr:frr"]).arg(&dir);
        process::run(chown, LIMIT).await.context("the user frr (Debian package frr)")?;
        let zebra = daemon(host, &dir, "zebra")?;
        let socket = dir.join("zserv.api");
        wait_for("zebra to listen", LIMIT, async || socket.exists()).await?;
        let vrrpd = daemon(host, &dir, "vrrpd")?;
        let frr = Self { host: host.clone(), dir, zebra, vrrpd: Some(vrrpd) };
        let ready = frr.dir.join("vrrpd.vty");
        wait_for("vrrpd to listen", LIMIT, async || ready.exists()).await?;
        Ok(frr)
    }

    /// Whether it is what FRR calls Master, for a family that it has addresses of.
    ///
    /// # Errors
    /// When vrrpd does not answer.
    pub async fn is_active(&self, v6: bool) -> Result<bool> {
        let mut vtysh = self.host.command("vtysh");
        vtysh.arg("--vty_socket").arg(&self.dir).args(["-d", "vrrpd", "-c", "show vrrp json"]);
        let output = process::run(vtysh, LIMIT).await?;
        let routers: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let family = if v6 { "v6" } else { "v4" };
        let status = routers[0][family]["status"].as_str();
        Ok(status.context("no status in `show vrrp json`")? == "Master")
    }

    /// Kills vrrpd.
    ///
    /// # Errors
    /// When it does not run.
    pub fn sigkill(&mut self) -> Result<()> {
        self.vrrpd.take().context("it does not run")?.kill()
    }

    /// Starts vrrpd again.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn resume(&mut self) -> Result<()> {
        self.vrrpd = Some(daemon(&self.host, &self.dir, "vrrpd")?);
        Ok(())
    }

    /// Sends vrrpd and zebra a signal.
    ///
    /// # Errors
    /// When they do not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.zebra.signal(signal)?;
        self.vrrpd.as_ref().context("it does not run")?.signal(signal)
    }

    /// Asks vrrpd to stop, and waits until it has.
    ///
    /// # Errors
    /// When it does not.
    pub async fn stop(&mut self) -> Result<()> {
        let mut vrrpd = self.vrrpd.take().context("it does not run")?;
        vrrpd.signal(Signal::TERM)?;
        vrrpd.wait(LIMIT).await?;
        Ok(())
    }
}

fn daemon(host: &Host, dir: &std::path::Path, name: &str) -> Result<Process> {
    let mut command = host.command(format!("{FOLDER}/{name}"));
    command.arg("-f").arg(dir.join(format!("{name}.conf")));
    command.arg("-i").arg(dir.join(format!("{name}.pid")));
    command.arg("-z").arg(dir.join("zserv.api"));
    command.arg("--vty_socket").arg(dir).args(["--log", "stdout", "-P", "0"]);
    let process = Process::start(name, command, &host.dir()?.join(format!("{name}.log")));
    process.with_context(|| format!("{name} (Debian package frr)"))
}
