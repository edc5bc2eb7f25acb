//! Traffic groups: virtual addresses that move together from node to node.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::node::NodeSpec;
use super::{no, yes};
use crate::config::{Kind, Reference};
use crate::limits::{
    ADVERT_INTERVAL_MAX_MS, ADVERT_INTERVAL_MIN_MS, FAILBACK_DELAY_MAX_S, FOREIGN_ROUTER_MAX_COUNT,
    GROUP_NODE_MAX_COUNT, TRACKED_MAX_COUNT, VIRTUAL_ADDRESS_MAX_COUNT,
};
use crate::resource::Spec;
use crate::validate::{self, FieldErrors};

/// Virtual addresses that move together. One node owns them at a time; VRRP (RFC 9568) decides
/// which, never Raft.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TrafficGroupSpec {
    /// Off: no node owns its addresses.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The VRID, 1 to 255: must be unused by other VRRP routers on the same network segment. One
    /// number serves both address families.
    pub virtual_router_id: u8,
    /// The floating addresses, IPv4 and IPv6.
    pub addresses: Vec<VirtualAddress>,
    /// The network that the addresses are on: each node's `interfaces` say which device that is.
    /// Absent: on each node, the device that has an address in the same subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// The HA order: the node that is preferred comes first. Empty: every traffic node, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// Which node takes over.
    #[serde(default)]
    pub placement: Placement,
    /// How much load this group brings, relative to other groups and to the nodes' `capacity`.
    #[serde(default = "default_load_factor")]
    pub load_factor: u32,
    /// Time between two advertisements, in ms; a multiple of 10 (RFC 9568 counts centiseconds). A dead
    /// owner is replaced after about three of them. 200 gives takeover within 1 s, 100 within 500 ms.
    #[serde(default = "default_advert_interval_ms")]
    pub advert_interval_ms: u32,
    /// How advertisements travel.
    #[serde(default)]
    pub transport: AdvertTransport,
    /// Whether advertisements are signed and unsigned ones refused.
    #[serde(default)]
    pub signing: Signing,
    /// How the checksum of IPv4 advertisements is made; both kinds are accepted.
    #[serde(default)]
    pub checksum: AdvertChecksum,
    /// Addresses of routers outside the cluster that may own the addresses too, as while migrating
    /// from keepalived. They can't sign.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub foreign_routers: Vec<IpAddr>,
    /// Whether the group goes back to a preferred node by itself.
    #[serde(default)]
    pub failback: Failback,
    /// What makes a node unfit to own the group, besides its own death.
    #[serde(default)]
    pub tracking: Tracking,
    /// Whether the addresses have a hardware address of their own (RFC 9568 §7.3) that moves with them,
    /// on a macvlan device.
    #[serde(default = "no")]
    pub virtual_mac: bool,
}

/// A floating address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct VirtualAddress {
    /// The address.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub address: IpAddr,
    /// Length of its prefix. Absent: 32 for IPv4, 128 for IPv6, so that no route comes with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_length: Option<u8>,
}

impl VirtualAddress {
    /// An address without a prefix of its own.
    pub fn new(address: IpAddr) -> Self {
        Self { address, prefix_length: None }
    }

    /// Length of the prefix it is added with.
    pub fn prefix_length(&self) -> u8 {
        self.prefix_length.unwrap_or(if self.address.is_ipv4() { 32 } else { 128 })
    }
}

/// Which node takes a group over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// The one with the least load for its capacity; ties go by the HA order.
    Load,
    /// The first of the HA order that is able.
    #[default]
    Order,
}

/// How advertisements travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AdvertTransport {
    /// To 224.0.0.18 and ff02::12 (RFC 9568 §5.1).
    #[default]
    Multicast,
    /// To each other node's address on the network, for networks that carry no multicast. Every node's
    /// `interfaces` must name its addresses there.
    Unicast,
}

/// Whether advertisements are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Signing {
    /// On, unless `foreign_routers` are named.
    #[default]
    Auto,
    /// Unsigned; every advertisement for the VRID is believed.
    Off,
    /// Signed with a key of the cluster; unsigned and replayed ones are dropped.
    On,
}

/// What the checksum of IPv4 advertisements covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AdvertChecksum {
    /// The pseudo-header too, as keepalived and FRR send it.
    PseudoHeader,
    /// The message alone (RFC 9568 §5.2.8).
    #[default]
    Rfc9568,
}

