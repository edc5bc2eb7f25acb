//! Rules that no compiler checks: sizes, file names, sleeps and ignored tests, reasons for `unsafe`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::process;
use crate::workspace;

const FILE_LINES_AIM: usize = 600;
const FILE_LINES_LIMIT: usize = 900;
const FUNCTION_LINES_AIM: usize = 70;

/// Crates without runtime, clock or sockets.
const PURE_CRATES: &[&str] =
    &["ballast-model", "ballast-balance", "ballast-policy", "ballast-vrrp"];

/// What was noticed about one file.
#[derive(Default, Debug, PartialEq, Eq)]
struct Findings {
    /// Worth a look.
    notes: Vec<String>,
    /// Must not stay.
    faults: Vec<String>,
}

/// Reports every finding; fails when one is a fault.
pub(super) fn run() -> Result<()> {
    let root = workspace::root();
    let mut all = Findings::default();
    for file in workspace::files(&root, &["rs"]) {
        let name = file.strip_prefix(&root)?.to_string_lossy().into_owned();
        let findings = examine(&name, &fs::read_to_string(&file)?);
        all.notes.extend(findings.notes);
        all.faults.extend(findings.faults);
    }
    for note in &all.notes {
        eprintln!("  {note}");
    }
    for fault in &all.faults {
        eprintln!("✗ {fault}");
    }
    if !all.faults.is_empty() {
        bail!("{} faults", all.faults.len());
    }
    Ok(())
}

/// Fails when a pure crate depends on a runtime, even through others.
pub(super) fn pure_crates() -> Result<()> {
    for package in PURE_CRATES {
        let tree = process::output(
            Command::new("cargo")
                .args(["tree", "--package", package, "--edges", "normal", "--prefix", "none"])
                .current_dir(workspace::root()),
        )?;
        if let Some(line) = tree.lines().find(|line| line.starts_with("tokio ")) {
            bail!("{package} depends on {line}");
        }
    }
    Ok(())
}

fn examine(name: &str, text: &str) -> Findings {
    let mut findings = Findings::default();
    let lines: Vec<&str> = text.lines().collect();
    if Path::new(name).file_name().is_some_and(|file| file == "mod.rs") {
        findings.faults.push(format!("{name}: a module is `foo.rs`, never `mod.rs`"));
    }
    // `foo/tests.rs` is said to be foo's tests by its place.
    let is_unit_test = name.ends_with("/tests.rs");
    if !is_unit_test
        && !lines.first().is_some_and(|line| line.starts_with("//!") || line.starts_with("#!"))
    {
        findings.notes.push(format!("{name}:1: no `//!` line says what the file is for"));
    }
    if lines.len() > FILE_LINES_LIMIT {
        findings.faults.push(format!("{name}: {} lines, limit {FILE_LINES_LIMIT}", lines.len()));
    } else if lines.len() > FILE_LINES_AIM {
        findings.notes.push(format!("{name}: {} lines, aim {FILE_LINES_AIM}", lines.len()));
    }
    let is_test =
        name.starts_with("tests/") || name.contains("/tests/") || name.ends_with("tests.rs");
    for (index, line) in lines.iter().enumerate() {
        examine_line(&format!("{name}:{}", index + 1), &lines, index, is_test, &mut findings);
        if let Some(length) = function_length(&lines[index..], line)
            && length > FUNCTION_LINES_AIM
        {
            let note = format!(
                "{name}:{}: a function of {length} lines, aim {FUNCTION_LINES_AIM}",
                index + 1
            );
            findings.notes.push(note);
        }
    }
    findings
}

fn examine_line(place: &str, lines: &[&str], index: usize, is_test: bool, into: &mut Findings) {
    let code = lines[index].split("//").next().unwrap_or("").trim();
    if code == "#[ignore]" {
        into.faults.push(format!("{place}: `#[ignore]` without a reason"));
    }
    // Spelled in two parts, or this line would be its own finding.
    if is_test && code.contains(concat!("sle", "ep(")) && !explained(lines, index, "tidy:") {
        into.faults.push(format!("{place}: a test that sleeps; wait for the condition instead"));
    }
    let opens_unsafe =
        code.contains(concat!("uns", "afe {")) || code.contains(concat!("uns", "afe impl"));
    if opens_unsafe && !explained(lines, index, "SAFETY:") {
        into.faults.push(format!("{place}: no `// SAFETY:` says why this is sound"));
    }
}

/// Whether this line or the comment right above it has `word`.
fn explained(lines: &[&str], index: usize, word: &str) -> bool {
    lines[index].contains(word)
        || lines[..index]
            .iter()
            .rev()
            .take_while(|line| line.trim_start().starts_with("//"))
            .any(|line| line.contains(word))
}

/// The length of the function that starts on this line of formatted code.
fn function_length(lines: &[&str], first: &str) -> Option<usize> {
    let code = first.trim_start();
    let head = code.split('(').next().unwrap_or("");
    // A name follows; `f: fn(u8)` is a type.
    let mut words = head.split_whitespace().skip_while(|word| *word != "fn");
    let is_function = words.nth(1).is_some()
        && !code.starts_with("//")
        && !code.starts_with('"')
        && !head.contains('=');
    if !is_function || first.trim_end().ends_with(';') {
        return None;
    }
    let end = format!("{}}}", &first[..first.len() - code.len()]);
    lines.iter().position(|line| *line == end).map(|last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_must_not_stay() {
        let findings = examine("a/mod.rs", "//! A.\n#[ignore]\nfn f() {}\n");
        assert_eq!(findings.faults.len(), 2, "{findings:?}");
        let text =
            format!("//! A.\nfn f() {{\n    {}std::io::x() }};\n}}\n", concat!("uns", "afe { "));
        assert_eq!(examine("a.rs", &text).faults.len(), 1);
        let explained = text.replace("    uns", "    // SAFETY: no pointer is involved.\n    uns");
        assert_eq!(examine("a.rs", &explained).faults.len(), 0);
    }

    #[test]
    fn measures_functions() {
        let body = "    x();\n".repeat(70);
        let text = format!("//! A.\nfn long() {{\n{body}}}\nfn short() {{\n}}\n");
        assert_eq!(examine("a.rs", &text).notes, ["a.rs:2: a function of 72 lines, aim 70"]);
    }

    #[test]
    fn a_test_may_not_sleep() {
        let text = format!("//! A.\n{}x);\n", concat!("sle", "ep("));
        assert_eq!(examine("tests/a.rs", &text).faults.len(), 1);
        assert_eq!(examine("src/a.rs", &text).faults.len(), 0);
    }
}
