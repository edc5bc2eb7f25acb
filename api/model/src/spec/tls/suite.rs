//! Cipher suites and groups of TLS: what there is, and which of them are of use together.
//!
//! Invariant: what passes [`validate`] can handshake in each version that is allowed, as far as it
//! depends on settings; whether a certificate's key fits is seen where the key is.

use serde::{Deserialize, Serialize};

use crate::spec::tls::TlsVersion;
use crate::validate::FieldErrors;

/// A cipher suite, by its IANA name. All have forward secrecy and AEAD; there are no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum CipherSuite {
    /// TLS 1.3 (RFC 8446 §B.4).
    #[serde(rename = "TLS_AES_256_GCM_SHA384")]
    Tls13Aes256GcmSha384,
    /// TLS 1.3 (RFC 8446 §B.4), which asks every implementation for it.
    #[serde(rename = "TLS_AES_128_GCM_SHA256")]
    Tls13Aes128GcmSha256,
    /// TLS 1.3 (RFC 8446 §B.4).
    #[serde(rename = "TLS_CHACHA20_POLY1305_SHA256")]
    Tls13Chacha20Poly1305Sha256,
    /// TLS 1.2 with an ECDSA or EdDSA key (RFC 5289).
    #[serde(rename = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")]
    EcdheEcdsaAes256GcmSha384,
    /// TLS 1.2 with an ECDSA or EdDSA key (RFC 5289).
    #[serde(rename = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")]
    EcdheEcdsaAes128GcmSha256,
    /// TLS 1.2 with an ECDSA or EdDSA key (RFC 7905).
    #[serde(rename = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256")]
    EcdheEcdsaChacha20Poly1305Sha256,
    /// TLS 1.2 with an RSA key (RFC 5289).
    #[serde(rename = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384")]
    EcdheRsaAes256GcmSha384,
    /// TLS 1.2 with an RSA key (RFC 5289).
    #[serde(rename = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")]
    EcdheRsaAes128GcmSha256,
    /// TLS 1.2 with an RSA key (RFC 7905).
    #[serde(rename = "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256")]
    EcdheRsaChacha20Poly1305Sha256,
}

impl CipherSuite {
    /// The version that it belongs to.
    pub fn version(self) -> TlsVersion {
        match self {
            Self::Tls13Aes256GcmSha384
            | Self::Tls13Aes128GcmSha256
            | Self::Tls13Chacha20Poly1305Sha256 => TlsVersion::Tls13,
            Self::EcdheEcdsaAes256GcmSha384
            | Self::EcdheEcdsaAes128GcmSha256
            | Self::EcdheEcdsaChacha20Poly1305Sha256
            | Self::EcdheRsaAes256GcmSha384
            | Self::EcdheRsaAes128GcmSha256
            | Self::EcdheRsaChacha20Poly1305Sha256 => TlsVersion::Tls12,
        }
    }
}

/// A group in which keys are exchanged, by its IANA name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum KeyExchangeGroup {
    /// RFC 7748.
    #[serde(rename = "x25519")]
    X25519,
    /// NIST P-256 (RFC 8422).
    #[serde(rename = "secp256r1")]
    Secp256r1,
    /// NIST P-384 (RFC 8422).
    #[serde(rename = "secp384r1")]
    Secp384r1,
    /// X25519 together with ML-KEM-768 (FIPS 203), which quantum computers don't break; TLS 1.3 only.
    #[serde(rename = "X25519MLKEM768")]
    X25519MlKem768,
    /// NIST P-256 together with ML-KEM-768 (FIPS 203); TLS 1.3 only.
    #[serde(rename = "SecP256r1MLKEM768")]
    Secp256r1MlKem768,
}

impl KeyExchangeGroup {
    /// Whether `version` can use it.
    pub fn is_for(self, version: TlsVersion) -> bool {
        match self {
            Self::X25519 | Self::Secp256r1 | Self::Secp384r1 => true,
            Self::X25519MlKem768 | Self::Secp256r1MlKem768 => version == TlsVersion::Tls13,
        }
    }
}

/// Checks lists of suites and groups, of which an empty one stands for the default, against the
/// versions from `min` to `max`.
pub(crate) fn validate(
    errors: &mut FieldErrors,
    (suites, groups): (&[CipherSuite], &[KeyExchangeGroup]),
    (min, max): (TlsVersion, TlsVersion),
) {
    let allowed =
        || [TlsVersion::Tls12, TlsVersion::Tls13].into_iter().filter(|v| (min..=max).contains(v));
    without_repeats(errors, "cipher_suites", suites);
    without_repeats(errors, "key_exchange_groups", groups);
    errors.within("cipher_suites", |errors| {
        for (i, suite) in suites.iter().enumerate() {
            let version = suite.version();
            errors.require(allowed().any(|v| v == version), i, "not_allowed", || {
                format!("is a suite of TLS {}, which the versions leave out", version.as_str())
            });
        }
    });
    errors.within("key_exchange_groups", |errors| {
        for (i, group) in groups.iter().enumerate() {
            errors.require(allowed().any(|v| group.is_for(v)), i, "not_allowed", || {
                "is for TLS 1.3 only, which max_version leaves out".to_owned()
            });
        }
    });
    for version in allowed() {
        let has_suite = suites.is_empty() || suites.iter().any(|s| s.version() == version);
        errors.require(has_suite, "cipher_suites", "no_handshake", || lacks("suite", version));
        let has_group = groups.is_empty() || groups.iter().any(|group| group.is_for(version));
        errors
            .require(has_group, "key_exchange_groups", "no_handshake", || lacks("group", version));
    }
}

fn lacks(what: &str, version: TlsVersion) -> String {
    let version = version.as_str();
    format!("holds no {what} for TLS {version}, which the versions allow: no client could use it")
}

/// More than there are can't stand in a list without repeats.
const LIST_MAX_COUNT: usize = 16;

fn without_repeats<T: PartialEq>(errors: &mut FieldErrors, segment: &str, list: &[T]) {
    errors.range(segment, list.len(), 0, LIST_MAX_COUNT);
    errors.within(segment, |errors| {
        for (i, item) in list.iter().enumerate().take(LIST_MAX_COUNT) {
            errors.require(!list[..i].contains(item), i, "duplicate", || {
                "stands in the list already".to_owned()
            });
        }
    });
}

#[cfg(test)]
mod tests;
