//! What a configuration asks of this node for each traffic group, on the devices that there are.
//!
//! Pure: the same configuration and devices give the same plan.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ballast_model::{
    AdvertChecksum, AdvertTransport, Config, NodeRole, NodeSpec, Resource, TrafficGroupSpec,
};
use ballast_vrrp::announce::{MacAddress, virtual_link_local, virtual_mac};
use ballast_vrrp::wire::ChecksumForm;
use ballast_vrrp::{AnnounceConfig, Family, GroupConfig, InstanceConfig, Preempt};

use crate::engine::virtual_mac_alias;
use crate::kernel::{Device, DeviceAddress};

/// Length of an IPv6 address's prefix where only the address itself is meant.
const HOST_PREFIX_V6: u8 = 128;

/// A group that this node has a part in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WantedGroup {
    pub(crate) name: String,
    /// How to run it, or why it can't be run here, in a sentence.
    pub(crate) plan: Result<GroupPlan, String>,
}

/// How to run a group on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupPlan {
    pub(crate) device: u32,
    pub(crate) device_name: String,
    pub(crate) mac: [u8; 6],
    pub(crate) link_up: bool,
    pub(crate) machine: GroupConfig,
    pub(crate) checksum: ChecksumForm,
    /// To whom advertisements go by unicast; none: to the multicast group.
    pub(crate) peers: Option<Vec<IpAddr>>,
    /// Each virtual address with the length of its prefix.
    pub(crate) prefixes: Vec<(IpAddr, u8)>,
    /// Where the addresses have hardware addresses of their own: what their devices are known by.
    pub(crate) virtual_mac_alias: Option<String>,
}

impl GroupPlan {
    pub(crate) fn prefix_length(&self, address: IpAddr) -> u8 {
        let found = self.prefixes.iter().find(|(virtual_ip, _)| *virtual_ip == address);
        found.map_or_else(|| self.other_prefix_length(address), |(_, length)| *length)
    }

    /// Of the link-local address that stands for an IPv6 router, which nobody configured.
    fn other_prefix_length(&self, address: IpAddr) -> u8 {
        match address {
            IpAddr::V4(_) => 32,
            // Its device has no other link-local address, and so no other route to such neighbours.
            IpAddr::V6(v6) if self.virtual_mac_alias.is_some() && v6.is_unicast_link_local() => 64,
            IpAddr::V6(_) => HOST_PREFIX_V6,
        }
    }

    /// The hardware address that the virtual addresses of a family are at.
    pub(crate) fn mac_of(&self, family: Family) -> MacAddress {
        match self.virtual_mac_alias {
            Some(_) => virtual_mac(family, self.machine.vrid),
            None => self.mac,
        }
    }

    /// Whether a group that runs by one of these plans can go on by the other.
    pub(crate) fn is_on_same_devices(&self, other: &Self) -> bool {
        let virtual_mac = |plan: &Self| {
            plan.virtual_mac_alias.as_ref().map(|alias| (alias.clone(), plan.machine.vrid))
        };
        self.device == other.device && virtual_mac(self) == virtual_mac(other)
    }

    /// Where an advertisement of that family goes.
    pub(crate) fn destinations(&self, family: Family) -> Vec<IpAddr> {
        match &self.peers {
            None => vec![family.multicast()],
            Some(peers) => {
                peers.iter().copied().filter(|peer| Family::of(*peer) == family).collect()
            }
        }
    }
}

/// Addresses that no node has for its own: those of every group, and the link-local ones that stand for
/// IPv6 routers.
pub(crate) fn floating(config: &Config) -> BTreeSet<IpAddr> {
    let groups = config.traffic_groups.iter().map(|group| &group.spec);
    let addresses = groups.flat_map(|spec| {
        let router = virtual_link_local(spec.virtual_router_id).into();
        spec.addresses.iter().map(|a| a.address).chain([router])
    });
    addresses.collect()
}

