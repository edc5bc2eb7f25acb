//! TLS to the members of a pool.

use serde::{Deserialize, Serialize};

use crate::config::{Kind, Reference};
use crate::spec::tls::suite::{self, CipherSuite, KeyExchangeGroup};
use crate::spec::tls::{TlsVersion, is_server_name, validate_ca_pem, validate_versions};
use crate::spec::yes;
use crate::validate::FieldErrors;

/// TLS to the members of a pool. Virtual servers for HTTP use it, and so do monitors of type `http`
/// without a `port` of their own; virtual servers for `tcp` pass on what clients send.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PoolTls {
    /// Whether members must show a certificate that is valid, for the right name and from an
    /// authority that is trusted. Without, whoever can answer at a member's address is trusted.
    #[serde(default = "yes")]
    pub verify: bool,
    /// Certificates of the authorities that are trusted, in PEM, up to 256 KiB and 64 certificates.
    /// Absent: those that the node's operating system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    /// The name that members are asked for (SNI, RFC 6066 §3) and that their certificates must hold: a
    /// DNS name or an IP address. Absent: each member's own host name or address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// The certificate that members are shown where they ask for one (mutual TLS). Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<String>,
    /// The lowest version of TLS.
    #[serde(default = "tls_12")]
    pub min_version: TlsVersion,
    /// The highest version of TLS.
    #[serde(default = "tls_13")]
    pub max_version: TlsVersion,
    /// Cipher suites that members are offered, by their IANA names, the most wanted first. Each version
    /// that is allowed needs one. Empty: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cipher_suites: Vec<CipherSuite>,
    /// Groups for the exchange of keys that members are offered, by their IANA names, the most wanted
    /// first: of TLS 1.3 that one's key is sent at once, and a member that wants another costs one more
    /// round trip. Each version that is allowed needs one. Empty: `x25519`, `secp256r1`, `secp384r1`
    /// and `X25519MLKEM768`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_exchange_groups: Vec<KeyExchangeGroup>,
}

impl Default for PoolTls {
    fn default() -> Self {
        Self {
            verify: true,
            ca_pem: None,
            server_name: None,
            client_certificate: None,
            min_version: tls_12(),
            max_version: tls_13(),
            cipher_suites: Vec::new(),
            key_exchange_groups: Vec::new(),
        }
    }
}

impl PoolTls {
    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        if let Some(pem) = &self.ca_pem {
            validate_ca_pem(errors, "ca_pem", pem);
            errors.require(self.verify, "ca_pem", "not_allowed", || {
                "is of no use where verify is false".to_owned()
            });
        }
        if let Some(name) = &self.server_name {
            errors.require(is_server_name(name), "server_name", "invalid_server_name", || {
                "must be a DNS name without a final dot, or an IP address".to_owned()
            });
        }
        validate_versions(errors, self.min_version, self.max_version);
        let versions = (self.min_version, self.max_version);
        suite::validate(errors, (&self.cipher_suites, &self.key_exchange_groups), versions);
    }

    pub(super) fn references(&self) -> impl Iterator<Item = Reference> + '_ {
        let name = self.client_certificate.iter();
        name.map(|name| Reference::new("/spec/tls/client_certificate", Kind::Certificate, name))
    }
}

fn tls_12() -> TlsVersion {
    TlsVersion::Tls12
}

fn tls_13() -> TlsVersion {
    TlsVersion::Tls13
}

#[cfg(test)]
mod tests;
