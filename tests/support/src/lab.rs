//! Hosts that can reach each other and nothing else.
//!
//! ```text
//!            namespace …-switch: bridge, no uplink
//!      ┌───────────┬───────────┬───────────┐
//!   eth0 .11    eth0 .13    eth0 .21    eth0 .31
//!   …-node-1    …-witness   …-origin-1  …-client        10.77.0.0/24, fd77:77::/64
//! ```
//!
//! A lab of [`Lab::with_cluster_network`] has a second bridge, on which the same hosts are eth1, 10.78.0.0/24:
//! what nodes say to each other goes there, and each network can fail without the other.
//!
//! Without root the same hosts are addresses of a loopback network of their own, 127.77.N.0/24. The code
//! that uses a lab is the same; what loopback cannot show is traffic that leaves a host.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use crate::process;

mod addresses;
mod loopback;
mod namespaces;
mod sweep;

/// What hosts are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Network namespaces on a bridge; needs root.
    Namespaces,
    /// Addresses of the loopback interface.
    Loopback,
}

/// A network of a lab of namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Where clients, virtual addresses and origins are; every host's eth0.
    Clients,
    /// Where nodes talk to each other, in a lab that has it; every host's eth1.
    Cluster,
}

impl Segment {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Clients, Self::Cluster];

    /// The name of a host's interface on it.
    pub fn interface(self) -> &'static str {
        match self {
            Self::Clients => "eth0",
            Self::Cluster => "eth1",
        }
    }

    fn index(self) -> u8 {
        match self {
            Self::Clients => 0,
            Self::Cluster => 1,
        }
    }
}

/// A network with hosts. Clones share it; it is removed with the last one.
#[derive(Clone, Debug)]
pub struct Lab {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    id: String,
    dir: PathBuf,
    network: Network,
}

#[derive(Debug)]
enum Network {
    Namespaces(namespaces::Network),
    Loopback(loopback::Network),
}

impl Lab {
    /// Namespaces when root, else loopback.
    ///
    /// # Errors
    /// When it cannot be set up.
    pub fn new() -> Result<Self> {
        if rustix::process::geteuid().is_root() { Self::namespaces() } else { Self::loopback() }
    }

    /// A lab of network namespaces.
    ///
    /// # Errors
    /// Without root, or when `ip` fails.
    pub fn namespaces() -> Result<Self> {
        Self::with_segments(&[Segment::Clients])
    }

    /// A lab of network namespaces with a second network, for what nodes say to each other.
    ///
    /// # Errors
    /// Without root, or when `ip` fails.
    pub fn with_cluster_network() -> Result<Self> {
        Self::with_segments(&Segment::ALL)
    }

