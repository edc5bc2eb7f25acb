//! The cluster's secret key: seals secrets at rest, and derives keys for other purposes.

use ballast_model::Sealed;

/// The cluster's key: 32 random bytes that every node holds and that never enter the log.
#[derive(Clone)]
pub struct ClusterKey {}

/// Why something sealed can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It was sealed with another key, or it is damaged.
    #[error("the secret was sealed with another cluster's key, or it is damaged")]
    NotOurs,
}

impl ClusterKey {
    /// Seals a secret with AES-256-GCM under a fresh nonce.
    pub fn seal(&self, _secret: &[u8]) -> Sealed {
        unimplemented!()
    }

    /// Opens what [`ClusterKey::seal`] sealed.
    ///
    /// # Errors
    /// Where it was sealed with another key, or is damaged.
    pub fn open(&self, _sealed: &Sealed) -> Result<Vec<u8>, KeyError> {
        unimplemented!()
    }

    /// A key for one purpose, the same on every node (HKDF-SHA256; `context` names the purpose).
    pub fn derive(&self, _context: &str) -> [u8; 32] {
        unimplemented!()
    }
}
