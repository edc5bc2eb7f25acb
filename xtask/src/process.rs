//! Running other programs: what is done is shown, how long it took is said, failures name the command.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often a quiet command says that it is still at work.
const TICK: Duration = Duration::from_secs(15);

/// One thing that is done, with its time.
pub(crate) struct Step {
    name: String,
    started: Instant,
}

impl Step {
    /// Announces it.
    pub(crate) fn start(name: impl Into<String>) -> Self {
        let name = name.into();
        eprintln!("▸ {name}");
        Self { name, started: Instant::now() }
    }

    /// Says that it is done and how long it took.
    pub(crate) fn done(self) {
        eprintln!("✓ {} ({})", self.name, seconds(self.started.elapsed()));
    }

    /// Time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A duration for people: `0.8 s`, `2 min 05 s`.
pub(crate) fn seconds(time: Duration) -> String {
    let total = time.as_secs();
    if total < 60 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {:02} s", total / 60, total % 60)
    }
}

/// Where `program` is on `PATH` (with the administrator's folders, which users often lack).
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// Runs with our own output; an exit other than 0 is an error that quotes the command.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("`{}` ended with {status}", quoted(command));
    }
    Ok(())
}

/// Runs with our own output and returns how it ended.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    command.status().with_context(|| format!("starting `{}`", quoted(command)))
}

/// Runs and returns standard output; an exit other than 0 is an error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting `{}`", quoted(command)))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` ended with {}: {}", quoted(command), output.status, message.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether it can be started and exits 0; its output is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs a chatty command with its output in a log file, saying now and then that it is at work;
/// when it fails the log's end is shown.
pub(crate) fn run_logged(command: &mut Command, log: &Path) -> Result<()> {
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = File::create(log).with_context(|| format!("creating {}", log.display()))?;
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("starting `{}`", quoted(command)))?;
    let (sender, receiver) = sync_channel(1);
    let waiter = std::thread::spawn(move || sender.send(child.wait()));
    let status = loop {
        match receiver.recv_timeout(TICK) {
            Ok(status) => break status?,
            Err(RecvTimeoutError::Timeout) => eprintln!("  … {}", seconds(started.elapsed())),
            Err(RecvTimeoutError::Disconnected) => bail!("the waiting thread died"),
        }
    };
    drop(waiter.join());
    if !status.success() {
        let text = fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        for line in &lines[lines.len().saturating_sub(30)..] {
            eprintln!("  | {line}");
        }
        bail!("`{}` ended with {status}; all of it: {}", quoted(command), log.display());
    }
    Ok(())
}

fn quoted(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn durations_read_well() {
        assert_eq!(super::seconds(Duration::from_millis(840)), "0.8 s");
        assert_eq!(super::seconds(Duration::from_secs(125)), "2 min 05 s");
    }
}
