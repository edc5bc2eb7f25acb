//! TLS to the members of a pool.
//!
//! Invariant: sessions are resumed only between connections made with the same verifier and the same
//! client certificate: each [`MemberTls`] has its own, and each user of it its own table of sessions.

use std::net::IpAddr;
use std::sync::Arc;

use ballast_model::{PoolTls, TlsVersion};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion, version,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::roots::{self, RootsError, SystemRoots};
use crate::suite;

/// Sessions that are kept of one member by one user: TLS 1.3 tickets are used once each.
const SESSION_MAX_COUNT: usize = 8;

/// How connections to the members of a pool are secured.
#[derive(Clone, Debug, Default)]
pub enum Security {
    /// Not at all.
    #[default]
    Plain,
    /// By TLS.
    Tls(Arc<MemberTls>),
    /// By TLS that can't be had; why, in a sentence. No connection may be made.
    Unusable(Arc<str>),
}

impl Security {
    /// Whether connections made under one may be used under the other.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plain, Self::Plain) => true,
            (Self::Tls(one), Self::Tls(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// The TLS, if it is that.
    pub fn tls(&self) -> Option<&Arc<MemberTls>> {
        match self {
            Self::Tls(tls) => Some(tls),
            Self::Plain | Self::Unusable(_) => None,
        }
    }
}

/// What is offered by ALPN (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// `http/1.1`.
    Http1,
    /// `h2`.
    Http2,
    /// Nothing: for whatever is no HTTP.
    None,
}

impl Alpn {
    /// The protocols in the extension.
    fn protocols(self) -> Vec<Vec<u8>> {
        match self {
            Self::Http1 => vec![b"http/1.1".to_vec()],
            Self::Http2 => vec![b"h2".to_vec()],
            Self::None => Vec::new(),
        }
    }
}

/// Settings that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum MemberTlsError {
    /// The authorities.
    #[error("tls.ca_pem {0}")]
    Authorities(RootsError),
    /// Those of the system.
    #[error("tls.ca_pem is absent, and {0}")]
    SystemAuthorities(RootsError),
    /// The server's name.
    #[error("tls.server_name is no name that a certificate may hold")]
    ServerName,
    /// The cryptographic provider refused.
    #[error("TLS to the members can't be set up: {0}")]
    Provider(String),
}

/// The TLS of one pool, as of one revision of it and of its client certificate.
#[derive(Debug)]
pub struct MemberTls {
    /// Without a place for sessions and without ALPN.
    template: ClientConfig,
    server_name: Option<ServerName<'static>>,
}

impl MemberTls {
    /// Makes `settings` ready. Reads files where the system's authorities are wanted.
    ///
    /// # Errors
    /// They can't be used.
    pub fn new(
        settings: &PoolTls,
        client: Option<Arc<CertifiedKey>>,
        system: &mut SystemRoots,
    ) -> Result<Self, MemberTlsError> {
        let provider =
            Arc::new(suite::provider(&settings.cipher_suites, &settings.key_exchange_groups));
        let verifier = verifier(settings, &provider, system)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions(settings.min_version, settings.max_version))
            .map_err(|error| MemberTlsError::Provider(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut template = match client {
            Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
            None => builder.with_no_client_auth(),
        };
        template.resumption = Resumption::disabled();
        let server_name = match &settings.server_name {
            Some(name) => {
                Some(ServerName::try_from(name.clone()).map_err(|_| MemberTlsError::ServerName)?)
            }
            None => None,
        };
        Ok(Self { template, server_name })
    }

    /// For one user, such as a worker, and one member: it has a table of sessions of its own, so
    /// that tickets go back to the member that made them and nobody waits for another thread.
    pub fn client_config(&self, alpn: Alpn) -> Arc<ClientConfig> {
        let mut config = self.template.clone();
        config.alpn_protocols = alpn.protocols();
        config.resumption = Resumption::in_memory_sessions(SESSION_MAX_COUNT);
        Arc::new(config)
    }

    /// The name to ask a member for and to find in its certificate: the one declared, or the
    /// member's address.
    pub fn server_name(&self, address: IpAddr) -> ServerName<'static> {
        self.server_name.clone().unwrap_or_else(|| ServerName::IpAddress(address.into()))
    }
}

/// The versions from `min` to `max`.
pub fn versions(min: TlsVersion, max: TlsVersion) -> Vec<&'static SupportedProtocolVersion> {
    let known = [(TlsVersion::Tls13, &version::TLS13), (TlsVersion::Tls12, &version::TLS12)];
    let wanted = known.into_iter().filter(|(version, _)| (min..=max).contains(version));
    wanted.map(|(_, supported)| supported).collect()
}

fn verifier(
    settings: &PoolTls,
    provider: &Arc<CryptoProvider>,
    system: &mut SystemRoots,
) -> Result<Arc<dyn ServerCertVerifier>, MemberTlsError> {
    if !settings.verify {
        return Ok(Arc::new(TrustEverybody(provider.signature_verification_algorithms)));
    }
    let roots = match &settings.ca_pem {
        Some(pem) => Arc::new(roots::from_pem(pem).map_err(MemberTlsError::Authorities)?),
        None => system.load().map_err(MemberTlsError::SystemAuthorities)?,
    };
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(|error| MemberTlsError::Provider(error.to_string()))?;
    Ok(verifier)
}

/// For `verify: false`: takes any certificate of whoever can prove to have its key.
#[derive(Debug)]
struct TrustEverybody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for TrustEverybody {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
