//! `setup`: installs what is missing and nothing else. Doing it twice changes nothing the second time.

use std::fs;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::process::{self, Step};
use crate::wasm;
use crate::workspace;

pub(crate) mod debian;

/// What the caller is about to do; each step includes the ones above it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Purpose {
    /// Compile, the console included.
    Build,
    /// Start a cluster in network namespaces.
    Lab,
    /// Measure beside the peers.
    Bench,
    /// Run every suite.
    Test,
    /// Also what only maintainers use.
    All,
}

/// Brings the machine to where `purpose` can begin.
pub(crate) fn run(purpose: Purpose) -> Result<()> {
    let started = Instant::now();
    debian::install(purpose)?;
    wasm::install()?;
    install_wasm_bindgen()?;
    install_npm_packages()?;
    if purpose >= Purpose::Test {
        install_cargo_tool("cargo-nextest", "compiles for some minutes, once")?;
    }
    if purpose >= Purpose::All {
        install_cargo_tool("cargo-deny", "compiles for some minutes, once")?;
    }
    eprintln!("✓ everything needed is there ({})", process::seconds(started.elapsed()));
    Ok(())
}

/// Where the `wasm-bindgen` that fits `Cargo.lock` is, or will be.
pub(crate) fn wasm_bindgen() -> Result<std::path::PathBuf> {
    let version = workspace::locked_version("wasm-bindgen")?;
    Ok(workspace::tools_dir()?.join(format!("wasm-bindgen-{version}/bin/wasm-bindgen")))
}

fn install_wasm_bindgen() -> Result<()> {
    let program = wasm_bindgen()?;
    if program.is_file() {
        return Ok(());
    }
    let version = workspace::locked_version("wasm-bindgen")?;
    if let Some(found) = process::find("wasm-bindgen") {
        let text = process::output(Command::new(&found).arg("--version")).unwrap_or_default();
        if text.split_whitespace().nth(1) == Some(version.as_str()) {
            let folder = program.parent().context("a file lies in a folder")?;
            fs::create_dir_all(folder)?;
            std::os::unix::fs::symlink(found, &program)?;
            return Ok(());
        }
    }
    let step =
        Step::start(format!("wasm-bindgen-cli {version} (compiles for 2 to 3 minutes, once)"));
    let root = program.ancestors().nth(2).context("the tool lies two folders deep")?;
    // Not --locked: the lock file of the published crate names a dependency that was withdrawn.
    process::run(
        Command::new("cargo")
            .args(["install", "--quiet", "wasm-bindgen-cli", "--version", &version, "--root"])
            .arg(root)
            .env_remove("CARGO_TARGET_DIR"),
    )?;
    step.done();
    Ok(())
}

fn install_cargo_tool(tool: &str, note: &str) -> Result<()> {
    let at_home = std::env::var_os("HOME")
        .is_some_and(|home| std::path::Path::new(&home).join(".cargo/bin").join(tool).is_file());
    if at_home || process::find(tool).is_some() {
        return Ok(());
    }
    let step = Step::start(format!("{tool} ({note})"));
    process::run(
        Command::new("cargo")
            .args(["install", "--quiet", "--locked", tool])
            .env_remove("CARGO_TARGET_DIR"),
    )?;
    step.done();
    Ok(())
}

/// The npm packages of `tests/browser`: Playwright, axe-core, and binaryen for `wasm-opt`.
fn install_npm_packages() -> Result<()> {
    let folder = workspace::browser_dir();
    let wanted =
        fs::read(folder.join("package.json")).context("reading tests/browser/package.json")?;
    let lock = folder.join("package-lock.json");
    let stamp = folder.join("node_modules/.ballast-stamp");
    let mut hash = crate::fnv::Fnv::new();
    hash.update(&wanted);
    hash.update(&fs::read(&lock).unwrap_or_default());
    if fs::read_to_string(&stamp).is_ok_and(|text| text == hash.hex()) {
        return Ok(());
    }
    if process::find("npm").is_none() {
        bail!("npm is missing: install nodejs (18 or newer) and npm");
    }
    let step = Step::start("npm packages: binaryen, @playwright/test, axe-core");
    let verb = if lock.is_file() { "ci" } else { "install" };
    process::run_logged(
        Command::new("npm")
            .args([verb, "--no-audit", "--no-fund", "--loglevel=error"])
            .env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1")
            .current_dir(&folder),
        &workspace::root().join("target/xtask/npm.log"),
    )?;
    let mut hash = crate::fnv::Fnv::new();
    hash.update(&wanted);
    hash.update(&fs::read(&lock).unwrap_or_default());
    fs::write(&stamp, hash.hex())?;
    step.done();
    Ok(())
}
