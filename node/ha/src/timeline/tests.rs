use super::*;

fn transition(at_ms: u64) -> HaTransition {
    HaTransition { at_ms, group: "web".to_owned(), ..HaTransition::default() }
}

#[test]
fn the_last_hundred_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut timeline = Timeline::open(dir.path());
    let count = u64::try_from(TIMELINE_MAX_COUNT).unwrap();
    (0..=count).for_each(|at_ms| timeline.push(transition(at_ms)));
    timeline.image().write().unwrap();
    let kept = Timeline::open(dir.path()).all();
    assert_eq!(kept.len(), TIMELINE_MAX_COUNT);
    assert_eq!((kept[0].at_ms, kept[TIMELINE_MAX_COUNT - 1].at_ms), (1, count));
}

#[test]
fn a_damaged_file_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(FILE), "{").unwrap();
    assert!(Timeline::open(dir.path()).all().is_empty());
    assert!(dir.path().join("ha-timeline.damaged").is_file());
    assert!(!dir.path().join(FILE).exists());
}
