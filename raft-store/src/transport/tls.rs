//! TLS between nodes: version 1.3, certificates of the cluster's authority on both sides.
//!
//! Invariant: a server's certificate must carry the very name of the node that was meant.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig,
    SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::identity::authority::node_name_of;
use crate::identity::{Identity, IdentityError};
use crate::keys::sha256_hex;

static VERSIONS: [&rustls::SupportedProtocolVersion; 1] = [&rustls::version::TLS13];

/// What a node's listener presents and demands. A client without certificate gets through the
/// handshake; what it may ask for is decided per route.
pub(crate) fn server_config(identity: &Identity) -> Result<Arc<ServerConfig>, IdentityError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots(identity.ca_pem())?),
        provider(),
    )
    .allow_unauthenticated()
    .build()
    .map_err(|e| IdentityError::Certificate(e.to_string()))?;
    let (chain, key) = certificate(identity)?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&VERSIONS)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    Ok(Arc::new(config))
}

/// What a node presents to the others and demands of them.
pub(crate) fn client_config(identity: &Identity) -> Result<Arc<ClientConfig>, IdentityError> {
    let (chain, key) = certificate(identity)?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&VERSIONS)?
        .with_root_certificates(roots(identity.ca_pem())?)
        .with_client_auth_cert(chain, key)?;
    Ok(Arc::new(config))
}

/// What one who joins demands: a chain that ends in the authority of that fingerprint.
pub(crate) fn joining_config(
    ca_fingerprint_sha256: String,
) -> Result<Arc<ClientConfig>, IdentityError> {
    let verifier = PinnedAuthority { ca_fingerprint_sha256, provider: provider() };
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn roots(ca_pem: &str) -> Result<RootCertStore, IdentityError> {
    let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(|e| pem_error(&e))?;
    let mut roots = RootCertStore::empty();
    roots.add(ca)?;
    Ok(roots)
}

fn certificate(
    identity: &Identity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), IdentityError> {
    let (chain_pem, private_key_pem) = identity.node_certificate();
    let chain = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| pem_error(&e))?;
    let key =
        PrivateKeyDer::from_pem_slice(private_key_pem.as_bytes()).map_err(|e| pem_error(&e))?;
    Ok((chain, key))
}

fn pem_error(error: &rustls_pki_types::pem::Error) -> IdentityError {
    IdentityError::Certificate(format!("a file of the identity is not PEM: {error}"))
}

impl From<rustls::Error> for IdentityError {
    fn from(error: rustls::Error) -> Self {
        Self::Certificate(error.to_string())
    }
}

/// Accepts any node of the cluster whose authority has the fingerprint that the token carries. Which
/// node that is does not matter to one who joins.
#[derive(Debug)]
struct PinnedAuthority {
    ca_fingerprint_sha256: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let authority = intermediates
            .iter()
            .find(|certificate| sha256_hex(certificate) == self.ca_fingerprint_sha256)
            .ok_or(CertificateError::UnknownIssuer)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(
            Arc::new(roots),
            Arc::clone(&self.provider),
        )
        .build()
        .map_err(|e| rustls::Error::General(e.to_string()))?;
        let name = node_name_of(end_entity)
            .and_then(|name| ServerName::try_from(name).ok())
            .ok_or(CertificateError::NotValidForName)?;
        verifier.verify_server_cert(end_entity, intermediates, &name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
