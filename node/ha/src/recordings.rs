//! Recordings of traffic groups on the disk: one for each transition and for what was worth a note
//! without one, the latest ones of each kind.
//!
//! Invariant: a disk that stalls costs recordings and nothing else.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ballast_vrrp::record;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::engine::Recording;
use crate::kernel::monotonic;

pub use ballast_vrrp::record::{ReplayError, Replayed};

const FOLDER: &str = "ha-recordings";
const ENDING: &str = ".jsonl";
/// Of those that end with a note.
const NOTE_ENDING: &str = ".note.jsonl";
/// Files that are kept, of transitions and of notes: many notes push no transition out.
const FILE_MAX_COUNT: usize = 50;
const NOTE_FILE_MAX_COUNT: usize = 10;
/// Recordings that wait for the disk; further ones are not made.
pub(crate) const WAITING_MAX_COUNT: usize = 4;
/// Longest wait for the disk when the node stops.
const LAST_WRITE_LIMIT: Duration = Duration::from_secs(1);

/// Plays a recording again; an error where this version decides otherwise than the one that wrote it.
///
/// # Errors
/// See [`ReplayError`].
pub fn replay(path: &Path) -> Result<Replayed, ReplayError> {
    let file = File::open(path).map_err(ReplayError::Read)?;
    record::replay(BufReader::new(file))
}

/// Writes them until the thread ends, or a moment after the node stops.
pub(crate) async fn write(
    state_dir: PathBuf,
    mut recordings: mpsc::Receiver<Recording>,
    stop: CancellationToken,
) {
    let folder = state_dir.join(FOLDER);
    let all = async {
        while let Some(recording) = recordings.recv().await {
            let folder = folder.clone();
            let write = tokio::task::spawn_blocking(move || write_one(&folder, &recording));
            if let Ok(Err(error)) = write.await {
                tracing::warn!(%error, "a recording of a traffic group can't be written");
            }
        }
    };
    let too_late = async {
        stop.cancelled().await;
        tokio::time::sleep(LAST_WRITE_LIMIT).await;
    };
    // Cancel-safe: what is not written then is given up.
    tokio::select! {
        () = all => {}
        () = too_late => {}
    }
}

/// Blocks.
fn write_one(folder: &Path, recording: &Recording) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let ago = monotonic().since(recording.at);
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at_us = since_epoch.saturating_sub(ago).as_micros();
    let new = folder.join("new");
    fs::write(&new, recording.lines().map_err(io::Error::other)?)?;
    let ending = if recording.is_of_note { NOTE_ENDING } else { ENDING };
    // In the order of time, whatever the group.
    let name = format!("{at_us:017}-{}{ending}", safe(&recording.group));
    fs::rename(&new, folder.join(name))?;
    remove_surplus(folder, recording.is_of_note)
}

fn remove_surplus(folder: &Path, of_notes: bool) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(ENDING) && name.ends_with(NOTE_ENDING) == of_notes {
            files.push(path);
        }
    }
    files.sort();
    let kept_count = if of_notes { NOTE_FILE_MAX_COUNT } else { FILE_MAX_COUNT };
    let surplus = files.len().saturating_sub(kept_count);
    files.iter().take(surplus).try_for_each(fs::remove_file)
}

/// Names of groups can't lead elsewhere; this does not depend on it.
fn safe(group: &str) -> String {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    group.chars().map(|c| if is_safe(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests;
