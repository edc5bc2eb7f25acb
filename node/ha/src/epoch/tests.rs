use super::*;

#[test]
fn every_start_has_a_greater_epoch() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(next(dir.path()).unwrap(), 1);
    assert_eq!(next(dir.path()).unwrap(), 2);
}

#[test]
fn a_damaged_epoch_is_an_error_not_a_new_beginning() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(FILE), "many\n").unwrap();
    assert!(next(dir.path()).is_err());
}
