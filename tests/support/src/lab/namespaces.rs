//! Hosts as network namespaces, on bridges that live in a namespace too: no packet can leave the machine.

use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use super::Segment;

/// The switch and its hosts.
#[derive(Debug)]
pub(super) struct Network {
    id: String,
    switch: String,
    segments: Vec<Segment>,
    namespaces: Mutex<Vec<String>>,
}

/// The address of every lab's host `last`: labs cannot see each other, so all use the same networks.
pub(super) fn address(segment: Segment, last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77 + segment.index(), 0, last)
}

/// The IPv6 address of the host `last` on the clients' network.
pub(super) fn address6(last: u8) -> Ipv6Addr {
    // Written as the IPv4 address ends: 11 is ::11.
    let digits = u16::from_str_radix(&last.to_string(), 16).unwrap_or_default();
    Ipv6Addr::new(0xfd77, 0x77, 0, 0, 0, 0, 0, digits)
}

/// The hardware address of the host `last`; the same in every run, so that captures can be compared.
pub(super) fn mac(segment: Segment, last: u8) -> [u8; 6] {
    [0x02, 0x77, 0, 0, segment.index(), last]
}

/// The table of the switch that keeps hosts apart.
const PARTITIONS: &str = "add table bridge lab
add set bridge lab apart { type ifname . ifname; }
add chain bridge lab forward { type filter hook forward priority 0; policy accept; }
flush chain bridge lab forward
add rule bridge lab forward iifname . oifname @apart drop
";

impl Network {
    /// Makes the switch, a bridge for each segment.
    pub(super) fn create(id: &str, segments: &[Segment]) -> Result<Self> {
        let switch = format!("{id}-switch");
        ip(&["netns", "add", &switch])?;
        let namespaces = Mutex::new(vec![switch.clone()]);
        let segments = segments.to_vec();
        let network = Self { id: id.to_owned(), switch, segments, namespaces };
        let lines: Vec<String> = network
            .segments
            .iter()
            .map(|segment| {
                // Nobody on it asks for groups: a snooping switch would have to guess.
                let bridge = bridge(*segment);
                format!("link add {bridge} type bridge mcast_snooping 0\nlink set {bridge} up\n")
            })
            .collect();
        let result = network.batch(&network.switch, &lines.concat());
        if result.is_err() {
            network.remove();
        }
        result.map(|()| network)
    }

    /// The namespace with the bridges.
    pub(super) fn switch(&self) -> &str {
        &self.switch
    }

    /// Whether it has this network.
    pub(super) fn has(&self, segment: Segment) -> bool {
        self.segments.contains(&segment)
    }

    /// Makes a host and plugs it in; returns its namespace.
    pub(super) fn add_host(&self, name: &str, last: u8) -> Result<String> {
        let namespace = format!("{}-{name}", self.id);
        ip(&["netns", "add", &namespace])?;
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner).push(namespace.clone());
        quieten_ipv6(&namespace)?;
        let mut switch = String::new();
        let mut host = "link set lo up\n".to_owned();
        for segment in &self.segments {
            let (port, bridge) = (port(*segment, last), bridge(*segment));
            let interface = segment.interface();
            let mac = super::format_mac(mac(*segment, last));
            // Both ends are made where they belong: nothing ever appears among the machine's interfaces.
            let pair = format!(
                "link add {port} type veth peer name {interface} address {mac} netns {namespace}\n"
            );
            switch += &pair;
            switch += &format!("link set {port} master {bridge} up\n");
            let address = address(*segment, last);
            host += &format!("address add {address}/24 brd + dev {interface}\n");
            if *segment == Segment::Clients && has_ipv6() {
                host += &format!("address add {}/64 dev {interface} nodad\n", address6(last));
            }
            host += &format!("link set {interface} up\n");
        }
        self.batch(&self.switch, &switch)?;
        self.batch(&namespace, &host)?;
        Ok(namespace)
    }

    /// Plugs a host in or pulls its plug, on these segments, all at once.
    pub(super) fn set_links(&self, last: u8, segments: &[Segment], up: bool) -> Result<()> {
        let state = if up { "up" } else { "down" };
        let lines: Vec<String> = segments
            .iter()
            .filter(|segment| self.has(**segment))
            .map(|segment| format!("link set {} {state}\n", port(*segment, last)))
            .collect();
        self.batch(&self.switch, &lines.concat())
    }

    /// Lets no frame pass between hosts of one side and of the other, either way.
    pub(super) fn partition(&self, segment: Segment, one: &[u8], other: &[u8]) -> Result<()> {
        let mut script = PARTITIONS.to_owned();
        for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (*a, *b))) {
            let (a, b) = (port(segment, a), port(segment, b));
            script += &format!(
                "add element bridge lab apart {{ \"{a}\" . \"{b}\", \"{b}\" . \"{a}\" }}\n"
            );
        }
        self.nft(&script)
    }

    /// Ends all partitions.
    pub(super) fn heal(&self) -> Result<()> {
        self.nft(&format!("{PARTITIONS}flush set bridge lab apart\n"))
    }

    /// Ends what runs in it and removes all of it.
    pub(super) fn remove(&self) {
        for namespace in self.namespaces.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            remove_namespace(&namespace);
        }
    }

    fn nft(&self, script: &str) -> Result<()> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.switch, "nft", "-f", "-"]);
        feed(command, script).context("nft (Debian package nftables)")
    }

    fn batch(&self, namespace: &str, lines: &str) -> Result<()> {
        debug_assert!(namespace.starts_with(&self.id));
        let mut command = Command::new("ip");
        command.args(["-n", namespace, "-batch", "-"]);
        feed(command, lines).context("ip (Debian package iproute2)")
    }
}

/// The bridge of a segment, in the switch.
pub(super) fn bridge(segment: Segment) -> String {
    format!("br{}", segment.index())
}

/// The switch's end of a host's cable.
fn port(segment: Segment, last: u8) -> String {
    format!("port{}-{last}", segment.index())
}

fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").is_dir()
}

/// No duplicate address detection, which would make every address wait, and no addresses from
/// advertisements of routers: FRR sends them.
fn quieten_ipv6(namespace: &str) -> Result<()> {
    if !has_ipv6() {
        return Ok(());
    }
    let script = "cd /proc/sys/net/ipv6/conf && for conf in all default; do echo 0 > $conf/accept_dad && \
                  echo 0 > $conf/accept_ra || exit 1; done";
    ip(&["netns", "exec", namespace, "sh", "-c", script])
}

/// Ends the processes of a namespace of ours, then removes it.
pub(super) fn remove_namespace(namespace: &str) {
    let output = Command::new("ip").args(["netns", "pids", namespace]).output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    let pids = String::from_utf8_lossy(&text);
    for pid in pids.split_whitespace().filter_map(|pid| pid.parse().ok()) {
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            // Gone already is fine.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    let mut delete = Command::new("ip");
    drop(delete.args(["netns", "delete", namespace]).stderr(Stdio::null()).status());
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).output();
    let output = output.context("starting ip (Debian package iproute2)")?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        bail!("ip {}: {}", arguments.join(" "), message.trim());
    }
    Ok(())
}

/// Runs a program that reads its orders from standard input; they are few enough for a pipe's buffer.
fn feed(mut command: Command, text: &str) -> Result<()> {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = piped.spawn()?;
    let mut stdin = child.stdin.take().context("its input is a pipe")?;
    stdin.write_all(text.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{}\nwas told:\n{text}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
