//! Hosts as network namespaces, on a bridge that lives in a namespace too: no packet can leave the machine.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

/// The switch and its hosts.
#[derive(Debug)]
pub(super) struct Network {
    id: String,
    switch: String,
    namespaces: Mutex<Vec<String>>,
}

/// The address of every lab's host `last`: labs cannot see each other, so all use the same network.
pub(super) fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, last)
}

impl Network {
    /// Makes the switch.
    pub(super) fn create(id: &str) -> Result<Self> {
        let switch = format!("{id}-switch");
        ip(&["netns", "add", &switch])?;
        let namespaces = Mutex::new(vec![switch.clone()]);
        let network = Self { id: id.to_owned(), switch, namespaces };
        let result = network
            .ip_in(&network.switch, &["link", "add", "br0", "type", "bridge"])
            .and_then(|()| network.ip_in(&network.switch, &["link", "set", "br0", "up"]));
        if result.is_err() {
            network.remove();
        }
        result.map(|()| network)
    }

    /// Makes a host and plugs it in; returns its namespace.
    pub(super) fn add_host(&self, name: &str, last: u8) -> Result<String> {
        let namespace = format!("{}-{name}", self.id);
        ip(&["netns", "add", &namespace])?;
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner).push(namespace.clone());
        let port = format!("port{last}");
        // Both ends are made where they belong: nothing ever appears among the machine's interfaces.
        let ends = ["link", "add", &port, "netns", &self.switch, "type", "veth", "peer"];
        let peer = ["name", "eth0", "netns", &namespace];
        ip(&[ends.as_slice(), peer.as_slice()].concat())?;
        self.ip_in(&self.switch, &["link", "set", &port, "master", "br0", "up"])?;
        self.ip_in(&namespace, &["link", "set", "lo", "up"])?;
        let address = format!("{}/24", address(last));
        self.ip_in(&namespace, &["address", "add", &address, "brd", "+", "dev", "eth0"])?;
        self.ip_in(&namespace, &["link", "set", "eth0", "up"])?;
        Ok(namespace)
    }

    /// Ends what runs in it and removes all of it.
    pub(super) fn remove(&self) {
        for namespace in self.namespaces.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            remove_namespace(&namespace);
        }
    }

    fn ip_in(&self, namespace: &str, arguments: &[&str]) -> Result<()> {
        debug_assert!(namespace.starts_with(&self.id));
        ip(&[["-n", namespace].as_slice(), arguments].concat())
    }
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
