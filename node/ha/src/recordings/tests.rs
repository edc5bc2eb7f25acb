use ballast_vrrp::Time;

use super::*;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_oldest_files_go_and_others_stay() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join(FOLDER);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("notes.txt"), "a person's").unwrap();
    for number in 0..FILE_MAX_COUNT + 3 {
        fs::write(folder.join(format!("{number:017}-web.jsonl")), "").unwrap();
    }
    let recording = crate::engine::recording_of_nothing("we/b", false);
    write_one(&folder, &recording).unwrap();
    for number in 0..NOTE_FILE_MAX_COUNT as u64 + 2 {
        let mut note = crate::engine::recording_of_nothing("web", true);
        note.at = Time(number * 1_000_000);
        write_one(&folder, &note).unwrap();
    }
    let (notes, names): (Vec<_>, Vec<_>) =
        names(&folder).into_iter().partition(|name| name.ends_with(NOTE_ENDING));
    assert_eq!(notes.len(), NOTE_FILE_MAX_COUNT, "notes push no transition out");
    assert_eq!(names.len(), FILE_MAX_COUNT + 1);
    assert!(names.contains(&"notes.txt".to_owned()));
    assert_eq!(names[0], format!("{:017}-web.jsonl", 4));
    let last = names.iter().find(|name| name.ends_with("-we_b.jsonl")).expect("the new one");
    assert_eq!(replay(&folder.join(last)).unwrap().inputs_count, 0);
}

#[test]
fn a_file_that_is_none_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.jsonl");
    assert!(matches!(replay(&path), Err(ReplayError::Read(_))));
    fs::write(&path, "{}\n").unwrap();
    assert!(matches!(replay(&path), Err(ReplayError::Malformed { .. })));
}