/// Whether a group goes back to a preferred node by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Failback {
    /// Off by default: a group stays where it is until that node fails.
    pub enabled: bool,
    /// How long the preferred node must have been fit before it takes over, in seconds, 0 to 300.
    pub delay_s: u32,
}

impl Default for Failback {
    fn default() -> Self {
        Self { enabled: false, delay_s: 60 }
    }
}

/// What makes a node less fit to own a group. Each failure takes its weight from the node's priority;
/// a node with any failure gives the group to one without.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Tracking {
    /// Gateways that must answer (ARP or neighbour discovery) on the segment of the group's device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<TrackedGateway>,
    /// Pools of which enough members must be up as this node sees them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<TrackedPool>,
    /// Further devices, by the name of their network, that must have a link.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<TrackedNetwork>,
}

/// A gateway that must be reachable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TrackedGateway {
    /// Its address.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub address: IpAddr,
    /// What its loss takes from the priority, 1 to 100.
    #[serde(default = "default_weight")]
    pub weight: u8,
}

/// A pool of which enough members must be up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TrackedPool {
    /// Its name.
    pub pool: String,
    /// Least share of its members that must be up, in percent, 1 to 100.
    #[serde(default = "default_up_min_percent")]
    pub up_min_percent: u8,
    /// What falling below takes from the priority, 1 to 100.
    #[serde(default = "default_weight")]
    pub weight: u8,
}

/// A network whose device must have a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TrackedNetwork {
    /// Its name in the nodes' `interfaces`.
    pub network: String,
    /// What its loss takes from the priority, 1 to 100.
    #[serde(default = "default_weight")]
    pub weight: u8,
}

impl TrafficGroupSpec {
    /// A group with default settings.
    pub fn new(virtual_router_id: u8, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self {
            enabled: true,
            virtual_router_id,
            addresses: addresses.into_iter().map(VirtualAddress::new).collect(),
            network: None,
            nodes: Vec::new(),
            placement: Placement::default(),
            load_factor: default_load_factor(),
            advert_interval_ms: default_advert_interval_ms(),
            transport: AdvertTransport::default(),
            signing: Signing::default(),
            checksum: AdvertChecksum::default(),
            foreign_routers: Vec::new(),
            failback: Failback::default(),
            tracking: Tracking::default(),
            virtual_mac: false,
        }
    }

    /// Whether advertisements are signed and unsigned ones refused.
    pub fn is_signed(&self) -> bool {
        match self.signing {
            Signing::Auto => self.foreign_routers.is_empty(),
            Signing::Off => false,
            Signing::On => true,
        }
    }

    /// Whether it has IPv4 addresses, and whether it has IPv6 ones.
    pub fn families(&self) -> (bool, bool) {
        let has = |v4: bool| self.addresses.iter().any(|a| a.address.is_ipv4() == v4);
        (has(true), has(false))
    }

    /// Whether this node may own it by the HA order; an empty order allows every traffic node.
    pub fn may_run_on(&self, node: &str) -> bool {
        self.nodes.is_empty() || self.nodes.iter().any(|name| name == node)
    }

    /// Whether a node names an address on the group's network for each of its families, as others
    /// must know for unicast advertisements.
    pub fn has_unicast_addresses(&self, node: &NodeSpec) -> bool {
        let (v4, v6) = self.families();
        let interface = self.network.as_deref().and_then(|network| node.interface(network));
        interface.is_some_and(|it| (!v4 || it.ipv4.is_some()) && (!v6 || it.ipv6.is_some()))
    }
}

impl Spec for TrafficGroupSpec {
    const KIND: Kind = Kind::TrafficGroup;

