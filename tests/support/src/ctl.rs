//! The real `ballastctl`, run on a host of the lab with a home of its own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::lab::Host;
use crate::process;
use crate::programs;

/// Longest time for one command.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// A user's `ballastctl`.
#[derive(Clone, Debug)]
pub struct Ctl {
    host: Host,
    home: PathBuf,
}

impl Ctl {
    /// `ballastctl` on `host`, not signed in.
    ///
    /// # Errors
    /// When its home cannot be made.
    pub fn new(host: &Host) -> Result<Self> {
        let home = host.dir()?.join("home");
        std::fs::create_dir_all(&home)?;
        Ok(Self { host: host.clone(), home })
    }

    /// Signs in at `url`.
    ///
    /// # Errors
    /// When `ballastctl login` fails.
    pub async fn login(&self, url: &str, user: &str, password: &Path, ca: &str) -> Result<()> {
        let password = password.to_str().context("a path of the lab is UTF-8")?;
        let arguments = ["login", url, "--username", user, "--password-file", password];
        self.run(arguments.into_iter().chain(["--ca-fingerprint", ca])).await?;
        Ok(())
    }

    /// Runs a command and returns what it printed.
    ///
    /// # Errors
    /// When it fails; the message has its output.
    pub async fn run<I, S>(&self, arguments: I) -> Result<String>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = self.host.command(programs::find("ballastctl")?);
        command.env("HOME", &self.home).env("XDG_CONFIG_HOME", self.home.join("config"));
        command.args(arguments);
        let output = process::run(command, COMMAND_LIMIT).await?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a command with `-o json` and returns the answer.
    ///
    /// # Errors
    /// When it fails or does not print JSON.
    pub async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.run(arguments.iter().copied().chain(["-o", "json"])).await?;
        serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))
    }
}
