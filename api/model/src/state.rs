//! The replicated state machine: applying a [`Command`] to a [`State`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::command::{
    Command, CommandBody, Edit, EditAction, IdempotencyKey, Outcome, Rejection, TicketKey,
};
use crate::config::{AnyDraft, Config, Kind};
use crate::limits::{
    EDIT_MAX_COUNT, IDEMPOTENCY_KEPT_MS, IDEMPOTENCY_MAX_COUNT, JOIN_TICKET_MAX_COUNT,
    REVOKED_SESSION_MAX_COUNT, TICKET_KEY_MAX_COUNT,
};
use crate::resource::{Draft, ResourceRef};
use crate::spec::certificate::Sealed;
use crate::spec::node::{NodeRole, NodeSpec};
use crate::spec::user::Role;

/// The whole configuration as of one Raft index; immutable, the only thing that data planes read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The index of the last entry that was applied.
    pub index: u64,
    /// The state after it.
    pub state: State,
}

/// Everything that is replicated. Cloning is cheap.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// What users declared.
    pub config: Config,
    /// What the cluster knows of itself.
    pub cluster: Arc<Cluster>,
    /// Writes that callers named, so that a repetition is not done twice.
    pub idempotency: Arc<BTreeMap<String, Done>>,
}

/// What the cluster knows of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// A random identifier; empty before [`CommandBody::Bootstrap`].
    pub uid: String,
    /// Its certificate authority, in PEM.
    pub ca_certificate_pem: String,
    /// The authority's private key, sealed with the cluster's key.
    pub ca_key_sealed: Option<Sealed>,
    /// SHA-256 of the one-time setup code, until it is used.
    pub setup_code_hash: Option<String>,
    /// Tickets that wait to be redeemed, by identifier.
    pub join_tickets: BTreeMap<String, JoinTicket>,
    /// Numbers of nodes that were removed: never used again, their certificates are refused.
    pub removed_node_ids: BTreeSet<u64>,
    /// Sessions that were ended before their time, and when they would have ended.
    pub revoked_sessions: BTreeMap<String, u64>,
    /// Keys of TLS session tickets, the newest first: tickets are made with it and read with all.
    #[serde(default)]
    pub ticket_keys: Vec<TicketKey>,
}

/// Leave to join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTicket {
    /// SHA-256 of its secret.
    pub secret_hash: String,
    /// What the node will do.
    pub role: NodeRole,
    /// When it expires, in ms since the Unix epoch.
    pub expires_at_ms: u64,
}

/// A write that was done under an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What was asked.
    pub fingerprint: String,
    /// Its index.
    pub index: u64,
    /// When, in ms since the Unix epoch.
    pub at_ms: u64,
}

impl State {
    /// Applies `command` as entry `index`. A rejected command changes nothing.
    pub fn apply(&mut self, index: u64, command: &Command) -> Outcome {
        if let Some(outcome) = self.replay(command.idempotency.as_ref()) {
            return outcome;
        }
        let before = self.clone();
        match self.execute(index, command) {
            Ok(changed) => {
                if let Some(key) = &command.idempotency {
                    self.remember(key, index, command.at_ms);
                }
                Outcome::Applied { index, changed }
            }
            Err(rejection) => {
                *self = before;
                Outcome::Rejected { rejection }
            }
        }
    }

    /// What `command` would answer, without doing it.
    ///
    /// # Errors
    /// Why it would be rejected.
    pub fn check(&self, command: &Command) -> Result<Vec<ResourceRef>, Rejection> {
        match self.clone().apply(u64::MAX, command) {
            Outcome::Applied { changed, .. } => Ok(changed),
            Outcome::Replayed { .. } => Ok(Vec::new()),
            Outcome::Rejected { rejection } => Err(rejection),
        }
    }

