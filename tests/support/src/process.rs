//! Real processes: each dies with whoever started it, leaves its output in a file and can be signalled.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

use crate::wait::wait_for;

/// A running process whose standard error (and output, unless piped) goes to a file.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// A process that another one started, and that is ours to end.
#[derive(Debug)]
pub struct Heir {
    pid: Pid,
    /// Of this very process, whoever has its number later.
    handle: OwnedFd,
}

impl Heir {
    /// The process of that number.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(pid: u32) -> Result<Self> {
        let pid = Pid::from_raw(i32::try_from(pid)?).context("process ids are above 0")?;
        let handle = pidfd_open(pid, PidfdFlags::empty()).context("the new process is gone")?;
        Ok(Self { pid, handle })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        pidfd_send_signal(&self.handle, signal).context("signalling the new process")
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        let mut polled = [PollFd::new(&self.handle, PollFlags::IN)];
        poll(&mut polled, Some(&Timespec::default())).is_ok_and(|count| count > 0)
    }
}

impl Drop for Heir {
    fn drop(&mut self) {
        // An error means that it has ended.
        drop(self.signal(Signal::KILL));
    }
}

impl Process {
    /// Starts `command`; its output is appended to `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(append(log)?);
        Self::start_with_pipes(name, command, log)
    }

    /// As [`Process::start`], with standard input and output as `command` has them.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_with_pipes(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        command.stderr(append(log)?);
        let child = spawn(command).with_context(|| format!("starting {name}"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The file with its output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its handle, for pipes.
    pub fn child_mut(&mut self) -> &mut Child {
        &mut self.child
    }

    /// How it ended, or `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid =
            Pid::from_raw(i32::try_from(self.child.id())?).context("process ids are above 0")?;
        kill_process(pid, signal).with_context(|| format!("signalling {}", self.name))
    }

    /// Stops it where it stands (SIGSTOP), as a hung machine would.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn sigstop(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn sigcont(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Kills it without a chance to tidy up, and waits until it is gone.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        // An error means that it has ended already.
        drop(self.child.kill());
        self.child.wait().with_context(|| format!("waiting for {}", self.name))?;
        Ok(())
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// When it still runs after `limit`.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let mut status = None;
        let what = format!("the end of {}", self.name);
        wait_for(&what, limit, async || {
            status = self.ended();
            status.is_some()
        })
        .await?;
        status.context("an ended process has a status")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.kill());
    }
}

/// Runs a command to its end.
///
/// # Errors
/// When it cannot be started, takes longer than `limit`, or ends with a status other than 0.
pub async fn run(command: Command, limit: Duration) -> Result<Output> {
    let text = describe(&command);
    let output = try_run(command, limit).await?;
    if !output.status.success() {
        bail!(
            "`{text}` ended with {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(output)
}

/// As [`run`], but an exit status other than 0 is an answer, not an error.
///
/// # Errors
/// When it cannot be started or takes longer than `limit`.
pub async fn try_run(mut command: Command, limit: Duration) -> Result<Output> {
    let text = describe(&command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = spawn(command).with_context(|| format!("starting `{text}`"))?;
    let pid = Pid::from_child(&child);
    let finish = tokio::task::spawn_blocking(move || child.wait_with_output());
    match tokio::time::timeout(limit, finish).await {
        Ok(output) => Ok(output??),
        Err(_) => {
            let _ = kill_process(pid, Signal::KILL);
            bail!("`{text}` still ran after {:.0} s", limit.as_secs_f64())
        }
    }
}

/// The words that make a program die with the thread that starts it.
pub(crate) fn bound_to_parent() -> [&'static str; 4] {
    ["setpriv", "--pdeathsig", "KILL", "--"]
}

/// A command from a chain of words: wrappers such as `ip netns exec NAME` first, then the program.
pub(crate) fn chain<I, S>(words: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: Into<OsString>,
{
    let mut words = words.into_iter().map(Into::into);
    let mut command = Command::new(words.next().unwrap_or_else(|| OsString::from("true")));
    command.args(words);
    command
}

fn append(log: &Path) -> Result<File> {
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder)?;
    }
    let open = File::options().append(true).create(true).open(log);
    open.with_context(|| format!("opening {}", log.display()))
}

fn describe(command: &Command) -> String {
    let words: Vec<&OsStr> =
        std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let program = words.iter().position(|word| *word == "--").map_or(0, |at| at + 1);
    let shown = words[program..].iter().map(|word| word.to_string_lossy());
    shown.collect::<Vec<_>>().join(" ")
}

type Order = (Command, SyncSender<std::io::Result<Child>>);

/// Starts a process from a thread that lives as long as this program: "die with the parent" means
/// the thread that started it, and threads of a runtime's pool come and go.
fn spawn(command: Command) -> Result<Child> {
    static STARTER: OnceLock<SyncSender<Order>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (orders, queue) = sync_channel::<Order>(16);
        std::thread::spawn(move || {
            while let Ok((mut command, answer)) = queue.recv() {
                drop(answer.send(command.spawn()));
            }
        });
        orders
    });
    let (answer, child) = sync_channel(1);
    starter.send((command, answer)).context("the starting thread is gone")?;
    Ok(child.recv().context("the starting thread is gone")??)
}
