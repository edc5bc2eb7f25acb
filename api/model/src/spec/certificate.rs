//! Certificates: a chain and its private key.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::Kind;
use crate::limits::{OCSP_RESPONSE_MAX_BYTES, PEM_MAX_BYTES};
use crate::resource::Spec;
use crate::validate::FieldErrors;

/// A certificate chain and its private key.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CertificateSpec {
    /// The chain, leaf first, in PEM.
    pub chain_pem: String,
    /// The private key in PEM. Write-only: it is sealed before it is stored and never read back.
    /// Absent in an update: the key that is there stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key_pem: Option<String>,
    /// The private key, sealed with the cluster's key. Set by the server only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key_sealed: Option<Sealed>,
    /// SHA-256 of the leaf certificate, in hexadecimal. Set by the server only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint_sha256: Option<String>,
    /// An answer of the responder of OCSP (RFC 6960), base64 of DER or PEM around it, to be stapled to
    /// handshakes until its time is over. Whoever declares it brings the next one in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ocsp_response: Option<String>,
    /// Whether every node fetches such answers from the responder that the certificate names, always
    /// before the last one's time is over. The chain must hold who issued the certificate.
    #[serde(default)]
    pub ocsp_fetch: bool,
    /// How many days before its end a certificate is called expiring, 0 to 3,650.
    #[serde(default = "expiry_warning_days")]
    pub expiry_warning_days: u16,
}

fn expiry_warning_days() -> u16 {
    30
}

impl Default for CertificateSpec {
    fn default() -> Self {
        Self {
            chain_pem: String::new(),
            private_key_pem: None,
            private_key_sealed: None,
            fingerprint_sha256: None,
            ocsp_response: None,
            ocsp_fetch: false,
            expiry_warning_days: expiry_warning_days(),
        }
    }
}

/// A secret sealed with AES-256-GCM under the cluster's key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// Which of the cluster's keys.
    pub key_id: u32,
    /// Base64 of the 12-byte nonce.
    pub nonce: String,
    /// Base64 of ciphertext and tag.
    pub ciphertext: String,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed(key {})", self.key_id)
    }
}

impl fmt::Debug for CertificateSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateSpec")
            .field("chain_pem", &self.chain_pem)
            .field("private_key_pem", &self.private_key_pem.as_ref().map(|_| "(secret)"))
            .field("private_key_sealed", &self.private_key_sealed)
            .finish_non_exhaustive()
    }
}

impl Spec for CertificateSpec {
    const KIND: Kind = Kind::Certificate;

    fn validate(&self, errors: &mut FieldErrors) {
        errors.range("chain_pem", self.chain_pem.len(), 1, PEM_MAX_BYTES);
        let is_pem = self.chain_pem.contains("-----BEGIN CERTIFICATE-----");
        errors.require(is_pem, "chain_pem", "invalid_pem", || {
            "holds no \"BEGIN CERTIFICATE\" block".to_owned()
        });
        if let Some(response) = &self.ocsp_response {
            errors.range("ocsp_response", response.len(), 1, OCSP_RESPONSE_MAX_BYTES);
            errors.require(!self.ocsp_fetch, "ocsp_response", "not_allowed", || {
                "is of no use where ocsp_fetch is true".to_owned()
            });
        }
        errors.range("expiry_warning_days", self.expiry_warning_days, 0, 3_650);
        if let Some(key) = &self.private_key_pem {
            errors.range("private_key_pem", key.len(), 1, PEM_MAX_BYTES);
            let is_pem = key.contains("PRIVATE KEY-----");
            errors.require(is_pem, "private_key_pem", "invalid_pem", || {
                "holds no \"PRIVATE KEY\" block".to_owned()
            });
        } else if self.private_key_sealed.is_none() {
            errors.push("private_key_pem", "required", "a new certificate needs its private key");
        }
    }

    fn inherit(&mut self, previous: &Self) {
        if self.private_key_pem.is_none() && self.private_key_sealed.is_none() {
            self.private_key_sealed.clone_from(&previous.private_key_sealed);
            if self.chain_pem == previous.chain_pem {
                self.fingerprint_sha256.clone_from(&previous.fingerprint_sha256);
            }
        }
    }

    fn redact(&mut self) {
        self.private_key_pem = None;
        self.private_key_sealed = None;
    }

    fn server_only_field(&self) -> Option<&'static str> {
        // The fingerprint is shown and so may come back; the server computes it anew.
        self.private_key_sealed.as_ref().map(|_| "private_key_sealed")
    }
}
