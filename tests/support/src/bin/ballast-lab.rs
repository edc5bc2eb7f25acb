//! A lab to try things in by hand: `up` starts two traffic nodes, a witness, three origins and a
//! client in the background, `status` says what is up, `down` removes it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ballast_test_support::wait::{wait_for, wait_for_some};
use ballast_test_support::{Kind, Lab, Topology};
use clap::{Parser, Subcommand};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

/// Longest time for everything to start, and to stop.
const START_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(30);

#[derive(Parser)]
#[command(about = "A lab to try things in by hand")]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Copy, Subcommand)]
enum Action {
    /// Start it in the background.
    Up,
    /// Remove it.
    Down,
    /// Say what is up.
    Status,
    /// Own the lab until told to stop; `up` runs this in the background.
    #[command(hide = true)]
    Hold,
}

/// What the owner of the lab leaves for the other commands.
#[derive(Serialize, Deserialize)]
struct Note {
    owner: i32,
    lines: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    match Arguments::parse().action {
        Action::Up => up().await,
        Action::Down => down().await,
        Action::Status => {
            match running() {
                Some(note) => note.lines.iter().for_each(|line| println!("{line}")),
                None => println!("no lab is up"),
            }
            Ok(())
        }
        Action::Hold => hold().await,
    }
}

async fn up() -> Result<()> {
    if running().is_some() {
        bail!("a lab is up already; `lab status` shows it, `lab down` removes it");
    }
    let log = folder()?.join("lab.log");
    let output = fs::File::create(&log)?;
    // In a session of its own: Ctrl-C in this terminal is not for it.
    let mut owner = Command::new("setsid")
        .arg(std::env::current_exe()?)
        .arg("hold")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .context("starting the lab's owner")?;
    let mut ended = None;
    let note = wait_for_some("the lab", START_LIMIT, async || {
        ended = owner.try_wait().ok().flatten();
        if ended.is_some() { Some(None) } else { running().map(Some) }
    })
    .await?;
    let Some(note) = note else {
        bail!("the lab did not start:\n{}", fs::read_to_string(&log).unwrap_or_default());
    };
    note.lines.iter().for_each(|line| println!("{line}"));
    Ok(())
}

async fn down() -> Result<()> {
    let Some(note) = running() else {
        println!("no lab is up");
        return Ok(());
    };
    let owner = Pid::from_raw(note.owner).context("process ids are above 0")?;
    kill_process(owner, Signal::TERM)?;
    wait_for("the lab to be removed", STOP_LIMIT, async || running().is_none()).await
}

async fn hold() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let lab = Lab::new()?;
    let topology = Topology::start(&lab, |step| println!("✓ {step}")).await?;
    let owner = i32::try_from(std::process::id())?;
    let note = Note { owner, lines: describe(&topology) };
    let file = note_file()?;
    fs::write(file.with_extension("new"), serde_json::to_vec(&note)?)?;
    fs::rename(file.with_extension("new"), &file)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    drop(topology);
    drop(lab);
    Ok(fs::remove_file(file)?)
}

fn describe(topology: &Topology) -> Vec<String> {
    let cluster = &topology.cluster;
    let prefix = |namespace: Option<&str>| {
        namespace.map_or_else(String::new, |name| format!("ip netns exec {name} "))
    };
    let mut lines = Vec::new();
    for node in &cluster.nodes {
        let name = format!("{} ({})", node.name(), node.role().as_str());
        let console = node.console();
        lines.push(format!("{name:<20} {}  console https://{console}/", node.host().ip()));
    }
    for origin in &topology.origins {
        lines.push(format!("{:<20} http {}  tcp {}", origin.name(), origin.http(), origin.tcp()));
    }
    if topology.client.lab().kind() == Kind::Loopback {
        lines.push("without root: every host is a loopback address of this machine".to_owned());
    }
    lines.push(format!("sign in as admin, with the code {}", cluster.password()));
    lines.push(format!(
        "{}ballastctl login https://{} --username admin --password-file {} --ca-fingerprint {}",
        prefix(cluster.operator().namespace()),
        cluster.nodes[0].api(),
        cluster.password_file().display(),
        cluster.identity.ca_fingerprint_sha256,
    ));
    let client = prefix(topology.client.namespace());
    lines.push(format!("{client}curl http://{}/", topology.origins[0].http()));
    lines
}

/// The note of a lab whose owner is alive.
fn running() -> Option<Note> {
    let text = fs::read(note_file().ok()?).ok()?;
    let note: Note = serde_json::from_slice(&text).ok()?;
    test_kill_process(Pid::from_raw(note.owner)?).is_ok().then_some(note)
}

fn note_file() -> Result<PathBuf> {
    Ok(folder()?.join("lab.json"))
}

fn folder() -> Result<PathBuf> {
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    let folder = PathBuf::from(home).join(".cache/ballast");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
