//! How the next process is started, and how it learns whose successor it is.
//!
//! Invariant: the channel is the standard input of the new process and of no other; a process whose parent
//! is not the one that the environment names is nobody's successor.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::net::SocketType;
use rustix::net::sockopt::socket_type;

use crate::channel::Channel;

/// Names the process that a new one succeeds.
const VARIABLE: &str = "BALLAST_UPGRADE_FROM";
/// How often it is looked whether a process has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// How this process was started.
#[derive(Clone, Debug)]
pub struct CommandLine {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl CommandLine {
    /// Of this process. To be called at the start: later, the file may be another, and relative paths may
    /// mean something else.
    ///
    /// # Errors
    /// The system does not say.
    pub fn current() -> io::Result<Self> {
        let mut words = std::env::args_os();
        let word = words.next().map(PathBuf::from).filter(|word| word.components().count() > 1);
        // By the name that was given: it may be a link, and lead to another version later.
        let program = match word {
            Some(word) => std::path::absolute(word)?,
            None => std::env::current_exe()?,
        };
        Ok(Self { program, arguments: words.collect() })
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.program
    }
}

/// A process that is to take over from this one.
#[derive(Debug)]
pub struct Successor {
    child: Child,
    channel: Channel,
}

impl Successor {
    /// Starts what is on the disk now. Needs a tokio runtime.
    ///
    /// # Errors
    /// The system refuses.
    pub fn start(line: &CommandLine) -> io::Result<Self> {
        let (channel, other) = Channel::pair()?;
        let child = Command::new(&line.program)
            .args(&line.arguments)
            .env(VARIABLE, std::process::id().to_string())
            .stdin(Stdio::from(other))
            .spawn()?;
        Ok(Self { child, channel })
    }

    /// The channel to it.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns when it has ended. Cancel-safe.
    ///
    /// # Errors
    /// The system does not say.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        loop {
            looks.tick().await;
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
        }
    }

    /// Kills it, and waits until it is gone.
    pub async fn kill(mut self) {
        // An error means that it has ended.
        let _ended = self.child.kill();
        if let Err(error) = self.ended().await {
            tracing::error!(%error, "it is not known whether the new process has ended");
        }
    }
}

/// The other end of the channel, in a process that is to take over; none in another. Standard input is
/// nothing from then on.
///
/// # Errors
/// The process is called a successor and has no channel.
pub fn predecessor() -> io::Result<Option<OwnedFd>> {
    let Some(named) = std::env::var_os(VARIABLE) else { return Ok(None) };
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if parent.is_none_or(|parent| named != *parent) {
        return Ok(None);
    }
    let input = io::stdin();
    if socket_type(input.as_fd()) != Ok(SocketType::SEQPACKET) {
        return Err(io::Error::other(format!("{VARIABLE} is set, and there is no channel")));
    }
    let channel = input.as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(Some(channel))
}
