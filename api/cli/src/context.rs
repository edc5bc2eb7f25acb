//! Which cluster is talked to, and as whom: what `login` saved, overridden by the environment.
//!
//! The file holds a credential: it is made readable for its owner alone, before anything is written
//! into it.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use ballast_client::{Client, Trust};
use serde::{Deserialize, Serialize};

use crate::output::failure::Usage;

/// What tells an API token from a session.
const TOKEN_PREFIX: &str = "blst_";

/// What `login` saves.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedContext {
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) believed: Believed,
}

/// Whom to believe to be the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Believed {
    Anybody,
    CaFingerprint(String),
    CaPem(String),
    System,
}

/// What commands work with.
pub(crate) struct Context {
    url: String,
    token: String,
    believed: Believed,
}

/// What the environment says.
#[derive(Default)]
struct Environment {
    url: Option<String>,
    token: Option<String>,
    ca_fingerprint: Option<String>,
}

impl Believed {
    pub(crate) fn trust(&self) -> Trust {
        match self {
            Self::Anybody => Trust::Insecure,
            Self::CaFingerprint(fingerprint) => Trust::CaFingerprint(fingerprint.clone()),
            Self::CaPem(pem) => Trust::CaPem(pem.clone()),
            Self::System => Trust::System,
        }
    }
}

impl Context {
    /// What was saved, overridden by the environment.
    pub(crate) fn load() -> Result<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let environment = Environment {
            url: variable("BALLAST_URL"),
            token: variable("BALLAST_TOKEN"),
            ca_fingerprint: variable("BALLAST_CA_FINGERPRINT"),
        };
        Self::resolve(read(&path()?)?, environment)
    }

    fn resolve(saved: Option<SavedContext>, environment: Environment) -> Result<Self> {
        let is_elsewhere = |saved: &SavedContext| {
            environment.url.as_ref().is_some_and(|url| url.trim_end_matches('/') != saved.url)
        };
        // A credential is for the cluster that it was saved with, and for no other.
        let saved = saved.filter(|saved| !is_elsewhere(saved));
        let url = environment.url.or_else(|| saved.as_ref().map(|saved| saved.url.clone()));
        let token = environment.token.or_else(|| saved.as_ref().map(|saved| saved.token.clone()));
        let (Some(url), Some(token)) = (url, token) else {
            let how = "run `ballastctl login URL`, or set BALLAST_URL and BALLAST_TOKEN";
            return Err(Usage::new(format!("not signed in: {how}")).into());
        };
        let believed = match environment.ca_fingerprint {
            Some(fingerprint) => Believed::CaFingerprint(fingerprint),
            None => saved.map_or(Believed::System, |saved| saved.believed),
        };
        Ok(Self { url, token, believed })
    }

    pub(crate) fn client(&self) -> Result<Client> {
        let builder = Client::builder(&self.url).trust(self.believed.trust());
        Ok(builder.bearer(&self.token).build()?)
    }

    /// Whether it is a session, which can be ended, and not a token.
    pub(crate) fn is_session(&self) -> bool {
        !self.token.starts_with(TOKEN_PREFIX)
    }

    /// Remembers a cluster.
    pub(crate) fn save(context: &SavedContext) -> Result<()> {
        write(&path()?, context)
    }

    /// Forgets the cluster.
    pub(crate) fn forget() -> Result<()> {
        match std::fs::remove_file(path()?) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

fn path() -> Result<PathBuf> {
    let folder = match std::env::var_os("XDG_CONFIG_HOME").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => {
            let home = std::env::var_os("HOME").context("neither XDG_CONFIG_HOME nor HOME is set")?;
            PathBuf::from(home).join(".config")
        }
    };
    Ok(folder.join("ballast").join("config.toml"))
}

fn read(path: &Path) -> Result<Option<SavedContext>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let context = toml::from_str(&text);
    context.map(Some).with_context(|| format!("{} is damaged; sign in again", path.display()))
}

/// Replaces the file as a whole, so that an interrupted write leaves the old one.
fn write(path: &Path, context: &SavedContext) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    let written = || -> Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let fresh = path.with_extension(format!("toml.{}", std::process::id()));
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(toml::to_string(context)?.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)?;
        Ok(())
    };
    written().with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests;
