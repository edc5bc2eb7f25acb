//! Which addresses are to be listened on, and what to do about those that are.
//!
//! Invariant: `apply(actual, diff(actual, desired)) == desired`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ballast_model::{Config, Resource, VirtualServerSpec};

/// Who gets the connections of each address: a virtual server's `uid`.
pub type Owners = BTreeMap<SocketAddr, String>;

/// What `0.0.0.0` and `::` mean on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnyAddress {
    /// For `0.0.0.0`; itself means every IPv4 address of the node.
    pub ipv4: Ipv4Addr,
    /// For `::`; itself means every IPv6 address of the node.
    pub ipv6: Ipv6Addr,
}

impl Default for AnyAddress {
    fn default() -> Self {
        Self { ipv4: Ipv4Addr::UNSPECIFIED, ipv6: Ipv6Addr::UNSPECIFIED }
    }
}

impl AnyAddress {
    /// Where this node listens when `address` is declared.
    pub fn resolve(self, address: SocketAddr) -> SocketAddr {
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => self.ipv4.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => self.ipv6.into(),
            ip => ip,
        };
        SocketAddr::new(ip, address.port())
    }
}

/// What is to be listened on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Each address and who gets its connections.
    pub owners: Owners,
    /// Addresses that two virtual servers want on this node, with the `uid` of the one that does
    /// not get it and the name of the one that does.
    pub conflicts: Vec<(SocketAddr, String, String)>,
}

/// What the configuration wants of this node. On a conflict the first by name gets the address;
/// one can arise only where [`AnyAddress`] gives `0.0.0.0` another meaning.
pub fn desired(config: &Config, any: AnyAddress) -> Desired {
    let mut desired = Desired::default();
    let mut names: BTreeMap<SocketAddr, &str> = BTreeMap::new();
    for server in config.virtual_servers.iter().filter(|server| server.spec.enabled) {
        for address in listeners(server, any) {
            if let Some(owner) = names.get(&address) {
                if *owner != server.name {
                    let conflict = (address, server.uid.clone(), (*owner).to_owned());
                    desired.conflicts.push(conflict);
                }
                continue;
            }
            names.insert(address, &server.name);
            desired.owners.insert(address, server.uid.clone());
        }
    }
    desired
}

fn listeners(
    server: &Resource<VirtualServerSpec>,
    any: AnyAddress,
) -> impl Iterator<Item = SocketAddr> + '_ {
    server.spec.listeners().map(move |address| any.resolve(address))
}

/// What turns the listeners that are into those that shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Addresses to open, first of all.
    pub open: Vec<(SocketAddr, String)>,
    /// Addresses whose connections go to another virtual server from now on.
    pub rebind: Vec<(SocketAddr, String)>,
    /// Addresses to close, last of all.
    pub close: Vec<SocketAddr>,
}

/// What turns `actual` into `desired`.
pub fn diff(actual: &Owners, desired: &Owners) -> Diff {
    let mut diff = Diff::default();
    for (address, owner) in desired {
        match actual.get(address) {
            None => diff.open.push((*address, owner.clone())),
            Some(present) if present != owner => diff.rebind.push((*address, owner.clone())),
            Some(_) => {}
        }
    }
    diff.close.extend(actual.keys().filter(|address| !desired.contains_key(address)));
    debug_assert_eq!(apply(actual, &diff), *desired);
    diff
}

/// `actual` after `diff`.
pub fn apply(actual: &Owners, diff: &Diff) -> Owners {
    let mut owners = actual.clone();
    owners.extend(diff.open.iter().chain(&diff.rebind).cloned());
    owners.retain(|address, _| !diff.close.contains(address));
    owners
}

#[cfg(test)]
mod tests;
