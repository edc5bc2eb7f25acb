//! Rates, by a clock of our own.

use super::*;

const RATE: u32 = 100;
const GRACE_MS: u64 = 2_000;

/// Waits all the time, `step_bytes` each `step_ms`; when it was found to be too slow.
fn fails_at_ms(pace: &mut Pace, step_ms: u64, step_bytes: u64, until_ms: u64) -> Option<u64> {
    pace.note(0, 0, true, 1);
    (1..=until_ms / step_ms)
        .find(|step| pace.note(step * step_ms, step * step_bytes, true, 1))
        .map(|step| step * step_ms)
}

#[test]
fn who_keeps_the_rate_is_served_for_ever_and_who_does_not_for_the_grace() {
    let hour_ms = 3_600_000;
    assert_eq!(fails_at_ms(&mut Pace::new(RATE, GRACE_MS), 100, 10, hour_ms), None);
    assert_eq!(fails_at_ms(&mut Pace::new(RATE, GRACE_MS), 1_000, 100, hour_ms), None);
    // One byte in a second less: the grace is used up by 10 ms each second.
    let slower = fails_at_ms(&mut Pace::new(RATE, GRACE_MS), 1_000, 99, hour_ms);
    assert_eq!(slower, Some(201_000));
    assert_eq!(fails_at_ms(&mut Pace::new(RATE, GRACE_MS), 500, 0, hour_ms), Some(2_500));
}

#[test]
fn silence_may_last_for_the_grace_and_no_longer() {
    for (silence_ms, fails) in [(GRACE_MS, false), (GRACE_MS + 1, true)] {
        let mut pace = Pace::new(RATE, GRACE_MS);
        assert!(!pace.note(7, 0, true, 1));
        assert_eq!(pace.note(7 + silence_ms, 0, true, 1), fails, "{silence_ms}");
    }
    assert_eq!(Pace::new(RATE, GRACE_MS).left_ms(), GRACE_MS + 1);
}

#[test]
fn a_fast_beginning_does_not_pay_for_a_slow_end() {
    let mut pace = Pace::new(RATE, GRACE_MS);
    pace.note(0, 0, true, 1);
    assert!(!pace.note(10, 1_000_000_000, true, 1));
    assert!(!pace.note(10 + GRACE_MS, 1_000_000_000, true, 1));
    assert!(pace.note(11 + GRACE_MS, 1_000_000_000, true, 1));
}

#[test]
fn only_waiting_for_the_client_counts() {
    let mut pace = Pace::new(RATE, GRACE_MS);
    for turn in 0..100 {
        let now_ms = turn * 100_000;
        assert!(!pace.note(now_ms, turn, true, 1), "{turn}");
        // Ten of its ms, and then a member that takes its time; a byte is worth ten.
        assert!(!pace.note(now_ms + 10, turn + 1, false, 1), "{turn}");
        assert!(!pace.note(now_ms + 50_000, turn + 1, false, 1), "{turn}");
    }
}

#[test]
fn streams_share_the_rate_of_their_connection() {
    let mut pace = Pace::new(RATE, GRACE_MS);
    for second in 0..1_000 {
        assert!(!pace.note(second * 1_000, second * 10, true, 10), "{second}");
    }
    let failed = (1_000..2_000_u64)
        .find(|second| pace.note(second * 1_000, second * 10, true, 9))
        .expect("90 in a second are too few");
    assert!((1_015..1_025).contains(&failed), "{failed}");
}

#[test]
fn without_a_rate_nobody_is_too_slow() {
    let mut pace = Pace::new(0, GRACE_MS);
    assert!(!pace.note(0, 0, true, 1));
    assert!(!pace.note(u64::MAX, 0, true, 1));
    assert_eq!(pace.left_ms(), u64::MAX);
}
