//! Who clients must be, by certificate (mutual TLS).
//!
//! Invariant: a session is resumed only under the very settings that it began under: a ticket does not
//! carry a client past an authority, or a list of revoked certificates, that has changed since.

use std::sync::Arc;

use aws_lc_rs::digest;
use ballast_model::{ClientAuth, ClientAuthMode, ServerTls};
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;

/// The verifier of clients' certificates.
///
/// # Errors
/// The settings can't be used; why, in a sentence.
pub(super) fn verifier(
    settings: Option<&ClientAuth>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let Some(settings) = settings else { return Ok(WebPkiClientVerifier::no_client_auth()) };
    let roots = ballast_tls::roots::from_pem(&settings.ca_pem)
        .map_err(|error| format!("tls.client_auth.ca_pem {error}"))?;
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = match &settings.crl_pem {
        None => builder,
        Some(pem) => {
            let lists = CertificateRevocationListDer::pem_slice_iter(pem.as_bytes())
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| format!("tls.client_auth.crl_pem is not PEM: {error}"))?;
            builder
                .with_crls(lists)
                .allow_unknown_revocation_status()
                .enforce_revocation_expiration()
        }
    };
    let builder = match settings.mode {
        ClientAuthMode::Optional => builder.allow_unauthenticated(),
        ClientAuthMode::Required => builder,
    };
    builder.build().map_err(|error| format!("tls.client_auth can't be used: {error}"))
}

/// Whose tickets they are: those of the virtual server `uid`, under these settings.
pub(super) fn ticket_owner(uid: &str, settings: &ServerTls) -> Vec<u8> {
    let mut owner = uid.as_bytes().to_vec();
    if let Some(ClientAuth { mode, ca_pem, crl_pem, identity_headers: _ }) = &settings.client_auth {
        let mut hash = digest::Context::new(&digest::SHA256);
        let crl_pem = crl_pem.as_deref().unwrap_or_default();
        for part in [&[*mode as u8][..], ca_pem.as_bytes(), crl_pem.as_bytes()] {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        owner.push(0);
        owner.extend_from_slice(hash.finish().as_ref());
    }
    owner
}
