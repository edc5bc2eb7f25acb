use std::fs;

use super::*;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_is_put_aside_before_it_grows_too_large() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.log");
    let rotation = Rotation { max_bytes: 10, kept_count: 2 };
    let mut file = LogFile::open(path.clone(), Some(rotation)).unwrap();
    for text in ["1234\n", "5678\n"] {
        file.write(text.as_bytes()).unwrap();
    }
    assert_eq!(names(folder.path()), ["a.log"], "10 bytes are not more than 10");
    for text in ["b\n", "cccccccccc\n", "d\n"] {
        file.write(text.as_bytes()).unwrap();
    }
    assert_eq!(names(folder.path()), ["a.log", "a.log.1", "a.log.2"]);
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!([read("a.log"), read("a.log.1"), read("a.log.2")], ["d\n", "cccccccccc\n", "b\n"]);
}

#[test]
fn size_of_an_existing_file_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.log");
    fs::write(&path, "123456789\n").unwrap();
    let mut file = LogFile::open(path, Some(Rotation { max_bytes: 10, kept_count: 0 })).unwrap();
    file.write(b"x\n").unwrap();
    assert_eq!(names(folder.path()), ["a.log"]);
    assert_eq!(fs::read_to_string(folder.path().join("a.log")).unwrap(), "x\n");
}

#[test]
fn a_log_that_cannot_be_rotated_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.log");
    // A folder that is not empty is in the way.
    fs::create_dir_all(folder.path().join("a.log.1/x")).unwrap();
    let rotation = Rotation { max_bytes: 1, kept_count: 1 };
    let mut file = LogFile::open(path.clone(), Some(rotation)).unwrap();
    for text in ["one\n", "two\n"] {
        file.write(text.as_bytes()).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap(), "one\ntwo\n");
}

#[test]
fn a_file_that_another_process_rotates_is_followed_and_never_rotated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.log");
    let rotation = Some(Rotation { max_bytes: 4, kept_count: 3 });
    let mut old = LogFile::open(path.clone(), rotation).unwrap();
    let mut new = LogFile::open(path.clone(), rotation).unwrap();
    old.follow(true);
    for text in ["one\n", "two\n"] {
        old.write(text.as_bytes()).unwrap();
    }
    assert_eq!(names(folder.path()), ["a.log"]);
    // What the old one has written counts when the new one begins to rotate.
    new.follow(true);
    new.follow(false);
    new.write(b"six\n").unwrap();
    old.write(b"ten\n").unwrap();
    assert_eq!(names(folder.path()), ["a.log", "a.log.1"]);
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!([read("a.log"), read("a.log.1")], ["six\nten\n", "one\ntwo\n"]);
    // A name that is nobody's for a moment is made.
    fs::rename(&path, folder.path().join("aside")).unwrap();
    old.write(b"end\n").unwrap();
    assert_eq!(read("a.log"), "end\n");
}
