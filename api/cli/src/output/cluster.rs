//! The cluster's nodes.

use ballast_model::api::ClusterInfo;

use super::table;

pub(crate) fn text(cluster: &ClusterInfo) -> String {
    let leader = cluster.leader.as_deref();
    let rows = cluster.nodes.iter().map(|node| {
        vec![
            node.name.clone(),
            node.node_id.to_string(),
            node.role.as_str().to_owned(),
            match (leader == Some(node.name.as_str()), node.voter) {
                (true, _) => "leader",
                (false, true) => "voter",
                (false, false) => "joining",
            }
            .to_owned(),
            node.cluster_address.clone(),
            node.api_addresses.join(", "),
        ]
    });
    let nodes = table(&["node", "id", "role", "raft", "cluster address", "api"], rows);
    let writable = match cluster.writable {
        true => "the configuration can be changed",
        false => "read-only: too few nodes answer, or no leader is elected",
    };
    format!(
        "{} (authority {})\n{writable}\n\n{nodes}",
        cluster.name, cluster.ca_fingerprint_sha256
    )
}
