//! Builds the browser console into `target/admin-ui/dist`, with file names that change with their content.
//!
//! Nothing is built when no input has changed, so every task may ask for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::fnv::{self, Fnv};
use crate::process::{self, Step};
use crate::setup;
use crate::wasm::{self, Toolchain};
use crate::workspace;

/// The name of the JavaScript module that loads the console, before it is hashed.
const MODULE: &str = "ballast_admin_ui";
const PACKAGE: &str = "ballast-admin-ui";

/// The WebAssembly features that rustc's default target emits, for a module that does not name them.
const WASM_FEATURES: &[&str] = &[
    "--enable-bulk-memory",
    "--enable-bulk-memory-opt",
    "--enable-call-indirect-overlong",
    "--enable-nontrapping-float-to-int",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-reference-types",
    "--enable-multivalue",
];

/// Builds the console unless it is up to date.
pub(crate) fn build() -> Result<()> {
    let folder = workspace::console_dir();
    let stamp = folder.join("stamp");
    let inputs = hash_of_inputs()?;
    if folder.join("dist/index.html").is_file()
        && fs::read_to_string(&stamp).is_ok_and(|text| text == inputs)
    {
        return Ok(());
    }
    let step = Step::start("console: compiling for WebAssembly");
    let module = compile()?;
    let bound = folder.join("bound");
    bind(&module, &bound)?;
    optimize(&bound)?;
    // Complete or absent: a build of the server may be reading it.
    let fresh = folder.join("dist.new");
    let dist = folder.join("dist");
    let files = assemble(&bound, &fresh)?;
    if dist.exists() {
        fs::remove_dir_all(&dist)?;
    }
    fs::rename(&fresh, &dist)?;
    fs::write(stamp, inputs)?;
    eprintln!("  {files}");
    step.done();
    Ok(())
}

fn hash_of_inputs() -> Result<String> {
    let root = workspace::root();
    let mut hash = Fnv::new();
    let mut inputs = vec![root.join("Cargo.lock"), root.join("Cargo.toml")];
    for folder in ["admin-ui", "api/model", "api/client"] {
        inputs.extend(workspace::files(&root.join(folder), &[]));
    }
    inputs.push(root.join("xtask/src/console.rs"));
    for input in inputs {
        let bytes = fs::read(&input).with_context(|| format!("reading {}", input.display()))?;
        hash.update(input.strip_prefix(&root)?.to_string_lossy().as_bytes());
        hash.update(&[0]);
        hash.update(&bytes);
    }
    Ok(hash.hex())
}

fn compile() -> Result<PathBuf> {
    let toolchain = Toolchain::detect()
        .context("no compiler for WebAssembly; `cargo xtask setup` brings one")?;
    // A folder of its own: another compiler's output would evict the host's.
    let target = workspace::root().join("target/wasm");
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--package", PACKAGE, "--profile", "wasm", "--target", wasm::TARGET])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(workspace::root())
        // The section that names the module's features is for wasm-bindgen; wasm-opt drops it later.
        .env("CARGO_PROFILE_WASM_STRIP", "debuginfo")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    toolchain.configure(&mut cargo);
    process::run(&mut cargo)?;
    let module = target.join(wasm::TARGET).join("wasm").join(format!("{PACKAGE}.wasm"));
    if !module.is_file() {
        bail!("the build left no {}", module.display());
    }
    Ok(module)
}

fn bind(module: &Path, into: &Path) -> Result<()> {
    if into.exists() {
        fs::remove_dir_all(into)?;
    }
    process::run(
        Command::new(setup::wasm_bindgen()?)
            .args(["--target", "web", "--no-typescript", "--out-name", MODULE, "--out-dir"])
            .arg(into)
            .arg(module),
    )
}

fn optimize(bound: &Path) -> Result<()> {
    let module = bound.join(format!("{MODULE}_bg.wasm"));
    let small = bound.join("small.wasm");
    process::run(
        Command::new(workspace::browser_dir().join("node_modules/.bin/wasm-opt"))
            .args(["-Oz", "--strip-debug", "--strip-producers", "--strip-target-features"])
            .args(WASM_FEATURES)
            .arg(&module)
            .arg("-o")
            .arg(&small),
    )?;
    fs::rename(small, module)?;
    Ok(())
}

/// Lays the parts out under their final names; returns a line about their sizes.
fn assemble(bound: &Path, into: &Path) -> Result<String> {
    if into.exists() {
        fs::remove_dir_all(into)?;
    }
    fs::create_dir_all(into)?;
    let source = workspace::root().join("admin-ui");
    let module = fs::read(bound.join(format!("{MODULE}_bg.wasm")))?;
    let module_name = hashed(&format!("{MODULE}_bg"), &module, "wasm");
    let script = fs::read_to_string(bound.join(format!("{MODULE}.js")))?
        .replace(&format!("{MODULE}_bg.wasm"), &module_name);
    let script_name = hashed(MODULE, script.as_bytes(), "js");
    let style = fs::read(source.join("style.css")).unwrap_or_default();
    let style_name = hashed("style", &style, "css");
    let page = fs::read_to_string(source.join("index.html"))
        .context("reading admin-ui/index.html")?
        .replace(&format!("{MODULE}_bg.wasm"), &module_name)
        .replace(&format!("{MODULE}.js"), &script_name)
        .replace("style.css", &style_name);
    if !page.contains(&script_name) {
        bail!("admin-ui/index.html does not load {MODULE}.js");
    }
    fs::write(into.join(&module_name), &module)?;
    fs::write(into.join(&script_name), &script)?;
    fs::write(into.join(&style_name), &style)?;
    fs::write(into.join("index.html"), &page)?;
    copy_folder(&source.join("assets"), &into.join("assets"))?;
    copy_folder(&bound.join("snippets"), &into.join("snippets"))?;
    Ok(format!(
        "{module_name} {} KiB, {script_name} {} KiB, {style_name} {} KiB",
        module.len() / 1024,
        script.len() / 1024,
        style.len() / 1024
    ))
}

fn hashed(stem: &str, content: &[u8], extension: &str) -> String {
    format!("{stem}-{}.{extension}", fnv::hex(content))
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    for file in workspace::files(from, &[]) {
        let target = to.join(file.strip_prefix(from)?);
        fs::create_dir_all(target.parent().context("a file lies in a folder")?)?;
        fs::copy(&file, &target)?;
    }
    Ok(())
}
