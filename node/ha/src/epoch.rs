//! How often this node has started: what makes signed advertisements of an earlier process worthless.
//!
//! Invariant: the number is on the disk before the first advertisement that carries it is sent.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

const FILE: &str = "ha-epoch";

/// One more than last time. Blocks.
pub(crate) fn next(state_dir: &Path) -> io::Result<u32> {
    let path = state_dir.join(FILE);
    let last = match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse::<u32>().map_err(|error| {
            io::Error::other(format!("{} holds no number: {error}", path.display()))
        })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let epoch = last
        .checked_add(1)
        .ok_or_else(|| io::Error::other("every epoch is used up; join under a new node id"))?;
    let new = path.with_extension("new");
    let mut file = fs::File::create(&new)?;
    writeln!(file, "{epoch}")?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    fs::File::open(state_dir)?.sync_all()?;
    Ok(epoch)
}

#[cfg(test)]
mod tests;
