use proptest::prelude::*;

use super::*;

/// Datagrams of these sizes, each of other content, one by one.
fn singles(sizes: &[usize]) -> Vec<Vec<u8>> {
    sizes.iter().enumerate().map(|(at, size)| vec![at as u8; *size]).collect()
}

fn single(bytes: &[u8]) -> Train<'_> {
    Train { bytes, stride: bytes.len() }
}

/// The trains that come of it, as (stride, bytes).
fn coupled(sizes: &[usize], stride_max: usize) -> Vec<(usize, usize)> {
    let datagrams = singles(sizes);
    let mut made = Vec::new();
    let trains = datagrams.iter().map(|bytes| single(bytes));
    couple(trains, stride_max, &mut Vec::new(), |train| {
        made.push((train.stride, train.bytes.len()));
    });
    made
}

#[test]
fn datagrams_of_one_size_leave_together_and_a_shorter_one_ends_the_train() {
    assert_eq!(coupled(&[100, 100, 100], 9_000), [(100, 300)]);
    assert_eq!(coupled(&[100, 100, 40, 100], 9_000), [(100, 240), (100, 100)]);
    assert_eq!(coupled(&[40, 100, 100], 9_000), [(40, 40), (100, 200)]);
    assert_eq!(coupled(&[], 9_000), []);
}

#[test]
fn empty_datagrams_leave_alone() {
    assert_eq!(coupled(&[0, 0, 10, 0, 10], 9_000), [(0, 0), (0, 0), (10, 10), (0, 0), (10, 10)]);
}

#[test]
fn larger_datagrams_than_the_way_takes_are_not_coupled() {
    assert_eq!(coupled(&[100, 100], 100), [(100, 200)]);
    assert_eq!(coupled(&[101, 101], 100), [(101, 101), (101, 101)]);
}

#[test]
fn a_train_has_so_many_datagrams_and_bytes_and_no_more() {
    assert_eq!(coupled(&[10; 64], 9_000), [(10, 640)]);
    assert_eq!(coupled(&[10; 65], 9_000), [(10, 640), (10, 10)]);
    assert_eq!(coupled(&[6_500; 10], 9_000), [(6_500, 65_000)]);
    assert_eq!(coupled(&[6_501; 10], 9_000), [(6_501, 9 * 6_501), (6_501, 6_501)]);
}

#[test]
fn the_first_of_a_train() {
    let train = Train { bytes: &[7; 25], stride: 10 };
    assert_eq!((train.count(), train.first(2).bytes.len(), train.first(9)), (3, 20, train));
    let empty = single(&[]);
    assert_eq!((empty.count(), empty.datagrams().count(), empty.first(1)), (1, 1, empty));
}

proptest! {
    /// Whatever came in whatever shape leaves as the same datagrams in the same order.
    #[test]
    fn cut_again_it_is_what_went_in(
        shapes in proptest::collection::vec((0_usize..1_500, 1_usize..8, 0_usize..1_500), 0..32),
        stride_max in prop_oneof![Just(0_usize), Just(700), Just(9_000)],
    ) {
        let contents: Vec<(Vec<u8>, usize)> = shapes
            .iter()
            .enumerate()
            .map(|(at, (stride, count, last))| {
                let length = if *stride == 0 { 0 } else { stride * (count - 1) + (last % stride) + 1 };
                let bytes: Vec<u8> = (0..length).map(|byte| (at * 31 + byte) as u8).collect();
                let stride = if *count == 1 { length } else { *stride };
                (bytes, stride)
            })
            .collect();
        let trains = || contents.iter().map(|(bytes, stride)| Train { bytes, stride: *stride });
        let expected: Vec<Vec<u8>> =
            trains().flat_map(|train| train.datagrams().map(<[u8]>::to_vec).collect::<Vec<_>>()).collect();
        let mut sent = Vec::new();
        couple(trains(), stride_max, &mut Vec::new(), |train| {
            assert!(train.count() <= DATAGRAM_MAX_COUNT && train.bytes.len() <= TRAIN_MAX_BYTES);
            let before = sent.len();
            sent.extend(train.datagrams().map(<[u8]>::to_vec));
            assert_eq!(sent.len() - before, train.count());
        });
        prop_assert_eq!(sent, expected);
    }
}
