//! Devices, what the configuration asks of them, and what the machine's packet filter lets pass.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ballast_ha::kernel::{Device, Netlink, Setting, multicast_passes};
use ballast_ha::preflight::{Place, device_for, planned_groups};
use ballast_model::NodeInterface;

use super::{Check, Known};
use crate::config::NodeConfig;

/// Longest wait for a message that does not leave the machine.
const PROBE_LIMIT: Duration = Duration::from_secs(1);
/// Locally administered, for a device that lasts a moment.
const PROBE_MAC: [u8; 6] = [0x02, 0, 0x5e, 0, 0, 1];
const PROBE_DEVICE: &str = "bv-check";
const AS_ROOT: &str = "run this command as root, or as the service does";
/// ip-sysctl: what comes in must come from where answers would go.
const RP_FILTER_STRICT: i32 = 1;

/// Whether the node's file names addresses that this machine has.
pub(super) fn listeners(config: &NodeConfig, devices: &[Device]) -> Vec<Check> {
    let api = config.api_listen.iter().map(|address| ("api.listen", *address));
    let all = [("cluster.listen", config.cluster_listen)].into_iter().chain(api);
    all.map(|(key, address)| listener(key, address, devices)).collect()
}

fn listener(key: &str, address: SocketAddr, devices: &[Device]) -> Check {
    let ip = address.ip();
    if ip.is_unspecified() {
        return Check::ok(key, format!("{address}, on every address"));
    }
    match devices.iter().find(|device| has(device, ip)) {
        Some(device) => Check::ok(key, format!("{address}, on {}", device.name)),
        None => Check::failed(
            key,
            format!("no device has {ip}"),
            format!("give a device the address, or correct {key} in the node's file"),
        ),
    }
}

/// The devices that the node's resource names.
pub(super) fn interfaces(config: &NodeConfig, known: &Known, devices: &[Device]) -> Vec<Check> {
    let own = known.config.nodes.get(&config.name);
    let named = own.map(|own| own.spec.interfaces.as_slice()).unwrap_or_default();
    named.iter().map(|interface| judge_interface(interface, devices)).collect()
}

pub(super) fn judge_interface(interface: &NodeInterface, devices: &[Device]) -> Check {
    let what = format!("network {}", interface.network);
    let name = &interface.device;
    let Some(device) = devices.iter().find(|device| device.name == *name) else {
        let there: Vec<_> = devices.iter().map(|device| device.name.as_str()).collect();
        let remedy = format!("correct `interfaces` of this node; there are {}", there.join(", "));
        return Check::failed(what, format!("there is no device {name}"), remedy);
    };
    if !device.up {
        let remedy = format!("`ip link set {name} up`; look at its cable");
        return Check::failed(what, format!("{name} is down or has no link"), remedy);
    }
    let configured = [interface.ipv4.map(IpAddr::from), interface.ipv6.map(IpAddr::from)];
    for address in configured.into_iter().flatten() {
        if !has(device, address) {
            let remedy = format!("add the address to {name}, or correct `interfaces` of this node");
            return Check::failed(what, format!("{name} does not have {address}"), remedy);
        }
    }
    if device.addresses.is_empty() {
        let remedy = format!("give {name} an address of the network");
        return Check::failed(what, format!("{name} has no address of its own"), remedy);
    }
    Check::ok(what, format!("{name} is up and has its addresses"))
}

/// The traffic groups that this node has a part in, and each device that they are on.
pub(super) fn groups(
    config: &NodeConfig,
    known: &Known,
    devices: &[Device],
    netlink: &mut Netlink,
) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut used = BTreeMap::new();
    for group in planned_groups(&known.config, &config.name, devices) {
        let what = format!("group {}", group.name);
        let placed = group.place.and_then(|place| {
            let device = devices.iter().find(|device| device.index == place.device);
            Ok((place, device.ok_or("its device is gone")?))
        });
        match placed {
            Err(why) => {
                let remedy = "add an address in its subnet to a device, or name a device in \
                              `interfaces` of this node";
                checks.push(Check::failed(what, why, remedy));
            }
            Ok((place, device)) => {
                checks.extend(judge_group(&what, &place, device, devices));
                let used = used.entry(device.index).or_insert_with(|| Use::of(device));
                if place.is_multicast {
                    used.multicast_v6.extend(place.sources.iter().map(IpAddr::is_ipv6));
                }
                used.has_virtual_mac |= place.has_virtual_mac;
            }
        }
    }
    for used in used.into_values() {
        checks.extend(filter(used.device, devices));
        if !used.multicast_v6.is_empty() {
            checks.extend(multicast(used.device, &used.multicast_v6));
        }
        if used.has_virtual_mac {
            checks.push(macvlan(used.device, netlink));
        }
    }
    checks
}

/// What groups want of a device.
struct Use<'a> {
    device: &'a Device,
    /// Families that are advertised by multicast: whether it is IPv6.
    multicast_v6: BTreeSet<bool>,
    has_virtual_mac: bool,
}

impl<'a> Use<'a> {
    fn of(device: &'a Device) -> Self {
        Self { device, multicast_v6: BTreeSet::new(), has_virtual_mac: false }
    }
}

