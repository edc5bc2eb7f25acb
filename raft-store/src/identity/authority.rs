//! The cluster's certificate authority, and the names that it certifies.
//!
//! Invariant: what a certificate is good for is decided here alone; of a signing request only the
//! public key is taken.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{IdentityError, ServerCertificate};
use crate::keys::sha256_hex;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How far in the past certificates begin: clocks differ, and a node may join before its own is set.
const BACKDATED: Duration = DAY;
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(20 * 365 * 24 * 60 * 60);
/// A node's certificate is not renewed: it ends by removing the node, which bars its number.
const NODE_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Browsers accept no more than 398 days.
pub(super) const SERVER_LIFETIME: Duration = Duration::from_secs(397 * 24 * 60 * 60);
const DOMAIN: &str = "ballast.internal";

/// The authority with its private key.
pub(crate) struct Authority {
    ca_pem: String,
    fingerprint: String,
    key: KeyPair,
}

impl Authority {
    pub(crate) fn generate(cluster_name: &str) -> Result<Self, IdentityError> {
        let key = generate_key()?;
        let mut params = params(&format!("Ballast cluster {cluster_name}"), AUTHORITY_LIFETIME);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_pem = params.self_signed(&key)?.pem();
        Ok(Self { fingerprint: fingerprint(&ca_pem)?, ca_pem, key })
    }

    pub(crate) fn open(ca_pem: &str, private_key_pem: &[u8]) -> Result<Self, IdentityError> {
        let private_key_pem = std::str::from_utf8(private_key_pem)
            .map_err(|_| IdentityError::Certificate("the authority's key is not PEM".to_owned()))?;
        let key = KeyPair::from_pem(private_key_pem)?;
        Ok(Self { fingerprint: fingerprint(ca_pem)?, ca_pem: ca_pem.to_owned(), key })
    }

    pub(crate) fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(crate) fn private_key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// Certifies a node for mTLS under its number; returns the chain.
    pub(crate) fn certify_node(
        &self,
        signing_request_pem: &str,
        node_id: u64,
        cluster_uid: &str,
    ) -> Result<String, IdentityError> {
        let request = CertificateSigningRequestParams::from_pem(signing_request_pem)?;
        let name = node_name(node_id, cluster_uid);
        let mut params = params(&name, NODE_LIFETIME);
        params.subject_alt_names = CertificateParams::new(vec![name])?.subject_alt_names;
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params, &request.public_key)
    }

    /// Makes a key and certifies it for a TLS server.
    pub(crate) fn issue_server(
        &self,
        names: &[String],
    ) -> Result<ServerCertificate, IdentityError> {
        let key = generate_key()?;
        let common_name = names.first().map_or("ballast", String::as_str);
        let mut params = params(common_name, SERVER_LIFETIME);
        params.subject_alt_names = CertificateParams::new(names.to_vec())?.subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let chain_pem = self.sign(&params, &key)?;
        Ok(ServerCertificate { chain_pem, private_key_pem: key.serialize_pem() })
    }

    /// The chain includes the authority, so that one who joins can compare its fingerprint.
    fn sign(
        &self,
        params: &CertificateParams,
        public_key: &impl PublicKeyData,
    ) -> Result<String, IdentityError> {
        let issuer = Issuer::from_ca_cert_pem(&self.ca_pem, &self.key)?;
        let certificate = params.signed_by(public_key, &issuer)?;
        Ok(certificate.pem() + &self.ca_pem)
    }
}

/// A new ECDSA P-256 key.
pub(crate) fn generate_key() -> Result<KeyPair, IdentityError> {
    Ok(KeyPair::generate()?)
}

/// Asks for a certificate of `key`, and proves that one has it.
pub(crate) fn signing_request(key: &KeyPair) -> Result<String, IdentityError> {
    Ok(CertificateParams::default().serialize_request(key)?.pem()?)
}

/// SHA-256 of the certificate, in hexadecimal.
pub(crate) fn fingerprint(pem: &str) -> Result<String, IdentityError> {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|e| IdentityError::Certificate(format!("the authority is not PEM: {e}")))?;
    Ok(sha256_hex(&certificate))
}

/// The name under which a node proves who it is to the others.
pub(crate) fn node_name(node_id: u64, cluster_uid: &str) -> String {
    format!("node-{node_id}.{cluster_uid}.{DOMAIN}")
}

/// The number of the node of that cluster whose certificate this is. That the authority signed it is
/// for the caller to have checked.
pub(crate) fn node_id_of(certificate: &CertificateDer<'_>, cluster_uid: &str) -> Option<u64> {
    let name = node_name_of(certificate)?;
    let node_id = name.strip_prefix("node-")?.split('.').next()?.parse().ok()?;
    (name == node_name(node_id, cluster_uid)).then_some(node_id)
}

/// The name that a node's certificate is for.
pub(crate) fn node_name_of(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    match names.value.general_names.as_slice() {
        [GeneralName::DNSName(name)] => Some((*name).to_owned()),
        _ => None,
    }
}

fn params(common_name: &str, lifetime: Duration) -> CertificateParams {
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + lifetime - BACKDATED).into();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}

impl From<rcgen::Error> for IdentityError {
    fn from(error: rcgen::Error) -> Self {
        Self::Certificate(error.to_string())
    }
}
