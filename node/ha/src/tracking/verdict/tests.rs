use super::*;

const WHY: &str = "no answer";

fn noted(outcomes: &[bool]) -> Sighting {
    let now = Instant::now();
    let mut verdict = Verdict::default();
    for outcome in outcomes {
        verdict.note(*outcome, now);
    }
    verdict.sighting(now, WHY)
}

fn well(lasts: Duration) -> Sighting {
    Sighting::Well { lasts }
}

fn lost() -> Sighting {
    Sighting::Lost { lasts: Duration::ZERO, why: WHY.to_owned() }
}

#[test]
fn the_first_answer_is_enough_and_three_missing_ones_are_a_loss() {
    assert_eq!(noted(&[]), Sighting::Unknown);
    assert_eq!(noted(&[false, false]), Sighting::Unknown);
    assert_eq!(noted(&[false, false, false]), lost());
    assert_eq!(noted(&[true]), well(Duration::MAX));
    assert_eq!(noted(&[true, false, false]), well(Duration::MAX));
    assert_eq!(noted(&[true, false, false, false]), lost());
}

#[test]
fn single_outcomes_against_the_verdict_do_not_add_up() {
    assert_eq!(noted(&[true, false, false, true, false, false]), well(Duration::MAX));
    assert_eq!(noted(&[false, false, false, true, false, true]), lost());
    assert_eq!(noted(&[false, false, false, true, true]), well(Duration::ZERO));
}

#[test]
fn a_verdict_lasts_from_when_it_was_reached() {
    let start = Instant::now();
    let mut verdict = Verdict::default();
    for _ in 0..5 {
        verdict.note(false, start);
    }
    let later = start + Duration::from_secs(7);
    let expected = Sighting::Lost { lasts: Duration::from_secs(7), why: WHY.to_owned() };
    assert_eq!(verdict.sighting(later, WHY), expected);
}
