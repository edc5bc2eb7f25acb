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
        let (v4, v6) = spec.families();
        let runs = |node: &&Arc<Resource<NodeSpec>>| {
            node.spec.role == NodeRole::Traffic && spec.may_run_on(&node.name)
        };
        for node in self.nodes.iter().filter(runs) {
            let interface = node.spec.interface(network);
            let has_v4 = !v4 || interface.is_some_and(|interface| interface.ipv4.is_some());
            let has_v6 = !v6 || interface.is_some_and(|interface| interface.ipv6.is_some());
            if !(has_v4 && has_v6) {
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
}
