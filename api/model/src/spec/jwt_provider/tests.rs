use serde_json::json;

use super::*;

fn public() -> Value {
    json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "AAAA" }] })
}

fn faults(change: impl FnOnce(&mut JwtProviderSpec)) -> Vec<String> {
    let mut spec = JwtProviderSpec::inline(public());
    change(&mut spec);
    let mut errors = FieldErrors::default();
    spec.validate(&mut errors);
    errors.into_vec().iter().map(|error| format!("{} {}", error.pointer, error.code)).collect()
}

#[test]
fn a_document_written_by_hand_has_safe_defaults() {
    let document = r#"{"jwks_url": "https://login.example.com/keys", "audiences": ["shop"]}"#;
    let spec: JwtProviderSpec = serde_json::from_str(document).unwrap();
    let wanted = JwtProviderSpec {
        audiences: vec!["shop".to_owned()],
        ..JwtProviderSpec::by_url("https://login.example.com/keys")
    };
    assert_eq!(spec, wanted);
    assert!(spec.requires_expiry);
    let mut errors = FieldErrors::default();
    spec.validate(&mut errors);
    assert!(errors.is_empty());
    assert!(serde_json::from_str::<JwtProviderSpec>(r#"{"algorithms": ["HS256"]}"#).is_err());
    assert!(serde_json::from_str::<JwtProviderSpec>(r#"{"algorithms": ["none"]}"#).is_err());
}

#[test]
fn keys_come_from_exactly_one_place() {
    assert_eq!(faults(|_| {}), Vec::<String>::new());
    assert_eq!(faults(|spec| spec.jwks = None), ["/jwks required"]);
    let both = faults(|spec| spec.jwks_url = Some("https://a/".to_owned()));
    assert_eq!(both, ["/jwks_url not_allowed"]);
}

#[test]
fn secret_keys_are_refused() {
    let secret = json!({ "keys": [{ "kty": "oct", "k": "c2VjcmV0" }] });
    assert_eq!(faults(|spec| spec.jwks = Some(secret)), ["/jwks/keys/0 secret_key"]);
    let private = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": "AAAA", "d": "AAAA" }] });
    assert_eq!(faults(|spec| spec.jwks = Some(private)), ["/jwks/keys/0 secret_key"]);
    assert_eq!(faults(|spec| spec.jwks = Some(json!([]))), ["/jwks invalid_jwks"]);
    let unusable = json!({ "keys": [{ "kty": "EC", "crv": "P-521", "x": "AAAA", "y": "AAAA" }] });
    assert_eq!(faults(|spec| spec.jwks = Some(unusable)), ["/jwks/keys invalid_jwks"]);
    assert_eq!(faults(|spec| spec.jwks = Some(json!({"keys": []}))), ["/jwks/keys out_of_range"]);
}

#[test]
fn urls_are_whole_and_hold_no_password() {
    let by = |url: &str| {
        faults(|spec| {
            spec.jwks = None;
            spec.jwks_url = Some(url.to_owned());
        })
    };
    for good in ["https://a", "http://10.0.0.1:8080/keys?x=1", "https://[2001:db8::1]/keys"] {
        assert_eq!(by(good), Vec::<String>::new(), "{good}");
    }
    for bad in
        ["", "ftp://a/", "https://", "https:///x", "https://u:p@a/", "https://a/ b", "https://a/#x"]
    {
        assert_eq!(by(bad), ["/jwks_url invalid_url"], "{bad}");
    }
}

#[test]
fn each_number_is_bounded_on_both_sides() {
    for (refresh_s, is_good) in [(9, false), (10, true), (86_400, true), (86_401, false)] {
        assert_eq!(faults(|spec| spec.refresh_s = refresh_s).is_empty(), is_good, "{refresh_s}");
    }
    for (clock_skew_s, is_good) in [(0, true), (600, true), (601, false)] {
        assert_eq!(faults(|spec| spec.clock_skew_s = clock_skew_s).is_empty(), is_good);
    }
    assert_eq!(faults(|spec| spec.algorithms.clear()), ["/algorithms out_of_range"]);
    let twice = vec![JwtAlgorithm::Es256, JwtAlgorithm::Es256];
    assert_eq!(faults(|spec| spec.algorithms = twice), ["/algorithms/1 duplicate"]);
    let many = vec!["a".to_owned(); 33];
    assert_eq!(faults(|spec| spec.audiences = many), ["/audiences out_of_range"]);
}

#[test]
fn authorities_are_for_https_only() {
    let pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    let by = |url: &str, pem: String| {
        faults(|spec| *spec = JwtProviderSpec { ca_pem: Some(pem), ..JwtProviderSpec::by_url(url) })
    };
    assert_eq!(by("https://a/", pem.clone()), Vec::<String>::new());
    assert_eq!(by("http://a/", pem), ["/ca_pem not_allowed"]);
    assert_eq!(by("https://a/", "no".to_owned()), ["/ca_pem invalid_pem"]);
}
