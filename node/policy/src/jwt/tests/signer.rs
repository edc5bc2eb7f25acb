//! Issues tokens and publishes its keys, as a provider does.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair,
};
use serde_json::json;

use super::*;

static RSA: LazyLock<RsaKeyPair> =
    LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());

/// One key.
pub(super) enum Signer {
    Rsa(JwtAlgorithm),
    Ec(EcdsaKeyPair, JwtAlgorithm),
    Ed(Ed25519KeyPair),
}

impl Signer {
    pub(super) fn new(algorithm: JwtAlgorithm) -> Self {
        let ec = |signing: &'static EcdsaSigningAlgorithm| {
            Self::Ec(EcdsaKeyPair::generate(signing).unwrap(), algorithm)
        };
        match algorithm {
            JwtAlgorithm::Es256 => ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            JwtAlgorithm::Es384 => ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            JwtAlgorithm::EdDsa => Self::Ed(Ed25519KeyPair::generate().unwrap()),
            rsa => Self::Rsa(rsa),
        }
    }

    pub(super) fn algorithm(&self) -> JwtAlgorithm {
        match self {
            Self::Rsa(algorithm) | Self::Ec(_, algorithm) => *algorithm,
            Self::Ed(_) => JwtAlgorithm::EdDsa,
        }
    }

    /// Its public key, without `kid` and `alg`.
    pub(super) fn jwk(&self) -> Value {
        match self {
            Self::Rsa(_) => {
                let key = RSA.public_key();
                let n = encoded(key.modulus().big_endian_without_leading_zero());
                let e = encoded(key.exponent().big_endian_without_leading_zero());
                json!({"kty": "RSA", "n": n, "e": e})
            }
            Self::Ec(pair, algorithm) => {
                let (curve, length) =
                    if *algorithm == JwtAlgorithm::Es256 { ("P-256", 32) } else { ("P-384", 48) };
                let (x, y) = pair.public_key().as_ref()[1..].split_at(length);
                json!({"kty": "EC", "crv": curve, "x": encoded(x), "y": encoded(y)})
            }
            Self::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encoded(pair.public_key().as_ref())})
            }
        }
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let rsa = |encoding: &'static dyn RsaEncoding| {
            let mut signature = vec![0; RSA.public_modulus_len()];
            RSA.sign(encoding, &random, message, &mut signature).unwrap();
            signature
        };
        match self {
            Self::Rsa(JwtAlgorithm::Rs256) => rsa(&signature::RSA_PKCS1_SHA256),
            Self::Rsa(JwtAlgorithm::Rs384) => rsa(&signature::RSA_PKCS1_SHA384),
            Self::Rsa(JwtAlgorithm::Rs512) => rsa(&signature::RSA_PKCS1_SHA512),
            Self::Rsa(_) => rsa(&signature::RSA_PSS_SHA256),
            Self::Ec(pair, _) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with that header and those claims.
    pub(super) fn token(&self, header: &Value, claims: &Value) -> String {
        let [header, claims] = [header, claims].map(|part| encoded(part.to_string().as_bytes()));
        let signed = format!("{header}.{claims}");
        let signature = encoded(&self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

pub(super) fn encoded(octets: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}
