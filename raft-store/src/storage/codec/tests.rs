use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn decoding_gives_back_what_was_encoded(key: Vec<u8>, body: Vec<u8>) {
        let value = encode(&key, &body);
        prop_assert_eq!(decode(&key, &value).unwrap(), &body[..]);
    }

    #[test]
    fn any_flipped_bit_is_noticed(key: Vec<u8>, body: Vec<u8>, at: prop::sample::Index, bit in 0..8) {
        let mut value = encode(&key, &body);
        let at = at.index(value.len());
        value[at] ^= 1_u8 << bit;
        prop_assert!(decode(&key, &value).is_err());
    }

    #[test]
    fn any_cut_is_noticed(key: Vec<u8>, body: Vec<u8>, at: prop::sample::Index) {
        let value = encode(&key, &body);
        prop_assert!(decode(&key, &value[..at.index(value.len())]).is_err());
    }

    #[test]
    fn garbage_never_panics(key: Vec<u8>, value: Vec<u8>) {
        let _ = decode(&key, &value);
    }
}

#[test]
fn value_under_another_key_is_noticed() {
    let value = encode(b"a", b"body");
    assert!(matches!(decode(b"b", &value), Err(StorageError::Corrupt(_))));
}

#[test]
fn value_of_a_newer_version_is_told_apart_from_a_damaged_one() {
    let mut value = vec![VERSION + 1];
    value.extend_from_slice(&checksum(b"k", VERSION + 1, b"body").to_le_bytes());
    value.extend_from_slice(b"body");
    assert!(matches!(decode(b"k", &value), Err(StorageError::Newer(_))));
}
