//! The authorities that are trusted: those of a setting, or those of the operating system.
//!
//! Invariant: a store that is handed out holds at least one authority.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// How long the operating system's authorities are taken to be unchanged.
const SYSTEM_ROOTS_KEPT: Duration = Duration::from_secs(60);

/// Why authorities can't be used, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RootsError(String);

/// The authorities that the operating system trusts; read when they are first needed and again when
/// they are needed a minute later.
#[derive(Debug, Default)]
pub struct SystemRoots {
    read: Option<(Instant, Arc<RootCertStore>)>,
}

impl SystemRoots {
    /// The authorities. Reads files: not for threads that carry traffic.
    ///
    /// # Errors
    /// There are none.
    pub fn load(&mut self) -> Result<Arc<RootCertStore>, RootsError> {
        if let Some((at, roots)) = &self.read
            && at.elapsed() < SYSTEM_ROOTS_KEPT
        {
            return Ok(Arc::clone(roots));
        }
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (_, ignored_count) = roots.add_parsable_certificates(found.certs);
        if ignored_count > 0 {
            tracing::debug!(ignored_count, "authorities of the system that can't be read");
        }
        if roots.is_empty() {
            let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
            return Err(RootsError(format!("the node's system trusts no authority{why}")));
        }
        let roots = Arc::new(roots);
        self.read = Some((Instant::now(), Arc::clone(&roots)));
        Ok(roots)
    }
}

/// The authorities in `pem`.
///
/// # Errors
/// Any of them can't be read, or there is none.
pub fn from_pem(pem: &str) -> Result<RootCertStore, RootsError> {
    let mut roots = RootCertStore::empty();
    for (number, der) in (1..).zip(CertificateDer::pem_slice_iter(pem.as_bytes())) {
        let der = der.map_err(|error| RootsError(format!("is not PEM: {error}")))?;
        roots.add(der).map_err(|error| {
            RootsError(format!("its certificate {number} can't be used: {error}"))
        })?;
    }
    if roots.is_empty() {
        return Err(RootsError("holds no certificate".to_owned()));
    }
    Ok(roots)
}
