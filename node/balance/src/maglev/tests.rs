use proptest::prelude::*;

use super::*;

fn members(weights: &[u16]) -> Vec<(Arc<str>, u16)> {
    let named = weights.iter().zip(1..);
    named.map(|(weight, i)| (Arc::from(format!("m{i}")), *weight)).collect()
}

fn shares(table: &Maglev, count: usize) -> Vec<usize> {
    table.slots().iter().fold(vec![0; count], |mut shares, index| {
        shares[usize::from(*index)] += 1;
        shares
    })
}

#[test]
fn table_is_the_same_in_every_version() {
    let table = Maglev::new(members(&[1, 2, 3]), 251).unwrap();
    let hash = table.slots().iter().fold(0, |hash, slot| mix(hash ^ u64::from(*slot)));
    assert_eq!((shares(&table, 3), hash), (vec![42, 84, 125], GOLDEN));
}

const GOLDEN: u64 = 15_198_311_798_985_948_197;

#[test]
fn no_weight_is_no_table() {
    assert!(Maglev::new(members(&[]), 251).is_none());
    assert!(Maglev::new(members(&[0, 0]), 251).is_none());
}

#[test]
fn order_of_declaration_changes_no_slot() {
    let table = Maglev::new(members(&[1, 2, 3, 4]), 65_537).unwrap();
    let mut reversed = members(&[1, 2, 3, 4]);
    reversed.reverse();
    let other = Maglev::new(reversed, 65_537).unwrap();
    let same = table.slots().iter().zip(other.slots()).all(|(a, b)| a + b == 3);
    assert!(same);
}

#[test]
fn most_members_and_the_smallest_table_fit() {
    let table = Maglev::new(members(&vec![1; 4_096]), 251).unwrap();
    assert_eq!(table.slots().len(), 251);
    assert!(table.slots().iter().all(|index| *index != EMPTY));
}

#[test]
fn one_member_more_or_less_moves_few_others() {
    let before = Maglev::new(members(&[1; 20]), 65_537).unwrap();
    let after = Maglev::new(members(&[1; 21]), 65_537).unwrap();
    let moved = before.slots().iter().zip(after.slots()).filter(|(a, b)| a != b);
    let (to_new, to_others): (Vec<_>, Vec<_>) = moved.partition(|(_, b)| **b == 20);
    // The newcomer takes its share, and beyond that hardly anybody moves.
    assert!((3_000..3_250).contains(&to_new.len()), "{}", to_new.len());
    assert!(to_others.len() < 65_537 / 20, "{}", to_others.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn shares_match_weights(weights in prop::collection::vec(0_u16..=256, 1..40)) {
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let table = Maglev::new(members(&weights), 65_537).unwrap();
        let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        for (share, weight) in shares(&table, weights.len()).iter().zip(&weights) {
            let due = 65_537.0 * f64::from(*weight) / total;
            prop_assert!((*share as f64 - due).abs() <= 2.0 + due * 0.01, "{share} of {due}");
        }
    }
}
