//! The state machine: `ballast_model::State` in memory, snapshots on disk.
//!
//! Invariant: the state is what applying the log from its beginning makes, and is published only
//! when it is; after a restart it is built anew from the newest snapshot and the committed log.

#![expect(clippy::result_large_err, reason = "openraft decides what its errors hold")]

use std::io::Cursor;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ballast_model::{Config, Kind, Origin, Outcome, ResourceRef, Snapshot, State};
use openraft::storage::RaftStateMachine;
use openraft::{AnyError, EntryPayload, OptionalSend, RaftSnapshotBuilder};
use tokio::sync::{broadcast, watch};

use super::snapshot_file::{SnapshotFiles, decode_state, encode_state};
use super::{StorageError, log};
use crate::clock::now_ms;
use crate::keys::random_id;
use crate::raft::{self, Entry, LogId, SnapshotMeta, StorageIOError, StoredMembership, TypeConfig};
use crate::store::Change;

/// Changes kept for readers that are behind; one that is further behind is told so.
const CHANGES_KEPT_COUNT: usize = 1_024;
/// Commands above this size are read on a thread that may take its time.
const INLINE_MAX_BYTES: usize = 64 * 1024;

/// The state machine of one node. Clones share it.
#[derive(Clone)]
pub(crate) struct StateMachine {
    applied: Arc<Mutex<Applied>>,
    files: SnapshotFiles,
    published: Published,
}

/// Where what was applied can be followed.
#[derive(Clone)]
pub(crate) struct Published {
    pub(crate) snapshot: watch::Sender<Arc<Snapshot>>,
    pub(crate) changes: broadcast::Sender<Arc<Change>>,
}

#[derive(Clone, Default)]
struct Applied {
    last: Option<LogId>,
    membership: StoredMembership,
    state: State,
}

impl StateMachine {
    /// The state of the newest snapshot. Blocks.
    ///
    /// # Errors
    /// Where the snapshot is damaged or newer than this software.
    pub(crate) fn open(files: SnapshotFiles) -> Result<Self, StorageError> {
        let mut applied = Applied::default();
        if let Some(stored) = files.read()? {
            applied.state = decode_state(&stored.data)?;
            applied.last = stored.meta.last_log_id;
            applied.membership = stored.meta.last_membership;
        }
        let published = Published {
            snapshot: watch::Sender::new(applied.to_snapshot()),
            changes: broadcast::Sender::new(CHANGES_KEPT_COUNT),
        };
        Ok(Self { applied: Arc::new(Mutex::new(applied)), files, published })
    }

    /// Checks that the log goes on where the snapshot ends.
    ///
    /// # Errors
    /// Where entries after the snapshot are missing.
    pub(crate) fn check_against(&self, log: &log::Found) -> Result<(), StorageError> {
        let covered = self.applied().last;
        if log.purged > covered {
            return Err(StorageError::corrupt(format!(
                "the log starts after {:?}, but the snapshot covers {:?} only",
                log.purged.map(|id| id.index),
                covered.map(|id| id.index)
            )));
        }
        Ok(())
    }

    pub(crate) fn published(&self) -> &Published {
        &self.published
    }

    fn applied(&self) -> MutexGuard<'_, Applied> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply_all(&self, entries: Vec<Entry>) -> Result<Vec<Option<Outcome>>, raft::StorageError> {
        let mut outcomes = Vec::with_capacity(entries.len());
        let mut changes = Vec::new();
        let snapshot = {
            let mut applied = self.applied();
            for entry in entries {
                outcomes.push(applied.apply(entry, &mut changes)?);
            }
            applied.to_snapshot()
        };
        self.published.snapshot.send_replace(snapshot);
        for change in changes {
            // Nobody needs to be listening.
            let _ = self.published.changes.send(Arc::new(change));
        }
        Ok(outcomes)
    }

    fn install(&self, meta: &SnapshotMeta, data: &[u8]) -> Result<(), StorageError> {
        let state = decode_state(data)?;
        self.files.write(meta, data)?;
        let installed =
            Applied { last: meta.last_log_id, membership: meta.last_membership.clone(), state };
        let snapshot = installed.to_snapshot();
        let before = std::mem::replace(&mut *self.applied(), installed);
        let change = Change {
            index: snapshot.index,
            at_ms: now_ms(),
            origin: Origin { actor: "node/snapshot".to_owned(), ..Origin::default() },
            changed: differences(&before.state.config, &snapshot.state.config),
        };
        self.published.snapshot.send_replace(snapshot);
        let _ = self.published.changes.send(Arc::new(change));
        Ok(())
    }
}

