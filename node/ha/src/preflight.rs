//! What a configuration would ask of this machine's network, found out without doing it.
//!
//! Invariant: the same rules as those that the VRRP thread goes by.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ballast_model::Config;

use crate::kernel::Device;
use crate::wanted::{floating, has_subnet_of, wanted};

/// A traffic group that a node has a part in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedGroup {
    /// Its name.
    pub name: String,
    /// Where it would run, or why it can't, in a sentence.
    pub place: Result<Place, String>,
}

/// Where a group would run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the device.
    pub device: u32,
    /// Addresses of the node's own that it would advertise from, one for each family.
    pub sources: Vec<IpAddr>,
    /// Floating addresses, and whether the device has one of its own in their subnet.
    pub addresses: Vec<(IpAddr, bool)>,
    /// Whether it advertises by multicast.
    pub is_multicast: bool,
    /// Whether it wants hardware addresses of its own.
    pub has_virtual_mac: bool,
}

/// The traffic groups that `node` has a part in.
pub fn planned_groups(config: &Config, node: &str, devices: &[Device]) -> Vec<PlannedGroup> {
    let never_own = floating(config);
    let planned = wanted(config, node, devices).into_iter().map(|group| {
        let place = group.plan.map(|plan| {
            let device = devices.iter().find(|device| device.index == plan.device);
            let floating = plan.prefixes.iter().map(|(address, _)| *address);
            let in_subnet =
                |address| device.is_some_and(|device| has_subnet_of(device, address, &never_own));
            Place {
                device: plan.device,
                sources: plan.machine.instances.iter().map(|one| one.source).collect(),
                addresses: floating.map(|address| (address, in_subnet(address))).collect(),
                is_multicast: plan.peers.is_none(),
                has_virtual_mac: plan.virtual_mac_alias.is_some(),
            }
        });
        PlannedGroup { name: group.name, place }
    });
    planned.collect()
}

/// The device that a group with that floating address would run on, where it names no network.
pub fn device_for(address: IpAddr, devices: &[Device]) -> Option<&Device> {
    let mut candidates = devices.iter().filter(|device| !device.loopback);
    candidates.find(|device| has_subnet_of(device, address, &BTreeSet::from([address])))
}
