use super::*;

#[test]
fn the_count_holds_at_its_ends_and_not_beyond() {
    let count = |entry_max_count| {
        let mut errors = FieldErrors::default();
        PersistenceTableSettings { entry_max_count, forgotten_until_ms: None }
            .validate(&mut errors);
        errors.into_vec().len()
    };
    assert_eq!([0, 1].map(count), [1, 0]);
    let max = PERSISTENCE_ENTRY_MAX_COUNT;
    assert_eq!([max, max + 1].map(count), [0, 1]);
    assert_eq!(count(PersistenceTableSettings::default().entry_max_count), 0);
}
