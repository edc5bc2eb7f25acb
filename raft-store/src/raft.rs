//! openraft's types as used here. They never leave this crate.

use std::fmt;
use std::io::Cursor;
use std::sync::Arc;

use ballast_model::{Command, Outcome};
use openraft::BasicNode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

openraft::declare_raft_types!(
    /// What the log holds and how nodes are named.
    pub(crate) TypeConfig:
        D = EncodedCommand,
        R = Option<Outcome>,
        NodeId = u64,
        Node = BasicNode,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = Cursor<Vec<u8>>,
        Responder = openraft::impls::OneshotResponder<TypeConfig>,
        AsyncRuntime = openraft::TokioRuntime,
);

pub(crate) type Raft = openraft::Raft<TypeConfig>;
pub(crate) type Entry = openraft::Entry<TypeConfig>;
pub(crate) type LogId = openraft::LogId<u64>;
pub(crate) type Vote = openraft::Vote<u64>;
pub(crate) type StorageError = openraft::StorageError<u64>;
pub(crate) type StorageIOError = openraft::StorageIOError<u64>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<u64, BasicNode>;
pub(crate) type StoredMembership = openraft::StoredMembership<u64, BasicNode>;
pub(crate) type RaftMetrics = openraft::RaftMetrics<u64, BasicNode>;

/// A command as the JSON that its proposer wrote. It is carried and stored verbatim and read once
/// per node, when it is applied, so that a large declaration costs a copy of a pointer everywhere
/// else.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct EncodedCommand(Arc<RawValue>);

impl EncodedCommand {
    pub(crate) fn encode(command: &Command) -> Result<Self, serde_json::Error> {
        Ok(Self(serde_json::value::to_raw_value(command)?.into()))
    }

    pub(crate) fn decode(&self) -> Result<Command, serde_json::Error> {
        serde_json::from_str(self.0.get())
    }

    pub(crate) fn len_bytes(&self) -> usize {
        self.0.get().len()
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl fmt::Debug for EncodedCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the text: it may hold secrets.
        write!(f, "EncodedCommand({} bytes)", self.len_bytes())
    }
}
