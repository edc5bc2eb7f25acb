//! `docs/conformance.md` names tests that exist, and leaves no row of this crate without them.

use std::fs;
use std::path::{Path, PathBuf};

const COLUMNS_COUNT: usize = 7;
/// The rows as they were when the table was complete: it may grow.
const ROWS_COUNT_MIN: usize = 75;
/// Who of "met by" is this crate.
const OURS: [&str; 3] = ["codec", "machine", "frames"];
/// Who of "met by" is answered for by tests over real sockets and kernels.
const REAL: [&str; 2] = ["shell", "kernel"];

struct Row {
    number: usize,
    met_by: String,
    positive: Vec<String>,
    negative: Vec<String>,
}

#[test]
fn every_named_test_exists() {
    for row in rows() {
        for name in row.positive.iter().chain(&row.negative) {
            assert!(exists(name), "row {}: there is no test {name}", row.number);
        }
    }
}

#[test]
fn every_row_of_this_crate_has_a_positive_and_a_negative_test() {
    for row in rows() {
        let is_ours = OURS.iter().any(|part| row.met_by.starts_with(part));
        let is_tested = !row.positive.is_empty() && !row.negative.is_empty();
        assert!(!is_ours || is_tested, "row {} is not tested both ways", row.number);
    }
}

#[test]
fn every_row_of_the_shell_and_the_kernel_names_a_test_on_real_ones() {
    for row in rows() {
        let is_real = REAL.iter().any(|part| row.met_by.starts_with(part));
        let mut names = row.positive.iter().chain(&row.negative);
        let is_tested =
            names.any(|name| name.starts_with("ha::") || name.starts_with("failover::"));
        assert!(!is_real || is_tested, "row {} is not tested on real sockets", row.number);
    }
}

#[test]
fn every_row_says_by_whom_it_is_met() {
    let known =
        ["codec", "machine", "frames", "configuration", "shell", "kernel", "n/a", "differs"];
    for (index, row) in rows().iter().enumerate() {
        assert_eq!(row.number, index + 1, "rows are numbered through");
        let is_known = known.iter().any(|part| row.met_by.starts_with(part));
        assert!(is_known, "row {}: met by {}", row.number, row.met_by);
    }
    assert!(rows().len() >= ROWS_COUNT_MIN, "{} rows", rows().len());
}

#[test]
fn a_test_that_does_not_exist_is_found_out() {
    assert!(exists("wire::tests::vrid_0_is_refused"));
    assert!(exists("wire::tests::ipv4_header::padding_of_the_link_is_not_payload"));
    assert!(exists("simulation::oscillation_is_caught"));
    assert!(exists("failover::wire::adverts_stay_on_their_network_though_a_node_forwards"));
    assert!(exists("ha::kernel::an_address_goes_by_itself_when_its_lease_is_not_renewed"));
    assert!(!exists("failover::wire::adverts_stray"));
    assert!(!exists("ha::kernel::adverts_stray"));
    assert!(!exists("failover::wire::link_local"));
    assert!(!exists("wire::tests::vrid_0_is_welcome"));
    assert!(!exists("nowhere::vrid_0_is_refused"));
    // A function, but no test.
    assert!(!exists("wire::encode"));
}

fn rows() -> Vec<Row> {
    let path = workspace().join("docs/conformance.md");
    let text = fs::read_to_string(&path).unwrap();
    let is_row = |line: &&str| {
        line.strip_prefix("| ")
            .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    };
    text.lines().filter(is_row).map(read_row).collect()
}

fn read_row(line: &str) -> Row {
    let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
    assert_eq!(cells.len(), COLUMNS_COUNT, "{line}");
    let names = |cell: &str| -> Vec<String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    Row {
        number: cells[0].parse().unwrap(),
        met_by: cells[4].to_owned(),
        positive: names(cells[5]),
        negative: names(cells[6]),
    }
}

/// Looks for `fn name` behind `#[test]` in the file that the path leads to.
fn exists(test: &str) -> bool {
    let mut modules: Vec<&str> = test.split("::").collect();
    let Some(name) = modules.pop() else { return false };
    // Modules inside a file are not in its path.
    while !modules.is_empty() {
        let mut files = candidates(&modules).into_iter().filter(|file| file.is_file()).peekable();
        if files.peek().is_some() {
            return files.any(|file| has_test(&fs::read_to_string(&file).unwrap(), name));
        }
        modules.pop();
    }
    false
}

fn candidates(modules: &[&str]) -> Vec<PathBuf> {
    let file = format!("{}.rs", modules.join("/"));
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = vec![own.join("src").join(&file), own.join("tests").join(&file)];
    if let Some(rest) = file.strip_prefix("failover/") {
        all.push(workspace().join("tests/failover/tests").join(rest));
    }
    if let Some(rest) = file.strip_prefix("ha/") {
        all.push(workspace().join("node/ha/src").join(rest));
        all.push(workspace().join("node/ha/tests").join(rest));
    }
    all
}

fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let head = format!("fn {name}(");
    let definition = lines.iter().position(|line| line.contains(&head));
    definition.is_some_and(|at| {
        // Attributes and comments stand between; properties are tests, too.
        let is_test = |line: &&&str| line.ends_with("test]") || line.starts_with("#[tokio::test");
        lines[..at].iter().rev().take(3).any(|line| is_test(&line))
    })
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
