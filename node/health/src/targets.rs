//! What is to be probed, and how that changes: pure.
//!
//! Invariant: `apply(actual, diff(actual, desired)) == desired`; a target that is in both and asks
//! the same is not touched.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use ballast_balance::Pool;
use ballast_model::config::Table;
use ballast_model::{MemberProtocol, MonitorKind, MonitorSpec, ProxyProtocolVersion, Resource};
use ballast_tls::Security;

use crate::probe::Link;

/// One member as seen by one monitor. Belongs to a pool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetKey {
    /// The member's name.
    pub member: Arc<str>,
    /// Where the member serves.
    pub address: SocketAddr,
    /// The monitor's name.
    pub monitor: String,
    /// The header of the PROXY protocol that the member wants first.
    pub proxy_protocol: Option<ProxyProtocolVersion>,
}

/// The targets of a pool, and the monitor that each is probed by.
pub type Targets = BTreeMap<TargetKey, Arc<Resource<MonitorSpec>>>;

/// What turns some targets into others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TargetDiff {
    /// To be probed from now on.
    pub added: Vec<TargetKey>,
    /// To be probed no more.
    pub removed: Vec<TargetKey>,
    /// To be probed by another version of their monitor.
    pub changed: Vec<TargetKey>,
}

/// The targets of a pool: each member by each monitor.
pub fn targets_of(pool: &Pool, monitors: &Table<MonitorSpec>) -> Targets {
    let monitors: Vec<_> =
        pool.spec().monitors.iter().filter_map(|name| monitors.get(name)).collect();
    let each = pool.members().iter().flat_map(|member| {
        monitors.iter().map(|monitor| {
            let key = TargetKey {
                member: Arc::clone(&member.name),
                address: member.address,
                monitor: monitor.name.clone(),
                proxy_protocol: pool
                    .spec()
                    .send_proxy_protocol
                    .filter(|_| is_of_the_member(member.address, &monitor.spec)),
            };
            (key, Arc::clone(monitor))
        })
    });
    each.collect()
}

/// What turns `actual` into `desired`.
pub fn diff(actual: &Targets, desired: &Targets) -> TargetDiff {
    let mut diff = TargetDiff::default();
    for (key, monitor) in desired {
        match actual.get(key) {
            None => diff.added.push(key.clone()),
            Some(present) if present.spec != monitor.spec || present.uid != monitor.uid => {
                diff.changed.push(key.clone());
            }
            Some(_) => {}
        }
    }
    diff.removed.extend(actual.keys().filter(|key| !desired.contains_key(key)).cloned());
    diff
}

/// Where a probe by `monitor` of the member at `address` goes.
pub fn probe_address(address: SocketAddr, monitor: &MonitorSpec) -> SocketAddr {
    SocketAddr::new(address.ip(), monitor.port.unwrap_or(address.port()))
}

/// How a probe by `monitor` talks with the target `key` of `pool`, as `pool` is now: never kept, so
/// that the next probe has what has replaced it.
pub fn link_of(pool: &Pool, key: &TargetKey, monitor: &MonitorSpec) -> Link {
    let (security, protocol) = if talks_as_traffic(key, monitor) {
        (pool.security().clone(), pool.spec().protocol)
    } else {
        (Security::Plain, MemberProtocol::Http1)
    };
    Link { proxy_protocol: key.proxy_protocol, security, protocol }
}

/// Whether probes of `key` by `monitor` have the pool's TLS and protocol.
pub(crate) fn talks_as_traffic(key: &TargetKey, monitor: &MonitorSpec) -> bool {
    match monitor.kind {
        MonitorKind::Grpc | MonitorKind::Http => is_of_the_member(key.address, monitor),
        // It has nothing to look at otherwise.
        MonitorKind::Tls => true,
        MonitorKind::Agent | MonitorKind::Tcp | MonitorKind::Udp => false,
    }
}

/// Whether probes by `monitor` reach what serves traffic at `address`: on a port of its own something
/// else listens.
fn is_of_the_member(address: SocketAddr, monitor: &MonitorSpec) -> bool {
    monitor.port.is_none_or(|port| port == address.port())
}

#[cfg(test)]
mod tests;
