use super::*;

#[test]
fn four_groups_a_minute_may_move_by_preference_and_the_fifth_waits() {
    let mut brake = Brake::default();
    let start = Time(1_000_000);
    for _ in 0..TAKEOVER_MAX_COUNT {
        assert!(brake.is_open(start));
        brake.note(start);
    }
    assert!(!brake.is_open(start + Duration::from_millis(59_999)));
    assert!(brake.is_open(start + WINDOW));
}
