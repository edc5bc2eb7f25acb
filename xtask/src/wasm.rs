//! Which compiler builds the console for WebAssembly.
//!
//! Where rustup has the target, or can fetch it, that is plain stable cargo. Else Debian's
//! `rustc-web` with its library source does it, linked with the `rust-lld` inside the toolchain.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{self, Step};
use crate::setup::debian;

/// The target triple of the console.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

const DEBIAN_PACKAGES: &[&str] = &["rustc-web", "libstd-rust-web-dev", "rust-web-src"];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// A way to compile for [`TARGET`].
#[derive(Debug)]
pub(crate) enum Toolchain {
    /// The target's library is part of the toolchain in use.
    Installed,
    /// Debian's compiler; the library is compiled along from source.
    Debian { linker: PathBuf },
}

impl Toolchain {
    /// What is usable now, without installing anything.
    pub(crate) fn detect() -> Option<Self> {
        if has_target() {
            return Some(Self::Installed);
        }
        let there = Path::new(DEBIAN_RUSTC).is_file() && library_source().is_some();
        there.then(linker).flatten().map(|linker| Self::Debian { linker })
    }

    /// Adds what this toolchain needs to a `cargo build`.
    pub(crate) fn configure(&self, cargo: &mut Command) {
        if let Self::Debian { linker } = self {
            cargo
                .env("RUSTC", DEBIAN_RUSTC)
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
                .arg("-Zbuild-std=std,panic_abort");
        }
    }
}

/// Makes [`Toolchain::detect`] succeed.
pub(crate) fn install() -> Result<()> {
    if Toolchain::detect().is_some() {
        return Ok(());
    }
    let step = Step::start(format!("Rust target {TARGET}"));
    if process::find("rustup").is_some()
        && process::succeeds(
            Command::new("timeout").args(["120", "rustup", "target", "add", TARGET]),
        )
        && has_target()
    {
        step.done();
        return Ok(());
    }
    eprintln!("  rustup cannot add it here; taking Debian's compiler for WebAssembly");
    let mut names = DEBIAN_PACKAGES.to_vec();
    if linker().is_none() {
        names.push("lld");
    }
    debian::install_packages(&names)
        .context("or add the target by hand: rustup target add wasm32-unknown-unknown")?;
    if Toolchain::detect().is_none() {
        bail!("{} are installed, yet no compiler for {TARGET} was found", names.join(", "));
    }
    step.done();
    Ok(())
}

fn sysroot() -> Option<PathBuf> {
    let text = process::output(Command::new("rustc").args(["--print", "sysroot"])).ok()?;
    Some(PathBuf::from(text.trim()))
}

fn has_target() -> bool {
    sysroot().is_some_and(|sysroot| sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir())
}

fn library_source() -> Option<PathBuf> {
    let text = process::output(Command::new(DEBIAN_RUSTC).args(["--print", "sysroot"])).ok()?;
    let source = Path::new(text.trim()).join("lib/rustlib/src/rust/library/std/Cargo.toml");
    source.is_file().then_some(source)
}

fn linker() -> Option<PathBuf> {
    let host = sysroot()?.join("lib/rustlib");
    let own = std::fs::read_dir(host)
        .ok()?
        .flatten()
        .map(|entry| entry.path().join("bin/rust-lld"))
        .find(|candidate| candidate.is_file());
    own.or_else(|| process::find("wasm-ld")).or_else(|| {
        (14..=30).rev().find_map(|version| process::find(&format!("wasm-ld-{version}")))
    })
}
