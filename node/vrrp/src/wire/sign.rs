//! Signatures of advertisements. A signed advertisement is accepted once: per sender, VRID and
//! family, the pair of epoch and counter only grows.
//!
//! ```text
//! trailer, 60 bytes, big-endian:
//! 0      4        8          16      20        28                  60
//! +------+--------+----------+-------+---------+-------------------+
//! |magic | key id | node id  | epoch | counter | HMAC-SHA256       |
//! +------+--------+----------+-------+---------+-------------------+
//! HMAC over: a label, the VRRP message, the trailer up to the HMAC, source, destination
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use aws_lc_rs::hmac;
use thiserror::Error;

use super::{DropReason, Family, push_address};
use crate::NodeId;

/// Length of a signature trailer, in bytes.
pub const TRAILER_BYTES: usize = 60;
/// Length of a key, in bytes.
pub const KEY_BYTES: usize = 32;
/// Keys that a verifier accepts side by side at most: the one in use, its heir, and one to spare.
pub const MAX_KEYS_COUNT: usize = 4;
/// Senders that a verifier remembers at most, one per node, VRID and family.
pub const MAX_STREAMS_COUNT: usize = 4096;

const MAGIC: [u8; 4] = *b"BLV\x01";
const HEAD_BYTES: usize = 28;
const LABEL: &[u8] = b"ballast vrrp advertisement v1\0";

/// Which key signed.
pub type KeyId = u32;

/// A shared key of the cluster and its number.
#[derive(Clone)]
pub struct SigningKey {
    id: KeyId,
    key: hmac::Key,
}

/// Why an advertisement cannot be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SignError {
    /// The counter has come to its end; the next start begins another epoch.
    #[error("the counter of this epoch is used up")]
    CounterUsedUp,
}

/// Signs what this node sends. One per node: its counter is shared by all groups.
#[derive(Debug)]
pub struct Signer {
    key: SigningKey,
    node_id: NodeId,
    epoch: u32,
    counter: u64,
}

/// Checks what other nodes signed, and that it is new.
///
/// After a start it knows nothing of what was sent before: until a sender is heard anew, or
/// [`Verifier::require_epoch`] was told, old recordings of that sender would pass.
#[derive(Debug)]
pub struct Verifier {
    own_node_id: NodeId,
    keys: BTreeMap<KeyId, SigningKey>,
    last: BTreeMap<Stream, Position>,
    epochs: BTreeMap<NodeId, u32>,
}

/// Advertisements that arrive in order: one sender, one virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Stream {
    node_id: NodeId,
    vrid: u8,
    family: Family,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    epoch: u32,
    counter: u64,
}

impl SigningKey {
    /// Takes bytes that every node of the cluster holds and nobody else.
    pub fn new(id: KeyId, bytes: &[u8; KEY_BYTES]) -> Self {
        Self { id, key: hmac::Key::new(hmac::HMAC_SHA256, bytes) }
    }

    /// Its number.
    pub fn id(&self) -> KeyId {
        self.id
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.id)
    }
}

impl Signer {
    /// `epoch` is stored and one more at every start of the process, before anything is sent.
    pub fn new(key: SigningKey, node_id: NodeId, epoch: u32) -> Self {
        Self { key, node_id, epoch, counter: 0 }
    }

    /// Signs with another key from now on; the counter goes on.
    pub fn use_key(&mut self, key: SigningKey) {
        self.key = key;
    }

    /// Appends a trailer to a message.
    pub(super) fn sign(
        &mut self,
        source: IpAddr,
        destination: IpAddr,
        message: &mut Vec<u8>,
    ) -> Result<(), SignError> {
        self.counter = self.counter.checked_add(1).ok_or(SignError::CounterUsedUp)?;
        let mut head = Vec::with_capacity(HEAD_BYTES);
        head.extend(MAGIC);
        head.extend(self.key.id.to_be_bytes());
        head.extend(self.node_id.to_be_bytes());
        head.extend(self.epoch.to_be_bytes());
        head.extend(self.counter.to_be_bytes());
        let signed = signed_bytes(message, &head, source, destination);
        let tag = hmac::sign(&self.key.key, &signed);
        message.extend(head);
        message.extend(tag.as_ref());
        Ok(())
    }
}

