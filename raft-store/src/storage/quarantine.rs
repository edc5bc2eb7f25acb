//! What happens to a damaged store: it is set aside with the identity that it belongs to.
//!
//! A node that forgot its vote or entries that it acknowledged, and went on under its number, could
//! give the cluster two leaders or lose what was committed. So the number goes with the store: the
//! node comes back as a new one, by joining.
//!
//! Invariant: nothing is deleted, and nothing of what was set aside is used again.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::StorageError;
use super::sled_backend::{create_private_dir, sync_directory};

const PREFIX: &str = "quarantine-";

/// Moves `parts` of `state_dir` into a new `quarantine-<seconds since 1970>` beside them; returns
/// where they are now.
///
/// # Errors
/// Where a part can't be moved. What was moved before stays moved.
pub(crate) fn quarantine(state_dir: &Path, parts: &[&str]) -> Result<PathBuf, StorageError> {
    let mut at_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut place = state_dir.join(format!("{PREFIX}{at_s}"));
    while place.exists() {
        at_s += 1;
        place = state_dir.join(format!("{PREFIX}{at_s}"));
    }
    create_private_dir(&place)?;
    for part in parts {
        let (from, to) = (state_dir.join(part), place.join(part));
        if from.exists() {
            fs::rename(&from, &to)
                .map_err(|e| StorageError::io(format!("set {} aside", from.display()), e))?;
        }
    }
    sync_directory(state_dir)?;
    Ok(place)
}

/// The newest quarantine in `state_dir`.
pub(crate) fn newest(state_dir: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(state_dir).ok()?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.starts_with(PREFIX)).max().map(|name| state_dir.join(name))
}
