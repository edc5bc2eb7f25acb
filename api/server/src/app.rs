//! What all operations share.

use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use ballast_model::Snapshot;
use ballast_raft_store::{ProposeError, Store};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::NodeView;
use crate::auth::password::Passwords;
use crate::auth::session::Sessions;
use crate::auth::throttle::Throttle;
use crate::events::Hub;
use crate::failure::Failure;

/// Most declarations of a kind (to plan, to apply) being worked on at once: each may be tens of
/// megabytes, and several times that while it is read.
const LARGE_WORK_MAX_COUNT: usize = 2;
/// Most that all of a kind may hold together, in bytes.
const LARGE_BODIES_MAX_BYTES: usize = 96 * 1024 * 1024;
/// Bodies up to this size are worked on at once, larger ones on a thread that may take its time.
const INLINE_MAX_BYTES: usize = 64 * 1024;
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
    /// Declarations to apply; those who may only plan can't keep them out.
    pub(crate) applies: LargeBodies,
    /// Declarations to plan.
    pub(crate) plans: LargeBodies,
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
            applies: LargeBodies::default(),
            plans: LargeBodies::default(),
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

/// Bounds on large bodies of one kind.
pub(crate) struct LargeBodies {
    /// In bytes.
    memory: Arc<Semaphore>,
    pub(crate) work: Arc<Semaphore>,
}

impl Default for LargeBodies {
    fn default() -> Self {
        Self {
            memory: Arc::new(Semaphore::new(LARGE_BODIES_MAX_BYTES)),
            work: Arc::new(Semaphore::new(LARGE_WORK_MAX_COUNT)),
        }
    }
}

impl LargeBodies {
    /// Leave to hold so many bytes more.
    pub(crate) fn hold(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Failure> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let held = Arc::clone(&self.memory).try_acquire_many_owned(bytes);
        held.map_err(|_| Failure::busy("too many large declarations at once"))
    }
}

/// Does what takes long for an input of so many bytes where it keeps nobody waiting.
pub(crate) async fn heavy<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    if bytes <= INLINE_MAX_BYTES {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(Failure::internal)
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
