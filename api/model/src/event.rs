//! Events: what `/api/v1/events` streams.

use serde::{Deserialize, Serialize};

use crate::command::Origin;
use crate::ha::HaTransition;
use crate::resource::ResourceRef;
use crate::status::Health;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// Increases by one; what `Last-Event-ID` resumes after.
    pub id: u64,
    /// When, in ms since the Unix epoch.
    pub at_ms: u64,
    /// The node that saw it.
    pub node: String,
    /// What.
    #[serde(flatten)]
    pub body: EventBody,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EventBody {
    /// The configuration changed.
    Config {
        /// The Raft index.
        index: u64,
        /// What changed.
        changed: Vec<ResourceRef>,
        /// Who asked.
        origin: Origin,
    },
    /// A node took a traffic group over, let it go, or changed its part in another way.
    Ha {
        /// What, why, and what was done.
        transition: HaTransition,
    },
    /// A member's health changed.
    Health {
        /// The pool.
        pool: String,
        /// The member.
        member: String,
        /// What the monitors found.
        health: Health,
        /// Why, in a sentence.
        reason: String,
    },
    /// The Raft leader changed.
    Leader {
        /// Its name; none while there is none.
        leader: Option<String>,
    },
    /// Events were lost because the reader was too slow or came back too late: read everything anew.
    Lagged,
}

impl EventBody {
    /// The name of its kind, as in the stream.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Config { .. } => "config",
            Self::Ha { .. } => "ha",
            Self::Health { .. } => "health",
            Self::Lagged => "lagged",
            Self::Leader { .. } => "leader",
        }
    }
}