    fn execute(&mut self, index: u64, command: &Command) -> Result<Vec<ResourceRef>, Rejection> {
        let at_ms = command.at_ms;
        match &command.body {
            CommandBody::Bootstrap { edits, .. } => {
                self.bootstrap(&command.body)?;
                self.edit_unguarded(edits, index, at_ms)
            }
            CommandBody::CreateJoinTicket { id, secret_hash, role, expires_at_ms } => {
                let tickets = &mut Arc::make_mut(&mut self.cluster).join_tickets;
                tickets.retain(|_, ticket| ticket.expires_at_ms > at_ms);
                bounded(tickets.len(), JOIN_TICKET_MAX_COUNT, "join tokens")?;
                let ticket = JoinTicket {
                    secret_hash: secret_hash.clone(),
                    role: *role,
                    expires_at_ms: *expires_at_ms,
                };
                tickets.insert(id.clone(), ticket);
                Ok(Vec::new())
            }
            CommandBody::Edit { edits } => self.edit(edits, index, at_ms),
            CommandBody::RedeemJoinTicket { .. } => self.redeem(&command.body, index, at_ms),
            CommandBody::RemoveNode { name } => self.remove_node(name, index, at_ms),
            CommandBody::RevokeSession { id, expires_at_ms } => {
                let sessions = &mut Arc::make_mut(&mut self.cluster).revoked_sessions;
                sessions.retain(|_, expires_at_ms| *expires_at_ms > at_ms);
                bounded(sessions.len(), REVOKED_SESSION_MAX_COUNT, "revoked sessions")?;
                sessions.insert(id.clone(), *expires_at_ms);
                Ok(Vec::new())
            }
            CommandBody::RotateTicketKey { key, after } => {
                let keys = &mut Arc::make_mut(&mut self.cluster).ticket_keys;
                if keys.first().map(|newest| &newest.id) != after.as_ref() {
                    return Err(Rejection::TicketKeyChanged);
                }
                keys.insert(0, key.clone());
                keys.truncate(TICKET_KEY_MAX_COUNT);
                Ok(Vec::new())
            }
            CommandBody::Setup { code_hash, edits } => {
                let cluster = Arc::make_mut(&mut self.cluster);
                if cluster.setup_code_hash.as_ref() != Some(code_hash) {
                    return Err(Rejection::SetupCodeInvalid);
                }
                cluster.setup_code_hash = None;
                self.edit(edits, index, at_ms)
            }
        }
    }

    fn bootstrap(&mut self, body: &CommandBody) -> Result<(), Rejection> {
        let CommandBody::Bootstrap {
            cluster_name,
            cluster_uid,
            ca_certificate_pem,
            ca_key_sealed,
            setup_code_hash,
            ..
        } = body
        else {
            return Ok(());
        };
        if !self.cluster.uid.is_empty() {
            return Err(Rejection::AlreadyInitialized);
        }
        self.cluster = Arc::new(Cluster {
            name: cluster_name.clone(),
            uid: cluster_uid.clone(),
            ca_certificate_pem: ca_certificate_pem.clone(),
            ca_key_sealed: Some(ca_key_sealed.clone()),
            setup_code_hash: setup_code_hash.clone(),
            ..Cluster::default()
        });
        Ok(())
    }

    fn edit(
        &mut self,
        edits: &[Edit],
        index: u64,
        at_ms: u64,
    ) -> Result<Vec<ResourceRef>, Rejection> {
        bounded(edits.len(), EDIT_MAX_COUNT + 1, "edits in one command")?;
        if let Some(edit) = edits.iter().find(|edit| is_node_deletion(edit)) {
            // Through RemoveNode alone, which also bars its number and certificate.
            let mut errors = crate::validate::FieldErrors::default();
            errors.of(edit.resource(), |errors| {
                errors.here("not_allowed", "a node is removed from the cluster, not deleted");
            });
            return Err(Rejection::Invalid { errors: errors.into_vec() });
        }
        let had_administrator = self.has_administrator();
        let changed = self.replace_config(self.config.edited(edits, index, at_ms)?, edits);
        if had_administrator && !self.has_administrator() {
            return Err(Rejection::LastAdministrator);
        }
        Ok(changed)
    }

    /// Edits that make nodes, which callers may not.
    fn edit_unguarded(
        &mut self,
        edits: &[Edit],
        index: u64,
        at_ms: u64,
    ) -> Result<Vec<ResourceRef>, Rejection> {
        let (nodes, others): (Vec<_>, Vec<_>) =
            edits.iter().cloned().partition(|edit| edit.kind == Kind::Node);
        let next = self.config.with_nodes(&nodes, index, at_ms).edited(&others, index, at_ms)?;
        Ok(self.replace_config(next, edits))
    }

