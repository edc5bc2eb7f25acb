use std::collections::BTreeMap;

use ballast_model::spec::policy::{ClaimMatch, ClaimValue, RequireJwt};
use proptest::prelude::*;
use serde_json::json;

use super::*;

mod signer;

use signer::{Signer, encoded};

const NOW_S: u64 = 1_800_000_000;

fn keys(jwks: &[Value]) -> KeySet {
    KeySet::from_jwks(json!({ "keys": jwks }).to_string().as_bytes()).unwrap()
}

fn verifier(jwks: &[Value]) -> Verifier {
    Verifier::new(VerifierSettings::default(), keys(jwks))
}

fn claims() -> Value {
    json!({"sub": "ann", "exp": NOW_S + 300})
}

/// What becomes of a token of these claims with these settings.
fn checked(settings: VerifierSettings, claims: &Value) -> Result<Claims, JwtError> {
    let signer = Signer::new(JwtAlgorithm::EdDsa);
    let token = signer.token(&json!({"alg": "EdDSA"}), claims);
    Verifier::new(settings, keys(&[signer.jwk()])).verify(token.as_bytes(), NOW_S)
}

#[test]
fn a_token_of_each_algorithm_is_accepted_and_no_altered_one() {
    for algorithm in JwtAlgorithm::ALL {
        let signer = Signer::new(algorithm);
        let verifier = verifier(&[signer.jwk()]);
        let token = signer.token(&json!({"alg": algorithm.as_str()}), &claims());
        let accepted = verifier.verify(token.as_bytes(), NOW_S).unwrap();
        assert_eq!(accepted.subject(), Some("ann"));
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let header = signed.split('.').next().unwrap();
        let other = json!({"sub": "eve", "exp": NOW_S + 300}).to_string();
        let forged = format!("{header}.{}.{signature}", encoded(other.as_bytes()));
        let refused = verifier.verify(forged.as_bytes(), NOW_S);
        assert_eq!(refused, Err(JwtError::BadSignature), "{algorithm:?}");
        let unsigned = format!("{signed}.");
        let refused = verifier.verify(unsigned.as_bytes(), NOW_S);
        assert_eq!(refused, Err(JwtError::BadSignature), "{algorithm:?}");
        let stranger = Signer::new(JwtAlgorithm::Es256);
        let refused = self::verifier(&[stranger.jwk()]).verify(token.as_bytes(), NOW_S);
        assert!(refused.is_err(), "{algorithm:?}");
    }
}

