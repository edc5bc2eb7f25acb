//! What a connection sees of its virtual server and pool: a slot that stays while what is in it is
//! replaced.
//!
//! Invariant: a slot belongs to one `uid` for as long as anybody holds it; an edit replaces its
//! content, a deletion empties it for good.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use ballast_balance::Pool;
use ballast_model::{
    AcceptProxyProtocol, ClientAuth, HttpSettings, Persistence, Priority, Protocol, ServerTls,
    SourceLimits, TcpSettings, UdpSettings,
};
use ballast_telemetry::{PoolCounters, VirtualServerCounters};
use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;

use crate::connections::GroupId;
use crate::passthrough::Passthrough;
use crate::policy::PolicySet;

/// A virtual server as compiled from one revision.
#[derive(Debug)]
pub struct VirtualServer {
    /// Its name.
    pub name: Arc<str>,
    /// What is spoken with clients.
    pub protocol: Protocol,
    /// Settings for `http` and `https`.
    pub http: HttpSettings,
    /// Settings for `tcp`.
    pub tcp: TcpSettings,
    /// How a client finds back to its member.
    pub persistence: Persistence,
    /// The pool that serves it.
    pub pool: Arc<PoolSlot>,
    /// Settings for `udp`.
    pub udp: UdpSettings,
    /// For `tls_passthrough`; none: every connection goes to the pool.
    pub passthrough: Option<Passthrough>,
    /// Who may announce clients.
    pub accept_proxy_protocol: Option<AcceptProxyProtocol>,
    /// Its policies, if it has any.
    pub policies: Option<Arc<PolicySet>>,
    /// For `https`.
    pub tls: Option<Arc<ServerConfig>>,
    /// Who clients must be by their certificates, also when they resume a session.
    pub clients: Option<Arc<dyn ClientCertVerifier>>,
    /// The line that has clients come with TLS only; over TLS alone.
    pub hsts_line: Option<Box<[u8]>>,
    /// What members are told of who clients are.
    pub client_identity: ClientIdentity,
    /// Most client connections at once on this node.
    pub connection_limit: u32,
    /// What a source may do, where anything is limited.
    pub source_limits: Option<SourceLimits>,
    /// How much it matters where the node runs short.
    pub priority: Priority,
    /// How soon its requests or connections get room at members that have none.
    pub queue_priority: i8,
}

/// What members are told of who clients are, by their certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientIdentity {
    /// Nothing: clients are not asked.
    #[default]
    Unasked,
    /// Nothing; what clients say of it themselves is dropped.
    Withheld,
    /// All of it, and nothing that clients say of it themselves.
    Told,
}

impl From<&ServerTls> for ClientIdentity {
    fn from(settings: &ServerTls) -> Self {
        match &settings.client_auth {
            None => Self::Unasked,
            Some(ClientAuth { identity_headers: false, .. }) => Self::Withheld,
            Some(ClientAuth { identity_headers: true, .. }) => Self::Told,
        }
    }
}

/// A virtual server's place.
#[derive(Debug)]
pub struct VirtualServerSlot {
    /// Unique in this process; groups its connections.
    pub id: GroupId,
    /// Its traffic since the process started.
    pub counters: Arc<VirtualServerCounters>,
    current: ArcSwapOption<VirtualServer>,
    version: Version,
    open_count: AtomicU32,
}

impl VirtualServerSlot {
    /// An empty slot.
    pub fn new(counters: Arc<VirtualServerCounters>) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            counters,
            current: ArcSwapOption::empty(),
            version: Version::default(),
            open_count: AtomicU32::new(0),
        }
    }

    /// What it holds now; none once the virtual server is disabled or deleted: answer what is
    /// under way, then close.
    pub fn current(&self) -> &ArcSwapOption<VirtualServer> {
        &self.current
    }

    /// Replaces what it holds.
    pub fn store(&self, virtual_server: Option<Arc<VirtualServer>>) {
        self.current.store(virtual_server);
        self.version.rise();
    }

    /// Rises with each replacement; never 0. Who has seen a version has, by then, what belongs to it or
    /// something newer: so a request need not ask for what is held while the version stays.
    pub fn version(&self) -> u64 {
        self.version.get()
    }

    /// Client connections open now, on all workers.
    pub fn open_count(&self) -> u32 {
        self.open_count.load(Ordering::Relaxed)
    }

    /// Counts one more connection, unless `limit` are open. The connection holds what is returned.
    pub fn admit(self: &Arc<Self>, limit: u32) -> Option<Admission> {
        if self.open_count.fetch_add(1, Ordering::Relaxed) >= limit {
            self.open_count.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Admission(Arc::clone(self)))
    }
}

/// A connection counted as open; dropping it counts it out.
#[derive(Debug)]
pub struct Admission(Arc<VirtualServerSlot>);

impl Admission {
    /// The virtual server's slot.
    pub fn slot(&self) -> &Arc<VirtualServerSlot> {
        &self.0
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.0.open_count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How often a slot was filled, and one more.
#[derive(Debug)]
struct Version(AtomicU64);

impl Default for Version {
    fn default() -> Self {
        Self(AtomicU64::new(1))
    }
}

impl Version {
    fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// After the slot was filled: see [`VirtualServerSlot::version`].
    fn rise(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// A pool's place.
#[derive(Debug)]
pub struct PoolSlot {
    /// Unique in this process; workers keep what is theirs of a pool under it.
    pub id: u64,
    /// What is counted of it.
    pub counters: Arc<PoolCounters>,
    current: ArcSwap<Pool>,
    version: Version,
    is_retired: AtomicBool,
}

impl PoolSlot {
    /// A slot that holds `pool`.
    pub fn new(pool: Arc<Pool>, counters: Arc<PoolCounters>) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            counters,
            current: ArcSwap::new(pool),
            version: Version::default(),
            is_retired: AtomicBool::new(false),
        }
    }

    /// What it holds now.
    pub fn current(&self) -> &ArcSwap<Pool> {
        &self.current
    }

    /// Replaces what it holds.
    pub fn store(&self, pool: Arc<Pool>) {
        self.current.store(pool);
        self.version.rise();
    }

    /// Rises with each replacement, as [`VirtualServerSlot::version`] does.
    pub fn version(&self) -> u64 {
        self.version.get()
    }

    /// Notes that the pool was deleted: what workers keep of it is of no use any more.
    pub fn retire(&self) {
        self.is_retired.store(true, Ordering::Relaxed);
    }

    /// Whether the pool was deleted.
    pub fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Relaxed)
    }
}
