//! Keyed member identities, and the cookie that carries one.
//!
//! A cookie names a member by a 128-bit MAC over pool and member, so that it shows neither address
//! nor position, means the same on every node of the cluster, and stays good across any change that
//! keeps pool and member. Whatever else a client sends is ignored.
//!
//! So a failover costs no persistence, and nodes need not tell each other of sessions. A persistence
//! that remembers (by source address, say) yields a [`MemberKey`] as well, from a [table] that the
//! nodes feed each other with; what follows, [`Pool::index_of`](crate::Pool::index_of), is the same.

use std::fmt;

use aws_lc_rs::hmac;

pub mod client;
pub mod table;

use client::ClientHasher;

/// The key under which member identities are made: derived from the cluster's key. And which node
/// makes them, for what it tells others.
pub struct PersistenceKey {
    key: hmac::Key,
    node_id: u64,
}

impl PersistenceKey {
    /// Takes 32 bytes that every node of the cluster derives alike and nobody else knows.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, bytes), node_id: 0 }
    }

    /// The same in the hands of that node.
    #[must_use]
    pub fn of_node(self, node_id: u64) -> Self {
        Self { node_id, ..self }
    }

    pub(crate) fn node_id(&self) -> u64 {
        self.node_id
    }

    /// Makes the keys of clients in persistence tables.
    pub(crate) fn client_hasher(&self) -> ClientHasher {
        let tag = hmac::sign(&self.key, b"ballast client v1\0");
        let mut key = [0; 16];
        key.copy_from_slice(&tag.as_ref()[..16]);
        ClientHasher::new(&key)
    }

    /// The identity of a member; `pool_uid` is never used again, unlike a pool's name.
    pub fn member_key(&self, pool_uid: &str, member_name: &str) -> MemberKey {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(b"ballast member v1\0");
        // The length in front keeps ("a", "bc") and ("ab", "c") apart.
        context.update(&(pool_uid.len() as u64).to_be_bytes());
        context.update(pool_uid.as_bytes());
        context.update(member_name.as_bytes());
        let mut key = [0; MEMBER_KEY_BYTES];
        key.copy_from_slice(&context.sign().as_ref()[..MEMBER_KEY_BYTES]);
        MemberKey(key)
    }
}

impl fmt::Debug for PersistenceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PersistenceKey(..)")
    }
}

const MEMBER_KEY_BYTES: usize = 16;

/// The keyed identity of a member.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberKey([u8; MEMBER_KEY_BYTES]);

impl MemberKey {
    /// As bytes, for other nodes.
    pub fn to_bytes(self) -> [u8; MEMBER_KEY_BYTES] {
        self.0
    }

    /// From bytes that another node sent.
    pub fn from_bytes(bytes: [u8; MEMBER_KEY_BYTES]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for MemberKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CookieCodec::encode(*self).as_str())
    }
}

/// Writes and reads the value of a persistence cookie: 32 lowercase hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub struct CookieCodec;

impl CookieCodec {
    /// Length of every value, in bytes.
    pub const VALUE_BYTES: usize = 2 * MEMBER_KEY_BYTES;

    /// The value that names a member.
    pub fn encode(key: MemberKey) -> CookieValue {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; Self::VALUE_BYTES];
        for (pair, byte) in text.chunks_exact_mut(2).zip(key.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 0xf)];
        }
        CookieValue(text)
    }

    /// The member that a value names; none where it is no such value. Double quotes around it (RFC
    /// 6265 §4.1.1) are accepted.
    pub fn parse(value: &[u8]) -> Option<MemberKey> {
        let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
        if value.len() != Self::VALUE_BYTES {
            return None;
        }
        let mut key = [0; MEMBER_KEY_BYTES];
        for (byte, pair) in key.iter_mut().zip(value.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(MemberKey(key))
    }

    /// Finds the cookie called `name` in the value of one `Cookie` header field and reads it.
    ///
    /// Where a client sends the name several times, the first value that is well formed counts.
    pub fn find(header: &[u8], name: &[u8]) -> Option<MemberKey> {
        header.split(|b| *b == b';').find_map(|pair| {
            let pair = pair.trim_ascii();
            let rest = pair.strip_prefix(name)?.strip_prefix(b"=")?;
            Self::parse(rest)
        })
    }
}

/// The text of a cookie's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CookieValue([u8; CookieCodec::VALUE_BYTES]);

impl CookieValue {
    /// As bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        // Every byte is a hexadecimal digit, see `encode`.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
