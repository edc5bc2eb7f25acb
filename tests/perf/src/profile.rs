//! Where the instructions of a keep-alive request go: the shipped program under callgrind.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use ballast_test_support::{Lab, process};
use clap::Args;

use crate::l7::KeepAlive;

/// How long requests are counted, in s; they are about fifty times slower than without.
const COUNT_S: u32 = 10;
const WARM_UP_S: u32 = 3;

const CONTROL_LIMIT: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Args)]
pub(crate) struct ProfileOptions {
    /// The document whose section `profile` is replaced.
    #[arg(long)]
    document: Option<PathBuf>,
}

/// Instructions by function.
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) requests: u64,
    /// The one with the most first; what it calls is not counted in.
    pub(crate) functions: Vec<(String, u64)>,
}

impl Profile {
    /// The same by crate or library, the largest first.
    pub(crate) fn parts(&self) -> Vec<(String, u64)> {
        summed(self.functions.iter().map(|(name, count)| (part_of(name), *count)))
    }
}

pub(crate) async fn run(options: &ProfileOptions) -> Result<()> {
    let lab = Lab::loopback()?;
    let counts = lab.dir().join("callgrind.out");
    let file = format!("--callgrind-out-file={}", counts.display());
    // For as long as this program runs.
    let wrapper: &'static [&'static str] = vec![
        "valgrind",
        "--tool=callgrind",
        "--instr-atstart=no",
        Box::leak(file.into_boxed_str()),
    ]
    .leak();
    let subject = KeepAlive::start(&lab, wrapper).await?;
    subject.send(WARM_UP_S).await?;
    control(&lab, subject.pid(), &["-i", "on"]).await?;
    let outcome = subject.send(COUNT_S).await?;
    control(&lab, subject.pid(), &["-i", "off"]).await?;
    ensure!(outcome.failures == 0, "{} requests failed", outcome.failures);
    control(&lab, subject.pid(), &["-d"]).await?;
    let profile = Profile { requests: outcome.requests, functions: functions(&counts).await? };
    let text = crate::document::breakdown(&profile)?;
    println!("{text}");
    if let Some(path) = &options.document {
        crate::document::write_section(path, "profile", &text)?;
    }
    Ok(())
}

async fn control(lab: &Lab, pid: u32, arguments: &[&str]) -> Result<()> {
    let mut command = lab.host("client", 31)?.command("callgrind_control");
    command.args(arguments).arg(pid.to_string());
    process::run(command, CONTROL_LIMIT).await?;
    Ok(())
}

/// Reads the counts that were dumped.
async fn functions(counts: &std::path::Path) -> Result<Vec<(String, u64)>> {
    let dumped = counts.with_extension("out.1");
    let mut command = Command::new("callgrind_annotate");
    command.args(["--auto=no", "--threshold=100"]).arg(&dumped);
    let output = process::run(command, CONTROL_LIMIT).await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let functions = summed(text.lines().filter_map(parse));
    ensure!(!functions.is_empty(), "callgrind_annotate said:\n{text}");
    Ok(functions)
}

/// One row for each function, the largest first: callgrind lists one for each file that what was inlined came from.
fn summed(rows: impl Iterator<Item = (String, u64)>) -> Vec<(String, u64)> {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for (name, count) in rows {
        *sums.entry(name).or_default() += count;
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    sums
}

/// `1,234 (5.00%)  file:function [object]`.
fn parse(line: &str) -> Option<(String, u64)> {
    let (count, rest) = line.trim_start().split_once(' ')?;
    let count = count.replace(',', "").parse().ok()?;
    let (_, rest) = rest.split_once(')')?;
    let (_, name) = rest.trim().split_once(':')?;
    let name = name.split(" [").next().unwrap_or(name);
    Some((shortened(name), count)).filter(|(name, _)| !name.is_empty())
}

/// Without the hash that makes a symbol unique, and the compiler's notes about clones of it.
fn shortened(name: &str) -> String {
    let name = name.split("'2").next().unwrap_or(name);
    match name.rsplit_once("::h") {
        Some((rest, hash)) if hash.len() == 16 => rest.to_owned(),
        _ => name.to_owned(),
    }
}

/// The crate that a function is from, as far as its name tells.
fn part_of(name: &str) -> String {
    let bare = name.trim_start_matches(['<', '&', '(']);
    let first: String =
        bare.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
    match bare[first.len()..].starts_with("::") {
        true => first,
        false => "libc and others".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_function_and_its_count() {
        let line =
            "1,234 ( 5.00%)  /x/y.rs:<ballast_l7::pump::Pump>::stage::h0123456789abcdef [/bin/x]";
        assert_eq!(parse(line), Some(("<ballast_l7::pump::Pump>::stage".to_owned(), 1_234)));
        assert_eq!(part_of("<ballast_l7::pump::Pump>::stage"), "ballast_l7");
        assert_eq!(part_of("epoll_wait"), "libc and others");
        let rows = [("f".to_owned(), 1), ("g".to_owned(), 2), ("f".to_owned(), 3)];
        assert_eq!(summed(rows.into_iter()), [("f".to_owned(), 4), ("g".to_owned(), 2)]);
        assert_eq!(parse("--------"), None);
        assert_eq!(parse("Ir  file:function"), None);
    }
}
