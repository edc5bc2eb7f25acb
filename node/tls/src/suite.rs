//! Cipher suites and groups as declared, as the cryptographic provider has them.
//!
//! Invariant: every suite and group of the model is one that the provider has.

use ballast_model::{CipherSuite, KeyExchangeGroup};
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{SignatureAlgorithm, SupportedCipherSuite};

/// A provider with those suites and groups alone, in that order; empty lists leave its own.
pub fn provider(suites: &[CipherSuite], groups: &[KeyExchangeGroup]) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    if !suites.is_empty() {
        provider.cipher_suites = suites.iter().map(|suite| supported(*suite)).collect();
    }
    if !groups.is_empty() {
        provider.kx_groups = groups.iter().map(|group| supported_group(*group)).collect();
    }
    provider
}

/// Whether a key of that algorithm can be used with the suite.
pub fn fits(suite: CipherSuite, algorithm: SignatureAlgorithm) -> bool {
    supported(suite).usable_for_signature_algorithm(algorithm)
}

fn supported(suite: CipherSuite) -> SupportedCipherSuite {
    use CipherSuite as Suite;
    match suite {
        Suite::Tls13Aes256GcmSha384 => cipher_suite::TLS13_AES_256_GCM_SHA384,
        Suite::Tls13Aes128GcmSha256 => cipher_suite::TLS13_AES_128_GCM_SHA256,
        Suite::Tls13Chacha20Poly1305Sha256 => cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        Suite::EcdheEcdsaAes256GcmSha384 => cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        Suite::EcdheEcdsaAes128GcmSha256 => cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        Suite::EcdheEcdsaChacha20Poly1305Sha256 => {
            cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        }
        Suite::EcdheRsaAes256GcmSha384 => cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        Suite::EcdheRsaAes128GcmSha256 => cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        Suite::EcdheRsaChacha20Poly1305Sha256 => {
            cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        }
    }
}

fn supported_group(group: KeyExchangeGroup) -> &'static dyn SupportedKxGroup {
    match group {
        KeyExchangeGroup::X25519 => kx_group::X25519,
        KeyExchangeGroup::Secp256r1 => kx_group::SECP256R1,
        KeyExchangeGroup::Secp384r1 => kx_group::SECP384R1,
        KeyExchangeGroup::X25519MlKem768 => kx_group::X25519MLKEM768,
        KeyExchangeGroup::Secp256r1MlKem768 => kx_group::SECP256R1MLKEM768,
    }
}
