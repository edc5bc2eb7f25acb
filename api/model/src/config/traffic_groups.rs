//! What traffic groups must keep to with regard to each other and to the nodes.

use std::sync::Arc;

use super::Config;
use crate::resource::{Draft, Resource};
use crate::spec::node::{NodeRole, NodeSpec};
use crate::spec::traffic_group::{AdvertTransport, TrafficGroupSpec};
use crate::validate::FieldErrors;

impl Config {
    /// A VRID and an address belong to one group; nodes of a group carry traffic and can be told
    /// apart where advertisements are not multicast.
    pub(super) fn check_traffic_group(
        &self,
        draft: &Draft<TrafficGroupSpec>,
        errors: &mut FieldErrors,
    ) {
        let spec = &draft.spec;
        for other in self.traffic_groups.iter().filter(|other| other.name != draft.name) {
            if other.spec.virtual_router_id == spec.virtual_router_id {
                errors.at("/spec/virtual_router_id", "vrid_conflict", || {
                    format!("traffic group {} has VRID {}", other.name, spec.virtual_router_id)
                });
            }
            for (i, address) in spec.addresses.iter().map(|a| a.address).enumerate() {
                if other.spec.addresses.iter().any(|a| a.address == address) {
                    errors.at(&format!("/spec/addresses/{i}"), "address_conflict", || {
                        format!("traffic group {} has {address} already", other.name)
                    });
                }
            }
        }
        for (i, name) in spec.nodes.iter().enumerate() {
            if self.nodes.get(name).is_some_and(|node| node.spec.role == NodeRole::Witness) {
                errors.at(&format!("/spec/nodes/{i}"), "not_allowed", || {
                    format!("node {name} is a witness, which owns no address")
                });
            }
        }
        if spec.transport == AdvertTransport::Unicast {
            self.check_unicast(spec, errors);
        }
    }

    fn check_unicast(&self, spec: &TrafficGroupSpec, errors: &mut FieldErrors) {
        let Some(network) = &spec.network else {
            errors.at("/spec/network", "required", || {
                "must be named for unicast advertisements: every node's `interfaces` then say \
                 its address there"
                    .to_owned()
            });
            return;
        };
        let runs = |node: &&Arc<Resource<NodeSpec>>| {
            node.spec.role == NodeRole::Traffic && spec.may_run_on(&node.name)
        };
        for node in self.nodes.iter().filter(runs) {
            if !spec.has_unicast_addresses(&node.spec) {
                errors.at("/spec/transport", "missing_interface", || {
                    format!(
                        "node {} names no address on network {network} in its `interfaces`; \
                         unicast advertisements need one for each address family",
                        node.name
                    )
                });
            }
        }
    }

    /// A node keeps the addresses that groups reach it at. One that has none, such as one that has
    /// just joined, can be edited all the same: nothing gets worse.
    pub(super) fn check_node_addresses(
        &self,
        before: &Self,
        draft: &Draft<NodeSpec>,
        errors: &mut FieldErrors,
    ) {
        let Some(was) = before.nodes.get(&draft.name) else { return };
        let mut groups = self.traffic_groups.iter().filter(|group| {
            group.spec.transport == AdvertTransport::Unicast
                && draft.spec.role == NodeRole::Traffic
                && group.spec.may_run_on(&draft.name)
        });
        let lost = groups.find(|group| {
            group.spec.has_unicast_addresses(&was.spec)
                && !group.spec.has_unicast_addresses(&draft.spec)
        });
        if let Some(group) = lost {
            errors.at("/spec/interfaces", "missing_interface", || {
                format!(
                    "traffic group {} advertises by unicast: name an address on network {} for \
                     each of its address families",
                    group.name,
                    group.spec.network.as_deref().unwrap_or_default()
                )
            });
        }
    }
}
