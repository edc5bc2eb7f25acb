//! The cluster's secret key: seals secrets at rest, and derives keys for other purposes.
//!
//! Invariant: the key never enters the log and never leaves a node but in the answer to a join; what
//! is sealed with it may go anywhere.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::{digest, hkdf, rand};
use ballast_model::Sealed;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The cluster's only key so far; what is sealed says which key it was sealed with, so that keys can
/// be changed one day.
const KEY_ID: u32 = 1;
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
/// Ties what is derived to this product and this scheme (RFC 5869 §3.1).
const DERIVE_SALT: &[u8] = b"ballast cluster key v1";

/// The cluster's key: 32 random bytes that every node holds.
#[derive(Clone)]
pub struct ClusterKey([u8; KEY_BYTES]);

/// Why something sealed can't be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It was sealed with another key, or it is damaged.
    #[error("the secret was sealed with another cluster's key, or it is damaged")]
    NotOurs,
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey")
    }
}

impl ClusterKey {
    /// A new random key.
    pub(crate) fn generate() -> Self {
        Self(random_bytes())
    }

    /// The key written by [`ClusterKey::to_base64`].
    pub(crate) fn from_base64(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text.trim()).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// The key itself. Secret.
    pub(crate) fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Seals a secret with AES-256-GCM under a fresh random nonce.
    #[expect(clippy::expect_used, reason = "fails only where the input exceeds 64 GiB")]
    pub fn seal(&self, secret: &[u8]) -> Sealed {
        let mut sealed = secret.to_vec();
        let nonce = self
            .cipher()
            .seal_in_place_append_tag(Aad::from(KEY_ID.to_be_bytes()), &mut sealed)
            .expect("AES-256-GCM takes inputs of up to 64 GiB");
        Sealed {
            key_id: KEY_ID,
            nonce: STANDARD.encode(nonce.as_ref()),
            ciphertext: STANDARD.encode(sealed),
        }
    }

    /// Opens what [`ClusterKey::seal`] sealed.
    ///
    /// # Errors
    /// Where it was sealed with another key, or is damaged.
    pub fn open(&self, sealed: &Sealed) -> Result<Vec<u8>, KeyError> {
        let nonce = STANDARD.decode(&sealed.nonce).map_err(|_| KeyError::NotOurs)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| KeyError::NotOurs)?;
        let mut secret = STANDARD.decode(&sealed.ciphertext).map_err(|_| KeyError::NotOurs)?;
        let opened = self
            .cipher()
            .open_in_place(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(sealed.key_id.to_be_bytes()),
                &mut secret,
            )
            .map_err(|_| KeyError::NotOurs)?
            .len();
        secret.truncate(opened);
        Ok(secret)
    }

    /// A key for one purpose, the same on every node (HKDF-SHA256, RFC 5869; `context` names the
    /// purpose).
    #[expect(clippy::expect_used, reason = "fails only for outputs above 255 hashes")]
    pub fn derive(&self, context: &str) -> [u8; KEY_BYTES] {
        let mut derived = [0; KEY_BYTES];
        hkdf::Salt::new(hkdf::HKDF_SHA256, DERIVE_SALT)
            .extract(&self.0)
            .expand(&[context.as_bytes()], hkdf::HKDF_SHA256)
            .and_then(|output| output.fill(&mut derived))
            .expect("32 bytes are one hash");
        derived
    }

    #[expect(clippy::expect_used, reason = "the key has the length that the algorithm needs")]
    fn cipher(&self) -> RandomizedNonceKey {
        RandomizedNonceKey::new(&AES_256_GCM, &self.0).expect("an AES-256 key has 32 bytes")
    }
}

/// Random bytes from the operating system's generator.
#[expect(clippy::expect_used, reason = "no key may be made without randomness")]
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// A random identifier of 128 bits, in lower-case hexadecimal.
pub(crate) fn random_id() -> String {
    hex(&random_bytes::<16>())
}

/// SHA-256 in lower-case hexadecimal.
pub(crate) fn sha256_hex(data: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, data).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