/// A device's own addresses; those of DHCP and the like, which may go, come last.
fn own_addresses<'a>(
    device: &'a Device,
    floating: &BTreeSet<IpAddr>,
) -> impl Iterator<Item = &'a DeviceAddress> {
    let own = device.addresses.iter().filter(|it| !floating.contains(&it.address));
    let (leased, permanent): (Vec<_>, Vec<_>) = own.partition(|it| it.leased);
    permanent.into_iter().chain(leased)
}

/// The groups that `node` has a part in.
pub(crate) fn wanted(config: &Config, node: &str, devices: &[Device]) -> Vec<WantedGroup> {
    let Some(own) = config.nodes.get(node) else { return Vec::new() };
    if own.spec.role == NodeRole::Witness {
        return Vec::new();
    }
    let floating = floating(config);
    let groups = config.traffic_groups.iter();
    let ours = groups.filter(|group| group.spec.enabled && group.spec.may_run_on(node));
    ours.map(|group| WantedGroup {
        name: group.name.clone(),
        plan: plan(config, node, &own.spec, group, &floating, devices),
    })
    .collect()
}

fn plan(
    config: &Config,
    node: &str,
    own: &NodeSpec,
    group: &Resource<TrafficGroupSpec>,
    floating: &BTreeSet<IpAddr>,
    devices: &[Device],
) -> Result<GroupPlan, String> {
    let (name, spec) = (&group.name, &group.spec);
    let peers = peers(config, node, own, spec)?;
    let device = device(own, spec, floating, devices)?;
    let own_interface = spec.network.as_deref().and_then(|network| own.interface(network));
    let mut instances = Vec::new();
    let (v4, v6) = spec.families();
    if v4 {
        let configured = own_interface.and_then(|i| i.ipv4).map(IpAddr::from);
        let source = configured
            .or_else(|| own_addresses(device, floating).map(|a| a.address).find(IpAddr::is_ipv4));
        let source = source.ok_or_else(|| {
            format!("{} has no IPv4 address of its own; floating ones do not count", device.name)
        })?;
        instances.push(instance(spec, Family::V4, source, Vec::new()));
    }
    if v6 {
        let virtual_ip = virtual_link_local(spec.virtual_router_id);
        let configured = own_interface.and_then(|i| i.ipv6).map(IpAddr::from);
        let source = configured.or_else(|| {
            let usable = |a: &IpAddr| matches!(a, IpAddr::V6(v6) if v6.is_unicast_link_local());
            own_addresses(device, floating).map(|a| a.address).find(usable)
        });
        let source =
            source.ok_or_else(|| format!("{} has no link-local IPv6 address", device.name))?;
        instances.push(instance(spec, Family::V6, source, vec![virtual_ip.into()]));
    }
    let machine = GroupConfig {
        name: name.clone(),
        vrid: spec.virtual_router_id,
        interval_cs: u16::try_from(spec.advert_interval_ms / 10).unwrap_or(u16::MAX),
        instances,
        preempt: if spec.failback.enabled {
            Preempt::After { delay_ms: spec.failback.delay_s.saturating_mul(1_000) }
        } else {
            Preempt::Never
        },
        signed: spec.is_signed(),
        foreign_routers: spec.foreign_routers.clone(),
        announce: AnnounceConfig::default(),
    };
    machine.validate().map_err(|error| error.to_string())?;
    Ok(GroupPlan {
        device: device.index,
        device_name: device.name.clone(),
        mac: device.mac,
        link_up: device.up,
        machine,
        checksum: match spec.checksum {
            AdvertChecksum::PseudoHeader => ChecksumForm::PseudoHeader,
            AdvertChecksum::Rfc9568 => ChecksumForm::Rfc9568,
        },
        peers,
        prefixes: spec.addresses.iter().map(|a| (a.address, a.prefix_length())).collect(),
        virtual_mac_alias: spec.virtual_mac.then(|| virtual_mac_alias(node, name)),
    })
}

fn instance(
    spec: &TrafficGroupSpec,
    family: Family,
    source: IpAddr,
    mut addresses: Vec<IpAddr>,
) -> InstanceConfig {
    let floating = spec.addresses.iter().map(|a| a.address);
    addresses.extend(floating.filter(|address| Family::of(*address) == family));
    InstanceConfig { family, source, addresses }
}