    fn replace_config(&mut self, next: Config, edits: &[Edit]) -> Vec<ResourceRef> {
        let mut changed: Vec<_> = edits
            .iter()
            .map(Edit::resource)
            .filter(|r| {
                next.resource(r.kind, &r.name).map(|r| r.revision())
                    != self.config.resource(r.kind, &r.name).map(|r| r.revision())
            })
            .collect();
        changed.dedup();
        self.config = next;
        changed
    }

    fn redeem(
        &mut self,
        body: &CommandBody,
        index: u64,
        at_ms: u64,
    ) -> Result<Vec<ResourceRef>, Rejection> {
        let CommandBody::RedeemJoinTicket {
            id,
            secret_hash,
            node_name,
            uid,
            cluster_address,
            api_addresses,
        } = body
        else {
            return Err(Rejection::JoinTicketInvalid);
        };
        let cluster = Arc::make_mut(&mut self.cluster);
        let ticket = cluster.join_tickets.get(id).ok_or(Rejection::JoinTicketInvalid)?;
        if ticket.secret_hash != *secret_hash || ticket.expires_at_ms <= at_ms {
            return Err(Rejection::JoinTicketInvalid);
        }
        let resource = ResourceRef { kind: Kind::Node, name: node_name.clone() };
        if let Some(existing) = self.config.nodes.get(node_name) {
            return Err(Rejection::AlreadyExists { resource, revision: existing.revision });
        }
        let spec = NodeSpec::new(index, ticket.role, cluster_address, api_addresses.clone());
        let draft = AnyDraft::Node(Draft::new(node_name, spec));
        let mut errors = crate::validate::FieldErrors::default();
        draft.validate(&mut errors);
        if !errors.is_empty() {
            return Err(Rejection::Invalid { errors: errors.into_vec() });
        }
        cluster.join_tickets.remove(id);
        self.config = self.config.with_nodes(&[Edit::put(draft, uid)], index, at_ms);
        Ok(vec![resource])
    }

    fn remove_node(
        &mut self,
        name: &str,
        index: u64,
        at_ms: u64,
    ) -> Result<Vec<ResourceRef>, Rejection> {
        let resource = ResourceRef { kind: Kind::Node, name: name.to_owned() };
        let Some(node) = self.config.nodes.get(name) else {
            return Err(Rejection::NotFound { resource });
        };
        if self.config.nodes.len() == 1 {
            return Err(Rejection::LastNode { resource });
        }
        Arc::make_mut(&mut self.cluster).removed_node_ids.insert(node.spec.node_id);
        let edits = [Edit::delete(Kind::Node, name)];
        Ok(self.replace_config(self.config.edited(&edits, index, at_ms)?, &edits))
    }

    fn has_administrator(&self) -> bool {
        self.config.users.iter().any(|user| user.spec.role == Role::Admin && !user.spec.disabled)
    }

    fn replay(&self, key: Option<&IdempotencyKey>) -> Option<Outcome> {
        let key = key?;
        let done = self.idempotency.get(&key.key)?;
        Some(if done.fingerprint == key.fingerprint {
            Outcome::Replayed { index: done.index }
        } else {
            Outcome::Rejected { rejection: Rejection::IdempotencyKeyReused }
        })
    }

    fn remember(&mut self, key: &IdempotencyKey, index: u64, at_ms: u64) {
        let kept = Arc::make_mut(&mut self.idempotency);
        kept.retain(|_, done| done.at_ms.saturating_add(IDEMPOTENCY_KEPT_MS) > at_ms);
        if kept.len() >= IDEMPOTENCY_MAX_COUNT {
            let oldest = kept.iter().min_by_key(|(_, done)| done.index).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                kept.remove(&oldest);
            }
        }
        let done = Done { fingerprint: key.fingerprint.clone(), index, at_ms };
        kept.insert(key.key.clone(), done);
    }
}

fn is_node_deletion(edit: &Edit) -> bool {
    edit.kind == Kind::Node && matches!(edit.action, EditAction::Delete)
}

fn bounded(count: usize, max: usize, what: &str) -> Result<(), Rejection> {
    if count >= max { Err(Rejection::TooMany { what: what.to_owned(), max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
