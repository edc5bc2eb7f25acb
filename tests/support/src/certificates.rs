//! A certificate authority for tests, and server certificates from it.

use std::fs;
use std::path::Path;

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// A certificate authority that nobody trusts by accident: its key is gone with it.
pub struct TestCa {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, both PEM.
#[derive(Clone, Debug)]
pub struct TestCertificate {
    /// The certificate, then its issuer's.
    pub chain_pem: String,
    /// The private key (PKCS #8).
    pub key_pem: String,
}

impl TestCa {
    /// Makes one.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Ballast test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { pem, issuer: Issuer::new(params, key) })
    }

    /// Its own certificate, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Writes its certificate to a file.
    ///
    /// # Errors
    /// When that fails.
    pub fn write_pem(&self, path: &Path) -> Result<()> {
        Ok(fs::write(path, &self.pem)?)
    }

    /// A server certificate for these host names and addresses.
    ///
    /// # Errors
    /// When a name is no DNS name.
    pub fn issue(&self, names: &[&str]) -> Result<TestCertificate> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names.clone())?;
        let first = names.first().map_or("", String::as_str);
        params.distinguished_name.push(DnType::CommonName, first);
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let chain_pem = format!("{}{}", certificate.pem(), self.pem);
        Ok(TestCertificate { chain_pem, key_pem: key.serialize_pem() })
    }
}
