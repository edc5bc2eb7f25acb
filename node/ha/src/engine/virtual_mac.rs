//! The devices that carry the virtual router's hardware addresses (RFC 9568 §7.3): a macvlan per family
//! on top of the group's device, down unless the group is Active.
//!
//! ```text
//! requests to the virtual MAC ─► bv4-51-2, bv6-51-2 ─► the kernel; it answers ARP and ND from there
//! advertisements of others    ─► eth0 (number 2)    ─► VRRP socket
//! own advertisements, GARP, NA ◄ eth0, as whole frames with the virtual MAC
//! replies to clients           ◄ eth0, by its routes
//! ```
//!
//! Invariant: only devices that carry this node's name in their alias are ever removed.

use std::collections::BTreeMap;
use std::io;

use ballast_vrrp::Family;
use ballast_vrrp::announce::virtual_mac;

use crate::kernel::{Device, Netlink, Setting};
use crate::wanted::GroupPlan;

/// On which device the addresses of each family are.
pub(crate) type Homes = BTreeMap<Family, u32>;

/// Settings of devices that were changed for the virtual MACs on top of them.
#[derive(Default)]
pub(super) struct VirtualMacs {
    changed: BTreeMap<String, Vec<Changed>>,
}

struct Changed {
    setting: Setting,
    from: i32,
    to: i32,
}

impl VirtualMacs {
    /// Sees to the devices of a group. `current`: those that it runs on; others are made anew, so that
    /// nothing of a killed process is on them.
    pub(super) fn ensure(
        &mut self,
        plan: &GroupPlan,
        current: Option<&Homes>,
        devices: &[Device],
        netlink: &mut Netlink,
    ) -> Result<Homes, String> {
        let families = plan.machine.instances.iter().map(|instance| instance.family);
        let Some(alias) = &plan.virtual_mac_alias else {
            return Ok(families.map(|family| (family, plan.device)).collect());
        };
        self.prepare(&plan.device_name)
            .map_err(|(setting, error)| format!("{} can't be set: {error}", setting.name()))?;
        let mut homes = Homes::new();
        for family in families {
            let name = device_name(plan, family);
            let there = devices.iter().find(|device| device.name == name);
            if let (Some(there), Some(index)) = (there, current.and_then(|it| it.get(&family)))
                && there.index == *index
            {
                homes.insert(family, *index);
                continue;
            }
            let made = make(plan, family, &name, alias, there, netlink);
            homes.insert(family, made.map_err(|error| format!("no device {name}: {error}"))?);
        }
        Ok(homes)
    }

    /// Removes devices of this node's that no group runs on, and puts settings back. `used`: devices that
    /// groups with virtual MACs run on; `parents`: names of those below.
    pub(super) fn tidy(
        &mut self,
        node: &str,
        used: &[u32],
        parents: &[String],
        devices: &[Device],
        netlink: &mut Netlink,
    ) -> Vec<String> {
        let mut problems = Vec::new();
        for device in devices {
            if !used.contains(&device.index)
                && is_of(node, device)
                && let Err(error) = netlink.remove_macvlan(device.index)
            {
                problems.push(format!("{} can't be removed: {error}", device.name));
            }
        }
        let unused: Vec<_> =
            self.changed.keys().filter(|parent| !parents.contains(parent)).cloned().collect();
        for changed in unused.iter().filter_map(|parent| self.changed.remove(parent)).flatten() {
            // Whoever changed it since knows why; a device that is gone needs nothing.
            if changed.setting.read().is_ok_and(|now| now == changed.to) {
                let _put_back = changed.setting.write(changed.from);
            }
        }
        problems
    }

