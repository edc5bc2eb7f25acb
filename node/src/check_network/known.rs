//! What this node last knew of the cluster's network, kept where a command can read it while the node
//! runs, and while it does not.
//!
//! Invariant: nothing reads it but people's commands; the node itself goes by the replicated
//! configuration alone.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ballast_model::{Config, Snapshot};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const FILE: &str = "network.json";
/// Version of the file.
const VERSION: u32 = 1;

/// Nodes and traffic groups as of one configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Known {
    version: u32,
    /// The index of the last entry that was applied.
    index: u64,
    /// Of which nodes and traffic groups are there and nothing else: no secret is in it.
    pub(crate) config: Config,
}

/// Where it is.
pub(crate) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

/// What was known last; none where the node has never run.
///
/// # Errors
/// When it can't be read, or another version wrote it.
pub(crate) fn read(state_dir: &Path) -> io::Result<Option<Known>> {
    let bytes = match fs::read(path(state_dir)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let known: Known = serde_json::from_slice(&bytes)?;
    if known.version != VERSION {
        return Err(io::Error::other(format!("version {} is unknown", known.version)));
    }
    Ok(Some(known))
}

/// Writes it whenever it has changed, until the node stops.
pub(crate) async fn keep(
    state_dir: PathBuf,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    stop: CancellationToken,
) {
    let mut written = Config::default();
    loop {
        let known = of(&snapshots.borrow_and_update());
        if known.config != written {
            written = known.config.clone();
            let path = path(&state_dir);
            let write = tokio::task::spawn_blocking(move || write(&path, &known));
            if let Ok(Err(error)) = write.await {
                tracing::warn!(%error, "what is known of the network can't be written");
            }
        }
        // Cancel-safe: both branches only wait.
        tokio::select! {
            () = stop.cancelled() => return,
            changed = snapshots.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

fn of(snapshot: &Snapshot) -> Known {
    let all = &snapshot.state.config;
    let config = Config {
        nodes: all.nodes.clone(),
        traffic_groups: all.traffic_groups.clone(),
        ..Config::default()
    };
    Known { version: VERSION, index: snapshot.index, config }
}

/// Replaces the file, whole or not at all. Blocks.
fn write(path: &Path, known: &Known) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = fs::File::create(&new)?;
    file.write_all(&serde_json::to_vec(known)?)?;
    file.sync_all()?;
    fs::rename(&new, path)
}
