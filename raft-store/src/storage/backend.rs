//! What a database must be able to do, and no more: trees of ordered keys, a batch, a flush.
//!
//! Invariant: batches take effect in the order in which they are written, each wholly or not at
//! all; after a crash, what is there is what some prefix of them made, and that prefix includes
//! every batch written before the last [`Backend::flush`] that returned.

use super::StorageError;

/// The trees there are. Each is a keyspace of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tree {
    /// Entries of the log, by index.
    Log,
    /// What is known of the log, and the flush sequence.
    Meta,
    /// The vote, alone.
    Vote,
}

/// One change to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Insert(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
}

/// Changes to one tree that take effect together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) tree: Tree,
    pub(crate) changes: Vec<Change>,
}

/// A key and its value.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// Takes a pair; says whether to go on.
pub(crate) type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<bool, StorageError> + 'a;

/// A database. Every method may block on the disk.
pub(crate) trait Backend: Send + Sync + 'static {
    /// The value under `key`.
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// Calls `visit` with each pair from `from` on, in the order of keys, until it returns false.
    fn scan(&self, tree: Tree, from: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError>;

    /// The pair with the greatest key.
    fn last(&self, tree: Tree) -> Result<Option<Pair>, StorageError>;

    /// Makes the changes visible to reads; a later flush makes them durable.
    fn write(&self, batch: Batch) -> Result<(), StorageError>;

    /// Returns when everything written before is on the disk, also after a loss of power.
    fn flush(&self) -> Result<(), StorageError>;
}
