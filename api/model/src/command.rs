//! What enters the log, and what applying it answers.

use serde::{Deserialize, Serialize};

use crate::config::{AnyDraft, Kind};
use crate::resource::ResourceRef;
use crate::spec::certificate::Sealed;
use crate::spec::node::NodeRole;
use crate::validate::FieldError;

/// One entry of the log. Everything that depends on the time or on chance was decided by the
/// proposer and stands in it, so that applying it is the same everywhere.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Command {
    /// Who asked.
    pub origin: Origin,
    /// When the proposer made it, in ms since the Unix epoch.
    pub at_ms: u64,
    /// What the caller named it, so that a repetition is not done twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<IdempotencyKey>,
    /// What to do.
    pub body: CommandBody,
}

/// What a command does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum CommandBody {
    /// The first command of a cluster.
    Bootstrap {
        /// The cluster's name.
        cluster_name: String,
        /// A random identifier of the cluster.
        cluster_uid: String,
        /// The cluster's certificate authority, in PEM.
        ca_certificate_pem: String,
        /// Its private key, sealed with the cluster's key.
        ca_key_sealed: Sealed,
        /// SHA-256 of the one-time code that makes the first user; none where the first user comes
        /// with the command.
        setup_code_hash: Option<String>,
        /// The first node, and the first user if there is one already.
        edits: Vec<Edit>,
    },
    /// Lets one more node join.
    CreateJoinTicket {
        /// Public identifier of the ticket.
        id: String,
        /// SHA-256 of its secret.
        secret_hash: String,
        /// What the node will do.
        role: NodeRole,
        /// When it expires, in ms since the Unix epoch.
        expires_at_ms: u64,
    },
    /// Makes resources, changes them, deletes them: all or none.
    Edit {
        /// What to do, in order.
        edits: Vec<Edit>,
    },
    /// Uses up a ticket and makes the node; its number is the entry's index.
    RedeemJoinTicket {
        /// The ticket.
        id: String,
        /// SHA-256 of the secret that was shown.
        secret_hash: String,
        /// The new node's name.
        node_name: String,
        /// Random identifier of the new resource.
        uid: String,
        /// `host:port` where the other nodes reach it.
        cluster_address: String,
        /// `host:port` of its API.
        api_addresses: Vec<String>,
    },
    /// Takes a node out for good; its number is never used again and its certificate is refused.
    RemoveNode {
        /// Its name.
        name: String,
    },
    /// Ends a session before its time.
    RevokeSession {
        /// The session.
        id: String,
        /// When it would have ended by itself, in ms since the Unix epoch.
        expires_at_ms: u64,
    },
    /// Makes a new key for TLS session tickets; the oldest one goes.
    RotateTicketKey {
        /// The new key.
        key: TicketKey,
        /// The newest key that the proposer knew of: of two proposers only one is heard.
        after: Option<String>,
    },
    /// Uses up the one-time setup code and makes the first user.
    Setup {
        /// SHA-256 of the code that was shown.
        code_hash: String,
        /// The first user.
        edits: Vec<Edit>,
    },
}

/// A key that TLS session tickets (RFC 5077, RFC 8446 §4.6.1) are sealed with, the same on every node
/// so that a session can be resumed on any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketKey {
    /// 16 random bytes in hexadecimal; they stand in front of each ticket.
    pub id: String,
    /// 32 random bytes, sealed with the cluster's key.
    pub secret_sealed: Sealed,
    /// When it was made, in ms since the Unix epoch.
    pub created_at_ms: u64,
}

/// A change of one resource.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Edit {
    /// The resource's kind.
    pub kind: Kind,
    /// The resource's name.
    pub name: String,
    /// What must hold before.
    #[serde(default)]
    pub precondition: Precondition,
    /// What to do with it.
    pub action: EditAction,
}

/// What an edit does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EditAction {
    /// Deletes it.
    Delete,
    /// Creates or replaces it.
    Put {
        /// What is declared.
        draft: Box<AnyDraft>,
        /// Random identifier, for the case that it is new.
        uid: String,
    },
}