/// RFC 7515, Appendices A.2 and A.3.
#[test]
fn the_examples_of_the_standard_are_accepted() {
    let claims = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let rsa = json!({"kty": "RSA", "e": "AQAB", "n": concat!(
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4Ql",
        "L-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUs",
        "LA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoud",
        "F8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ")});
    let rs256 = concat!(
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujG",
        "bds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K",
        "0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6",
        "LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
    );
    let ec = json!({"kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    let es256 =
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    for (key, header, signature) in
        [(rsa, "eyJhbGciOiJSUzI1NiJ9", rs256), (ec, "eyJhbGciOiJFUzI1NiJ9", es256)]
    {
        let token = format!("{header}.{claims}.{signature}");
        let verifier = verifier(&[key]);
        let found = verifier.verify(token.as_bytes(), 1_300_819_379).unwrap();
        assert_eq!(found.claim("http://example.com/is_root"), Some(&json!(true)));
        let late = verifier.verify(token.as_bytes(), 1_300_819_380 + 60);
        assert_eq!(late, Err(JwtError::Expired));
    }
}

#[test]
fn no_token_chooses_how_it_is_checked() {
    let signer = Signer::new(JwtAlgorithm::Rs256);
    let verifier = verifier(&[signer.jwk()]);
    for alg in ["none", "None", "", "HS256", "HS384", "HS512", "RS1", "rs256"] {
        let token = signer.token(&json!({"alg": alg}), &claims());
        let refused = verifier.verify(token.as_bytes(), NOW_S);
        assert_eq!(refused, Err(JwtError::AlgorithmNotAllowed), "{alg:?}");
    }
    let attacker = Signer::new(JwtAlgorithm::EdDsa);
    for (brought, alg, expected) in [
        (json!({"jwk": attacker.jwk()}), "EdDSA", JwtError::UnknownKey),
        (json!({"jku": "https://evil.example"}), "EdDSA", JwtError::UnknownKey),
        (json!({"crit": ["b64"], "b64": false}), "EdDSA", JwtError::CriticalExtension),
    ] {
        let mut header = brought;
        header["alg"] = json!(alg);
        let token = attacker.token(&header, &claims());
        assert_eq!(verifier.verify(token.as_bytes(), NOW_S), Err(expected));
    }
    let twice = format!("{}.e30.", encoded(br#"{"alg":"none","alg":"RS256"}"#));
    assert_eq!(verifier.verify(twice.as_bytes(), NOW_S), Err(JwtError::Malformed));
    let es =
        VerifierSettings { algorithms: vec![JwtAlgorithm::Es256], ..VerifierSettings::default() };
    assert_eq!(checked(es, &claims()), Err(JwtError::AlgorithmNotAllowed));
}

#[test]
fn a_key_is_used_for_its_own_algorithm_only() {
    let signer = Signer::new(JwtAlgorithm::Ps256);
    let mut jwk = signer.jwk();
    jwk["alg"] = json!("RS256");
    let token = signer.token(&json!({"alg": "PS256"}), &claims());
    assert_eq!(verifier(&[jwk]).verify(token.as_bytes(), NOW_S), Err(JwtError::UnknownKey));
    // Said to be what it is not.
    let token = signer.token(&json!({"alg": "RS256"}), &claims());
    let refused = verifier(&[signer.jwk()]).verify(token.as_bytes(), NOW_S);
    assert_eq!(refused, Err(JwtError::BadSignature));
}

#[test]
fn the_key_that_the_token_names_is_used_and_no_other() {
    let signers: Vec<_> = (0..6).map(|_| Signer::new(JwtAlgorithm::Es256)).collect();
    let named = |signer: &Signer, kid: &str| {
        let mut jwk = signer.jwk();
        jwk["kid"] = json!(kid);
        jwk
    };
    let jwks: Vec<_> =
        signers.iter().enumerate().map(|(i, signer)| named(signer, &format!("k{i}"))).collect();
    let verifier = verifier(&jwks);
    let verify = |signer: usize, header: Value| {
        let signer = &signers[signer];
        let mut header = header;
        header["alg"] = json!(signer.algorithm().as_str());
        verifier.verify(signer.token(&header, &claims()).as_bytes(), NOW_S).map(drop)
    };
    assert_eq!(verify(5, json!({"kid": "k5"})), Ok(()));
    assert_eq!(verify(5, json!({"kid": "k4"})), Err(JwtError::BadSignature));
    assert_eq!(verify(5, json!({"kid": "k6"})), Err(JwtError::UnknownKey));
    // Without a name, so many are tried.
    assert_eq!(verify(KEY_TRY_MAX_COUNT - 1, json!({})), Ok(()));
    assert_eq!(verify(KEY_TRY_MAX_COUNT, json!({})), Err(JwtError::BadSignature));
}

#[test]
fn dates_hold_at_the_skew_and_not_a_second_beyond() {
    let with = |claims: Value| checked(VerifierSettings::default(), &claims).map(drop);
    assert_eq!(with(json!({"exp": NOW_S - 59})), Ok(()));
    assert_eq!(with(json!({"exp": NOW_S - 60})), Err(JwtError::Expired));
    assert_eq!(with(json!({"exp": NOW_S as f64 + 0.5})), Ok(()));
    for name in ["nbf", "iat"] {
        assert_eq!(with(json!({"exp": NOW_S + 300, name: NOW_S + 60})), Ok(()));
        let early = with(json!({"exp": NOW_S + 300, name: NOW_S + 61}));
        assert_eq!(early, Err(JwtError::NotYetValid));
    }
    assert_eq!(with(json!({})), Err(JwtError::NoExpiry), "an expiry is required");
    assert_eq!((JwtError::NoExpiry.code(), JwtError::NoExpiry.status()), ("jwt_no_expiry", 401));
    let endless = VerifierSettings { requires_expiry: false, ..VerifierSettings::default() };
    assert!(checked(endless, &json!({})).is_ok());
    assert_eq!(with(json!({"exp": "soon"})), Err(JwtError::Malformed));
}

#[test]
fn issuer_and_audience_are_those_that_were_asked_for() {
    let settings = || VerifierSettings {
        issuer: Some("https://login.example".to_owned()),
        audiences: vec!["shop".to_owned(), "api".to_owned()],
        ..VerifierSettings::default()
    };
    let with = |iss: Value, aud: Value| {
        checked(settings(), &json!({"exp": NOW_S + 9, "iss": iss, "aud": aud})).map(drop)
    };
    let iss = || json!("https://login.example");
    assert_eq!(with(iss(), json!("api")), Ok(()));
    assert_eq!(with(iss(), json!(["x", "shop"])), Ok(()));
    assert_eq!(with(iss(), json!("sho")), Err(JwtError::WrongAudience));
    assert_eq!(with(iss(), json!([])), Err(JwtError::WrongAudience));
    assert_eq!(with(iss(), json!(null)), Err(JwtError::WrongAudience));
    assert_eq!(with(json!("https://evil.example"), json!("api")), Err(JwtError::WrongIssuer));
    assert_eq!(with(json!(["https://login.example"]), json!("api")), Err(JwtError::WrongIssuer));
    let neither = checked(settings(), &json!({"exp": NOW_S + 9, "iss": iss()})).map(drop);
    assert_eq!(neither, Err(JwtError::WrongAudience));
}

#[test]
fn claims_and_scopes_suffice_or_not() {
    let token = json!({"exp": NOW_S + 9, "scope": "read write", "tier": "gold", "level": 3,
        "staff": true, "realm": {"roles": ["ops", 7], "a/b": "c"}, "https://x/y": "z"});
    let claims = checked(VerifierSettings::default(), &token).unwrap();
    let text = |text: &str| ClaimValue::Text(text.to_owned());
    let with = |name: &str, wanted: ClaimMatch| {
        let claims_wanted = BTreeMap::from([(name.to_owned(), wanted)]);
        claims.satisfies(&RequireJwt { claims: claims_wanted, ..RequireJwt::new("p") })
    };
    for (name, wanted) in [
        ("tier", ClaimMatch::Equals(text("gold"))),
        ("level", ClaimMatch::Equals(ClaimValue::Integer(3))),
        ("staff", ClaimMatch::Equals(ClaimValue::Bool(true))),
        ("/realm/roles", ClaimMatch::Contains(text("ops"))),
        ("/realm/roles", ClaimMatch::Contains(ClaimValue::Integer(7))),
        ("/realm/a~1b", ClaimMatch::Equals(text("c"))),
        ("https://x/y", ClaimMatch::Equals(text("z"))),
    ] {
        assert_eq!(with(name, wanted), Ok(()), "{name}");
    }
    for (name, wanted) in [
        ("tier", ClaimMatch::Equals(text("silver"))),
        ("tier", ClaimMatch::Contains(text("gold"))),
        ("level", ClaimMatch::Equals(text("3"))),
        ("/realm/roles", ClaimMatch::Contains(text("op"))),
        ("/realm/none", ClaimMatch::Equals(text(""))),
        ("missing", ClaimMatch::Equals(ClaimValue::Bool(false))),
    ] {
        assert_eq!(with(name, wanted), Err(JwtError::ClaimMismatch), "{name}");
    }
    let scopes = |scopes: &[&str]| {
        let scopes = scopes.iter().map(|s| (*s).to_owned()).collect();
        claims.satisfies(&RequireJwt { scopes, ..RequireJwt::new("p") })
    };
    assert_eq!(scopes(&["read", "write"]), Ok(()));
    assert_eq!(scopes(&["read", "admin"]), Err(JwtError::InsufficientScope));
    assert_eq!(scopes(&["rea"]), Err(JwtError::InsufficientScope));
    let listed = json!({"exp": NOW_S + 9, "scp": ["admin"]});
    let claims = checked(VerifierSettings::default(), &listed).unwrap();
    let admin = RequireJwt { scopes: vec!["admin".to_owned()], ..RequireJwt::new("p") };
    assert_eq!(claims.satisfies(&admin), Ok(()));
    assert_eq!((JwtError::InsufficientScope.status(), JwtError::Expired.status()), (403, 401));
}

#[test]
fn tokens_are_bounded() {
    let signer = Signer::new(JwtAlgorithm::EdDsa);
    let verifier = verifier(&[signer.jwk()]);
    let mut claims = claims();
    let token = |claims: &Value| signer.token(&json!({"alg": "EdDSA"}), claims);
    let room = (TOKEN_MAX_BYTES - token(&claims).len()) * 3 / 4 - 16;
    claims["pad"] = json!("x".repeat(room));
    while token(&claims).len() < TOKEN_MAX_BYTES {
        let pad = claims["pad"].as_str().map(str::len).unwrap_or_default();
        claims["pad"] = json!("x".repeat(pad + 1));
    }
    let fits = token(&claims);
    assert_eq!(fits.len(), TOKEN_MAX_BYTES);
    assert!(verifier.verify(fits.as_bytes(), NOW_S).is_ok());
    let beyond = format!("{fits}A");
    assert_eq!(verifier.verify(beyond.as_bytes(), NOW_S), Err(JwtError::TooLong));
}

#[test]
fn a_key_set_takes_what_it_understands_and_says_when_nothing_is_left() {
    let read = |jwks: Value| KeySet::from_jwks(json!({ "keys": jwks }).to_string().as_bytes());
    let good = Signer::new(JwtAlgorithm::Es256).jwk();
    let with = |name: &str, value: Value| {
        let mut key = good.clone();
        key[name] = value;
        key
    };
    let bad = [
        json!({"kty": "oct", "k": "c2VjcmV0"}),
        json!({"kty": "RSA", "n": encoded(&[255; 128]), "e": "AQAB"}),
        json!({"kty": "OKP", "crv": "X25519", "x": encoded(&[1; 32])}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": encoded(&[1; 31])}),
        json!("text"),
        with("use", json!("enc")),
        with("key_ops", json!(["sign"])),
        with("alg", json!("HS256")),
        with("alg", json!("ES384")),
        with("x", json!(encoded(&[1; 32]))),
        with("crv", json!("P-521")),
    ];
    for key in &bad {
        assert!(matches!(read(json!([key])), Err(JwksError::NoneUsable { count: 1 })), "{key}");
    }
    let mixed = bad.iter().chain([&good]).collect::<Vec<_>>();
    assert_eq!(read(json!(mixed)).unwrap().skipped_count(), bad.len());
    assert!(read(json!(vec![&good; KEY_MAX_COUNT])).is_ok());
    let many = read(json!(vec![&good; KEY_MAX_COUNT + 1]));
    assert!(matches!(many, Err(JwksError::TooMany { .. })));
    assert!(matches!(KeySet::from_jwks(b"{"), Err(JwksError::Malformed(_))));
    let mut padded = json!({ "keys": [good] }).to_string().into_bytes();
    padded.resize(JWKS_MAX_BYTES, b' ');
    assert!(KeySet::from_jwks(&padded).is_ok(), "at the limit");
    padded.push(b' ');
    assert!(matches!(KeySet::from_jwks(&padded), Err(JwksError::TooLong)), "limit + 1");
}

#[test]
fn the_token_is_taken_from_its_header_field() {
    assert_eq!(bearer(b"Bearer a.b.c"), Ok(b"a.b.c".as_slice()));
    assert_eq!(bearer(b"bearer  a.b.c "), Ok(b"a.b.c".as_slice()));
    for value in ["", "Bearer", "Bearer ", "Basic a.b.c", "Bearera.b.c"] {
        assert_eq!(bearer(value.as_bytes()), Err(JwtError::Missing), "{value:?}");
    }
}

proptest! {
    #[test]
    fn nothing_unsigned_is_ever_accepted(token in "[a-zA-Z0-9_.=-]{0,80}", bytes: Vec<u8>) {
        let verifier = verifier(&[Signer::new(JwtAlgorithm::EdDsa).jwk()]);
        prop_assert!(verifier.verify(token.as_bytes(), NOW_S).is_err());
        prop_assert!(verifier.verify(&bytes, NOW_S).is_err());
        let header = encoded(br#"{"alg":"EdDSA"}"#);
        let shaped = format!("{header}.{}.{}", encoded(&bytes), encoded(&bytes));
        prop_assert!(verifier.verify(shaped.as_bytes(), NOW_S).is_err());
    }
}
