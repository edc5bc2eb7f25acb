use ballast_balance::MemberKey;
use ballast_policy::limiter::{Admission, Rate};

use super::*;
use crate::tests::{Side, known, side};

fn filled(count: u8) -> Side {
    let side = side(1, "pool");
    for client in 0..count {
        side.table.put(known(client), MemberKey::from_bytes([client; 16]), now_ms());
    }
    side
}

#[test]
fn the_next_process_knows_every_client_and_what_limits_have_let_through() {
    let old = filled(200);
    let rate = Rate::new(1, 60, 3);
    let passes = |side: &Side| side.limits.limiter.check(7, rate, 1) == Admission::Passed;
    assert!(passes(&old) && passes(&old));
    let (parcel, left_out) = old.inner.pack(PARCEL_MAX_BYTES);
    assert_eq!(left_out, 0);

    let new = side(1, "pool");
    let counts = new.inner.unpack(&parcel).unwrap();
    let expected = UnpackedCounts { record_count: 200, unknown_count: 0, limit_count: 1 };
    assert_eq!(counts, expected);
    assert_eq!(new.content(), old.content());
    // Two of three are used up.
    assert_eq!(new.limits.absorbed_ns.load(std::sync::atomic::Ordering::Relaxed), 120_000_000_000);
}

#[test]
fn what_changes_later_follows() {
    let old = filled(3);
    let share = Share(Arc::clone(&old.inner));
    let (parcel, _) = share.pack();
    old.table.put(known(1), MemberKey::from_bytes([9; 16]), now_ms());
    old.table.put(known(77), MemberKey::from_bytes([9; 16]), now_ms());
    let (changes, _) = share.pack_changes();

    let new = side(1, "pool");
    new.inner.unpack(&parcel).unwrap();
    let counts = new.inner.unpack(&changes).unwrap();
    assert_eq!(counts.record_count, 2);
    assert_eq!(new.content(), old.content());
}

#[test]
fn clients_of_unknown_pools_are_counted() {
    let (parcel, _) = filled(5).inner.pack(PARCEL_MAX_BYTES);
    let counts = side(1, "elsewhere").inner.unpack(&parcel).unwrap();
    assert_eq!((counts.record_count, counts.unknown_count), (0, 5));
}

#[test]
fn what_finds_no_room_is_counted() {
    let old = filled(10);
    let (whole, _) = old.inner.pack(PARCEL_MAX_BYTES);
    assert_eq!(old.inner.pack(whole.len()), (whole.clone(), 0));
    assert_eq!(old.inner.pack(whole.len() - 1), (vec![VERSION], 10));
}

#[test]
fn a_parcel_that_is_cut_or_of_another_version_is_refused() {
    let (parcel, _) = filled(5).inner.pack(PARCEL_MAX_BYTES);
    let new = side(1, "pool");
    assert_eq!(new.inner.unpack(&[]), Err(ParcelError::Short));
    assert_eq!(new.inner.unpack(&[2]), Err(ParcelError::UnknownVersion(2)));
    for length in 2..parcel.len() {
        assert_eq!(new.inner.unpack(&parcel[..length]), Err(ParcelError::Short));
    }
    let mut other = parcel.clone();
    other[5] = 9;
    assert_eq!(new.inner.unpack(&other), Err(ParcelError::Message(WireError::UnknownVersion(9))));
}
