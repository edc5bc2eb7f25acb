use super::*;

#[test]
fn waits_grow_from_the_sixth_attempt_and_end_at_a_minute() {
    let throttle = Throttle::default();
    let mut now_ms = 1_000_000;
    for _ in 0..FREE_ATTEMPT_COUNT {
        assert_eq!(throttle.attempt("ann", "10.0.0.9", now_ms), Ok(()));
    }
    for wait_s in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(throttle.attempt("ann", "10.0.0.9", now_ms), Err(wait_s));
        now_ms += wait_s * 1_000 - 1;
        assert_eq!(throttle.attempt("ann", "10.0.0.9", now_ms), Err(1));
        now_ms += 1;
        assert_eq!(throttle.attempt("ann", "10.0.0.9", now_ms), Ok(()));
    }
}

#[test]
fn others_are_not_slowed_down() {
    let throttle = Throttle::default();
    for _ in 0..FREE_ATTEMPT_COUNT {
        assert_eq!(throttle.attempt("ann", "10.0.0.9", 0), Ok(()));
    }
    assert!(throttle.attempt("ann", "10.0.0.9", 0).is_err());
    assert_eq!(throttle.attempt("ann", "10.0.0.8", 0), Ok(()));
    assert_eq!(throttle.attempt("bob", "10.0.0.9", 0), Ok(()));
}

#[test]
fn success_and_time_forgive() {
    let throttle = Throttle::default();
    let exhaust = |now_ms| while throttle.attempt("ann", "", now_ms).is_ok() {};
    exhaust(0);
    throttle.succeeded("ann", "");
    assert_eq!(throttle.attempt("ann", "", 0), Ok(()));
    exhaust(0);
    assert_eq!(throttle.attempt("ann", "", FORGIVEN_AFTER_MS), Ok(()));
    for _ in 1..FREE_ATTEMPT_COUNT {
        assert_eq!(throttle.attempt("ann", "", FORGIVEN_AFTER_MS), Ok(()));
    }
}

#[test]
fn memory_is_bounded() {
    let throttle = Throttle::default();
    for i in 0..ENTRY_MAX_COUNT as u64 + 10 {
        assert_eq!(throttle.attempt("ann", &i.to_string(), i), Ok(()));
    }
    assert_eq!(throttle.entries.lock().unwrap().len(), ENTRY_MAX_COUNT);
    assert!(throttle.sources().len() <= ENTRY_MAX_COUNT);
}

#[test]
fn ever_new_users_from_one_source_have_to_wait_too() {
    let throttle = Throttle::default();
    for i in 0..SOURCE_FREE_ATTEMPT_COUNT {
        let (user, source) = (i.to_string(), format!("2001:db8::{i}"));
        assert_eq!(throttle.attempt(&user, &source, 0), Ok(()));
    }
    assert_eq!(throttle.attempt("ann", "2001:db8::ffff", 0), Err(2));
    assert_eq!(throttle.attempt("ann", "2001:db8:0:1::1", 0), Ok(()), "another network");
    assert_eq!(throttle.attempt("ann", "2001:db8::ffff", 2_000), Ok(()));
    assert_eq!(throttle.attempt("bob", "2001:db8::ffff", 2_000), Err(2));
    throttle.succeeded("ann", "2001:db8::ffff");
    assert_eq!(throttle.attempt("bob", "2001:db8::ffff", 2_000), Ok(()));
}
