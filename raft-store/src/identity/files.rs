//! The files of an identity.
//!
//! Invariant: the directory is written under another name, synced, and then renamed: it is there
//! whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ballast_model::{Command, NodeRole, Sealed};
use serde::{Deserialize, Serialize};

use super::authority::SERVER_LIFETIME;
use super::{IdentityError, ServerCertificate};
use crate::keys::ClusterKey;
use crate::storage::quarantine;
use crate::storage::sled_backend::{create_private_dir, sync_directory};

pub(crate) const DIRECTORY: &str = "identity";
const UNFINISHED: &str = "identity.unfinished";
pub(crate) const VERSION: u32 = 1;
pub(super) const NODE: &str = "node.json";
pub(super) const CERTIFICATE: &str = "node.pem";
pub(super) const PRIVATE_KEY: &str = "node-key.pem";
pub(super) const CA: &str = "ca.pem";
pub(super) const CLUSTER_KEY: &str = "cluster.key";
const BOOTSTRAP: &str = "bootstrap.json";
/// There until the store was first opened: from then on a missing store is a lost one.
const UNOPENED: &str = "unopened";
const API: &str = "api.json";
/// How long before its end an API certificate is replaced.
const API_RENEWED_BEFORE: Duration = Duration::from_secs(60 * 24 * 60 * 60);

/// What `node.json` says.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct NodeFile {
    pub(crate) version: u32,
    pub(crate) node_id: u64,
    pub(crate) node_name: String,
    pub(crate) role: NodeRole,
    pub(crate) cluster_name: String,
    pub(crate) cluster_uid: String,
    pub(crate) cluster_address: String,
    pub(crate) api_addresses: Vec<String>,
    pub(crate) ca_key_sealed: Sealed,
}

/// What an identity is made of.
pub(super) struct Contents<'a> {
    pub(super) node: &'a NodeFile,
    pub(super) chain_pem: &'a str,
    pub(super) private_key_pem: &'a str,
    pub(super) ca_pem: &'a str,
    pub(super) keys: &'a ClusterKey,
    pub(super) bootstrap: Option<&'a Command>,
}

#[derive(Serialize, Deserialize)]
struct ApiFile {
    names: Vec<String>,
    made_at_ms: u64,
    chain_pem: String,
    private_key_pem: String,
}

/// The directory of an identity.
pub(super) struct IdentityFiles {
    state_dir: PathBuf,
    directory: PathBuf,
}

impl IdentityFiles {
    fn new(state_dir: &Path) -> Self {
        Self { state_dir: state_dir.to_owned(), directory: state_dir.join(DIRECTORY) }
    }

    /// Where an identity can be made.
    pub(super) fn vacant(state_dir: &Path) -> Result<Self, IdentityError> {
        let files = Self::new(state_dir);
        if files.directory.exists() || state_dir.join(crate::storage::STORE_DIR).exists() {
            return Err(IdentityError::Exists { path: state_dir.to_owned() });
        }
        create_private_dir(state_dir)?;
        Ok(files)
    }

    /// Where there is an identity.
    pub(super) fn existing(state_dir: &Path) -> Result<Self, IdentityError> {
        let files = Self::new(state_dir);
        if files.directory.exists() {
            return Ok(files);
        }
        match quarantine::newest(state_dir) {
            Some(path) => Err(IdentityError::Quarantined { path }),
            None => Err(IdentityError::Missing { path: state_dir.to_owned() }),
        }
    }

