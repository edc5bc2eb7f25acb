use super::*;

#[test]
fn sealed_secret_opens_with_the_same_key_only() {
    let key = ClusterKey::generate();
    let sealed = key.seal(b"private");
    assert_eq!(key.open(&sealed), Ok(b"private".to_vec()));
    assert_eq!(ClusterKey::generate().open(&sealed), Err(KeyError::NotOurs));
}

#[test]
fn sealing_twice_gives_different_texts() {
    let key = ClusterKey::generate();
    assert_ne!(key.seal(b"same"), key.seal(b"same"));
}

#[test]
fn damaged_seal_does_not_open() {
    let key = ClusterKey::generate();
    let sealed = key.seal(b"private");
    for damaged in [
        Sealed { key_id: sealed.key_id + 1, ..sealed.clone() },
        Sealed { nonce: STANDARD.encode([0; NONCE_BYTES]), ..sealed.clone() },
        Sealed { nonce: "short".to_owned(), ..sealed.clone() },
        Sealed { ciphertext: STANDARD.encode([0; 40]), ..sealed.clone() },
        Sealed { ciphertext: String::new(), ..sealed.clone() },
        Sealed { ciphertext: "not base64!".to_owned(), ..sealed },
    ] {
        assert_eq!(key.open(&damaged), Err(KeyError::NotOurs));
    }
}

#[test]
fn derived_keys_differ_by_purpose_and_cluster() {
    let key = ClusterKey::generate();
    let same = ClusterKey::from_base64(&key.to_base64()).unwrap();
    assert_eq!(key.derive("sessions"), same.derive("sessions"));
    assert_ne!(key.derive("sessions"), key.derive("cookies"));
    assert_ne!(key.derive("sessions"), ClusterKey::generate().derive("sessions"));
}
