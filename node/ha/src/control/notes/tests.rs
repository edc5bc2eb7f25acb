use super::*;

#[test]
fn what_keeps_a_group_from_moving_is_told_once_a_minute_and_group() {
    let (mut noted, start) = (Noted::default(), Instant::now());
    let vetoed = code(&Note::TakeoverVetoed { node_id: 1 }).unwrap();
    assert!(noted.is_time("blue", vetoed, start));
    assert!(!noted.is_time("blue", vetoed, start + TELL_AGAIN_AFTER - Duration::from_millis(1)));
    assert!(noted.is_time("green", vetoed, start), "another group");
    assert!(noted.is_time("blue", "braked", start), "something else");
    assert!(noted.is_time("blue", vetoed, start + TELL_AGAIN_AFTER));
    assert_eq!(code(&Note::VridFree), None);
}
