use super::*;

const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn copies_being_taken_are_bounded() {
    let mirrors = Mirrors::default();
    let mut taken: Vec<_> = (0..MIRROR_MAX_COUNT).map(|_| mirrors.begin(HEAD)).collect();
    assert!(taken.iter().all(Option::is_some));
    assert_eq!(mirrors.totals.dropped(), 0);
    assert!(mirrors.begin(HEAD).is_none());
    assert_eq!(mirrors.totals.dropped(), 1);
    // A request that failed on its way gives the place back.
    taken.pop();
    assert!(mirrors.begin(HEAD).is_some());
}

#[test]
fn a_copy_that_is_too_large_gives_its_place_back_and_stays_empty() {
    let mirrors = Mirrors::default();
    let mut copy = mirrors.begin(HEAD).unwrap();
    copy.push(&[b'x'; MIRROR_BODY_MAX_BYTES]);
    assert_eq!(mirrors.count.get(), 1, "as large as it may be");
    copy.push(b"x");
    copy.push(b"x");
    assert_eq!((mirrors.count.get(), copy.bytes.len()), (0, 0));
}
