//! `check` reads and reports; `fix` is its writing twin.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::build::cargo;
use crate::process::{self, Step};
use crate::test::HOST_PACKAGES;
use crate::workspace;

mod links;
mod tidy;

/// The committed description of the API.
const OPENAPI: &str = "api/server/openapi.json";

/// Runs every check, also those after a failed one; changes nothing.
pub(crate) fn run() -> Result<()> {
    let mut failed = Vec::new();
    let mut check = |name: &'static str, result: &mut dyn FnMut() -> Result<()>| {
        let step = Step::start(name);
        match result() {
            Ok(()) => step.done(),
            Err(error) => {
                eprintln!("✗ {name}: {error:#}");
                failed.push(name);
            }
        }
    };
    check("format", &mut || process::run(cargo("fmt").args(["--all", "--", "--check"])));
    check("tidy", &mut tidy::run);
    check("links in documents", &mut links::run);
    check("pure crates stay pure", &mut tidy::pure_crates);
    check("clippy", &mut || process::run(&mut clippy(&[])));
    check("OpenAPI drift", &mut openapi_is_current);
    check("dependencies", &mut dependencies);
    if failed.is_empty() { Ok(()) } else { bail!("not clean: {}", failed.join(", ")) }
}

/// Formats, applies lints' suggestions and rewrites generated files.
pub(crate) fn fix() -> Result<()> {
    process::run(&mut clippy(&["--fix", "--allow-dirty", "--allow-staged"]))?;
    process::run(cargo("fmt").arg("--all"))?;
    if let Some(document) = generate_openapi()? {
        fs::write(workspace::root().join(OPENAPI), document)?;
    }
    run()
}

fn clippy(flags: &[&str]) -> Command {
    let mut command = cargo("clippy");
    command.args(HOST_PACKAGES).arg("--all-targets").args(flags);
    command.args(["--", "-D", "warnings"]);
    command
}

/// The API's description as the code has it now, if the server can print it.
fn generate_openapi() -> Result<Option<String>> {
    let server = workspace::root().join("api/server");
    let mut command = cargo("run");
    command.args(["--quiet", "--package", "ballast-api"]);
    if server.join("src/bin/openapi.rs").is_file() {
        command.args(["--bin", "openapi"]);
    } else if server.join("examples/openapi.rs").is_file() {
        command.args(["--example", "openapi"]);
    } else {
        return Ok(None);
    }
    process::output(&mut command).map(Some)
}

fn openapi_is_current() -> Result<()> {
    let Some(generated) = generate_openapi()? else {
        bail!("api/server has no `openapi` program that prints the document");
    };
    let committed = fs::read_to_string(workspace::root().join(OPENAPI))
        .with_context(|| format!("reading {OPENAPI}"))?;
    let generated: serde_json::Value = serde_json::from_str(&generated)?;
    let committed: serde_json::Value = serde_json::from_str(&committed)?;
    if generated != committed {
        bail!("{OPENAPI} is not what the code says; `cargo xtask fix` rewrites it");
    }
    Ok(())
}

fn dependencies() -> Result<()> {
    if !process::succeeds(cargo("deny").arg("--version")) {
        eprintln!("  skipped: cargo-deny is not installed (`cargo xtask setup --all` brings it)");
        return Ok(());
    }
    // Advisories need the network; they are looked up where there is one.
    process::run(cargo("deny").args(["check", "bans", "licenses", "sources"]))
}
