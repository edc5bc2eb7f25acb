use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn why() -> String {
    "not permitted".to_owned()
}

#[test]
fn pauses_grow_up_to_a_limit_and_begin_anew_once_it_is_granted() {
    let mut refusal = Refusal::default();
    let mut now = Time(0);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        refusal.note(now, why());
        let until = refusal.until().expect("a pause");
        pauses.push(until.since(now).as_secs());
        assert!(!refusal.has_paused(now));
        assert!(refusal.has_paused(until) && !refusal.has_paused(until), "told once");
        assert_eq!(refusal.why(), Some("not permitted"), "until it is granted");
        now = until;
    }
    assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60]);
    refusal.end();
    assert_eq!((refusal.why(), refusal.until()), (None, None));
    refusal.note(now, why());
    assert_eq!(refusal.until(), Some(now + PAUSE_MIN));
}

#[test]
fn renewals_may_fail_for_less_than_the_lease_lasts() {
    let mut refusal = Refusal::default();
    for _ in 0..2 {
        assert!(!refusal.note_renewal(Time(0), why()));
        assert!(!refusal.note_renewal(Time(0) + SECOND, why()));
        assert_eq!((refusal.why(), refusal.until()), (None, None));
        refusal.end();
    }
    let failed = [0, 1, 2].map(|at| refusal.note_renewal(Time(0) + SECOND * at, why()));
    assert_eq!(failed, [false, false, true]);
    assert_eq!(refusal.until(), Some(Time(0) + SECOND * 2 + PAUSE_MIN));
    assert!(RENEWAL_LIMIT + super::super::RENEW_INTERVAL < super::super::LEASE);
}
