//! Which certificate a client gets, by the name that it asks for.
//!
//! Invariant: looking one up allocates nothing and takes no longer with 10,000 certificates than with
//! ten.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ballast_model::UnknownName;
use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::tls::certificate::Certificate;

/// The certificates of a virtual server, by name.
#[derive(Debug, Default)]
pub(super) struct SniTable {
    exact: HashMap<Box<str>, Choice>,
    /// By what follows the `*.`; RFC 6125 §6.4.3 lets the star stand for one label.
    wildcard: HashMap<Box<str>, Choice>,
    /// For clients that ask for no name.
    default: Option<Choice>,
    /// Whether it is for clients that ask for an unknown one too.
    is_for_unknown: bool,
}

/// The certificates for one name: the first, and those with keys of other algorithms.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    first: Arc<Certificate>,
    others: Vec<Arc<Certificate>>,
}

impl SniTable {
    /// The first certificate is the default; of several for one name, the first counts whose key the
    /// client can use.
    pub(super) fn new(certificates: &[Arc<Certificate>], unknown_name: UnknownName) -> Self {
        let mut table = Self {
            is_for_unknown: unknown_name == UnknownName::Default,
            exact: HashMap::with_capacity(certificates.len()),
            ..Self::default()
        };
        for certificate in certificates {
            for name in certificate.names() {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(suffix) => (&mut table.wildcard, suffix),
                    None => (&mut table.exact, name.as_str()),
                };
                match names.get_mut(name) {
                    Some(choice) => choice.add(certificate),
                    None => {
                        names.insert(name.into(), Choice::new(certificate));
                    }
                }
            }
        }
        let Some(first) = certificates.first() else { return table };
        // Whoever asks for nothing may lack the algorithm of the default's key all the same.
        let of_same_name = first.names().first().and_then(|name| table.find_known(name)).cloned();
        let is_default = |choice: &Choice| Arc::ptr_eq(&choice.first, first);
        table.default = Some(of_same_name.filter(is_default).unwrap_or_else(|| Choice::new(first)));
        table
    }

    /// The certificates for `name`, which is in lower case.
    pub(super) fn find(&self, name: &str) -> Option<&Choice> {
        let default = self.default.as_ref().filter(|_| self.is_for_unknown);
        self.find_known(name).or(default)
    }

    fn find_known(&self, name: &str) -> Option<&Choice> {
        if let Some(suffix) = name.strip_prefix("*.") {
            return self.wildcard.get(suffix);
        }
        self.exact.get(name).or_else(|| self.wildcard.get(name.split_once('.')?.1))
    }
}

impl Choice {
    fn new(certificate: &Arc<Certificate>) -> Self {
        Self { first: Arc::clone(certificate), others: Vec::new() }
    }

    /// Adds it unless there is one with a key of its algorithm: so there are few.
    fn add(&mut self, certificate: &Arc<Certificate>) {
        let algorithm = certificate.algorithm();
        let mut known = std::iter::once(&self.first).chain(&self.others);
        if known.all(|known| known.algorithm() != algorithm) {
            self.others.push(Arc::clone(certificate));
        }
    }

    /// The one for a client that understands those signatures.
    pub(super) fn of(&self, schemes: &[SignatureScheme]) -> &Arc<Certificate> {
        if self.others.is_empty() || self.first.can_sign(schemes) {
            return &self.first;
        }
        self.others.iter().find(|other| other.can_sign(schemes)).unwrap_or(&self.first)
    }
}

/// Has handshakes look into the table of now.
#[derive(Debug, Default)]
pub(super) struct Resolver(ArcSwap<SniTable>);

impl Resolver {
    pub(super) fn replace(&self, table: SniTable) {
        self.0.store(Arc::new(table));
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.0.load();
        // rustls tells names in lower case.
        let choice = match hello.server_name() {
            Some(name) => table.find(name),
            None => table.default.as_ref(),
        };
        Some(choice?.of(hello.signature_schemes()).key())
    }
}

#[cfg(test)]
mod tests;
