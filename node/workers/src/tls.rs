//! TLS towards clients: certificates, and which of them a client gets.
//!
//! Invariant: a virtual server keeps its [`TlsSettings`] for as long as it lives; new certificates and
//! new keys of session tickets replace tables inside.

mod client_auth;
pub mod tickets;

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ballast_model::{
    CertificateSpec, CipherSuite, Resource, Sealed, ServerTls, TlsVersion, UnknownName,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;

use crate::tls::tickets::{TicketKeys, Tickets};

/// Opens a sealed private key; the PEM, or why it can't be opened.
pub type Unseal = Arc<dyn Fn(&Sealed) -> Result<Vec<u8>, String> + Send + Sync>;

/// A certificate that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The chain is no PEM of certificates.
    #[error("the chain can't be read: {0}")]
    Chain(String),
    /// The private key can't be unsealed or read.
    #[error("the private key can't be read: {0}")]
    Key(String),
    /// Key and leaf don't belong together, or the key's algorithm is unknown.
    #[error("the private key does not fit: {0}")]
    Mismatch(#[from] rustls::Error),
}

/// A certificate ready for use.
#[derive(Debug)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    /// DNS names of the leaf, in lower case.
    names: Vec<String>,
}

impl Certificate {
    /// Reads a certificate.
    ///
    /// # Errors
    /// Why it can't be used.
    pub fn read(spec: &CertificateSpec, unseal: &Unseal) -> Result<Self, CertificateError> {
        let chain = CertificateDer::pem_slice_iter(spec.chain_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| CertificateError::Chain(error.to_string()))?;
        let Some(leaf) = chain.first() else {
            return Err(CertificateError::Chain("it holds no certificate".to_owned()));
        };
        let names = dns_names(leaf)?;
        let key_pem = match (&spec.private_key_pem, &spec.private_key_sealed) {
            (Some(pem), _) => pem.clone().into_bytes(),
            (None, Some(sealed)) => unseal(sealed).map_err(CertificateError::Key)?,
            (None, None) => return Err(CertificateError::Key("there is none".to_owned())),
        };
        let key = PrivateKeyDer::from_pem_slice(&key_pem)
            .map_err(|error| CertificateError::Key(error.to_string()))?;
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())?;
        Ok(Self { key: Arc::new(key), names })
    }
}

impl Certificate {
    /// The chain and its key.
    pub fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }
}

fn dns_names(leaf: &CertificateDer<'_>) -> Result<Vec<String>, CertificateError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf)
        .map_err(|error| CertificateError::Chain(error.to_string()))?;
    let extension = parsed
        .subject_alternative_name()
        .map_err(|error| CertificateError::Chain(error.to_string()))?;
    let names = extension.iter().flat_map(|extension| &extension.value.general_names);
    let dns = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    Ok(dns.collect())
}

/// Certificates that were read, so that each revision is read once.
pub struct CertificateStore {
    unseal: Unseal,
    read: HashMap<String, (u64, Result<Arc<Certificate>, String>)>,
}

impl CertificateStore {
    /// An empty store.
    pub fn new(unseal: Unseal) -> Self {
        Self { unseal, read: HashMap::new() }
    }

    /// The certificate as of its present revision.
    ///
    /// # Errors
    /// Why it can't be used, in a sentence.
    pub fn certificate(
        &mut self,
        resource: &Resource<CertificateSpec>,
    ) -> Result<Arc<Certificate>, String> {
        if let Some((revision, read)) = self.read.get(&resource.uid)
            && *revision == resource.revision
        {
            return read.clone();
        }
        let read = Certificate::read(&resource.spec, &self.unseal)
            .map(Arc::new)
            .map_err(|error| format!("certificate {:?}: {error}", resource.name));
        self.read.insert(resource.uid.clone(), (resource.revision, read.clone()));
        read
    }

    /// Forgets certificates whose uid `is_kept` denies.
    pub fn retain(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.read.retain(|uid, _| is_kept(uid));
    }
}

/// Which certificate a client gets, by the name that it asks for.
#[derive(Debug, Default)]
struct SniTable {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows the `*.`; RFC 6125 §6.4.3 lets the star stand for one label.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    /// For clients that ask for no name.
    default: Option<Arc<CertifiedKey>>,
    /// Whether it is for clients that ask for an unknown one too.
    is_for_unknown: bool,
}

impl SniTable {
    /// The first certificate is the default; of several for one name the first counts.
    fn new(certificates: &[Arc<Certificate>], unknown_name: UnknownName) -> Self {
        let mut table = Self {
            default: certificates.first().map(|certificate| Arc::clone(&certificate.key)),
            is_for_unknown: unknown_name == UnknownName::Default,
            ..Self::default()
        };
        for certificate in certificates {
            for name in &certificate.names {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(suffix) => (&mut table.wildcard, suffix),
                    None => (&mut table.exact, name.as_str()),
                };
                names.entry(name.to_owned()).or_insert_with(|| Arc::clone(&certificate.key));
            }
        }
        table
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let wildcard = || {
            let (_, suffix) = name.split_once('.')?;
            self.wildcard.get(suffix)
        };
        let default = self.default.as_ref().filter(|_| self.is_for_unknown);
        self.exact.get(&name).or_else(wildcard).or(default)
    }
}

#[derive(Debug, Default)]
struct Resolver(ArcSwap<SniTable>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.0.load();
        match hello.server_name() {
            Some(name) => table.find(name).cloned(),
            None => table.default.clone(),
        }
    }
}

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
        let algorithm = certificate.key.key.algorithm();
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
        self.resolver.0.store(Arc::new(SniTable::new(certificates, self.settings.unknown_name)));
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

#[cfg(test)]
mod tests;
