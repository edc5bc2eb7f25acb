//! The cluster itself: its nodes, and leave to join.

use axum::http::StatusCode;
use ballast_model::api::{ClusterInfo, ClusterNode, JoinTokenInfo, JoinTokenRequest};
use ballast_raft_store::TokenError;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::app::{now_ms, sha256_hex};
use crate::call::Call;
use crate::events::leader_name;
use crate::failure::{self, Answer, Failure};

/// `GET /cluster`.
pub(crate) fn show(call: &Call) -> Answer {
    let app = &call.app;
    let snapshot = app.snapshot();
    let (cluster, raft) = (&snapshot.state.cluster, app.store.status());
    let now_ms = now_ms();
    let authority = CertificateDer::from_pem_slice(cluster.ca_certificate_pem.as_bytes());
    let nodes = snapshot.state.config.nodes.iter().map(|node| ClusterNode {
        name: node.name.clone(),
        node_id: node.spec.node_id,
        role: node.spec.role,
        voter: raft.voters.contains(&node.spec.node_id),
        cluster_address: node.spec.cluster_address.clone(),
        api_addresses: node.spec.api_addresses.clone(),
    });
    let info = ClusterInfo {
        name: cluster.name.clone(),
        uid: cluster.uid.clone(),
        ca_certificate_pem: cluster.ca_certificate_pem.clone(),
        ca_fingerprint_sha256: authority.map(|der| sha256_hex(&der)).unwrap_or_default(),
        answered_by: app.store.node_name().to_owned(),
        leader: leader_name(app),
        writable: raft.has_quorum && raft.leader_id.is_some(),
        nodes: nodes.collect(),
        join_tokens: cluster
            .join_tickets
            .values()
            .filter(|ticket| ticket.expires_at_ms > now_ms)
            .count(),
    };
    failure::json(StatusCode::OK, &info)
}

/// `POST /cluster/join-tokens`.
pub(crate) async fn create_join_token(call: &Call) -> Answer {
    let request: JoinTokenRequest = call.json_or_default()?;
    let token = call.app.store.create_join_token(request.role, call.origin()).await;
    let token = token.map_err(|error| match error {
        TokenError::Propose(error) => error.into(),
        TokenError::Rejected(rejection) => rejection.into(),
        other => Failure::internal(other),
    })?;
    let snapshot = call.app.snapshot();
    let nodes = snapshot.state.config.nodes.iter();
    let info = JoinTokenInfo {
        token: token.text,
        role: request.role,
        expires_at_ms: token.expires_at_ms,
        peers: nodes.map(|node| node.spec.cluster_address.clone()).collect(),
    };
    failure::json(StatusCode::CREATED, &info)
}