    fn validate(&self, errors: &mut FieldErrors) {
        errors.range("virtual_router_id", self.virtual_router_id, 1, 255);
        self.validate_addresses(errors);
        errors.range("nodes", self.nodes.len(), 0, GROUP_NODE_MAX_COUNT);
        without_repeats(errors, "nodes", &self.nodes);
        errors.range("load_factor", self.load_factor, 1, 1_000);
        let interval = self.advert_interval_ms;
        errors.range(
            "advert_interval_ms",
            interval,
            ADVERT_INTERVAL_MIN_MS,
            ADVERT_INTERVAL_MAX_MS,
        );
        errors.require(interval.is_multiple_of(10), "advert_interval_ms", "not_a_multiple", || {
            format!("is {interval}; VRRP counts in steps of 10 ms")
        });
        errors.range("foreign_routers", self.foreign_routers.len(), 0, FOREIGN_ROUTER_MAX_COUNT);
        let may_sign = self.signing != Signing::On || self.foreign_routers.is_empty();
        errors.require(may_sign, "signing", "not_allowed", || {
            "must not be on while foreign_routers are named: they can't sign".to_owned()
        });
        errors.within("failback", |errors| {
            errors.range("delay_s", self.failback.delay_s, 0, FAILBACK_DELAY_MAX_S);
        });
        if let Some(network) = &self.network {
            validate::name(errors, "network", network);
        }
        errors.within("tracking", |errors| self.tracking.validate(errors));
    }

    fn references(&self) -> Vec<Reference> {
        let nodes = self.nodes.iter().enumerate();
        let nodes =
            nodes.map(|(i, name)| Reference::new(format!("/spec/nodes/{i}"), Kind::Node, name));
        let pools = self.tracking.pools.iter().enumerate().map(|(i, tracked)| {
            let pointer = format!("/spec/tracking/pools/{i}/pool");
            Reference::new(pointer, Kind::Pool, &tracked.pool)
        });
        nodes.chain(pools).collect()
    }
}

impl TrafficGroupSpec {
    fn validate_addresses(&self, errors: &mut FieldErrors) {
        errors.range("addresses", self.addresses.len(), 1, VIRTUAL_ADDRESS_MAX_COUNT);
        let addresses: Vec<_> =
            self.addresses.iter().map(|virtual_ip| virtual_ip.address).collect();
        without_repeats(errors, "addresses", &addresses);
        errors.within("addresses", |errors| {
            for (i, address) in self.addresses.iter().enumerate() {
                errors.within(i, |errors| address.validate(errors));
            }
        });
    }
}

impl VirtualAddress {
    fn validate(&self, errors: &mut FieldErrors) {
        let ip = self.address;
        let floats = !ip.is_multicast() && !ip.is_unspecified() && !ip.is_loopback();
        let link_local = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
        errors.require(floats && !link_local, "address", "invalid_address", || {
            format!("is {ip}; a floating address is a unicast one that others can reach")
        });
        let max = if ip.is_ipv4() { 32 } else { 128 };
        errors.range("prefix_length", self.prefix_length(), 1, max);
    }
}

impl Tracking {
    fn validate(&self, errors: &mut FieldErrors) {
        errors.range("gateways", self.gateways.len(), 0, TRACKED_MAX_COUNT);
        errors.range("pools", self.pools.len(), 0, TRACKED_MAX_COUNT);
        errors.range("networks", self.networks.len(), 0, TRACKED_MAX_COUNT);
        errors.within("gateways", |errors| {
            for (i, gateway) in self.gateways.iter().enumerate() {
                errors.within(i, |errors| errors.range("weight", gateway.weight, 1, 100));
            }
        });
        errors.within("pools", |errors| {
            for (i, pool) in self.pools.iter().enumerate() {
                errors.within(i, |errors| {
                    errors.range("weight", pool.weight, 1, 100);
                    errors.range("up_min_percent", pool.up_min_percent, 1, 100);
                });
            }
        });
        errors.within("networks", |errors| {
            for (i, network) in self.networks.iter().enumerate() {
                errors.within(i, |errors| {
                    errors.range("weight", network.weight, 1, 100);
                    validate::name(errors, "network", &network.network);
                });
            }
        });
    }
}

fn without_repeats<T: Ord>(errors: &mut FieldErrors, segment: &str, list: &[T]) {
    let mut seen = BTreeSet::new();
    errors.within(segment, |errors| {
        for (i, item) in list.iter().enumerate() {
            errors.require(seen.insert(item), i, "duplicate", || {
                "stands in the list already".to_owned()
            });
        }
    });
}

fn default_load_factor() -> u32 {
    1
}

fn default_advert_interval_ms() -> u32 {
    200
}

fn default_weight() -> u8 {
    20
}

fn default_up_min_percent() -> u8 {
    50
}

#[cfg(test)]
mod tests;
