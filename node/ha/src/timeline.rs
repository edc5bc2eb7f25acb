//! The last transitions of this node's traffic groups, kept over restarts.
//!
//! Invariant: writing never blocks who reports a transition; a file that can't be read is set aside,
//! not obeyed and not deleted.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ballast_model::ha::HaTransition;
use ballast_model::limits::TIMELINE_MAX_COUNT;
use serde::{Deserialize, Serialize};

const FILE: &str = "ha-timeline.json";
/// Version of the file.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    transitions: VecDeque<HaTransition>,
}

/// The last transitions, the newest last.
#[derive(Debug)]
pub(crate) struct Timeline {
    path: PathBuf,
    transitions: VecDeque<HaTransition>,
}

impl Timeline {
    /// Reads what earlier processes left.
    pub(crate) fn open(state_dir: &Path) -> Self {
        let path = state_dir.join(FILE);
        let transitions = match read(&path) {
            Ok(transitions) => transitions,
            Err(error) if error.kind() == io::ErrorKind::NotFound => VecDeque::new(),
            Err(error) => {
                let aside = path.with_extension("damaged");
                let moved = fs::rename(&path, &aside);
                tracing::warn!(%error, ?moved, aside = %aside.display(), "the timeline of traffic groups can't be read and was set aside");
                VecDeque::new()
            }
        };
        Self { path, transitions }
    }

    /// Adds one; the oldest goes when there are too many.
    pub(crate) fn push(&mut self, transition: HaTransition) {
        while self.transitions.len() >= TIMELINE_MAX_COUNT {
            self.transitions.pop_front();
        }
        self.transitions.push_back(transition);
    }

    pub(crate) fn all(&self) -> Vec<HaTransition> {
        self.transitions.iter().cloned().collect()
    }

    /// What to write, for a thread that may block.
    pub(crate) fn image(&self) -> Image {
        let stored = Stored { version: VERSION, transitions: self.transitions.clone() };
        Image { path: self.path.clone(), stored }
    }
}

/// A timeline on its way to the disk.
pub(crate) struct Image {
    path: PathBuf,
    stored: Stored,
}

impl Image {
    /// Replaces the file, whole or not at all. Blocks.
    pub(crate) fn write(&self) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = fs::File::create(&new)?;
        file.write_all(&serde_json::to_vec(&self.stored)?)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)
    }
}

fn read(path: &Path) -> io::Result<VecDeque<HaTransition>> {
    let stored: Stored = serde_json::from_slice(&fs::read(path)?)?;
    if stored.version != VERSION {
        return Err(io::Error::other(format!("version {} is unknown", stored.version)));
    }
    let mut transitions = stored.transitions;
    transitions.drain(..transitions.len().saturating_sub(TIMELINE_MAX_COUNT));
    Ok(transitions)
}

#[cfg(test)]
mod tests;
