//! Where access records go: a file that is rotated, standard output or error, syslog.
//!
//! Invariant: what can't be written is told to the caller to be counted; nothing is tried again, for
//! what comes next would wait.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::syslog::{Syslog, SyslogTarget};

/// Where access records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogSink {
    /// Appended to a file.
    File(PathBuf),
    /// To standard error.
    Stderr,
    /// To standard output.
    Stdout,
    /// To a syslog daemon.
    Syslog(SyslogTarget),
    /// Nowhere.
    Off,
}

/// When a file is put aside for a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Before it would grow beyond this size, in bytes.
    pub max_bytes: u64,
    /// How many old files are kept, as `NAME.1` (the newest) and so on.
    pub kept_count: u32,
}

/// What became of a batch of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) written_count: u64,
    pub(super) lost_count: u64,
}

/// An open sink.
pub(super) enum Output {
    File(LogFile),
    Stderr,
    Stdout,
    Syslog(Box<Syslog>),
}

impl Output {
    pub(super) fn open(
        sink: &AccessLogSink,
        rotation: Option<Rotation>,
    ) -> io::Result<Option<Self>> {
        Ok(Some(match sink {
            AccessLogSink::Off => return Ok(None),
            AccessLogSink::File(path) => Self::File(LogFile::open(path.clone(), rotation)?),
            AccessLogSink::Stderr => Self::Stderr,
            AccessLogSink::Stdout => Self::Stdout,
            AccessLogSink::Syslog(target) => Self::Syslog(Box::new(Syslog::open(target)?)),
        }))
    }

    /// Writes that many records, a line each. The error, if there is one, is the last.
    pub(super) fn write(&mut self, text: &[u8], count: u64) -> (Outcome, io::Result<()>) {
        let written = match self {
            Self::File(file) => file.write(text),
            Self::Stderr => io::stderr().lock().write_all(text),
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(text).and_then(|()| stdout.flush())
            }
            Self::Syslog(syslog) => return syslog.write(text),
        };
        let outcome = match &written {
            Ok(()) => Outcome { written_count: count, lost_count: 0 },
            Err(_) => Outcome { written_count: 0, lost_count: count },
        };
        (outcome, written)
    }

    /// Whether another process rotates a file, and this one is to follow it.
    pub(super) fn follow(&mut self, is_following: bool) {
        if let Self::File(file) = self {
            file.follow(is_following);
        }
    }

    /// Opens a file anew, after somebody else has renamed it.
    pub(super) fn reopen(&mut self) {
        if let Self::File(file) = self
            && let Err(error) = file.reopen()
        {
            tracing::error!(%error, path = %file.path.display(), "the access log can't be reopened");
        }
    }
}

/// A file that is put aside when it has grown.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    size_bytes: u64,
    rotation: Option<Rotation>,
    /// The last rotation failed; said once in a row.
    cannot_rotate: bool,
    /// Another process rotates.
    is_following: bool,
}

impl LogFile {
    fn open(path: PathBuf, rotation: Option<Rotation>) -> io::Result<Self> {
        let file = append(&path)?;
        let size_bytes = file.metadata()?.len();
        Ok(Self { path, file, size_bytes, rotation, cannot_rotate: false, is_following: false })
    }

    fn reopen(&mut self) -> io::Result<()> {
        let file = append(&self.path)?;
        self.size_bytes = file.metadata()?.len();
        self.file = file;
        Ok(())
    }

    fn follow(&mut self, is_following: bool) {
        if self.is_following == is_following {
            return;
        }
        self.is_following = is_following;
        if !is_following && let Ok(about) = self.file.metadata() {
            // What the other process has written counts too.
            self.size_bytes = about.len();
        }
    }

    /// Whether the name is another file's by now, or nobody's.
    fn is_renamed(&self) -> bool {
        let identity = |about: std::fs::Metadata| (about.dev(), about.ino());
        let named = std::fs::metadata(&self.path).map(identity).ok();
        named != self.file.metadata().map(identity).ok()
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let length = text.len() as u64;
        if self.is_following {
            // Where it can't be opened, the old file is better than none.
            if self.is_renamed()
                && let Err(error) = self.reopen()
            {
                let path = self.path.display();
                tracing::warn!(%error, %path, "the access log can't be opened anew");
            }
        } else if let Some(rotation) = self.rotation
            && self.size_bytes > 0
            && self.size_bytes + length > rotation.max_bytes
        {
            match self.rotate(rotation.kept_count) {
                Ok(()) => self.cannot_rotate = false,
                // A log that is too long is better than none.
                Err(error) if !self.cannot_rotate => {
                    self.cannot_rotate = true;
                    let path = self.path.display();
                    tracing::error!(%error, %path, "the access log can't be rotated");
                }
                Err(_) => {}
            }
        }
        self.file.write_all(text)?;
        self.size_bytes += length;
        Ok(())
    }

    /// `NAME` becomes `NAME.1`, that one `NAME.2`, and so on; the oldest is deleted.
    fn rotate(&mut self, kept_count: u32) -> io::Result<()> {
        if kept_count == 0 {
            std::fs::remove_file(&self.path)?;
            return self.reopen();
        }
        for number in (1..kept_count).rev() {
            match std::fs::rename(numbered(&self.path, number), numbered(&self.path, number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        std::fs::rename(&self.path, numbered(&self.path, 1))?;
        self.reopen()
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

#[cfg(test)]
mod tests;
