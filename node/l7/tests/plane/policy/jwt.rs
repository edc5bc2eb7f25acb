//! Tokens.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use ballast_model::JwtProviderSpec;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;

pub(crate) struct Issuer {
    pair: Ed25519KeyPair,
    kid: &'static str,
}

impl Issuer {
    pub(crate) fn new(kid: &'static str) -> Self {
        Self { pair: Ed25519KeyPair::generate().unwrap(), kid }
    }

    pub(crate) fn jwk(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref());
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": x })
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        let header = json!({ "alg": "EdDSA", "kid": self.kid }).to_string();
        let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", encode(header), encode(claims.to_string()));
        let signature = self.pair.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

fn now_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

fn declare_provider(site: &mut Site, keys: &[&Issuer]) {
    let jwks = json!({ "keys": keys.iter().map(|issuer| issuer.jwk()).collect::<Vec<_>>() });
    let spec = JwtProviderSpec {
        issuer: Some("https://login".to_owned()),
        audiences: vec!["shop".to_owned()],
        ..JwtProviderSpec::inline(jwks)
    };
    site.edit(&[Edit::put(AnyDraft::JwtProvider(Draft::new("login", spec)), "uid-login")]);
}

const RULES: &str = r#"[{"name": "r", "when": {"path": {"prefix": "/api"}},
    "require_jwt": {"provider": "login", "scopes": ["read"], "claims": {"/realm/roles": {"contains": "ops"}}}}]"#;

async fn guarded(issuer: &Issuer) -> (Site, [Origin; 2]) {
    let (mut site, origins) = site("[]").await;
    declare_provider(&mut site, &[issuer]);
    declare(&mut site, RULES);
    site.wait_applied().await;
    (site, origins)
}

fn good() -> Value {
    json!({ "iss": "https://login", "aud": "shop", "exp": now_s() + 300, "scope": "read write",
        "realm": { "roles": ["dev", "ops"] } })
}

fn with(token: &str) -> String {
    get("/api", &format!("Authorization: Bearer {token}\r\n"))
}

#[tokio::test]
async fn only_a_good_token_passes_and_the_client_is_told_what_is_wrong() {
    let issuer = Issuer::new("k1");
    let (site, _origins) = guarded(&issuer).await;
    let mut client = site.connect().await;
    assert_eq!(client.ask(&with(&issuer.token(&good()))).await.status(), 200);
    assert_eq!(client.get("/").await.status(), 200, "elsewhere none is asked for");

    let none = client.get("/api").await;
    assert_eq!(
        (none.status(), none.field("www-authenticate")),
        (401, Some("Bearer realm=\"login\""))
    );
    let change = |name: &str, value: Value| {
        let mut claims = good();
        claims[name] = value;
        issuer.token(&claims)
    };
    let mut without_expiry = good();
    without_expiry.as_object_mut().unwrap().remove("exp");
    let stranger = Issuer::new("k1").token(&good());
    let unknown = Issuer::new("k2").token(&good());
    let mut failure_count = 1;
    for (token, status, says) in [
        (
            change("exp", json!(now_s() - 300)),
            401,
            "error=\"invalid_token\", error_description=\"jwt_expired\"",
        ),
        (issuer.token(&without_expiry), 401, "error_description=\"jwt_no_expiry\""),
        (change("nbf", json!(now_s() + 300)), 401, "jwt_not_yet_valid"),
        (change("iss", json!("https://other")), 401, "jwt_wrong_issuer"),
        (change("aud", json!(["other"])), 401, "jwt_wrong_audience"),
        (stranger, 401, "jwt_bad_signature"),
        (unknown, 401, "jwt_unknown_key"),
        ("a.b".to_owned(), 401, "jwt_malformed"),
        (
            change("realm", json!({ "roles": ["dev"] })),
            403,
            "error=\"insufficient_scope\", error_description=\"jwt_claim_mismatch\"",
        ),
        (change("scope", json!("write")), 403, "scope=\"read\""),
    ] {
        let answer = client.ask(&with(&token)).await;
        let challenge = answer.field("www-authenticate").unwrap_or_default();
        assert_eq!(answer.status(), status, "{says} {challenge}");
        assert!(challenge.contains(says), "{says} {challenge}");
        failure_count += 1;
    }
    site.failures(failure_count).await;
    assert_eq!(site.totals().failures_for(FailureReason::TokenRejected), 9);
    assert_eq!(site.totals().failures_for(FailureReason::TokenInsufficient), 2);
    let token = issuer.token(&good());
    let twice =
        get("/api", &format!("Authorization: Bearer {token}\r\nAuthorization: Bearer {token}\r\n"));
    assert_eq!(client.ask(&twice).await.status(), 401, "of two, a member might believe the other");
}

#[tokio::test]
async fn keys_are_rotated_under_a_connection_that_lives_on() {
    let (old, new) = (Issuer::new("k1"), Issuer::new("k2"));
    let (mut site, _origins) = guarded(&old).await;
    let mut client = site.connect().await;
    assert_eq!(client.ask(&with(&new.token(&good()))).await.status(), 401);
    declare_provider(&mut site, &[&old, &new]);
    site.wait_applied().await;
    for issuer in [&old, &new] {
        assert_eq!(client.ask(&with(&issuer.token(&good()))).await.status(), 200);
    }
    declare_provider(&mut site, &[&new]);
    site.wait_applied().await;
    assert_eq!(client.ask(&with(&old.token(&good()))).await.status(), 401);
}

#[tokio::test]
async fn keys_that_are_fetched_count_at_once_and_stay_when_a_fetch_fails() {
    let issuer = Issuer::new("k1");
    let (mut site, _origins) = site("[]").await;
    let spec = JwtProviderSpec::by_url("http://127.0.0.1:1/keys");
    site.edit(&[Edit::put(AnyDraft::JwtProvider(Draft::new("login", spec)), "uid-login")]);
    declare(&mut site, RULES);
    site.wait_applied().await;
    let mut client = site.connect().await;
    let answer = client.ask(&with(&issuer.token(&good()))).await;
    assert_eq!((answer.status(), answer.field("retry-after")), (503, Some("1")));
    site.failed(FailureReason::TokenKeysMissing, 1).await;

    let providers = site.plane.providers().borrow().clone();
    let provider = &providers["login"];
    let (revision, _) = provider.source().unwrap();
    let document = json!({ "keys": [issuer.jwk()] }).to_string();
    provider.fetched(revision, document.as_bytes(), 1).unwrap();
    assert_eq!(client.ask(&with(&issuer.token(&good()))).await.status(), 200);
    provider.failed(revision, "connection refused".to_owned());
    assert!(provider.fetched(revision, b"{}", 2).is_err());
    assert_eq!(client.ask(&with(&issuer.token(&good()))).await.status(), 200);
    let wished = tokio::spawn({
        let provider = std::sync::Arc::clone(provider);
        async move { provider.wished().await }
    });
    assert_eq!(client.ask(&with(&Issuer::new("k2").token(&good()))).await.status(), 401);
    soon(wished).await.unwrap();
}
