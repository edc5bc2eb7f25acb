//! Where one is signed in, and how the cluster is recognised: kept from `login` to `logout`.
//!
//! The file holds a credential: it is readable by its owner only, from its first byte on.

use std::fs::DirBuilder;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use ballast_client::Trust;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::failure::Failure;
use crate::output;

/// The version of the file's format.
const VERSION: u32 = 1;

/// What `login` found out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// The version of the format.
    version: u32,
    /// The node that was signed in at.
    pub(crate) url: String,
    /// Who is signed in, for people to read.
    pub(crate) user: String,
    /// What proves it.
    pub(crate) credential: Credential,
    /// How the cluster is recognised.
    pub(crate) trust: StoredTrust,
}

/// What is sent as `Authorization: Bearer`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Credential {
    /// A session: `logout` ends it.
    Session(String),
    /// An API token: it outlives `logout`.
    Token(String),
}

/// How the cluster is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum StoredTrust {
    /// By the fingerprint of its authority: whichever node answers, it is the cluster.
    CaFingerprint {
        /// SHA-256, in hexadecimal.
        sha256: String,
    },
    /// By an authority's certificate and the address that was asked for.
    CaCertificate {
        /// The certificate.
        pem: String,
    },
    /// Not at all.
    Insecure,
    /// As the system does it.
    System,
}

impl Settings {
    /// What is to be stored after signing in.
    pub(crate) fn new(url: &str, user: &str, credential: Credential, trust: StoredTrust) -> Self {
        Self { version: VERSION, url: url.to_owned(), user: user.to_owned(), credential, trust }
    }

    /// What is stored at `path`; none where nobody is signed in.
    pub(crate) fn load(path: &Path) -> Result<Option<Self>, Failure> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::unreadable(path, &error)),
        };
        warn_if_shared(path);
        let unusable = |why: &dyn std::fmt::Display| {
            Failure::Usage(format!(
                "{} can't be used: {why}. Sign in anew: ballastctl login URL",
                path.display()
            ))
        };
        // The parser's message quotes the line at fault, which may be the credential's.
        let settings: Self =
            toml::from_str(&text).map_err(|error: toml::de::Error| unusable(&error.message()))?;
        if settings.version != VERSION {
            return Err(unusable(&format!("it has format {}, not {VERSION}", settings.version)));
        }
        Ok(Some(settings))
    }

    /// Stores this at `path`, all of it or nothing.
    pub(crate) fn save(&self, path: &Path) -> Result<(), Failure> {
        let failed = |source| Failure::io(format!("writing {}", path.display()), source);
        let directory = path.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let text = toml::to_string(self).map_err(|error| failed(std::io::Error::other(error)))?;
        // Temporary files are made with mode 0600.
        let mut file = NamedTempFile::new_in(directory).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    /// Removes what is stored at `path`, if anything.
    pub(crate) fn remove(path: &Path) -> Result<(), Failure> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Failure::io(format!("removing {}", path.display()), error))
            }
            _ => Ok(()),
        }
    }
}

impl Credential {
    /// What is sent.
    pub(crate) fn bearer(&self) -> &str {
        match self {
            Self::Session(text) | Self::Token(text) => text,
        }
    }
}

impl StoredTrust {
    /// The same for the client.
    pub(crate) fn to_trust(&self) -> Trust {
        match self {
            Self::CaFingerprint { sha256 } => Trust::CaFingerprint(sha256.clone()),
            Self::CaCertificate { pem } => Trust::CaPem(pem.clone()),
            Self::Insecure => Trust::Insecure,
            Self::System => Trust::System,
        }
    }
}

fn warn_if_shared(path: &Path) {
    let mode = path.metadata().map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o077 != 0 {
        let path = path.display();
        output::note(&format!(
            "warning: {path} holds a credential and others can read it: chmod 600 {path}"
        ));
    }
}

#[cfg(test)]
mod tests;
