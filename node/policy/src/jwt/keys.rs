//! Sets of public keys (RFC 7517).

use std::sync::Arc;

use aws_lc_rs::signature::{
    self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::JwtAlgorithm;

/// Longest document of keys, in bytes.
pub const JWKS_MAX_BYTES: usize = 256 * 1024;
/// Most keys in one document.
pub const KEY_MAX_COUNT: usize = 64;

/// The algorithms of RSA keys.
const RSA: [JwtAlgorithm; 4] =
    [JwtAlgorithm::Rs256, JwtAlgorithm::Rs384, JwtAlgorithm::Rs512, JwtAlgorithm::Ps256];

/// The public keys of a provider; clones share them.
#[derive(Clone, Default)]
pub struct KeySet {
    keys: Vec<Arc<Key>>,
    skipped_count: usize,
}

/// A key with one of its algorithms; an RSA key without an `alg` is there once for each.
struct Key {
    kid: Option<String>,
    algorithm: JwtAlgorithm,
    public: ParsedPublicKey,
}

/// Why a document of keys is refused.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// It is longer than [`JWKS_MAX_BYTES`].
    #[error("the keys are longer than {JWKS_MAX_BYTES} bytes")]
    TooLong,
    /// It is no JSON with a list `keys`.
    #[error("the keys are no JSON Web Key Set")]
    Malformed(#[source] serde_json::Error),
    /// It has more than [`KEY_MAX_COUNT`].
    #[error("there are {count} keys; at most {KEY_MAX_COUNT} are taken")]
    TooMany {
        /// How many it has.
        count: usize,
    },
    /// It has no key that can be used.
    #[error("none of the {count} keys is a public key for signatures that is understood")]
    NoneUsable {
        /// How many it has.
        count: usize,
    },
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default, rename = "use")]
    usage: Option<String>,
    #[serde(default)]
    key_ops: Option<Vec<String>>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
}

impl KeySet {
    /// Reads a JSON Web Key Set. Keys that are not understood are skipped (RFC 7517 §5): those for
    /// encryption, those with shared secrets, unknown curves, RSA below 2048 or above 8192 bits.
    ///
    /// # Errors
    /// The document is unusable as a whole.
    pub fn from_jwks(document: &[u8]) -> Result<Self, JwksError> {
        if document.len() > JWKS_MAX_BYTES {
            return Err(JwksError::TooLong);
        }
        let document: Document = serde_json::from_slice(document).map_err(JwksError::Malformed)?;
        let count = document.keys.len();
        if count > KEY_MAX_COUNT {
            return Err(JwksError::TooMany { count });
        }
        let mut set = Self::default();
        for key in document.keys {
            let found = serde_json::from_value::<Jwk>(key).ok().and_then(|jwk| jwk.keys());
            match found {
                Some(keys) if !keys.is_empty() => set.keys.extend(keys.into_iter().map(Arc::new)),
                _ => set.skipped_count += 1,
            }
        }
        if set.keys.is_empty() { Err(JwksError::NoneUsable { count }) } else { Ok(set) }
    }

    /// How many keys there are; an RSA key that names no algorithm counts once for each.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys of the document were skipped.
    pub fn skipped_count(&self) -> usize {
        self.skipped_count
    }

    /// The keys that may have made a signature: those of the algorithm, and where the token names
    /// one, with that `kid`.
    pub(super) fn of(
        &self,
        algorithm: JwtAlgorithm,
        kid: Option<&str>,
    ) -> impl Iterator<Item = &ParsedPublicKey> {
        let keys = self.keys.iter().filter(move |key| key.algorithm == algorithm);
        let keys = keys.filter(move |key| kid.is_none() || key.kid.as_deref() == kid);
        keys.map(|key| &key.public)
    }
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys = self.keys.iter().map(|key| (key.kid.as_deref(), key.algorithm));
        f.debug_list().entries(keys).finish()
    }
}

impl Jwk {
    fn keys(&self) -> Option<Vec<Key>> {
        let signs = self.usage.as_deref().is_none_or(|usage| usage == "sig");
        let verifies = self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !signs || !verifies {
            return None;
        }
        // One that is there but unknown must not open the key to others.
        let pinned = match &self.alg {
            Some(name) => Some(JwtAlgorithm::from_name(name)?),
            None => None,
        };
        let algorithms: &[JwtAlgorithm] = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => &RSA,
            ("EC", Some("P-256")) => &[JwtAlgorithm::Es256],
            ("EC", Some("P-384")) => &[JwtAlgorithm::Es384],
            ("OKP", Some("Ed25519")) => &[JwtAlgorithm::EdDsa],
            _ => return None,
        };
        let algorithms = algorithms.iter().filter(|a| pinned.is_none_or(|pinned| pinned == **a));
        algorithms
            .map(|algorithm| {
                let public = self.public_key(*algorithm)?;
                Some(Key { kid: self.kid.clone(), algorithm: *algorithm, public })
            })
            .collect()
    }

    fn public_key(&self, algorithm: JwtAlgorithm) -> Option<ParsedPublicKey> {
        match algorithm {
            JwtAlgorithm::Rs256 => self.rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            JwtAlgorithm::Rs384 => self.rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            JwtAlgorithm::Rs512 => self.rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            JwtAlgorithm::Ps256 => self.rsa(&signature::RSA_PSS_2048_8192_SHA256),
            JwtAlgorithm::Es256 => self.point(&signature::ECDSA_P256_SHA256_FIXED, 32),
            JwtAlgorithm::Es384 => self.point(&signature::ECDSA_P384_SHA384_FIXED, 48),
            JwtAlgorithm::EdDsa => {
                let x = octets(self.x.as_ref()?)?;
                ParsedPublicKey::new(&signature::ED25519, &x).ok().filter(|_| x.len() == 32)
            }
        }
    }

    fn rsa(&self, parameters: &'static RsaParameters) -> Option<ParsedPublicKey> {
        // Some issuers write a sign octet in front, against RFC 7518 §6.3.1.1.
        let number = |text: &Option<String>| {
            let octets = octets(text.as_ref()?)?;
            let zeros = octets.iter().take_while(|octet| **octet == 0).count();
            Some(octets[zeros..].to_vec())
        };
        let (n, e) = (number(&self.n)?, number(&self.e)?);
        let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
        if !(2_048..=8_192).contains(&bits) {
            return None;
        }
        RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters).ok()
    }

    /// An uncompressed point (SEC 1 §2.3.3).
    fn point(
        &self,
        algorithm: &'static dyn VerificationAlgorithm,
        length: usize,
    ) -> Option<ParsedPublicKey> {
        let (x, y) = (octets(self.x.as_ref()?)?, octets(self.y.as_ref()?)?);
        if x.len() != length || y.len() != length {
            return None;
        }
        ParsedPublicKey::new(algorithm, [&[4], x.as_slice(), &y].concat()).ok()
    }
}

fn octets(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
