//! Which addresses are to be listened on, and what to do about those that are.
//!
//! Invariant: `apply(actual, diff(actual, desired)) == desired`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ballast_model::{Config, Resource, Transport, VirtualServerSpec};

use crate::connections::GroupId;

/// Who gets the connections of each address: the `id` of a virtual server's slot.
pub type Owners = BTreeMap<Listener, GroupId>;

/// What is listened on: a port of an address, of streams or of datagrams.
pub type Listener = (Transport, SocketAddr);

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
    /// Addresses that two virtual servers want on this node, with the name of the one that does not
    /// get it and of the one that does.
    pub conflicts: Vec<(Listener, String, String)>,
}

/// What the configuration wants of this node; `slot_id` tells a virtual server's slot by its `uid`,
/// none where it can't be served. On a conflict the first by name gets the address;
/// one can arise only where [`AnyAddress`] gives `0.0.0.0` another meaning.
pub fn desired(
    config: &Config,
    any: AnyAddress,
    slot_id: impl Fn(&str) -> Option<GroupId>,
) -> Desired {
    let mut desired = Desired::default();
    let mut names: BTreeMap<Listener, &str> = BTreeMap::new();
    for server in config.virtual_servers.iter().filter(|server| server.spec.enabled) {
        let Some(slot_id) = slot_id(&server.uid) else { continue };
        for address in listeners(server, any) {
            if let Some(owner) = names.get(&address) {
                if *owner != server.name {
                    let conflict = (address, server.name.clone(), (*owner).to_owned());
                    desired.conflicts.push(conflict);
                }
                continue;
            }
            names.insert(address, &server.name);
            desired.owners.insert(address, slot_id);
        }
    }
    desired
}

/// Where a virtual server listens on this node.
pub fn listeners(
    server: &Resource<VirtualServerSpec>,
    any: AnyAddress,
) -> impl Iterator<Item = Listener> + '_ {
    let transport = server.spec.protocol.transport();
    server.spec.listeners().map(move |address| (transport, any.resolve(address)))
}

/// What turns the listeners that are into those that shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Addresses to open, first of all.
    pub open: Vec<(Listener, GroupId)>,
    /// Addresses whose connections go to another virtual server from now on.
    pub rebind: Vec<(Listener, GroupId)>,
    /// Addresses to close, last of all.
    pub close: Vec<Listener>,
}

/// What turns `actual` into `desired`.
pub fn diff(actual: &Owners, desired: &Owners) -> Diff {
    let mut diff = Diff::default();
    for (address, owner) in desired {
        match actual.get(address) {
            None => diff.open.push((*address, *owner)),
            Some(present) if present != owner => diff.rebind.push((*address, *owner)),
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
