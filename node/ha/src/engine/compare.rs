//! What there is on this node, compared with what should be, and the difference seen to: groups, sockets,
//! devices with virtual MACs, addresses that a killed process left.
//!
//! Invariant: nothing is taken away that a group which runs still needs.

use std::collections::btree_map::Entry;
use std::io;
use std::time::Duration;

use ballast_vrrp::{Family, Input};

use super::group::Running;
use super::{Engine, virtual_mac};
use crate::kernel::{self, FrameSocket, VrrpSocket};
use crate::wanted::{GroupPlan, WantedGroup, wanted};

/// How often devices and addresses are compared with what should be, without a cause.
const COMPARE_INTERVAL: Duration = Duration::from_secs(5);

impl Engine {
    /// Compares what there is with what should be, and sees to the difference.
    pub(super) fn compare(&mut self) {
        self.compare_at = kernel::monotonic() + COMPARE_INTERVAL;
        self.problems.clear();
        match self.shell.netlink.devices() {
            Ok(devices) => self.devices = devices.into(),
            Err(error) => {
                self.problems.push(format!("devices can't be listed: {error}"));
                return;
            }
        }
        let Some(snapshot) = self.snapshot.clone() else { return };
        if self.is_released {
            return;
        }
        let config = &snapshot.state.config;
        let wanted = wanted(config, &self.node_name, &self.devices);
        self.remove_unwanted(&wanted);
        // Of a group that is off too: nobody tells it again when the group comes back.
        self.standings.retain(|name, _| config.traffic_groups.get(name).is_some());
        for one in wanted {
            self.see_to(one);
        }
        self.close_unused_sockets();
        self.remove_strays();
        self.tidy_virtual_macs();
    }

    fn tidy_virtual_macs(&mut self) {
        let plans = self.groups.values().filter(|group| group.plan().virtual_mac_alias.is_some());
        let parents: Vec<_> = plans.map(|group| group.plan().device_name.clone()).collect();
        let homes = self.groups.values().flat_map(|group| group.homes().values().copied());
        let used: Vec<_> = homes.collect();
        let (node, devices) = (&self.node_name, &self.devices);
        let netlink = &mut self.shell.netlink;
        self.problems.extend(self.virtual_macs.tidy(node, &used, &parents, devices, netlink));
    }

    fn remove_unwanted(&mut self, wanted: &[WantedGroup]) {
        let gone: Vec<String> = self
            .groups
            .keys()
            .filter(|name| !wanted.iter().any(|w| w.name == **name))
            .cloned()
            .collect();
        for name in gone {
            if let Some(mut running) = self.groups.remove(&name) {
                running.handle(Input::Shutdown, &mut self.shell);
            }
        }
    }

    fn see_to(&mut self, wanted: WantedGroup) {
        let WantedGroup { name, plan } = wanted;
        let plan = match plan {
            Ok(plan) => plan,
            Err(why) => {
                self.problems.push(format!("traffic group {name}: {why}"));
                if let Some(running) = self.groups.get_mut(&name) {
                    running.set_missing(Some(why), &mut self.shell);
                }
                return;
            }
        };
        // Another device is another group, as far as this node is concerned.
        if self.groups.get(&name).is_some_and(|group| !group.plan().is_on_same_devices(&plan))
            && let Some(mut running) = self.groups.remove(&name)
        {
            running.handle(Input::Shutdown, &mut self.shell);
        }
        let homes = self.open_sockets(&plan).and_then(|()| {
            let current = self.groups.get(&name).map(|group| group.homes().clone());
            let left = || virtual_mac::left_behind(&plan, &self.devices);
            let is_assumed = self.assumed.contains_key(&name);
            let current = current.or_else(|| is_assumed.then(left));
            let netlink = &mut self.shell.netlink;
            self.virtual_macs.ensure(&plan, current.as_ref(), &self.devices, netlink)
        });
        let homes = match homes {
            Ok(homes) => homes,
            Err(why) => {
                self.problems.push(format!("traffic group {name}: {why}"));
                if let Some(running) = self.groups.get_mut(&name) {
                    running.set_missing(Some(why), &mut self.shell);
                }
                return;
            }
        };
        if let Some(running) = self.groups.get_mut(&name) {
            running.set_missing(None, &mut self.shell);
            running.set_homes(homes, &self.devices, &mut self.shell);
            running.set_plan(plan, &mut self.shell);
            return;
        }
        let standing = self.standings.get(&name).copied();
        match Running::start(name.clone(), plan, homes, standing, &mut self.shell) {
            Ok(mut running) => {
                if let Some(is_manual) = self.assumed.remove(&name) {
                    running.handle(Input::Resume { is_manual }, &mut self.shell);
                }
                self.groups.insert(name, running);
            }
            Err(error) => self.problems.push(format!("traffic group {name}: {error}")),
        }
    }

    fn open_sockets(&mut self, plan: &GroupPlan) -> Result<(), String> {
        let Some(device) = self.devices.iter().find(|device| device.index == plan.device) else {
            return Err(format!("device {} is gone", plan.device_name));
        };
        let refused = |what: &str, error: io::Error| {
            format!(
                "{what} on {}: {error}; the process needs CAP_NET_RAW and CAP_NET_ADMIN",
                device.name
            )
        };
        for instance in &plan.machine.instances {
            let key = (device.index, instance.family);
            if let Entry::Vacant(place) = self.shell.vrrp.entry(key) {
                let socket = VrrpSocket::open(instance.family == Family::V6, device)
                    .map_err(|error| refused("no VRRP socket", error))?;
                place.insert(socket);
            }
        }
        if let Entry::Vacant(place) = self.shell.frames.entry(device.index) {
            let socket =
                FrameSocket::open(device).map_err(|error| refused("no packet socket", error))?;
            place.insert(socket);
        }
        Ok(())
    }

    fn close_unused_sockets(&mut self) {
        let used = |device: u32, family: Option<Family>| {
            self.groups.values().any(|group| {
                let plan = group.plan();
                plan.device == device
                    && family.is_none_or(|family| plan.machine.instance(family).is_some())
            })
        };
        self.shell.vrrp.retain(|(device, family), _| used(*device, Some(*family)));
        self.shell.frames.retain(|device, _| used(*device, None));
    }

    /// Takes floating addresses off that are here and should not be: what a killed process left.
    fn remove_strays(&mut self) {
        for group in self.groups.values() {
            let is_of_group = |index: u32| {
                group.plan().device == index || group.homes().values().any(|home| *home == index)
            };
            for device in self.devices.iter().filter(|device| is_of_group(device.index)) {
                for there in &device.addresses {
                    if !group.is_stray(device.index, there.address) {
                        continue;
                    }
                    let removed = self.shell.netlink.remove_address(
                        device.index,
                        there.address,
                        there.prefix_length,
                    );
                    if let Err(error) = removed {
                        self.problems.push(format!("{} can't be removed: {error}", there.address));
                    }
                }
            }
        }
    }
}