/// What must hold for an edit to be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precondition {
    /// There is no such resource (`If-None-Match: *`).
    Absent,
    /// Anything.
    #[default]
    Any,
    /// There is one.
    Exists,
    /// It was last changed by this Raft index (`If-Match`).
    Revision(u64),
}

/// Who asked for a command, for the audit trail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Origin {
    /// The user, `token/<name>` or `node/<name>`.
    pub actor: String,
    /// The client's address, where there is one.
    #[serde(default)]
    pub source: String,
    /// The request's identifier.
    #[serde(default)]
    pub request_id: String,
}

/// A caller's name for a write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyKey {
    /// What the caller chose, prefixed with who the caller is.
    pub key: String,
    /// SHA-256 of method, path and body: the same key with another request is a mistake.
    pub fingerprint: String,
}

/// What applying a command answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Applied {
        /// Its index.
        index: u64,
        /// The resources that it created, changed or deleted.
        changed: Vec<ResourceRef>,
    },
    /// It was not done; nothing changed.
    Rejected {
        /// Why.
        rejection: Rejection,
    },
    /// It had been done before under the same idempotency key.
    Replayed {
        /// The index of the first time.
        index: u64,
    },
}

/// Why a command was not done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Rejection {
    /// `If-None-Match: *`, but it is there.
    #[error("{resource} exists already")]
    AlreadyExists {
        /// The resource.
        resource: ResourceRef,
        /// Its revision.
        revision: u64,
    },
    /// The cluster has been made already.
    #[error("the cluster exists already")]
    AlreadyInitialized,
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    IdempotencyKeyReused,
    /// Another key was made meanwhile.
    #[error("the key of session tickets was changed by somebody else meanwhile")]
    TicketKeyChanged,
    /// The input breaks rules.
    #[error("{} of the fields can't be accepted", errors.len())]
    Invalid {
        /// Each fault.
        errors: Vec<FieldError>,
    },
    /// The join token is unknown, used, expired, or its secret is wrong.
    #[error("the join token is unknown, used up, or expired")]
    JoinTicketInvalid,
    /// The last administrator can't go.
    #[error("no enabled administrator would be left")]
    LastAdministrator,
    /// The last node can't go.
    #[error("{resource} is the only node; a cluster has at least one")]
    LastNode {
        /// The node.
        resource: ResourceRef,
    },
    /// There is no such resource.
    #[error("there is no {resource}")]
    NotFound {
        /// The resource.
        resource: ResourceRef,
    },
    /// It can't be deleted while others name it.
    #[error("{resource} is in use by {}", list(referrers))]
    Referenced {
        /// The resource.
        resource: ResourceRef,
        /// Who names it.
        referrers: Vec<ResourceRef>,
    },
    /// `If-Match` names another revision.
    #[error("{resource} has changed meanwhile")]
    RevisionMismatch {
        /// The resource.
        resource: ResourceRef,
        /// The revision that the caller knew.
        wanted: u64,
        /// The revision that it has; none where it does not exist.
        found: Option<u64>,
    },
    /// The setup code is wrong or used.
    #[error("the setup code is wrong or has been used")]
    SetupCodeInvalid,
    /// Too many of something.
    #[error("there are {max} {what} already; that is the most")]
    TooMany {
        /// Of what.
        what: String,
        /// The bound.
        max: usize,
    },
}

impl Edit {
    /// Creates or replaces the resource that `draft` declares.
    pub fn put(draft: AnyDraft, uid: impl Into<String>) -> Self {
        Self {
            kind: draft.kind(),
            name: draft.name().to_owned(),
            precondition: Precondition::Any,
            action: EditAction::Put { draft: Box::new(draft), uid: uid.into() },
        }
    }

    /// Deletes a resource.
    pub fn delete(kind: Kind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
            precondition: Precondition::Any,
            action: EditAction::Delete,
        }
    }

    /// The same under a precondition.
    #[must_use]
    pub fn only_if(self, precondition: Precondition) -> Self {
        Self { precondition, ..self }
    }

    /// What it changes.
    pub fn resource(&self) -> ResourceRef {
        ResourceRef { kind: self.kind, name: self.name.clone() }
    }
}

fn list(resources: &[ResourceRef]) -> String {
    resources.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
