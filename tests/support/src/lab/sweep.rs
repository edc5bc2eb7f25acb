//! Removes what killed runs left behind, and only that: names carry the process id of their run.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::namespaces::remove_namespace;

/// What the names of everything that labs make start with; the process id follows.
pub(super) const PREFIX: &str = "blst-";

/// Marks a folder that a person may want to read.
const KEPT: &str = "kept";

/// How long a marked folder stays.
const KEPT_FOR: Duration = Duration::from_hours(24);

/// Removes namespaces and folders of runs that are no more.
pub(super) fn remove_leftovers() {
    let own = rustix::process::geteuid().is_root();
    let list = own.then(|| Command::new("ip").args(["netns", "list"]).output().ok()).flatten();
    let text = list.map(|output| output.stdout).unwrap_or_default();
    for line in String::from_utf8_lossy(&text).lines() {
        let name = line.split_whitespace().next().unwrap_or("");
        if owner(name).is_some_and(|pid| !is_alive(pid)) {
            remove_namespace(name);
        }
    }
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let dead = owner(&name.to_string_lossy()).is_some_and(|pid| !is_alive(pid));
        if dead && !is_kept(&entry.path()) {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

/// Lets a folder survive the next sweeps.
pub(super) fn mark_kept(dir: &Path) {
    drop(fs::write(dir.join(KEPT), ""));
}

fn is_kept(dir: &Path) -> bool {
    let marked = fs::metadata(dir.join(KEPT)).and_then(|file| file.modified());
    marked.is_ok_and(|at| at.elapsed().is_ok_and(|age| age < KEPT_FOR))
}

/// The process id in a name that labs make.
fn owner(name: &str) -> Option<u32> {
    let (pid, rest) = name.strip_prefix(PREFIX)?.split_once('-')?;
    rest.starts_with(|c: char| c.is_ascii_digit()).then(|| pid.parse().ok()).flatten()
}

fn is_alive(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use super::owner;

    #[test]
    fn only_names_of_labs_have_an_owner() {
        assert_eq!(owner("blst-123-1-node-1"), Some(123));
        assert_eq!(owner("blst-123-1"), Some(123));
        for name in ["blst-", "blst-x-1", "blst-123", "blst-12-x", "other-123-1"] {
            assert_eq!(owner(name), None, "{name}");
        }
    }
}
