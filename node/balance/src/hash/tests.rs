use super::*;

#[test]
fn hashes_are_the_same_in_every_version() {
    assert_eq!(hash_bytes(b""), 0xf52a_15e9_a9b5_e89b);
    assert_eq!(hash_bytes(b"web-1"), 0xf576_b188_329f_7edd);
    assert_eq!(hash_address("192.0.2.1".parse().unwrap()), 0x1e00_e9a1_2f82_49cb);
    assert_eq!(hash_address("2001:db8::1".parse().unwrap()), 0x216d_ba65_aa6c_0c57);
    assert_eq!(mix(1), 0x5692_161d_100b_05e5);
}

#[test]
fn mapped_address_is_the_same_client() {
    let plain = hash_address("192.0.2.1".parse().unwrap());
    assert_eq!(hash_address("::ffff:192.0.2.1".parse().unwrap()), plain);
}

#[test]
fn negated_logarithm_is_close_and_falls() {
    let mut draws = Draws::new(7);
    let mut hashes: Vec<u64> = (0..20_000).map(|_| draws.next() >> (draws.next() % 64)).collect();
    hashes.extend([0, 1, 2, 3, u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) - 1]);
    hashes.sort_unstable();
    let mut previous = u64::MAX;
    for hash in hashes {
        let log = neg_log2(hash);
        let exact = 64.0 - ((hash | 1) as f64).log2();
        assert!((log as f64 / 2_f64.powi(32) - exact).abs() < 2_f64.powi(-21), "{hash:#x}");
        assert!(log <= previous && log > 0, "{hash:#x}");
        previous = log;
    }
}

#[test]
fn draws_below_a_bound_are_even() {
    let mut draws = Draws::new(1);
    let mut counts = [0; 7];
    for _ in 0..70_000 {
        counts[draws.below(7) as usize] += 1;
    }
    assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
}
