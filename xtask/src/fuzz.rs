//! `fuzz`: looks for inputs that break a parser, with libFuzzer. No other toolchain is needed: what it
//! wants to know of a run is an LLVM pass that the stable compiler has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::build::cargo;
use crate::process::{self, Step};
use crate::setup::{self, Purpose};
use crate::workspace;

/// How many targets there are, as whoever shares out time needs to know.
pub(crate) const TARGET_COUNT: u32 = 12;

const PACKAGE: &str = "ballast-fuzz";
/// What libFuzzer needs of a program; the code is safe Rust, so that a sanitizer would find nothing
/// that a panic does not.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Coverflow-checks --cfg fuzzing";
/// Longest input, in bytes.
const INPUT_MAX_BYTES: u32 = 32 * 1024;

/// Runs one target, or all, for `seconds` each. What is found on the way is kept under `target/fuzz`;
/// with `keep` what leads somewhere new goes to the corpus that the tests replay.
pub(crate) fn run(target: Option<&str>, seconds: u32, keep: bool) -> Result<()> {
    let mut targets = names()?;
    if let Some(name) = target {
        ensure!(
            targets.iter().any(|known| known == name),
            "there is no target {name}; there are {}",
            targets.join(", ")
        );
        targets = vec![name.to_owned()];
    }
    setup::run(Purpose::Build)?;
    if process::find("c++").is_none() {
        // libFuzzer is written in it; nothing else is.
        setup::debian::install_packages(&["g++"])?;
    }
    let folder = workspace::root().join("target/fuzz");
    let triple = host_triple()?;
    let step = Step::start("building the fuzz targets");
    let mut build = cargo("build");
    // With a target of its own, so that the flags are not those of build scripts.
    build
        .args(["--release", "--package", PACKAGE, "--features", "libfuzzer", "--bins"])
        .args(["--target", &triple, "--target-dir"])
        .arg(&folder)
        .env("RUSTFLAGS", FLAGS);
    process::run(&mut build)?;
    step.done();
    let programs = folder.join(&triple).join("release");
    let mut broken = Vec::new();
    for name in &targets {
        let step = Step::start(format!("fuzzing {name} for {seconds} s"));
        match fuzz(&programs.join(name), name, &folder, seconds, keep) {
            Ok(()) => step.done(),
            Err(error) => {
                eprintln!("✗ {error:#}");
                broken.push(name.as_str());
            }
        }
    }
    ensure!(broken.is_empty(), "inputs were found that break {}: see above", broken.join(", "));
    Ok(())
}

fn fuzz(program: &Path, name: &str, folder: &Path, seconds: u32, keep: bool) -> Result<()> {
    let corpus = source().join("corpus").join(name);
    let found = folder.join("found").join(name);
    let artifacts = folder.join("broken").join(name);
    fs::create_dir_all(&found)?;
    fs::create_dir_all(&artifacts)?;
    let mut fuzzing = Command::new(program);
    fuzzing
        .arg(&found)
        .arg(&corpus)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={INPUT_MAX_BYTES}"))
        .arg("-timeout=30")
        .arg(format!("-artifact_prefix={}/", artifacts.display()));
    let before = files(&artifacts);
    if let Err(error) = process::run(&mut fuzzing) {
        let new = files(&artifacts).into_iter().find(|path| !before.contains(path));
        let Some(input) = new else { return Err(error) };
        bail!("{}", what_to_do(name, program, &input, &corpus));
    }
    if keep {
        let mut merging = Command::new(program);
        process::run(merging.arg("-merge=1").arg(&corpus).arg(&found))?;
    }
    Ok(())
}

/// What whoever finds such an input does next.
fn what_to_do(name: &str, program: &Path, input: &Path, corpus: &Path) -> String {
    let (program, input, corpus) = (program.display(), input.display(), corpus.display());
    format!(
        "{name}: {input} breaks it\n  \
         again:          {program} {input}\n  \
         make it small:  {program} -minimize_crash=1 -max_total_time=60 {input}\n  \
         keep it:        cp {input} {corpus}/   (named by what it shows; the suite replays it)\n  \
         then mend it:   cargo nextest run -p {PACKAGE} {name}"
    )
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn source() -> PathBuf {
    workspace::root().join("fuzz")
}

fn names() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(source().join("fuzz_targets"))? {
        if let Some(name) = entry?.path().file_stem() {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn host_triple() -> Result<String> {
    let told = process::output(Command::new("rustc").arg("-vV"))?;
    let line = told.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(line.context("rustc does not say what it builds for")?.to_owned())
}
