use super::*;
use CipherSuite::*;
use KeyExchangeGroup::*;
use TlsVersion::*;

fn faults(
    suites: &[CipherSuite],
    groups: &[KeyExchangeGroup],
    versions: (TlsVersion, TlsVersion),
) -> Vec<(String, String)> {
    let mut errors = FieldErrors::default();
    validate(&mut errors, (suites, groups), versions);
    errors.into_vec().into_iter().map(|fault| (fault.pointer, fault.code)).collect()
}

fn fault(pointer: &str, code: &str) -> Vec<(String, String)> {
    vec![(pointer.to_owned(), code.to_owned())]
}

#[test]
fn empty_lists_fit_every_range_of_versions() {
    for versions in [(Tls12, Tls12), (Tls12, Tls13), (Tls13, Tls13)] {
        assert_eq!(faults(&[], &[], versions), []);
    }
}

#[test]
fn each_version_that_is_allowed_needs_a_suite_and_a_group() {
    let (both, newest) = ((Tls12, Tls13), (Tls13, Tls13));
    let of_both = [Tls13Aes128GcmSha256, EcdheRsaAes128GcmSha256];
    assert_eq!(faults(&of_both, &[X25519], both), []);
    assert_eq!(faults(&of_both[..1], &[X25519MlKem768], newest), []);
    assert_eq!(faults(&of_both[..1], &[], both), fault("/cipher_suites", "no_handshake"));
    assert_eq!(faults(&of_both[1..], &[], both), fault("/cipher_suites", "no_handshake"));
    let hybrid = faults(&[], &[X25519MlKem768, Secp256r1MlKem768], both);
    assert_eq!(hybrid, fault("/key_exchange_groups", "no_handshake"));
}

#[test]
fn what_no_allowed_version_can_use_is_refused_where_it_stands() {
    let suites = [Tls13Aes256GcmSha384, EcdheEcdsaAes128GcmSha256];
    assert_eq!(faults(&suites, &[], (Tls13, Tls13)), fault("/cipher_suites/1", "not_allowed"));
    let groups = [X25519, X25519MlKem768];
    assert_eq!(
        faults(&[], &groups, (Tls12, Tls12)),
        fault("/key_exchange_groups/1", "not_allowed")
    );
}

#[test]
fn repeats_are_refused_and_looked_for_in_bounded_time() {
    let twice = [X25519, Secp384r1, X25519];
    assert_eq!(faults(&[], &twice, (Tls12, Tls13)), fault("/key_exchange_groups/2", "duplicate"));
    let many = vec![X25519; 1_000_000];
    assert_eq!(faults(&[], &many, (Tls12, Tls13)).len(), 1 + LIST_MAX_COUNT - 1);
}

#[test]
fn names_are_those_of_iana() {
    let name = |suite| serde_json::to_value(suite).unwrap();
    assert_eq!(name(Tls13Aes128GcmSha256), "TLS_AES_128_GCM_SHA256");
    assert_eq!(name(EcdheRsaChacha20Poly1305Sha256), "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256");
    let unknown = serde_json::from_str::<CipherSuite>("\"RC4-MD5\"").unwrap_err().to_string();
    assert!(unknown.contains("TLS_AES_256_GCM_SHA384"), "says what there is: {unknown}");
}
