//! Hosts that can reach each other and nothing else.
//!
//! ```text
//!            namespace …-switch: bridge, no uplink
//!      ┌───────────┬───────────┬───────────┐
//!   eth0 .11    eth0 .13    eth0 .21    eth0 .31
//!   …-node-1    …-witness   …-origin-1  …-client        10.77.0.0/24
//! ```
//!
//! Without root the same hosts are addresses of a loopback network of their own, 127.77.N.0/24. The code
//! that uses a lab is the same; what loopback cannot show is traffic that leaves a host.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use crate::process;

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
        if !rustix::process::geteuid().is_root() {
            bail!("network namespaces need root");
        }
        Self::start(|id| Ok(Network::Namespaces(namespaces::Network::create(id)?)))
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
            Network::Namespaces(_) => namespaces::address(last),
            Network::Loopback(network) => network.address(last),
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
