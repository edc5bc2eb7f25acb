//! Which member serves a request or connection: selection algorithms, persistence, and the state
//! machine that turns probe results into health.
//!
//! Everything here is pure: time and randomness arrive as arguments. Choosing a member takes no
//! lock and allocates nothing; the state of a member outlives recompilation of its pool. Remembering
//! clients, where that is asked for, takes a lock for one entry.

#![forbid(unsafe_code)]

pub mod adaptive;
pub mod eject;
pub mod gate;
pub mod health;
pub mod key;
pub mod member;
pub mod observed;
pub mod persistence;
pub mod pick;
pub mod pool;
pub mod queue;
pub mod registry;
pub mod retry;

mod hash;
mod latency;
mod maglev;
mod padded;

pub use eject::{Attempt, EjectionCause};
pub use gate::{GateFacts, Permit};
pub use health::{HealthMachine, HealthSettings, Probe, Transition};
pub use key::KeyHash;
pub use member::{HealthReport, InFlight, Member, MemberState, Slot};
pub use observed::{
    Advice, AdviceMap, Observed, PoolAdvice, PoolResolved, ResolvedMap, ResolvedMember,
};
pub use persistence::client::{ClientHasher, ClientKey, Known};
pub use persistence::table::{PersistenceTable, TableRecord, Version};
pub use persistence::{CookieCodec, MemberKey, PersistenceKey};
pub use pick::{NoMember, PickInput, PickState, Picked};
pub use pool::Pool;
pub use queue::{Displaced, Place, PoolQueue, Priority};
pub use registry::{PoolChanges, PoolMap, PoolRegistry};
