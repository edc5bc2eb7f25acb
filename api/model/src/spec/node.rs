//! Nodes: the machines of the cluster.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::config::Kind;
use crate::limits::INTERFACE_MAX_COUNT;
use crate::resource::Spec;
use crate::validate::{self, FieldErrors};

/// One machine of the cluster. Joining makes it and sets who it is; `availability`, `capacity` and
/// `interfaces` can be edited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NodeSpec {
    /// Its number in the cluster; never used again after the node is removed.
    pub node_id: u64,
    /// What it does.
    pub role: NodeRole,
    /// `host:port` where the other nodes reach it (mTLS).
    pub cluster_address: String,
    /// `host:port` of its REST API and console.
    #[serde(default)]
    pub api_addresses: Vec<String>,
    /// Whether it may own virtual addresses.
    #[serde(default)]
    pub availability: Availability,
    /// How much load it can carry, relative to other nodes and to the traffic groups' `load_factor`.
    #[serde(default = "default_capacity")]
    pub capacity: u32,
    /// Which device is on which network. A network that is not listed here is found by the subnets of
    /// the node's addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<NodeInterface>,
}

/// Whether a node may own virtual addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    /// It may.
    #[default]
    Available,
    /// Only where no other node is able: for work on a node that stays in reach.
    Maintenance,
    /// Never.
    Offline,
}

impl Availability {
    /// The name used in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Maintenance => "maintenance",
            Self::Offline => "offline",
        }
    }
}

/// A device of a node, and the network that it is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NodeInterface {
    /// The network's name, the same on every node, such as `front`.
    pub network: String,
    /// The device's name on this node, such as `eth0`.
    pub device: String,
    /// The address that advertisements come from. Absent: the device's first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub ipv4: Option<Ipv4Addr>,
    /// The link-local address that advertisements come from. Absent: the device's first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub ipv6: Option<Ipv6Addr>,
}

/// What a node does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum NodeRole {
    /// Votes, holds the log, and carries traffic.
    #[default]
    Traffic,
    /// Votes and holds the log; carries no traffic and owns no address.
    Witness,
}

impl NodeRole {
    /// The name used in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Traffic => "traffic",
            Self::Witness => "witness",
        }
    }
}

impl NodeSpec {
    /// A node as it joins, available and with defaults.
    pub fn new(
        node_id: u64,
        role: NodeRole,
        cluster_address: impl Into<String>,
        api_addresses: Vec<String>,
    ) -> Self {
        Self {
            node_id,
            role,
            cluster_address: cluster_address.into(),
            api_addresses,
            availability: Availability::default(),
            capacity: default_capacity(),
            interfaces: Vec::new(),
        }
    }

    /// Its device on that network, where one is named.
    pub fn interface(&self, network: &str) -> Option<&NodeInterface> {
        self.interfaces.iter().find(|interface| interface.network == network)
    }

    /// Whether both say the same of what joining set.
    pub fn is_same_member(&self, other: &Self) -> bool {
        self.node_id == other.node_id
            && self.role == other.role
            && self.cluster_address == other.cluster_address
            && self.api_addresses == other.api_addresses
    }
}

impl Spec for NodeSpec {
    const KIND: Kind = Kind::Node;

    fn validate(&self, errors: &mut FieldErrors) {
        errors.require(self.node_id != 0, "node_id", "out_of_range", || {
            "is 0; nodes are numbered from 1".to_owned()
        });
        errors.require(!self.cluster_address.is_empty(), "cluster_address", "required", || {
            "is empty".to_owned()
        });
        errors.range("capacity", self.capacity, 1, 100_000);
        errors.range("interfaces", self.interfaces.len(), 0, INTERFACE_MAX_COUNT);
        let mut networks = BTreeSet::new();
        errors.within("interfaces", |errors| {
            for (i, interface) in self.interfaces.iter().enumerate() {
                errors.within(i, |errors| {
                    interface.validate(errors);
                    let is_new = networks.insert(&interface.network);
                    errors.require(is_new, "network", "duplicate", || {
                        "has a device in the list already".to_owned()
                    });
                });
            }
        });
    }
}

impl NodeInterface {
    fn validate(&self, errors: &mut FieldErrors) {
        validate::name(errors, "network", &self.network);
        // What Linux takes for a name (net/core/dev.c, dev_valid_name).
        let fits = (1..=15).contains(&self.device.len())
            && !matches!(self.device.as_str(), "." | "..")
            && !self.device.contains(|c: char| c == '/' || c == ':' || c.is_whitespace());
        errors.require(fits, "device", "invalid_device", || {
            "must be the name of a network device: 1 to 15 characters without '/', ':' and spaces"
                .to_owned()
        });
        let is_link_local = self.ipv6.is_none_or(|address| address.is_unicast_link_local());
        errors.require(is_link_local, "ipv6", "invalid_address", || {
            "must be link-local: VRRP for IPv6 speaks from there (RFC 9568 §5.1.2.1)".to_owned()
        });
    }
}

fn default_capacity() -> u32 {
    100
}
