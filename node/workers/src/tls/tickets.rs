//! TLS session tickets (RFC 5077, RFC 8446 §4.6.1) that every node of the cluster can read, so that a
//! client resumes its session with whichever node serves its address now.
//!
//! ```text
//!   ticket = key id (16) ‖ nonce (12) ‖ AES-256-GCM(session state; AAD = label ‖ uid) ‖ tag (16)
//! ```
//!
//! Invariant: tickets are made with the newest key that can be read and accepted with any that the
//! cluster keeps; what a ticket opens to depends on the virtual server that it was made for, so that
//! it is worth nothing at another.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ballast_model::command::CommandBody;
use ballast_model::{Sealed, TicketKey};
use rustls::server::ProducesTickets;

use crate::tls::Unseal;

/// How long the newest key makes tickets before another one does, in ms.
pub const ROTATION_INTERVAL_MS: u64 = 8 * 60 * 60 * 1_000;
/// What clients are told of how long a ticket is good. With 3 keys kept, a ticket can be read for 16
/// hours at least: that its key has been replaced late is no reason to refuse it early.
pub const TICKET_LIFETIME_S: u32 = 12 * 60 * 60;
/// Longest session state, and longest ticket less its frame, in bytes. Ours are below 1 KiB.
const STATE_MAX_BYTES: usize = 8 * 1024;

const KEY_ID_BYTES: usize = 16;
const SECRET_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const AAD_LABEL: &[u8] = b"ballast session ticket v1\0";

type KeyId = [u8; KEY_ID_BYTES];

/// The cluster's keys, as all virtual servers of this node use them.
#[derive(Debug, Default)]
pub struct TicketKeys {
    ring: ArcSwap<Ring>,
}

/// What tickets are made and read with.
#[derive(Debug, Default)]
struct Ring {
    /// What the keys were read from.
    source: Vec<TicketKey>,
    /// The newest first.
    keys: Vec<Arc<Key>>,
}

struct Key {
    id: KeyId,
    aead: LessSafeKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl TicketKeys {
    /// Replaces the keys; the newest comes first. A key that was read before is not unsealed again.
    /// One that can't be read is left out and logged: tickets made with it by other nodes cost a full
    /// handshake here. One thread calls this.
    pub fn set(&self, keys: &[TicketKey], unseal: &Unseal) {
        let present = self.ring.load();
        if present.source == keys {
            return;
        }
        let read = keys.iter().filter_map(|key| {
            let known = present.source.iter().any(|known| known == key);
            let id = parse_id(&key.id);
            let held = present.keys.iter().find(|held| known && Some(held.id) == id);
            if let Some(held) = held {
                return Some(Arc::clone(held));
            }
            match read(key, unseal) {
                Ok(key) => Some(Arc::new(key)),
                Err(error) => {
                    tracing::warn!(key = key.id, error, "a key of session tickets can't be read");
                    None
                }
            }
        });
        let ring = Ring { source: keys.to_vec(), keys: read.collect() };
        self.ring.store(Arc::new(ring));
    }
}

fn read(key: &TicketKey, unseal: &Unseal) -> Result<Key, String> {
    let id = parse_id(&key.id).ok_or("its id is not 32 hexadecimal digits")?;
    let secret = unseal(&key.secret_sealed)?;
    let key = UnboundKey::new(&AES_256_GCM, &secret)
        .map_err(|_| format!("it has {} bytes, not {SECRET_BYTES}", secret.len()))?;
    Ok(Key { id, aead: LessSafeKey::new(key) })
}

fn parse_id(text: &str) -> Option<KeyId> {
    if text.len() != 2 * KEY_ID_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

/// Makes and reads the tickets of one virtual server.
#[derive(Debug)]
pub(crate) struct Tickets {
    keys: Arc<TicketKeys>,
    aad: Box<[u8]>,
}

impl Tickets {
    pub(crate) fn new(keys: Arc<TicketKeys>, owner: &[u8]) -> Self {
        Self { keys, aad: [AAD_LABEL, owner].concat().into() }
    }
}

impl ProducesTickets for Tickets {
    /// False without a key: one of our own would make tickets that nobody else can read.
    fn enabled(&self) -> bool {
        !self.keys.ring.load().keys.is_empty()
    }

    fn lifetime(&self) -> u32 {
        TICKET_LIFETIME_S
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        if plain.len() > STATE_MAX_BYTES {
            return None;
        }
        let ring = self.keys.ring.load();
        let key = ring.keys.first()?;
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        // Random nonces: 2^32 tickets per key leave a collision less likely than 2^-32 (NIST SP
        // 800-38D §8.3).
        let unique = Nonce::assume_unique_for_key(nonce);
        key.aead.seal_in_place_append_tag(unique, Aad::from(&self.aad), &mut sealed).ok()?;
        Some([&key.id[..], &nonce, &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (id, rest) = ticket.split_first_chunk::<KEY_ID_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        if sealed.len() > STATE_MAX_BYTES + TAG_BYTES {
            return None;
        }
        let ring = self.keys.ring.load();
        let key = ring.keys.iter().find(|key| key.id == *id)?;
        let mut state = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = key.aead.open_in_place(nonce, Aad::from(&self.aad), &mut state).ok()?.len();
        state.truncate(length);
        Some(state)
    }
}

/// Whether the cluster needs a new key: it has none, or its newest has been in use for
/// [`ROTATION_INTERVAL_MS`]. One that was made that far in the future is due as well: some clock was
/// wrong. `keys` are those of the cluster, the newest first; `now_ms` is Unix time.
pub fn rotation_due(keys: &[TicketKey], now_ms: u64) -> bool {
    keys.first().is_none_or(|newest| newest.created_at_ms.abs_diff(now_ms) >= ROTATION_INTERVAL_MS)
}

/// A new key could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RotationError<E: std::error::Error + 'static> {
    /// The system gave no random bytes.
    #[error("there are no random bytes")]
    Random,
    /// The secret could not be sealed.
    #[error("the key can't be sealed")]
    Seal(#[source] E),
}

/// The command that gives the cluster a new key after those in `keys`, the newest first. Of several
/// nodes that propose one at a time, only one is heard.
///
/// # Errors
/// No random bytes, or `seal` failed.
pub fn rotation<E: std::error::Error + 'static>(
    keys: &[TicketKey],
    now_ms: u64,
    seal: impl FnOnce(&[u8]) -> Result<Sealed, E>,
) -> Result<CommandBody, RotationError<E>> {
    let mut id = [0; KEY_ID_BYTES];
    let mut secret = [0; SECRET_BYTES];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| RotationError::Random)?;
    aws_lc_rs::rand::fill(&mut secret).map_err(|_| RotationError::Random)?;
    let key = TicketKey {
        id: format!("{:032x}", u128::from_be_bytes(id)),
        secret_sealed: seal(&secret).map_err(RotationError::Seal)?,
        created_at_ms: now_ms,
    };
    Ok(CommandBody::RotateTicketKey { key, after: keys.first().map(|newest| newest.id.clone()) })
}

#[cfg(test)]
mod tests;
