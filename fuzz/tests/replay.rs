//! Every input that fuzzing has kept is tried again: those that once broke something, and those that
//! lead into every corner.

use std::fs;
use std::path::{Path, PathBuf};

use ballast_fuzz::TARGETS;

fn corpus(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn replay(name: &str) {
    let (_, target) =
        TARGETS.iter().find(|(other, _)| *other == name).expect("there is such a target");
    let files = corpus(name);
    assert!(files.len() >= 5, "the corpus of {name} is all but empty");
    for file in files {
        println!("{}", file.display());
        target(&fs::read(&file).unwrap());
    }
}

macro_rules! replays {
    ($($name:ident),+ $(,)?) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })+

        #[test]
        fn every_target_has_its_replay() {
            let replayed = [$(stringify!($name)),+];
            assert_eq!(replayed.to_vec(), TARGETS.map(|(name, _)| name).to_vec());
        }
    };
}

replays!(
    client_hello,
    cookies,
    http1_chunks,
    http1_head,
    http1_response,
    http2_adapter,
    http2_frames,
    jwks,
    jwt,
    policy_request,
    policy_spec,
    proxy_protocol,
);

#[test]
fn every_target_has_its_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, TARGETS.map(|(name, _)| name));
}