    fn with_segments(segments: &[Segment]) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("network namespaces need root");
        }
        Self::start(|id| Ok(Network::Namespaces(namespaces::Network::create(id, segments)?)))
    }

    /// A lab of loopback addresses.
    ///
    /// # Errors
    /// When every loopback network is taken.
    pub fn loopback() -> Result<Self> {
        Self::start(|_| Ok(Network::Loopback(loopback::Network::claim()?)))
    }

    fn start(network: impl FnOnce(&str) -> Result<Network>) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        sweep::remove_leftovers();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}{}-{count}", sweep::PREFIX, std::process::id());
        let dir = std::env::temp_dir().join(&id);
        fs::create_dir(&dir).with_context(|| format!("creating {}", dir.display()))?;
        let network = network(&id)?;
        Ok(Self { inner: Arc::new(Inner { id, dir, network }) })
    }

    /// What its hosts are made of.
    pub fn kind(&self) -> Kind {
        match self.inner.network {
            Network::Namespaces(_) => Kind::Namespaces,
            Network::Loopback(_) => Kind::Loopback,
        }
    }

    /// Its unique name.
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// Where its files go; removed with it.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// The first three octets of its addresses, such as `10.77.0`.
    pub fn subnet(&self) -> String {
        let [a, b, c, _] = self.address(0).octets();
        format!("{a}.{b}.{c}")
    }

    /// The address that ends in `last`.
    pub fn address(&self, last: u8) -> Ipv4Addr {
        match &self.inner.network {
            Network::Namespaces(_) => namespaces::address(Segment::Clients, last),
            Network::Loopback(network) => network.address(last),
        }
    }

    /// Whether hosts have an interface on `segment`.
    pub fn has(&self, segment: Segment) -> bool {
        match &self.inner.network {
            Network::Namespaces(network) => network.has(segment),
            Network::Loopback(_) => segment == Segment::Clients,
        }
    }

    /// Keeps the hosts of one side from those of the other, on one network, until [`Lab::heal`].
    /// Everybody else reaches both sides.
    ///
    /// # Errors
    /// On loopback, or when `nft` fails.
    pub fn partition(&self, segment: Segment, one: &[&Host], other: &[&Host]) -> Result<()> {
        let lasts = |hosts: &[&Host]| hosts.iter().map(|host| host.inner.last).collect::<Vec<_>>();
        self.switch()?.partition(segment, &lasts(one), &lasts(other))
    }

    /// Ends every partition.
    ///
    /// # Errors
    /// On loopback, or when `nft` fails.
    pub fn heal(&self) -> Result<()> {
        self.switch()?.heal()
    }

    /// A command that runs where the bridges are and sees every frame that hosts send; it dies with
    /// this process.
    ///
    /// # Errors
    /// On loopback.
    pub(crate) fn switch_command(&self, program: &str) -> Result<Command> {
        let mut words: Vec<&str> = process::bound_to_parent().into();
        words.extend(["ip", "netns", "exec", self.switch()?.switch(), program]);
        Ok(process::chain(words))
    }

    /// The bridge of `segment`, where [`Lab::switch_command`] runs.
    pub(crate) fn bridge(segment: Segment) -> String {
        namespaces::bridge(segment)
    }

    fn switch(&self) -> Result<&namespaces::Network> {
        match &self.inner.network {
            Network::Namespaces(network) => Ok(network),
            Network::Loopback(_) => bail!("a lab on loopback has no cables and no switch"),
        }
    }

    /// Adds a host whose address ends in `last`.
    ///
    /// # Errors
    /// When its namespace cannot be made.
    pub fn host(&self, name: &str, last: u8) -> Result<Host> {
        let namespace = match &self.inner.network {
            Network::Namespaces(network) => Some(network.add_host(name, last)?),
            Network::Loopback(_) => None,
        };
        let details = HostDetails {
            name: name.to_owned(),
            last,
            ip: self.address(last),
            namespace,
            taken_ports: Mutex::default(),
            lab: self.clone(),
        };
        Ok(Host { inner: Arc::new(details) })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Network::Namespaces(network) = &self.network {
            network.remove();
        }
        if std::thread::panicking() || std::env::var_os("BALLAST_LAB_KEEP").is_some() {
            sweep::mark_kept(&self.dir);
            eprintln!("the lab's files stay in {}", self.dir.display());
        } else {
            drop(fs::remove_dir_all(&self.dir));
        }
    }
}

/// A host of a lab. Clones are the same host.
#[derive(Clone, Debug)]
pub struct Host {
    inner: Arc<HostDetails>,
}

#[derive(Debug)]
struct HostDetails {
    name: String,
    last: u8,
    ip: Ipv4Addr,
    namespace: Option<String>,
    taken_ports: Mutex<BTreeSet<u16>>,
    lab: Lab,
}

impl Host {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Its address.
    pub fn ip(&self) -> Ipv4Addr {
        self.inner.ip
    }

    /// Its IPv6 address on the clients' network; none on loopback.
    pub fn ipv6(&self) -> Option<Ipv6Addr> {
        self.namespace().map(|_| namespaces::address6(self.inner.last))
    }

    /// Its address on the cluster's network, in a lab that has one.
    pub fn cluster_ip(&self) -> Option<Ipv4Addr> {
        let has = self.namespace().is_some() && self.lab().has(Segment::Cluster);
        has.then(|| namespaces::address(Segment::Cluster, self.inner.last))
    }

    /// Its hardware address on the clients' network, as `ip` writes it.
    pub fn mac(&self) -> String {
        format_mac(namespaces::mac(Segment::Clients, self.inner.last))
    }

