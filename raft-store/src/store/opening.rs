//! Opening a store: check the disk, start Raft, listen, commit the first command.
//!
//! Invariant: a store that is damaged, or that lost what it had acknowledged, is set aside with its
//! identity before anything is sent to anybody.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use ballast_model::{Command, Outcome, Rejection};
use openraft::{BasicNode, Config, SnapshotPolicy as RaftSnapshotPolicy};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::contact::Contact;
use super::{
    ELECTION_TIMEOUT_MAX, ELECTION_TIMEOUT_MIN, HEARTBEAT_INTERVAL, Inner, Listen, OpenError,
    ProposeError, SnapshotPolicy, Store, StoreConfig,
};
use crate::identity::files::DIRECTORY as IDENTITY_DIR;
use crate::identity::{Identity, IdentityError};
use crate::raft::Raft;
use crate::storage::{self, Opened, SEQUENCE_FILE, STORE_DIR, StorageError, quarantine};
use crate::transport::client::Peers;
use crate::transport::network::Network;
use crate::transport::server::Server;
use crate::transport::{SNAPSHOT_CHUNK_BYTES, tls};

/// How long to send one chunk of a snapshot, and to install it after the last.
const SNAPSHOT_CHUNK_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the first command may take.
const BOOTSTRAP_TIMEOUT: Duration = Duration::from_secs(30);
/// Entries in one message to a follower.
const APPEND_MAX_COUNT: u64 = 300;
/// Joins that are decided at the same time.
const JOIN_MAX_COUNT: usize = 4;

pub(super) async fn open(config: StoreConfig, peer_routes: Router) -> Result<Store, OpenError> {
    let StoreConfig { identity, state_dir, listen, snapshots } = config;
    let listener = bind(listen)?;
    let listen_address = listener
        .local_addr()
        .map_err(|source| OpenError::Listen { address: "its socket".to_owned(), source })?;
    let server_tls = tls::server_config(&identity)?;
    let contact = Arc::new(Contact::default());
    let peers = Peers::new(&identity, Arc::clone(&contact))?;
    let opened = open_storage(&state_dir, identity.is_unopened()).await?;
    identity.mark_opened()?;
    let published = opened.machine.published().clone();
    let raft = Raft::new(
        identity.node_id(),
        raft_config(&identity, snapshots)?,
        Network { peers: peers.clone() },
        opened.log,
        opened.machine,
    )
    .await
    .map_err(|e| OpenError::Raft(e.to_string()))?;
    let store = Store(Arc::new(Inner {
        identity,
        raft,
        peers,
        published,
        contact,
        listen_address,
        joins: Semaphore::new(JOIN_MAX_COUNT),
        stop: CancellationToken::new(),
        tasks: TaskTracker::new(),
        writer_thread: Mutex::new(Some(opened.writer_thread)),
    }));
    let server = Server {
        tls: server_tls,
        cluster_uid: store.identity().cluster_uid().to_owned(),
        router: store.router(peer_routes),
        tasks: store.0.tasks.clone(),
        stop: store.0.stop.clone(),
    };
    store.0.tasks.spawn(server.run(listener));
    store.0.tasks.spawn(store.clone().follow_cluster());
    store.0.tasks.spawn(store.clone().reconcile_membership());
    if let Err(error) = store.bootstrap().await {
        store.shutdown().await;
        return Err(error);
    }
    Ok(store)
}

fn bind(listen: Listen) -> Result<TcpListener, OpenError> {
    let (address, bound) = match listen {
        Listen::Address(address) => (address.to_string(), std::net::TcpListener::bind(address)),
        Listen::Bound(listener) => ("its socket".to_owned(), Ok(listener)),
    };
    bound
        .and_then(|listener| {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        })
        .map_err(|source| OpenError::Listen { address, source })
}

async fn open_storage(state_dir: &Path, is_first: bool) -> Result<Opened, OpenError> {
    let directory = state_dir.to_owned();
    let open = move || {
        if !is_first && !directory.join(SEQUENCE_FILE).exists() {
            return Err(StorageError::corrupt("it is gone"));
        }
        storage::open(&directory)
    };
    let opened = tokio::task::spawn_blocking(open)
        .await
        .unwrap_or_else(|e| Err(StorageError::corrupt(format!("opening it failed: {e}"))));
    match opened {
        Ok(opened) => Ok(opened),
        Err(StorageError::Corrupt(why)) => {
            tracing::error!(why, "the store is damaged; setting it aside");
            let parts = [STORE_DIR, SEQUENCE_FILE, IDENTITY_DIR];
            let quarantine =
                quarantine::quarantine(state_dir, &parts).map_err(OpenError::Storage)?;
            Err(OpenError::Quarantined { quarantine, why })
        }
        Err(other) => Err(OpenError::Storage(other)),
    }
}

fn raft_config(identity: &Identity, snapshots: SnapshotPolicy) -> Result<Arc<Config>, OpenError> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let config = Config {
        cluster_name: identity.cluster_uid().to_owned(),
        heartbeat_interval: millis(HEARTBEAT_INTERVAL),
        election_timeout_min: millis(ELECTION_TIMEOUT_MIN),
        election_timeout_max: millis(ELECTION_TIMEOUT_MAX),
        install_snapshot_timeout: millis(SNAPSHOT_CHUNK_TIMEOUT),
        max_payload_entries: APPEND_MAX_COUNT,
        snapshot_policy: RaftSnapshotPolicy::LogsSinceLast(snapshots.every_count),
        snapshot_max_chunk_size: SNAPSHOT_CHUNK_BYTES,
        max_in_snapshot_log_to_keep: snapshots.keep_count,
        // A node further behind than what is kept gets a snapshot.
        replication_lag_threshold: snapshots.every_count + snapshots.keep_count,
        ..Config::default()
    };
    let config = config.validate().map_err(|e| OpenError::Raft(e.to_string()))?;
    Ok(Arc::new(config))
}

impl Store {
    /// Makes the cluster, where this is its first node and that has not been done.
    async fn bootstrap(&self) -> Result<(), OpenError> {
        let Some(command) = self.identity().read_bootstrap()? else { return Ok(()) };
        let failed = |why: String| OpenError::Raft(format!("the cluster can't be made: {why}"));
        if !self.0.raft.is_initialized().await.map_err(|e| failed(e.to_string()))? {
            let node = BasicNode::new(self.identity().cluster_address());
            let members = std::collections::BTreeMap::from([(self.node_id(), node)]);
            self.0.raft.initialize(members).await.map_err(|e| failed(e.to_string()))?;
        }
        tokio::time::timeout(BOOTSTRAP_TIMEOUT, self.commit_first(&command))
            .await
            .map_err(|_| failed("it takes too long".to_owned()))?
            .map_err(|e| failed(e.to_string()))?;
        self.identity().remove_bootstrap().map_err(IdentityError::into)
    }

    async fn commit_first(&self, command: &Command) -> Result<(), String> {
        loop {
            match self.propose(command.clone()).await {
                Ok(
                    Outcome::Applied { .. }
                    | Outcome::Replayed { .. }
                    | Outcome::Rejected { rejection: Rejection::AlreadyInitialized },
                ) => return Ok(()),
                Ok(Outcome::Rejected { rejection }) => return Err(rejection.to_string()),
                // Repeating it does no harm: a cluster is made once.
                Err(ProposeError::NoQuorum { .. } | ProposeError::Unknown) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}
