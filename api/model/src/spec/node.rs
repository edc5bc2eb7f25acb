//! Nodes: the machines of the cluster.

use serde::{Deserialize, Serialize};

use crate::config::Kind;
use crate::resource::Spec;
use crate::validate::FieldErrors;

/// One machine of the cluster. Joining makes it; only labels and description can be edited.
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

impl Spec for NodeSpec {
    const KIND: Kind = Kind::Node;

    fn validate(&self, errors: &mut FieldErrors) {
        errors.require(self.node_id != 0, "node_id", "out_of_range", || {
            "is 0; nodes are numbered from 1".to_owned()
        });
        errors.require(!self.cluster_address.is_empty(), "cluster_address", "required", || {
            "is empty".to_owned()
        });
    }
}