    /// Keeps the device below from speaking for the addresses on top of it.
    fn prepare(&mut self, parent: &str) -> Result<(), (Setting, io::Error)> {
        let wanted = [
            // It answers ARP requests for its own addresses alone.
            ("arp_ignore", 1),
            // Its own requests name its own addresses as their sender: a virtual one would tell the
            // neighbour that it is at the physical MAC (RFC 9568 §8.1.2).
            ("arp_announce", 2),
        ];
        for (key, least) in wanted {
            let setting = Setting::new("ipv4", parent, key);
            let refused = |error| (setting.clone(), error);
            let from = setting.read().map_err(refused)?;
            if from < least {
                setting.write(least).map_err(refused)?;
                let changed = self.changed.entry(parent.to_owned()).or_default();
                changed.push(Changed { setting, from, to: least });
            }
        }
        Ok(())
    }
}

/// What a device of a group with virtual MACs is known by.
pub(crate) fn alias(node: &str, group: &str) -> String {
    format!("{}{group}", alias_start(node))
}

fn alias_start(node: &str) -> String {
    format!("ballast {node} ")
}

fn is_of(node: &str, device: &Device) -> bool {
    let macvlan = device.macvlan.as_ref();
    macvlan.is_some_and(|macvlan| macvlan.alias.starts_with(&alias_start(node)))
}

/// The devices of a group that the process before this one has made.
pub(super) fn left_behind(plan: &GroupPlan, devices: &[Device]) -> Homes {
    let Some(alias) = &plan.virtual_mac_alias else { return Homes::new() };
    let is_ours =
        |device: &&Device| device.macvlan.as_ref().is_some_and(|macvlan| macvlan.alias == *alias);
    let families = plan.machine.instances.iter().map(|instance| instance.family);
    let found = families.filter_map(|family| {
        let name = device_name(plan, family);
        let device = devices.iter().find(|device| device.name == name).filter(is_ours)?;
        Some((family, device.index))
    });
    found.collect()
}

/// 15 bytes at most, for devices numbered below ten millions.
fn device_name(plan: &GroupPlan, family: Family) -> String {
    let version = match family {
        Family::V4 => 4,
        Family::V6 => 6,
    };
    format!("bv{version}-{}-{}", plan.machine.vrid, plan.device)
}

fn make(
    plan: &GroupPlan,
    family: Family,
    name: &str,
    alias: &str,
    there: Option<&Device>,
    netlink: &mut Netlink,
) -> io::Result<u32> {
    if let Some(there) = there {
        let is_left_over = there.macvlan.as_ref().is_some_and(|it| it.alias == alias);
        if !is_left_over {
            return Err(io::Error::other("a device of that name is there, which is not ours"));
        }
        netlink.remove_macvlan(there.index)?;
    }
    let mac = virtual_mac(family, plan.machine.vrid);
    let index = netlink.add_macvlan(plan.device, name, mac, alias)?;
    let set = settings(family).iter().try_for_each(|(version, key, value)| {
        let set = Setting::new(version, name, key).write(*value);
        match set {
            // A kernel without IPv6 has nothing to be turned off.
            Err(error) if error.kind() == io::ErrorKind::NotFound && *version == "ipv6" => Ok(()),
            other => other,
        }
    });
    if let Err(error) = set {
        // Rather none than one that answers for what is not its own.
        netlink.remove_macvlan(index)?;
        return Err(error);
    }
    Ok(index)
}

fn settings(family: Family) -> &'static [(&'static str, &'static str, i32)] {
    match family {
        Family::V4 => &[
            ("ipv6", "disable_ipv6", 1),
            // Answers for its own addresses alone.
            ("ipv4", "arp_ignore", 1),
            // Requests come in here, and the way back is by the device below: a strict filter would drop
            // them. The larger of this and `all` counts.
            ("ipv4", "rp_filter", 2),
            // Taking one address off takes no other one of its subnet with it.
            ("ipv4", "promote_secondaries", 1),
        ],
        Family::V6 => &[
            // None at all.
            ("ipv4", "arp_ignore", 8),
            // RFC 9568 §7.4: no address is made of the virtual MAC.
            ("ipv6", "addr_gen_mode", 1),
            ("ipv6", "accept_ra", 0),
            ("ipv6", "autoconf", 0),
        ],
    }
}
