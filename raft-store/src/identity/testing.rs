//! Identities for tests.

use std::path::Path;

use ballast_model::NodeRole;

use super::{Identity, InitOptions, init, load};

/// The first node of a new cluster.
pub(crate) fn first_node(state_dir: &Path) -> Identity {
    let options = InitOptions {
        cluster_name: "edge".to_owned(),
        node_name: "a".to_owned(),
        role: NodeRole::Traffic,
        cluster_address: "127.0.0.1:1".to_owned(),
        api_addresses: Vec::new(),
        admin_password: None,
    };
    init(state_dir, &options).unwrap();
    load(state_dir).unwrap()
}
