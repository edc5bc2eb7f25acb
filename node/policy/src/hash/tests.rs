use super::*;

/// Of the reference implementation (`vectors.h`): key 00 to 0f, messages of 0, 1 and 2 bytes.
#[test]
fn siphash_gives_the_reference_values() {
    let key: [u8; 16] = std::array::from_fn(|i| i as u8);
    let hasher = KeyHasher::new(&key);
    let hex = |message: &[u8]| -> String {
        hasher.hash(message).to_le_bytes().iter().map(|b| format!("{b:02x}")).collect()
    };
    assert_eq!(hex(&[]), "a3817f04ba25a8e66df67214c7550293");
    assert_eq!(hex(&[0]), "da87c1d86b99af44347659119b22fc45");
    assert_eq!(hex(&[0, 1]), "8177228da4a45dc7fca38bdef60affe4");
}

#[test]
fn every_length_and_byte_counts() {
    let hasher = KeyHasher::new(&[7; 16]);
    let mut seen = std::collections::BTreeSet::new();
    for length in 0..40 {
        assert!(seen.insert(hasher.hash(&vec![0; length])));
        for at in 0..length {
            let mut message = vec![0; length];
            message[at] = 1;
            assert!(seen.insert(hasher.hash(&message)));
        }
    }
    assert_ne!(hasher.hash(b"a"), KeyHasher::new(&[8; 16]).hash(b"a"));
}

#[test]
fn the_stable_hash_stays_what_it_is() {
    assert_ne!(stable([b"ab".as_slice(), b"c"]), stable([b"a".as_slice(), b"bc"]));
    assert_eq!(stable([b"rule".as_slice(), b"client"]), GOLDEN);
}

/// Changing it moves clients of splits to other pools.
const GOLDEN: u64 = 16_674_382_289_758_476_679;