    pub(super) fn create(&self, contents: &Contents<'_>) -> Result<(), IdentityError> {
        let unfinished = self.state_dir.join(UNFINISHED);
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(|e| io("remove", &unfinished, e))?;
        }
        create_private_dir(&unfinished)?;
        let write = |name: &str, text: &[u8]| write_private(&unfinished.join(name), text);
        write(NODE, &to_json(contents.node)?)?;
        write(CERTIFICATE, contents.chain_pem.as_bytes())?;
        write(PRIVATE_KEY, contents.private_key_pem.as_bytes())?;
        write(CA, contents.ca_pem.as_bytes())?;
        write(CLUSTER_KEY, contents.keys.to_base64().as_bytes())?;
        write(UNOPENED, b"")?;
        if let Some(bootstrap) = contents.bootstrap {
            write(BOOTSTRAP, &to_json(bootstrap)?)?;
        }
        sync_directory(&unfinished)?;
        fs::rename(&unfinished, &self.directory).map_err(|e| io("make", &self.directory, e))?;
        sync_directory(&self.state_dir)?;
        Ok(())
    }

    pub(super) fn read_node(&self) -> Result<NodeFile, IdentityError> {
        let node: NodeFile = serde_json::from_str(&self.read_text(NODE)?)
            .map_err(|e| self.damaged(NODE, &e.to_string()))?;
        if node.version > VERSION {
            return Err(self.damaged(NODE, "a newer version wrote it"));
        }
        Ok(node)
    }

    pub(super) fn read_text(&self, name: &str) -> Result<String, IdentityError> {
        let path = self.directory.join(name);
        fs::read_to_string(&path).map_err(|e| io("read", &path, e))
    }

    pub(super) fn read_bootstrap(&self) -> Result<Option<Command>, IdentityError> {
        if !self.directory.join(BOOTSTRAP).exists() {
            return Ok(None);
        }
        serde_json::from_str(&self.read_text(BOOTSTRAP)?)
            .map(Some)
            .map_err(|e| self.damaged(BOOTSTRAP, &e.to_string()))
    }

    pub(super) fn is_unopened(&self) -> bool {
        self.directory.join(UNOPENED).exists()
    }

    pub(super) fn mark_opened(&self) -> Result<(), IdentityError> {
        if self.is_unopened() { self.remove(UNOPENED) } else { Ok(()) }
    }

    pub(super) fn remove_bootstrap(&self) -> Result<(), IdentityError> {
        self.remove(BOOTSTRAP)
    }

    fn remove(&self, name: &str) -> Result<(), IdentityError> {
        let path = self.directory.join(name);
        fs::remove_file(&path).map_err(|e| io("remove", &path, e))?;
        sync_directory(&self.directory)?;
        Ok(())
    }

    /// The API's certificate, where it is good for these names and for some time yet.
    pub(super) fn read_api_certificate(
        &self,
        names: &[String],
        now_ms: u64,
    ) -> Option<ServerCertificate> {
        let kept: ApiFile = serde_json::from_str(&self.read_text(API).ok()?).ok()?;
        let good_for = SERVER_LIFETIME.saturating_sub(API_RENEWED_BEFORE);
        let good_for_ms = u64::try_from(good_for.as_millis()).unwrap_or(u64::MAX);
        let is_good = kept.made_at_ms <= now_ms && now_ms - kept.made_at_ms < good_for_ms;
        (is_good && kept.names == names).then_some(ServerCertificate {
            chain_pem: kept.chain_pem,
            private_key_pem: kept.private_key_pem,
        })
    }

    pub(super) fn write_api_certificate(
        &self,
        names: &[String],
        made: &ServerCertificate,
        now_ms: u64,
    ) -> Result<(), IdentityError> {
        let kept = ApiFile {
            names: names.to_vec(),
            made_at_ms: now_ms,
            chain_pem: made.chain_pem.clone(),
            private_key_pem: made.private_key_pem.clone(),
        };
        let path = self.directory.join(API);
        let unfinished = self.directory.join(format!("{API}.unfinished"));
        write_private(&unfinished, &to_json(&kept)?)?;
        fs::rename(&unfinished, &path).map_err(|e| io("write", &path, e))?;
        sync_directory(&self.directory)?;
        Ok(())
    }

    pub(super) fn damaged(&self, name: &str, why: &str) -> IdentityError {
        IdentityError::Damaged { path: self.directory.join(name), why: why.to_owned() }
    }
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>, IdentityError> {
    serde_json::to_vec_pretty(value)
        .map_err(|e| IdentityError::Invalid(format!("it can't be written as JSON: {e}")))
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<(), IdentityError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(path)
        .and_then(|mut file: File| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(|e| io("write", path, e))
}

fn io(verb: &str, path: &Path, source: std::io::Error) -> IdentityError {
    IdentityError::Io { what: format!("can't {verb} {}", path.display()), source }
}
