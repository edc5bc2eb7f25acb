//! Tokens, and the sets of keys that they are checked by.

use std::sync::OnceLock;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use ballast_policy::jwt::{
    JWKS_MAX_BYTES, KEY_MAX_COUNT, KeySet, Verifier, VerifierSettings, bearer,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// 2026-01-01, in seconds since the Unix epoch.
const NOW_S: u64 = 1_767_225_600;

struct Issuer {
    key: Ed25519KeyPair,
    verifier: Verifier,
}

impl Issuer {
    fn new() -> Self {
        let key = Ed25519KeyPair::from_seed_unchecked(&[42; 32]).expect("any 32 bytes are a key");
        let x = URL_SAFE_NO_PAD.encode(key.public_key().as_ref());
        let jwks = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"k","x":"{x}"}}]}}"#);
        let keys = KeySet::from_jwks(jwks.as_bytes()).expect("it is a set of keys");
        Self { key, verifier: Verifier::new(VerifierSettings::default(), keys) }
    }

    fn signed(&self, header: &[u8], payload: &[u8]) -> String {
        let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
        let signed = format!("{}.{}", encode(header), encode(payload));
        let signature = self.key.sign(signed.as_bytes());
        format!("{signed}.{}", encode(signature.as_ref()))
    }
}

/// `!` and a payload, which is signed; `?`, a header, LF and a payload, both signed; or an
/// `Authorization` field as it comes.
///
/// # Panics
/// A token that nobody has signed is genuine.
pub fn token(data: &[u8]) {
    static ISSUER: OnceLock<Issuer> = OnceLock::new();
    let issuer = ISSUER.get_or_init(Issuer::new);
    match data {
        [b'!', payload @ ..] => {
            let token = issuer.signed(br#"{"alg":"EdDSA","kid":"k"}"#, payload);
            check(issuer, token.as_bytes());
            let mut forged = token.into_bytes();
            // The last but one: the bits of the last need not all count.
            let at = forged.len() - 2;
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert!(issuer.verifier.verify(&forged, NOW_S).is_err(), "a forged token is genuine");
        }
        [b'?', both @ ..] => {
            let at = both.iter().position(|byte| *byte == b'\n').unwrap_or(both.len());
            let payload = both.get(at + 1..).unwrap_or_default();
            check(issuer, issuer.signed(&both[..at], payload).as_bytes());
        }
        _ => {
            let Ok(token) = bearer(data) else { return };
            assert!(issuer.verifier.verify(token, NOW_S).is_err(), "nobody has signed that");
        }
    }
}

fn check(issuer: &Issuer, token: &[u8]) {
    let Ok(claims) = issuer.verifier.verify(token, NOW_S) else { return };
    let expiry = claims.claim("exp").and_then(serde_json::Value::as_f64);
    let is_over = expiry.is_none_or(|expiry| expiry + 60.0 < NOW_S as f64);
    assert!(!is_over, "it has expired: {expiry:?}");
    let _ = claims.subject();
}

/// A JSON Web Key Set as it is fetched.
pub fn jwks(data: &[u8]) {
    if let Ok(keys) = KeySet::from_jwks(data) {
        assert!(!keys.is_empty() && data.len() <= JWKS_MAX_BYTES);
        assert!(keys.skipped_count() < KEY_MAX_COUNT);
    }
}
