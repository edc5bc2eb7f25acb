//! Whom a native client believes to be the cluster.
//!
//! A cluster signs its certificates itself. With its authority's fingerprint pinned, every server
//! that holds a certificate of that authority *is* the cluster, under whatever address it was
//! reached: the name in the certificate is not looked at.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::error::ClientError;

/// Whom to believe.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// Servers with a certificate of the authority (or the certificate itself) whose SHA-256 this
    /// is, in hexadecimal, colons allowed.
    CaFingerprint(String),
    /// Servers with a certificate of one of these authorities, in PEM, for the name or address that
    /// was asked for.
    CaPem(String),
    /// Anybody. For experiments on the same machine only.
    Insecure,
    /// Servers with a certificate that the system's authorities vouch for.
    #[default]
    System,
}

/// SHA-256 of a certificate, in hexadecimal.
fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    hex(digest::digest(&digest::SHA256, certificate).as_ref())
}

/// The fingerprints of the certificates that the server at `url` shows, its own first and its
/// authority's last, so that a person can compare them. Nothing but the handshake is done.
///
/// # Errors
/// Where the server can't be reached or speaks no TLS.
pub async fn observe_fingerprints(url: &str) -> Result<Vec<String>, ClientError> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let verifier = Observer { seen: Arc::clone(&seen), algorithms: algorithms() };
    let config = believing(Arc::new(verifier))?;
    let http = reqwest::Client::builder().tls_backend_preconfigured(config).build();
    let transport =
        |source| ClientError::Transport { context: format!("connecting to {url}"), source };
    http.map_err(transport)?.get(url).send().await.map_err(transport)?;
    let fingerprints = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if fingerprints.is_empty() {
        return Err(ClientError::Settings(format!("{url} is reached without TLS")));
    }
    Ok(fingerprints)
}

/// How TLS is to be done; none means the system's way.
pub(crate) fn client_config(trust: &Trust) -> Result<Option<ClientConfig>, ClientError> {
    match trust {
        Trust::CaFingerprint(text) => {
            let pinned = Pinned { fingerprint: normalized(text)?, algorithms: algorithms() };
            believing(Arc::new(pinned)).map(Some)
        }
        Trust::CaPem(pem) => {
            let verifier = WebPkiServerVerifier::builder_with_provider(
                Arc::new(roots_of(pem)?),
                Arc::new(provider()),
            )
            .build()
            .map_err(|error| bad_certificate(&error))?;
            believing(verifier).map(Some)
        }
        Trust::Insecure => {
            let observer = Observer { seen: Arc::default(), algorithms: algorithms() };
            believing(Arc::new(observer)).map(Some)
        }
        Trust::System => Ok(None),
    }
}

fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    provider().signature_verification_algorithms
}

fn believing(verifier: Arc<dyn ServerCertVerifier>) -> Result<ClientConfig, ClientError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Settings(format!("TLS can't be set up: {error}")))?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn roots_of(pem: &str) -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| bad_certificate(&error))?;
        roots.add(certificate).map_err(|error| bad_certificate(&error))?;
    }
    if roots.is_empty() {
        return Err(ClientError::Settings("the file holds no certificate in PEM".to_owned()));
    }
    Ok(roots)
}

fn bad_certificate(error: &dyn std::error::Error) -> ClientError {
    ClientError::Settings(format!("the authority's certificate can't be used: {error}"))
}

/// A fingerprint as people paste it, in lower case without separators.
fn normalized(text: &str) -> Result<String, ClientError> {
    let digits: String = text
        .trim()
        .trim_start_matches("sha256:")
        .chars()
        .filter(|c| !matches!(c, ':' | ' '))
        .map(|c| c.to_ascii_lowercase())
        .collect();
    if digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        Ok(digits)
    } else {
        Err(ClientError::Settings(
            "a fingerprint is a SHA-256: 64 hexadecimal digits, with or without colons".to_owned(),
        ))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Believes whoever the pinned authority signed.
#[derive(Debug)]
struct Pinned {
    fingerprint: String,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if fingerprint(end_entity) == self.fingerprint {
            return Ok(ServerCertVerified::assertion());
        }
        let authority = intermediates
            .iter()
            .find(|certificate| fingerprint(certificate) == self.fingerprint)
            .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Believes anybody, and notes who it was.
#[derive(Debug)]
struct Observer {
    seen: Arc<Mutex<Vec<String>>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Observer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) =
            chain.map(fingerprint).collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
