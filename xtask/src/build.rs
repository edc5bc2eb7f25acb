//! Builds the console, then the programs that carry it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use clap::ValueEnum;

use crate::console;
use crate::process::{self, Step};
use crate::workspace;

/// Cargo's profiles, by their use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Profile {
    /// Quick to build.
    Dev,
    /// Optimised.
    Release,
    /// What is shipped and measured.
    Dist,
}

impl Profile {
    /// Cargo's name for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Release => "release",
            Self::Dist => "dist",
        }
    }

    /// Where cargo puts what it built.
    pub(crate) fn folder(self) -> PathBuf {
        workspace::target_dir().join(if self == Self::Dev { "debug" } else { self.name() })
    }
}

/// The console, `ballastd` and `ballastctl`.
pub(crate) fn run(profile: Profile) -> Result<()> {
    packages(profile, &["ballastd", "ballast-cli"])?;
    eprintln!("  {}", profile.folder().join("ballastd").display());
    eprintln!("  {}", profile.folder().join("ballastctl").display());
    Ok(())
}

/// The console and the binaries of these packages.
pub(crate) fn packages(profile: Profile, packages: &[&str]) -> Result<()> {
    console::build()?;
    let step = Step::start(format!("building {} ({})", packages.join(", "), profile.name()));
    let mut cargo = cargo("build");
    cargo.args(["--profile", profile.name(), "--bins"]);
    for package in packages {
        cargo.args(["--package", package]);
    }
    process::run(&mut cargo)?;
    step.done();
    Ok(())
}

/// `cargo VERB` in the workspace.
pub(crate) fn cargo(verb: &str) -> Command {
    let mut command = Command::new("cargo");
    command.arg(verb).current_dir(workspace::root());
    command
}

/// A built program, told where its companions are.
pub(crate) fn program(profile: Profile, name: &str) -> Command {
    let folder = profile.folder();
    let mut command = Command::new(folder.join(name));
    command.env("BALLAST_BIN_DIR", folder).current_dir(workspace::root());
    command
}