impl Applied {
    fn apply(
        &mut self,
        entry: Entry,
        changes: &mut Vec<Change>,
    ) -> Result<Option<Outcome>, raft::StorageError> {
        let log_id = entry.log_id;
        let outcome = match entry.payload {
            EntryPayload::Blank => None,
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(log_id), membership);
                None
            }
            EntryPayload::Normal(command) => {
                // A command that can't be read can't be skipped either: this node's state would
                // no longer be that of the others.
                let command = command
                    .decode()
                    .map_err(|e| StorageIOError::apply(log_id, AnyError::new(&e)))?;
                let outcome = self.state.apply(log_id.index, &command);
                if let Outcome::Applied { changed, .. } = &outcome {
                    changes.push(Change {
                        index: log_id.index,
                        at_ms: command.at_ms,
                        origin: command.origin,
                        changed: changed.clone(),
                    });
                }
                Some(outcome)
            }
        };
        self.last = Some(log_id);
        Ok(outcome)
    }

    fn to_snapshot(&self) -> Arc<Snapshot> {
        let index = self.last.map_or(0, |last| last.index);
        Arc::new(Snapshot { index, state: self.state.clone() })
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogId>, StoredMembership), raft::StorageError> {
        let applied = self.applied();
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Option<Outcome>>, raft::StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        let bytes: usize = entries.iter().map(command_bytes).sum();
        if bytes <= INLINE_MAX_BYTES {
            return self.apply_all(entries);
        }
        let machine = self.clone();
        match tokio::task::spawn_blocking(move || machine.apply_all(entries)).await {
            Ok(outcomes) => outcomes,
            Err(e) => Err(StorageIOError::write_state_machine(AnyError::new(&e)).into()),
        }
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder { applied: self.applied().clone(), files: self.files.clone() }
    }

    async fn begin_receiving_snapshot(
        &mut self,
    ) -> Result<Box<Cursor<Vec<u8>>>, raft::StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), raft::StorageError> {
        let (machine, installed) = (self.clone(), meta.clone());
        let data = snapshot.into_inner();
        blocking(move || machine.install(&installed, &data)).await.map_err(|e| {
            StorageIOError::write_snapshot(Some(meta.signature()), AnyError::new(&e)).into()
        })
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<openraft::Snapshot<TypeConfig>>, raft::StorageError> {
        let files = self.files.clone();
        let stored = blocking(move || files.read())
            .await
            .map_err(|e| StorageIOError::read_snapshot(None, AnyError::new(&e)))?;
        Ok(stored.map(|stored| openraft::Snapshot {
            meta: stored.meta,
            snapshot: Box::new(Cursor::new(stored.data)),
        }))
    }
}

/// Makes a snapshot of the state as it was when the builder was asked for.
pub(crate) struct SnapshotBuilder {
    applied: Applied,
    files: SnapshotFiles,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    async fn build_snapshot(
        &mut self,
    ) -> Result<openraft::Snapshot<TypeConfig>, raft::StorageError> {
        let last = self.applied.last.map_or_else(String::new, |last| last.to_string());
        let meta = SnapshotMeta {
            last_log_id: self.applied.last,
            last_membership: self.applied.membership.clone(),
            snapshot_id: format!("{last}-{}", random_id()),
        };
        let (state, files, written) =
            (self.applied.state.clone(), self.files.clone(), meta.clone());
        let data = blocking(move || {
            let data = encode_state(&state)?;
            files.write(&written, &data)?;
            Ok(data)
        })
        .await
        .map_err(|e| StorageIOError::write_snapshot(Some(meta.signature()), AnyError::new(&e)))?;
        Ok(openraft::Snapshot { meta, snapshot: Box::new(Cursor::new(data)) })
    }
}

fn command_bytes(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(command) => command.len_bytes(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

/// Every resource that is in one of both only, or differs.
fn differences(before: &Config, after: &Config) -> Vec<ResourceRef> {
    let mut changed = Vec::new();
    for &kind in Kind::ALL {
        let mut note = |name: &str| changed.push(ResourceRef { kind, name: name.to_owned() });
        for resource in after.resources(kind) {
            let old = before.resource(kind, resource.name());
            if old.is_none_or(|old| old.revision() != resource.revision()) {
                note(resource.name());
            }
        }
        for resource in before.resources(kind) {
            if after.resource(kind, resource.name()).is_none() {
                note(resource.name());
            }
        }
    }
    changed
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, std::io::Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(std::io::Error::from),
        Err(error) => Err(std::io::Error::other(error)),
    }
}
