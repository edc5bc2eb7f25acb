use super::*;

fn faults(settings: &ConsistentHash) -> Vec<String> {
    let mut errors = FieldErrors::default();
    settings.validate(&mut errors);
    errors.into_vec().into_iter().map(|error| format!("{} {}", error.pointer, error.code)).collect()
}

#[test]
fn defaults_are_valid() {
    assert!(faults(&ConsistentHash::default()).is_empty());
}

#[test]
fn sizes_are_primes_within_the_limits() {
    let sized = |table_size| ConsistentHash { table_size, ..ConsistentHash::default() };
    for good in [HASH_TABLE_SIZE_MIN, 65_537, HASH_TABLE_SIZE_MAX] {
        assert!(faults(&sized(good)).is_empty(), "{good}");
    }
    assert_eq!(faults(&sized(65_536)), ["/table_size not_prime"]);
    // The primes next to the limits.
    assert_eq!(faults(&sized(241)), ["/table_size out_of_range"]);
    assert_eq!(faults(&sized(655_379)), ["/table_size out_of_range"]);
    let primes: Vec<_> = (0..30).filter(|number| is_prime(*number)).collect();
    assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
}

#[test]
fn excess_has_limits() {
    let bounded = |percent| ConsistentHash {
        load_excess_percent: Some(percent),
        ..ConsistentHash::default()
    };
    assert!(faults(&bounded(1)).is_empty() && faults(&bounded(1_000)).is_empty());
    for bad in [0, 1_001] {
        assert_eq!(faults(&bounded(bad)), ["/load_excess_percent out_of_range"]);
    }
}

#[test]
fn names_of_keys_have_limits() {
    let named = |name: String| ConsistentHash {
        key: HashKey::Header { name },
        ..ConsistentHash::default()
    };
    assert!(faults(&named("x".repeat(KEY_NAME_MAX_BYTES))).is_empty());
    for bad in [String::new(), "x".repeat(KEY_NAME_MAX_BYTES + 1), "a b".into(), "a=b".into()] {
        assert_eq!(faults(&named(bad)), ["/key/name invalid_key_name"]);
    }
}