/// The device that the configuration names, or the one with an address in a subnet of the group's.
fn device<'a>(
    own: &NodeSpec,
    spec: &TrafficGroupSpec,
    floating: &BTreeSet<IpAddr>,
    devices: &'a [Device],
) -> Result<&'a Device, String> {
    if let Some(network) = &spec.network
        && let Some(interface) = own.interface(network)
    {
        let found = devices.iter().find(|device| device.name == interface.device);
        return found.ok_or_else(|| {
            format!("there is no device {}, which is said to be on {network}", interface.device)
        });
    }
    let addresses: Vec<_> = spec.addresses.iter().map(|a| a.address).collect();
    let is_near = |device: &&Device, may_go: bool| {
        let mut own = own_addresses(device, floating).filter(|own| may_go || !own.leased);
        own.any(|own| addresses.iter().any(|address| is_in_subnet(own, *address)))
    };
    let mut candidates = devices.iter().filter(|device| !device.loopback);
    let steady = candidates.clone().find(|device| is_near(device, false));
    steady.or_else(|| candidates.find(|device| is_near(device, true))).ok_or_else(|| {
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        format!(
            "no device has an address of its own in the subnet of {}; give the group a `network` \
             and name its device in the node's `interfaces`",
            addresses.join(", ")
        )
    })
}

/// Whether a device has an address of its own, none of the `floating` ones, in the subnet of `address`.
pub(crate) fn has_subnet_of(device: &Device, address: IpAddr, floating: &BTreeSet<IpAddr>) -> bool {
    own_addresses(device, floating).any(|own| is_in_subnet(own, address))
}

fn is_in_subnet(own: &DeviceAddress, address: IpAddr) -> bool {
    own.prefix_length < host_prefix(own.address) && contains(own, address)
}

fn host_prefix(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { HOST_PREFIX_V6 }
}

fn contains(subnet: &DeviceAddress, address: IpAddr) -> bool {
    match (subnet.address, address) {
        (IpAddr::V4(own), IpAddr::V4(other)) => {
            let shift = 32 - u32::from(subnet.prefix_length.min(32));
            let mask = u32::MAX.checked_shl(shift).unwrap_or(0);
            own.to_bits() & mask == other.to_bits() & mask
        }
        (IpAddr::V6(own), IpAddr::V6(other)) if !own.is_unicast_link_local() => {
            let shift = 128 - u32::from(subnet.prefix_length.min(128));
            let mask = u128::MAX.checked_shl(shift).unwrap_or(0);
            own.to_bits() & mask == other.to_bits() & mask
        }
        _ => false,
    }
}

/// The other nodes' addresses, and those of routers outside the cluster; none for multicast.
///
/// # Errors
/// Where the others can't know this node's own, in a sentence: nobody would be heard by all.
fn peers(
    config: &Config,
    node: &str,
    own: &NodeSpec,
    spec: &TrafficGroupSpec,
) -> Result<Option<Vec<IpAddr>>, String> {
    if spec.transport != AdvertTransport::Unicast {
        return Ok(None);
    }
    let network = spec.network.as_ref().ok_or("unicast advertisements need a `network`")?;
    if !spec.has_unicast_addresses(own) {
        return Err(format!(
            "node {node} names no address on network {network} in its `interfaces`; unicast \
             advertisements need one for each address family"
        ));
    }
    let others = config.nodes.iter().filter(|other| {
        other.name != node && other.spec.role == NodeRole::Traffic && spec.may_run_on(&other.name)
    });
    let addresses =
        others.filter_map(|other| other.spec.interface(network)).flat_map(|interface| {
            let v4 = interface.ipv4.map(IpAddr::from);
            let v6 = interface.ipv6.map(IpAddr::from);
            [v4, v6].into_iter().flatten()
        });
    Ok(Some(addresses.chain(spec.foreign_routers.iter().copied()).collect()))
}

#[cfg(test)]
mod tests;