fn judge_group(what: &str, place: &Place, device: &Device, devices: &[Device]) -> Vec<Check> {
    let name = &device.name;
    if !device.up {
        let remedy = format!("`ip link set {name} up`; look at its cable");
        return vec![Check::failed(what, format!("{name} is down or has no link"), remedy)];
    }
    let mut checks = Vec::new();
    for (address, is_in_subnet) in &place.addresses {
        let squatter = devices
            .iter()
            .find(|device| device.addresses.iter().any(|it| it.address == *address && !it.leased));
        if let Some(squatter) = squatter {
            checks.push(Check::failed(
                what,
                format!("{address} is configured on {}, and not by the node", squatter.name),
                format!(
                    "`ip address del {address} dev {}`, and take it out of the machine's own \
                         configuration: it belongs to whoever owns the group",
                    squatter.name
                ),
            ));
        } else if !is_in_subnet {
            checks.push(Check::warning(
                what,
                format!("{address} is in no subnet of {name}"),
                format!("route it to this segment, or add an address of its subnet to {name}"),
            ));
        }
    }
    if checks.is_empty() {
        let sources: Vec<_> = place.sources.iter().map(ToString::to_string).collect();
        checks.push(Check::ok(what, format!("on {name}, from {}", sources.join(" and "))));
    }
    checks
}

/// Whether messages to the VRRP groups pass this machine's packet filter; what is beyond it only other
/// nodes can tell.
fn multicast(device: &Device, families: &BTreeSet<bool>) -> Vec<Check> {
    let what = format!("multicast on {}", device.name);
    if !device.multicast {
        let remedy = format!(
            "`ip link set {} multicast on`, or let its groups advertise by unicast",
            device.name
        );
        return vec![Check::failed(what, "the device carries none", remedy)];
    }
    if !device.up {
        // Told of with its groups; nothing can be sent on it.
        return Vec::new();
    }
    let judged = families.iter().map(|v6| {
        let (group, rule) = if *v6 {
            ("ff02::12", "ip6tables -I INPUT -p vrrp -j ACCEPT")
        } else {
            ("224.0.0.18", "iptables -I INPUT -p vrrp -j ACCEPT")
        };
        match multicast_passes(*v6, device, PROBE_LIMIT) {
            Ok(true) => Check::ok(&what, format!("{group} passes this machine's packet filter")),
            Ok(false) => Check::failed(
                &what,
                format!("VRRP (IP protocol 112) to {group} is dropped by this machine"),
                format!(
                    "accept it in and out, such as `nft insert rule inet filter input meta \
                         l4proto vrrp accept` or `{rule}`, and the same for output"
                ),
            ),
            Err(error) => Check::failed(
                &what,
                format!("{group} can't be tried: {error}"),
                match error.kind() {
                    io::ErrorKind::PermissionDenied => AS_ROOT,
                    io::ErrorKind::AddrNotAvailable => {
                        "wait until its own address of that family can be used, or add one"
                    }
                    _ => "look at the device and its addresses",
                },
            ),
        }
    });
    judged.collect()
}

/// A strict filter drops what comes in where its answer would not go out.
fn filter(device: &Device, devices: &[Device]) -> Option<Check> {
    let read = |device: &str| Setting::new("ipv4", device, "rp_filter").read();
    // ip-sysctl: the larger of the two counts.
    let strictness = read("all").ok()?.max(read(&device.name).ok()?);
    let ways = devices.iter().filter(|device| {
        let is_way = device.up && !device.loopback && device.macvlan.is_none();
        is_way && device.addresses.iter().any(|it| it.address.is_ipv4())
    });
    let what = format!("rp_filter of {}", device.name);
    if strictness != RP_FILTER_STRICT {
        return Some(Check::ok(what, "not strict"));
    }
    if ways.count() < 2 {
        return Some(Check::ok(what, "strict, and there is no other way that answers could take"));
    }
    Some(Check::warning(
        what,
        "strict: requests whose answers would leave by another device are dropped",
        format!(
            "where clients come in by {name} and answers leave elsewhere: \
             `sysctl net.ipv4.conf.{name}.rp_filter=2`",
            name = device.name
        ),
    ))
}

/// Whether the device can carry hardware addresses of a group's own: one is made, never set up, and
/// removed.
fn macvlan(device: &Device, netlink: &mut Netlink) -> Check {
    let what = format!("virtual MAC on {}", device.name);
    let made = netlink
        .add_macvlan(device.index, PROBE_DEVICE, PROBE_MAC, "ballastd check-network")
        .and_then(|index| netlink.remove_macvlan(index));
    match made {
        Ok(()) => Check::ok(what, "a macvlan can be made"),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Check::failed(what, format!("can't be tried: {error}"), AS_ROOT)
        }
        Err(error) => Check::failed(
            what,
            format!("no macvlan can be made: {error}"),
            "load the kernel's macvlan module, or turn `virtual_mac` off",
        ),
    }
}

/// Floating addresses that no traffic group has yet.
pub(super) fn addresses_to_come(addresses: &[IpAddr], devices: &[Device]) -> Vec<Check> {
    let judged = addresses.iter().map(|address| {
        let what = format!("address {address}");
        match device_for(*address, devices) {
            Some(device) if device.up => Check::ok(what, format!("in a subnet of {}", device.name)),
            Some(device) => {
                let name = &device.name;
                let remedy = format!("`ip link set {name} up`; look at its cable");
                Check::failed(what, format!("{name} is down or has no link"), remedy)
            }
            None => Check::failed(
                what,
                "no device has an address in its subnet",
                "give one an address there, or give the traffic group a `network` and name its \
                 device in `interfaces` of this node",
            ),
        }
    });
    judged.collect()
}

fn has(device: &Device, ip: IpAddr) -> bool {
    device.addresses.iter().any(|it| it.address == ip)
}
