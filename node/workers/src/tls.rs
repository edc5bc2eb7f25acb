//! TLS towards clients: certificates, and which of them a client gets.
//!
//! Invariant: a virtual server keeps its [`TlsSettings`] for as long as it lives; new certificates and
//! new keys of session tickets replace tables inside.

pub mod certificate;
mod client_auth;
mod sni;
pub mod tickets;

use std::sync::Arc;

use ballast_model::{CipherSuite, ServerTls, TlsVersion};
use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};

use crate::tls::sni::{Resolver, SniTable};
use crate::tls::tickets::{TicketKeys, Tickets};

pub use certificate::{Certificate, CertificateError, CertificateMap, CertificateStore, Unseal};

/// The TLS of one virtual server.
#[derive(Debug)]
pub struct TlsSettings {
    config: Arc<ServerConfig>,
    resolver: Arc<Resolver>,
    has_http2: bool,
    settings: ServerTls,
    clients: Arc<dyn ClientCertVerifier>,
}

impl TlsSettings {
    /// TLS 1.2 and 1.3 without certificates yet, `http/1.1` and perhaps `h2` by ALPN. Session tickets
    /// are those of the virtual server `uid`; there are none while `keys` is empty.
    ///
    /// # Errors
    /// The settings can't be used; why, in a sentence.
    pub fn new(
        keys: &Arc<TicketKeys>,
        uid: &str,
        has_http2: bool,
        settings: &ServerTls,
    ) -> Result<Self, String> {
        let resolver = Arc::new(Resolver::default());
        let provider = Arc::new(ballast_tls::suite::provider(
            &settings.cipher_suites,
            &settings.key_exchange_groups,
        ));
        let certificates: Arc<dyn ResolvesServerCert> = Arc::<Resolver>::clone(&resolver);
        let versions = ballast_tls::member::versions(settings.min_version, settings.max_version);
        let clients = client_auth::verifier(settings.client_auth.as_ref(), &provider)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .map_err(|error| error.to_string())?
            .with_client_cert_verifier(Arc::clone(&clients))
            .with_cert_resolver(certificates);
        // Whoever lists suites has said which is wanted most; else the client knows what is cheap for it.
        config.ignore_client_order = !settings.cipher_suites.is_empty();
        let protocols: &[&[u8]] = if has_http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let owner = client_auth::ticket_owner(uid, settings);
        config.ticketer = Arc::new(Tickets::new(Arc::clone(keys), &owner));
        // Tickets hold the state at the client; a table of sessions would be a lock between workers.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let (config, settings) = (Arc::new(config), settings.clone());
        Ok(Self { config, resolver, has_http2, settings, clients })
    }

    /// Whether it was made for these settings.
    pub fn fits(&self, has_http2: bool, settings: &ServerTls) -> bool {
        self.has_http2 == has_http2 && self.settings == *settings
    }

    /// Why clients of some version can't have that certificate, in a sentence: no suite that is allowed
    /// fits its key.
    pub fn misfit(&self, certificate: &Certificate) -> Option<String> {
        let algorithm = certificate.key().key.algorithm();
        let suites = &self.settings.cipher_suites;
        let of_12 = |suite: &&CipherSuite| suite.version() == TlsVersion::Tls12;
        // Suites of TLS 1.3 fit every key.
        let mut offered = suites.iter().filter(of_12).peekable();
        offered.peek()?;
        if offered.any(|suite| ballast_tls::suite::fits(*suite, algorithm)) {
            return None;
        }
        Some(format!(
            "tls.cipher_suites holds no suite of TLS 1.2 for a key of {algorithm:?}: clients of TLS 1.2 \
             fail",
        ))
    }

    /// Replaces the certificates; the first is the default.
    pub fn set_certificates(&self, certificates: &[Arc<Certificate>]) {
        self.resolver.replace(SniTable::new(certificates, self.settings.unknown_name));
    }

    /// Who clients must be, where they are asked. Resuming a session does not ask again: whoever
    /// accepts must, for certificates expire and lists of revoked ones become too old.
    pub fn clients(&self) -> Option<&Arc<dyn ClientCertVerifier>> {
        self.settings.client_auth.is_some().then_some(&self.clients)
    }

    /// For accepting connections.
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }
}
