//! TLS with the clients of a virtual server.

use serde::{Deserialize, Serialize};

use crate::limits::PEM_MAX_BYTES;
use crate::spec::tls::suite::{self, CipherSuite, KeyExchangeGroup};
use crate::spec::tls::{TlsVersion, no_private_key, validate_ca_pem, validate_versions};
use crate::validate::FieldErrors;

/// TLS with clients. A change is for new connections: those that are there go on as they began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ServerTls {
    /// The lowest version.
    pub min_version: TlsVersion,
    /// The highest version.
    pub max_version: TlsVersion,
    /// Cipher suites by their IANA names, the most wanted first: of those that a client offers, it gets
    /// the first in this list. Each version that is allowed needs one. Empty: all of them, in the
    /// client's order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cipher_suites: Vec<CipherSuite>,
    /// Groups for the exchange of keys by their IANA names, in any order: the client's order counts.
    /// Each version that is allowed needs one. Empty: `x25519`, `secp256r1`, `secp384r1` and
    /// `X25519MLKEM768`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub key_exchange_groups: Vec<KeyExchangeGroup>,
    /// What becomes of clients that ask for a name for which there is no certificate.
    pub unknown_name: UnknownName,
    /// Certificates of clients (mutual TLS). Absent: clients are not asked for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_auth: Option<ClientAuth>,
}

/// What becomes of clients that ask for a name (SNI) for which there is no certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum UnknownName {
    /// They get the first certificate, as those do that ask for none.
    #[default]
    Default,
    /// The handshake fails.
    Refuse,
}

/// Whether clients must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthMode {
    /// They may; one that is shown must be good.
    Optional,
    /// They must: the handshake fails without a good one.
    Required,
}

/// Certificates of clients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ClientAuth {
    /// Whether clients must show one.
    pub mode: ClientAuthMode,
    /// Certificates of the authorities that are trusted, in PEM, up to 256 KiB and 64 certificates.
    pub ca_pem: String,
    /// What those authorities have revoked (RFC 5280), in PEM, up to 256 KiB. A certificate of which
    /// no list tells is taken to be good; a list that is out of date is refused with what it covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crl_pem: Option<String>,
    /// Whether members are told who clients are: `X-Client-Verify` (`SUCCESS` or `NONE`) and, of a
    /// client with a certificate, `X-Client-Subject`, `X-Client-Issuer`, `X-Client-Serial`,
    /// `X-Client-SAN`, `X-Client-Fingerprint` and `X-Client-Not-After`. What clients send under these
    /// names is dropped in any case.
    #[serde(default = "identity_headers")]
    pub identity_headers: bool,
}

fn identity_headers() -> bool {
    true
}

impl Default for ServerTls {
    fn default() -> Self {
        Self {
            min_version: TlsVersion::Tls12,
            max_version: TlsVersion::Tls13,
            cipher_suites: Vec::new(),
            key_exchange_groups: Vec::new(),
            unknown_name: UnknownName::Default,
            client_auth: None,
        }
    }
}

impl ServerTls {
    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        let versions = (self.min_version, self.max_version);
        validate_versions(errors, self.min_version, self.max_version);
        suite::validate(errors, (&self.cipher_suites, &self.key_exchange_groups), versions);
        let Some(auth) = &self.client_auth else { return };
        errors.within("client_auth", |errors| {
            validate_ca_pem(errors, "ca_pem", &auth.ca_pem);
            if let Some(pem) = &auth.crl_pem {
                errors.range("crl_pem", pem.len(), 1, PEM_MAX_BYTES);
                no_private_key(errors, "crl_pem", pem);
                let is_pem = pem.contains("-----BEGIN X509 CRL-----");
                errors.require(is_pem, "crl_pem", "invalid_pem", || {
                    "holds no \"BEGIN X509 CRL\" block".to_owned()
                });
            }
        });
    }
}

#[cfg(test)]
mod tests;
