//! The text of a join token.
//!
//! ```text
//! base64url( 1 version │ 16 ticket │ 32 secret │ 32 SHA-256 of the cluster's authority )
//! ```
//!
//! Invariant: the cluster stores the secret's hash only; the text is shown once.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::keys::{random_bytes, sha256_hex};

const VERSION: u8 = 1;
const ID_BYTES: usize = 16;
const SECRET_BYTES: usize = 32;
const FINGERPRINT_BYTES: usize = 32;
const TOKEN_BYTES: usize = 1 + ID_BYTES + SECRET_BYTES + FINGERPRINT_BYTES;

/// What a join token says.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token {
    id: [u8; ID_BYTES],
    secret: [u8; SECRET_BYTES],
    fingerprint: [u8; FINGERPRINT_BYTES],
}

impl Token {
    /// A new token of the cluster whose authority has that fingerprint (hexadecimal).
    pub(crate) fn generate(ca_fingerprint_sha256: &str) -> Option<Self> {
        Some(Self {
            id: random_bytes(),
            secret: random_bytes(),
            fingerprint: from_hex(ca_fingerprint_sha256)?,
        })
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim()).ok()?;
        let bytes: [u8; TOKEN_BYTES] = bytes.try_into().ok()?;
        let (version, rest) = bytes.split_first()?;
        let (id, rest) = rest.split_first_chunk()?;
        let (secret, fingerprint) = rest.split_first_chunk()?;
        let fingerprint = fingerprint.try_into().ok()?;
        (*version == VERSION).then_some(Self { id: *id, secret: *secret, fingerprint })
    }

    pub(crate) fn to_text(&self) -> String {
        let parts: [&[u8]; 4] = [&[VERSION], &self.id, &self.secret, &self.fingerprint];
        URL_SAFE_NO_PAD.encode(parts.concat())
    }

    pub(crate) fn id(&self) -> String {
        to_hex(&self.id)
    }

    pub(crate) fn secret_hash(&self) -> String {
        sha256_hex(to_hex(&self.secret).as_bytes())
    }

    /// The secret as it is sent to the cluster.
    pub(crate) fn secret(&self) -> String {
        to_hex(&self.secret)
    }

    pub(crate) fn ca_fingerprint_sha256(&self) -> String {
        to_hex(&self.fingerprint)
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
