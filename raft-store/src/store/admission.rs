//! Admitting a node that shows a join token.
//!
//! Invariant: nothing enters the log for one who does not know a ticket's secret, and a certificate
//! is signed only for a node that the log has admitted.

use ballast_model::{Command, CommandBody, IdempotencyKey, Origin, Outcome, State};

use super::Store;
use crate::clock::now_ms;
use crate::identity::IdentityError;
use crate::identity::files::NodeFile;
use crate::identity::joining::{Admitted, JoinAnswer, JoinRequest, VERSION};
use crate::keys::{random_id, sha256_hex};

impl Store {
    pub(super) async fn admit(&self, request: JoinRequest) -> JoinAnswer {
        let Ok(_permit) = self.0.joins.try_acquire() else {
            return JoinAnswer::NotNow { why: "other nodes are joining right now".to_owned() };
        };
        let refused = |why: String| JoinAnswer::Refused { why };
        if request.version != VERSION {
            return refused("the software of the two nodes is too far apart".to_owned());
        }
        // Before the ticket is used up: can this be certified at all?
        if let Err(error) = self.certify(&request, 0) {
            return refused(error.to_string());
        }
        let secret_hash = sha256_hex(request.secret.as_bytes());
        if !knows_ticket(&self.snapshot().state, &request, &secret_hash) {
            // The ticket may be newer than what was applied here.
            if let Err(error) = self.read_barrier().await {
                return JoinAnswer::NotNow { why: error.to_string() };
            }
            if !knows_ticket(&self.snapshot().state, &request, &secret_hash) {
                return refused("the join token is unknown, used up, or expired".to_owned());
            }
        }
        match self.propose(redemption(&request, secret_hash)).await {
            Ok(Outcome::Applied { index, .. } | Outcome::Replayed { index }) => {
                self.hand_out(&request, index)
            }
            Ok(Outcome::Rejected { rejection }) => refused(rejection.to_string()),
            Err(error) => JoinAnswer::NotNow { why: error.to_string() },
        }
    }

    /// What the node `node_id` needs to start.
    fn hand_out(&self, request: &JoinRequest, node_id: u64) -> JoinAnswer {
        let snapshot = self.snapshot();
        if snapshot.index < node_id {
            return JoinAnswer::NotNow { why: "this node lags behind the others".to_owned() };
        }
        let node = snapshot.state.config.nodes.get(&request.node_name);
        let Some(node) = node.filter(|node| node.spec.node_id == node_id) else {
            let why = "the node was removed from the cluster meanwhile".to_owned();
            return JoinAnswer::Refused { why };
        };
        let chain_pem = match self.certify(request, node_id) {
            Ok(chain_pem) => chain_pem,
            Err(error) => return JoinAnswer::Refused { why: error.to_string() },
        };
        let identity = self.identity();
        let file = NodeFile {
            node_id,
            node_name: node.name.clone(),
            role: node.spec.role,
            cluster_name: snapshot.state.cluster.name.clone(),
            cluster_address: node.spec.cluster_address.clone(),
            api_addresses: node.spec.api_addresses.clone(),
            ..identity.node_file().clone()
        };
        tracing::info!(node = node.name, node_id, "a node joins");
        let admitted = Admitted::new(file, chain_pem, identity.ca_pem(), identity.keys());
        JoinAnswer::Admitted(Box::new(admitted))
    }

    fn certify(&self, request: &JoinRequest, node_id: u64) -> Result<String, IdentityError> {
        let identity = self.identity();
        identity.authority()?.certify_node(
            &request.signing_request_pem,
            node_id,
            identity.cluster_uid(),
        )
    }
}

fn redemption(request: &JoinRequest, secret_hash: String) -> Command {
    Command {
        origin: Origin { actor: format!("node/{}", request.node_name), ..Origin::default() },
        at_ms: now_ms(),
        idempotency: Some(IdempotencyKey {
            key: idempotency_key(request),
            fingerprint: request.fingerprint(),
        }),
        body: CommandBody::RedeemJoinTicket {
            id: request.ticket.clone(),
            secret_hash,
            node_name: request.node_name.clone(),
            uid: random_id(),
            cluster_address: request.cluster_address.clone(),
            api_addresses: request.api_addresses.clone(),
        },
    }
}

/// Whether the ticket can be redeemed, or was by this very request.
fn knows_ticket(state: &State, request: &JoinRequest, secret_hash: &str) -> bool {
    let ticket = state.cluster.join_tickets.get(&request.ticket);
    let is_open = ticket
        .is_some_and(|ticket| ticket.secret_hash == secret_hash && ticket.expires_at_ms > now_ms());
    let done = state.idempotency.get(&idempotency_key(request));
    is_open || done.is_some_and(|done| done.fingerprint == request.fingerprint())
}

fn idempotency_key(request: &JoinRequest) -> String {
    format!("join/{}", request.ticket)
}
