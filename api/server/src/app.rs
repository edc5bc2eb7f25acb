//! What all operations share.

use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use ballast_model::Snapshot;
use ballast_raft_store::{ProposeError, Store};
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::NodeView;
use crate::auth::password::Passwords;
use crate::auth::session::Sessions;
use crate::auth::throttle::Throttle;
use crate::events::Hub;

/// Most declarations being read or worked on at once: each may be tens of megabytes.
const LARGE_BODY_MAX_COUNT: usize = 4;
/// Most event streams at once.
const EVENT_STREAM_MAX_COUNT: usize = 256;

/// What all operations share.
pub(crate) struct App {
    pub(crate) store: Store,
    pub(crate) node: Arc<dyn NodeView>,
    pub(crate) sessions: Sessions,
    pub(crate) passwords: Passwords,
    pub(crate) throttle: Throttle,
    pub(crate) events: Hub,
    pub(crate) large_bodies: Arc<Semaphore>,
    pub(crate) event_streams: Arc<Semaphore>,
    pub(crate) shutdown: CancellationToken,
    /// The OpenAPI document, made when it is first asked for.
    pub(crate) openapi: OnceLock<Bytes>,
}

impl App {
    pub(crate) fn new(store: Store, node: Arc<dyn NodeView>, shutdown: CancellationToken) -> Self {
        Self {
            sessions: Sessions::new(&store.keys().derive("session")),
            passwords: Passwords::default(),
            throttle: Throttle::default(),
            events: Hub::new(store.node_name(), now_ms()),
            large_bodies: Arc::new(Semaphore::new(LARGE_BODY_MAX_COUNT)),
            event_streams: Arc::new(Semaphore::new(EVENT_STREAM_MAX_COUNT)),
            shutdown,
            openapi: OnceLock::new(),
            store,
            node,
        }
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.store.snapshot()
    }

    /// A snapshot that holds everything that was acknowledged anywhere before the call.
    pub(crate) async fn fresh_snapshot(&self) -> Result<Arc<Snapshot>, ProposeError> {
        self.store.read_barrier().await?;
        Ok(self.store.snapshot())
    }
}

/// Now, in ms since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// A random identifier: 128 bits in hexadecimal.
pub(crate) fn random_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}

/// Whether two values are equal, in a time that does not tell where they differ.
pub(crate) fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}
