use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn value_lies_within_the_bounds_of_its_bucket(value_us: u64, shift in 0_u32..64) {
        let value_us = value_us >> shift;
        let bucket = bucket_of(value_us);
        if let Some(bound) = upper_bound_us(bucket) {
            prop_assert!(value_us <= bound);
        }
        if let Some(bound) = bucket.checked_sub(1).and_then(upper_bound_us) {
            prop_assert!(value_us > bound);
        }
    }
}

#[test]
fn bounds_are_powers_of_two_and_the_last_is_open() {
    assert_eq!(upper_bound_us(0), Some(64));
    assert_eq!(upper_bound_us(BUCKET_COUNT - 2), Some(1 << 26));
    assert_eq!(upper_bound_us(BUCKET_COUNT - 1), None);
    assert_eq!([0, 64, 65, 128, 129].map(bucket_of), [0, 0, 1, 1, 2]);
}

#[test]
fn quantiles_are_bounds_of_buckets() {
    let shard = HistogramShard::default();
    let mut histogram = Histogram::default();
    assert_eq!(histogram.quantile_us(0.5), None);
    (0..99).for_each(|_| shard.record(100));
    shard.record(5_000);
    histogram.add(&shard);
    assert_eq!(histogram.quantile_us(0.5), Some(128));
    assert_eq!(histogram.quantile_us(0.99), Some(128));
    assert_eq!(histogram.quantile_us(1.0), Some(8_192));
}