impl Verifier {
    /// A verifier that accepts nothing until it has keys. What `own_node_id` signed is refused.
    pub fn new(own_node_id: NodeId) -> Self {
        Self { own_node_id, keys: BTreeMap::new(), last: BTreeMap::new(), epochs: BTreeMap::new() }
    }

    /// Replaces the accepted keys; of more than [`MAX_KEYS_COUNT`] the first ones are taken.
    pub fn accept_keys(&mut self, keys: impl IntoIterator<Item = SigningKey>) {
        self.keys = keys.into_iter().take(MAX_KEYS_COUNT).map(|key| (key.id, key)).collect();
    }

    /// Refuses what a node signed in an epoch before this one. The cluster's own connection tells
    /// the epoch, which closes the gap after a start.
    pub fn require_epoch(&mut self, node_id: NodeId, epoch: u32) {
        let known = self.epochs.entry(node_id).or_default();
        *known = epoch.max(*known);
    }

    /// Forgets nodes that are not of the cluster any more.
    pub fn retain_nodes(&mut self, nodes: &BTreeSet<NodeId>) {
        self.last.retain(|stream, _| nodes.contains(&stream.node_id));
        self.epochs.retain(|node_id, _| nodes.contains(node_id));
    }

    /// Checks a trailer; the sender, when all of it is good.
    pub(super) fn verify(
        &mut self,
        source: IpAddr,
        destination: IpAddr,
        message: &[u8],
        trailer: &[u8],
    ) -> Result<NodeId, DropReason> {
        let head = Head::read(trailer).ok_or(DropReason::Length)?;
        let key = self.keys.get(&head.key_id).ok_or(DropReason::UnknownKey)?;
        let signed = signed_bytes(message, &trailer[..HEAD_BYTES], source, destination);
        hmac::verify(&key.key, &signed, &trailer[HEAD_BYTES..])
            .map_err(|_| DropReason::BadSignature)?;
        if head.node_id == self.own_node_id {
            return Err(DropReason::Own);
        }
        // Only now is the sender known to be of the cluster: nobody else can fill the memory.
        self.move_on(head, message.get(1).copied().unwrap_or(0), Family::of(source))?;
        Ok(head.node_id)
    }

    fn move_on(&mut self, head: Head, vrid: u8, family: Family) -> Result<(), DropReason> {
        let position = head.position;
        if self.epochs.get(&head.node_id).is_some_and(|epoch| position.epoch < *epoch) {
            return Err(DropReason::Replayed);
        }
        let stream = Stream { node_id: head.node_id, vrid, family };
        match self.last.get(&stream) {
            Some(last) if position <= *last => return Err(DropReason::Replayed),
            None if self.last.len() >= MAX_STREAMS_COUNT => {
                return Err(DropReason::TooManySenders);
            }
            _ => {}
        }
        self.last.insert(stream, position);
        Ok(())
    }
}

/// Whether bytes after a message are a trailer at all.
pub(super) fn is_trailer(bytes: &[u8]) -> bool {
    bytes.len() == TRAILER_BYTES && bytes.starts_with(&MAGIC)
}

/// The part of a trailer that says who signed and when.
#[derive(Clone, Copy, Debug)]
struct Head {
    key_id: KeyId,
    node_id: NodeId,
    position: Position,
}

impl Head {
    fn read(trailer: &[u8]) -> Option<Self> {
        if !is_trailer(trailer) {
            return None;
        }
        let (key_id, rest) = trailer[MAGIC.len()..].split_first_chunk()?;
        let (node_id, rest) = rest.split_first_chunk()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let (counter, _) = rest.split_first_chunk()?;
        let position =
            Position { epoch: u32::from_be_bytes(*epoch), counter: u64::from_be_bytes(*counter) };
        Some(Self {
            key_id: u32::from_be_bytes(*key_id),
            node_id: u64::from_be_bytes(*node_id),
            position,
        })
    }
}

/// Unambiguous: the message says how many addresses it has, the head has one length, and both
/// addresses are of the one family which the length of the rest tells.
fn signed_bytes(message: &[u8], head: &[u8], source: IpAddr, destination: IpAddr) -> Vec<u8> {
    let mut signed = Vec::with_capacity(LABEL.len() + message.len() + HEAD_BYTES + 32);
    signed.extend(LABEL);
    signed.extend(message);
    signed.extend(head);
    push_address(&mut signed, source);
    push_address(&mut signed, destination);
    signed
}

#[cfg(test)]
mod tests;