    /// Pulls its plug on one network: frames stop both ways, and it sees that there is no carrier.
    ///
    /// # Errors
    /// On loopback, or when `ip` fails.
    pub fn link_down(&self, segment: Segment) -> Result<()> {
        self.lab().switch()?.set_links(self.inner.last, &[segment], false)
    }

    /// Plugs it in again.
    ///
    /// # Errors
    /// On loopback, or when `ip` fails.
    pub fn link_up(&self, segment: Segment) -> Result<()> {
        self.lab().switch()?.set_links(self.inner.last, &[segment], true)
    }

    /// Pulls every plug at once, as a power cut would look to the others; what runs on it should be
    /// killed next.
    ///
    /// # Errors
    /// On loopback, or when `ip` fails.
    pub fn unplug(&self) -> Result<()> {
        self.lab().switch()?.set_links(self.inner.last, &Segment::ALL, false)
    }

    /// Plugs it in everywhere.
    ///
    /// # Errors
    /// On loopback, or when `ip` fails.
    pub fn plug_in(&self) -> Result<()> {
        self.lab().switch()?.set_links(self.inner.last, &Segment::ALL, true)
    }

    /// Every address on its interfaces, by interface.
    ///
    /// # Errors
    /// On loopback, or when `ip` fails.
    pub fn addresses(&self) -> Result<Vec<(String, IpAddr)>> {
        let namespace =
            self.namespace().context("a lab on loopback has no addresses of its own")?;
        addresses::list(namespace)
    }

    /// Whether `address` is on one of its interfaces.
    ///
    /// # Errors
    /// On loopback, or when `ip` fails.
    pub fn holds(&self, address: IpAddr) -> Result<bool> {
        Ok(self.addresses()?.iter().any(|(_, held)| *held == address))
    }

    /// Its network namespace, where it is one.
    pub fn namespace(&self) -> Option<&str> {
        self.inner.namespace.as_deref()
    }

    /// The lab that it is part of.
    pub fn lab(&self) -> &Lab {
        &self.inner.lab
    }

    /// A folder for its files.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn dir(&self) -> Result<PathBuf> {
        let dir = self.lab().dir().join(self.name());
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// Its address with a port.
    pub fn socket(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip().into(), port)
    }

    /// A command that runs `program` on this host; it dies with this process.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.command_with(&[], program)
    }

    /// As [`Host::command`], with `wrapper` (such as `taskset -c 0`) before the program.
    pub fn command_with(&self, wrapper: &[&str], program: impl AsRef<OsStr>) -> Command {
        let mut words: Vec<OsString> = process::bound_to_parent().map(OsString::from).into();
        if let Some(namespace) = self.namespace() {
            words.extend(["ip", "netns", "exec", namespace].map(OsString::from));
        }
        words.extend(wrapper.iter().map(OsString::from));
        words.push(program.as_ref().to_owned());
        process::chain(words)
    }

    /// A TCP port that is free on this host and not handed out before.
    ///
    /// # Errors
    /// When there is none.
    pub fn free_port(&self) -> Result<u16> {
        let mut taken = self.inner.taken_ports.lock().unwrap_or_else(PoisonError::into_inner);
        if self.namespace().is_some() {
            // Nobody else is in the namespace: what was not handed out is free.
            let port = (20_000..30_000).find(|port| !taken.contains(port));
            let port = port.context("10,000 ports are handed out")?;
            taken.insert(port);
            return Ok(port);
        }
        for _ in 0..100 {
            let port = TcpListener::bind((self.ip(), 0))?.local_addr()?.port();
            if taken.insert(port) {
                return Ok(port);
            }
        }
        bail!("no free port on {}", self.ip())
    }

    /// `preferred` if it is free on this host, else another one.
    ///
    /// # Errors
    /// When there is none.
    pub fn port(&self, preferred: u16) -> Result<u16> {
        let listens = || TcpListener::bind((self.ip(), preferred)).is_ok();
        if self.namespace().is_some() || listens() {
            let mut taken = self.inner.taken_ports.lock().unwrap_or_else(PoisonError::into_inner);
            if taken.insert(preferred) {
                return Ok(preferred);
            }
        }
        self.free_port()
    }
}

/// A hardware address as `ip` and `tcpdump` write it.
pub(crate) fn format_mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
