//! The data plane's frame: one OS thread per core, each with a current-thread runtime, its own
//! `SO_REUSEPORT` listeners, its own timers and its own connections.
//!
//! ```text
//!            apply(snapshot)                     bounded commands
//!  assembly ────────────────► plane thread ─────────────────────────► worker 0 … worker n
//!                             compile, diff      listen / close          accept loop per listener
//!                             bind sockets       end / cut               connection = local task
//!                                 │                                          ▲
//!                                 └── ArcSwap slot per virtual server ───────┘  (one load per request)
//! ```
//!
//! Invariant: nothing that a request passes takes a lock shared with another thread or waits for
//! one. What changes reaches a worker through an [`arc_swap`] slot or a bounded command; what a
//! connection needs besides (clock, deadline, buffers) belongs to its worker alone.

#![forbid(unsafe_code)]

mod admission;
mod announce;
pub mod binding;
mod clock;
pub mod compile;
pub mod connections;
mod control;
pub mod datagram;
mod explain;
pub mod handler;
mod heartbeat;
pub mod inherited;
pub mod listener;
pub mod moved;
pub mod passthrough;
mod plane;
pub mod policy;
pub mod pressure;
pub mod proxy_protocol;
pub mod reconcile;
pub mod slot;
pub mod sources;
pub mod splice;
mod stream;
pub mod tls;
mod worker;

pub use clock::Clock;
pub use connections::{Connections, Interrupted, Ticket};
pub use datagram::{
    Admitted, DatagramFactory, DatagramHandler, DatagramListener, Door, NoDatagrams,
};
pub use handler::{
    Connection, ConnectionHandler, ConnectionTask, HandlerFactory, Handlers, NoConnections,
    Refused, WorkerContext,
};
pub use heartbeat::BEAT_INTERVAL;
pub use inherited::{Inheritance, Inherited};
pub use moved::{Arrival, Delivery, MovedFacts, MovedSession, Receipt};
pub use passthrough::Passthrough;
pub use plane::{Applied, DataPlane, DataPlaneConfig, PlaneTotals, QUIESCE_MAX};
pub use policy::{PolicySet, ProviderMap, ProviderSlot};
pub use pressure::{Pressure, PressureGauge};
pub use reconcile::AnyAddress;
pub use slot::{Admission, ClientIdentity, PoolSlot, VirtualServer, VirtualServerSlot};
pub use stream::ClientStream;
pub use tls::tickets::{RotationError, rotation, rotation_due};
pub use tls::{Certificate, CertificateMap, Unseal};
