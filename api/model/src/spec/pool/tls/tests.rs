use super::*;

const PEM: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";

fn faults(tls: &PoolTls) -> Vec<(String, String)> {
    let mut errors = FieldErrors::default();
    errors.within("tls", |errors| tls.validate(errors));
    errors.into_vec().into_iter().map(|fault| (fault.pointer, fault.code)).collect()
}

fn fault(pointer: &str, code: &str) -> Vec<(String, String)> {
    vec![(pointer.to_owned(), code.to_owned())]
}

#[test]
fn an_empty_object_verifies_against_the_system_with_both_versions() {
    let tls: PoolTls = serde_json::from_str("{}").unwrap();
    assert_eq!(tls, PoolTls::default());
    assert!(tls.verify && tls.ca_pem.is_none());
    assert_eq!((tls.min_version, tls.max_version), (TlsVersion::Tls12, TlsVersion::Tls13));
    assert_eq!(faults(&tls), []);
}

#[test]
fn as_many_authorities_as_allowed_and_no_more() {
    let tls = |count| PoolTls { ca_pem: Some(PEM.repeat(count)), ..PoolTls::default() };
    assert_eq!(faults(&tls(64)), []);
    assert_eq!(faults(&tls(65)), fault("/tls/ca_pem", "out_of_range"));
    let none = PoolTls { ca_pem: Some("nothing".to_owned()), ..PoolTls::default() };
    assert_eq!(faults(&none), fault("/tls/ca_pem", "invalid_pem"));
}

#[test]
fn authorities_without_verification_are_a_mistake() {
    let tls = PoolTls { verify: false, ca_pem: Some(PEM.to_owned()), ..PoolTls::default() };
    assert_eq!(faults(&tls), fault("/tls/ca_pem", "not_allowed"));
}

#[test]
fn server_names_are_dns_names_or_addresses() {
    let tls = |name: &str| PoolTls { server_name: Some(name.to_owned()), ..PoolTls::default() };
    for name in ["a.test", "10.0.0.1", "fd00::1", "a_b.test", "localhost"] {
        assert_eq!(faults(&tls(name)), [], "{name}");
    }
    for name in ["", "a.test.", "*.test", "a b", "-a.test", &"a".repeat(64)] {
        assert_eq!(faults(&tls(name)), fault("/tls/server_name", "invalid_server_name"), "{name}");
    }
}

#[test]
fn the_lowest_version_is_not_above_the_highest() {
    let tls = PoolTls {
        min_version: TlsVersion::Tls13,
        max_version: TlsVersion::Tls12,
        ..PoolTls::default()
    };
    assert_eq!(faults(&tls), fault("/tls/min_version", "out_of_range"));
}

#[test]
fn the_client_certificate_is_a_reference() {
    let tls = PoolTls { client_certificate: Some("me".to_owned()), ..PoolTls::default() };
    let expected = Reference::new("/spec/tls/client_certificate", Kind::Certificate, "me");
    assert_eq!(tls.references().collect::<Vec<_>>(), [expected]);
}

#[test]
fn suites_and_groups_must_serve_every_version_that_is_allowed() {
    let tls = |text: &str| serde_json::from_str::<PoolTls>(text).unwrap();
    for good in [
        r#"{"cipher_suites": ["TLS_AES_128_GCM_SHA256"], "min_version": "1.3"}"#,
        r#"{"key_exchange_groups": ["X25519MLKEM768", "secp384r1"]}"#,
    ] {
        assert_eq!(faults(&tls(good)), [], "{good}");
    }
    for (bad, at, code) in [
        (r#"{"cipher_suites": ["TLS_AES_128_GCM_SHA256"]}"#, "cipher_suites", "no_handshake"),
        (r#"{"key_exchange_groups": ["X25519MLKEM768"]}"#, "key_exchange_groups", "no_handshake"),
        (r#"{"key_exchange_groups": ["x25519", "x25519"]}"#, "key_exchange_groups/1", "duplicate"),
        (
            r#"{"key_exchange_groups": ["x25519", "X25519MLKEM768"], "max_version": "1.2"}"#,
            "key_exchange_groups/1",
            "not_allowed",
        ),
    ] {
        assert_eq!(faults(&tls(bad)), fault(&format!("/tls/{at}"), code), "{bad}");
    }
}
