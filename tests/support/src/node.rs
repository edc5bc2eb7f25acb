//! A real `ballastd` on a host: started, killed, started again.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ballast_client::{Client, Trust};
use ballast_model::NodeRole;
use rustix::process::Signal;
use serde::Deserialize;

use crate::forward::Forward;
use crate::lab::{Host, Kind};
use crate::process::{self, Heir, Process};
use crate::programs;
use crate::wait::wait_for;

/// Longest time for `init` and `join`.
const SETUP_LIMIT: Duration = Duration::from_secs(60);

/// Settings of a node that tests vary.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Its role.
    pub role: NodeRole,
    /// Data-plane threads.
    pub workers: u16,
    /// Where the access log goes: a path, `-`, or empty for none.
    pub access_log: String,
    /// Where spans go; empty for nowhere.
    pub otlp_endpoint: String,
    /// Put before the program, such as `taskset -c 0`.
    pub wrapper: Vec<&'static str>,
}

impl NodeOptions {
    /// A node of this role with one worker and no access log.
    pub fn new(role: NodeRole) -> Self {
        Self {
            role,
            workers: 1,
            access_log: String::new(),
            otlp_endpoint: String::new(),
            wrapper: Vec::new(),
        }
    }
}

/// What `ballastd init --json` says.
#[derive(Clone, Debug, Deserialize)]
pub struct InitOutcome {
    /// Signs the first administrator in, once.
    #[serde(default)]
    pub setup_code: Option<String>,
    /// SHA-256 of the cluster's authority, in hexadecimal: what clients of the API should trust.
    pub ca_fingerprint_sha256: String,
}

/// A node: its configuration and, while it runs, its process.
#[derive(Debug)]
pub struct Node {
    host: Host,
    options: NodeOptions,
    config: PathBuf,
    log: PathBuf,
    api: SocketAddr,
    cluster: SocketAddr,
    reach: Reach,
    /// A link to the program, which tests may put another one behind.
    program: PathBuf,
    process: Option<Process>,
    /// Processes that others of this node have started, the newest last.
    heirs: Vec<Heir>,
}

impl Node {
    /// Writes the configuration of a node on `host`; starts nothing.
    ///
    /// # Errors
    /// When files cannot be written or no port is free.
    pub fn prepare(host: &Host, options: NodeOptions) -> Result<Self> {
        let dir = host.dir()?;
        let api = host.socket(host.port(7443)?);
        let node = Self {
            host: host.clone(),
            options,
            config: dir.join("node.toml"),
            log: dir.join("ballastd.log"),
            api,
            reach: Reach::to(host, api)?,
            cluster: cluster_socket(host)?,
            program: dir.join("ballastd"),
            process: None,
            heirs: Vec::new(),
        };
        node.link_program(&programs::find("ballastd")?)?;
        fs::write(&node.config, node.configuration(&dir.join("state")))?;
        Ok(node)
    }

    fn configuration(&self, state: &Path) -> String {
        let Self { api, cluster, options, .. } = self;
        // On loopback every node has the same interface: "any address" must mean the node's own.
        let any = match self.host.lab().kind() {
            Kind::Namespaces => String::new(),
            Kind::Loopback => format!("any_ipv4 = \"{}\"\n", self.host.ip()),
        };
        format!(
            "name = \"{name}\"\nrole = \"{role}\"\nstate_dir = \"{state}\"\n\n\
             [cluster]\nlisten = \"{cluster}\"\nadvertise = \"{cluster}\"\n\n\
             [api]\nlisten = [\"{api}\"]\n\n\
             [data_plane]\nworkers = {workers}\n{any}\n\
             [log]\nformat = \"text\"\nlevel = \"info\"\naccess_log = \"{access_log}\"\n\n\
             [tracing]\notlp_endpoint = \"{otlp_endpoint}\"\n",
            name = self.host.name(),
            role = options.role.as_str(),
            state = state.display(),
            workers = options.workers,
            access_log = options.access_log,
            otlp_endpoint = options.otlp_endpoint,
        )
    }

    /// Makes it the first node of a new cluster whose administrator `admin` has this password.
    ///
    /// # Errors
    /// When `ballastd init` fails.
    pub async fn init(
        &self,
        cluster_name: &str,
        password_file: Option<&Path>,
    ) -> Result<InitOutcome> {
        let mut command = self.ballastd("init")?;
        command.args(["--cluster-name", cluster_name, "--json"]);
        if let Some(file) = password_file {
            command.env("BALLAST_ADMIN_PASSWORD_FILE", file);
        }
        let output = process::run(command, SETUP_LIMIT).await?;
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text).with_context(|| format!("`ballastd init --json` said {text}"))
    }

    /// Makes it a member of the cluster that `peer` is part of.
    ///
    /// # Errors
    /// When `ballastd join` fails.
    pub async fn join(&self, token: &str, peer: SocketAddr) -> Result<()> {
        let mut command = self.ballastd("join")?;
        command.args(["--token", token, "--peer", &peer.to_string()]);
        process::run(command, SETUP_LIMIT).await?;
        Ok(())
    }

    /// Starts `ballastd run`.
    ///
    /// # Errors
    /// When it runs already, or cannot be started.
    pub fn start(&mut self) -> Result<()> {
        if self.is_running() {
            bail!("{} runs already", self.name());
        }
        let command = self.ballastd("run")?;
        self.process = Some(Process::start(self.host.name(), command, &self.log)?);
        Ok(())
    }

    /// Starts it as [`Node::start`] does, through another program and with these variables.
    ///
    /// # Errors
    /// When it runs already, or cannot be started.
    pub fn start_through(&mut self, wrapper: &[&str], variables: &[(&str, &str)]) -> Result<()> {
        if self.is_running() {
            bail!("{} runs already", self.name());
        }
        let mut command = self.host.command_with(wrapper, &self.program);
        command.arg("run").arg("--config").arg(&self.config);
        command.envs(variables.iter().copied());
        self.process = Some(Process::start(self.host.name(), command, &self.log)?);
        Ok(())
    }

    /// Waits until `/readyz` says 200.
    ///
    /// # Errors
    /// When it does not in time or the process ends; the end of its log is quoted.
    pub async fn wait_ready(&mut self, limit: Duration) -> Result<()> {
        let what = format!("{} to be ready", self.name());
        // Nobody has told us the cluster's fingerprint; readiness is no secret.
        let client = self.client(Trust::Insecure)?;
        let process = self.process.as_mut().context("it was not started")?;
        let mut ended = None;
        let waited = wait_for(&what, limit, async || {
            ended = process.ended();
            ended.is_some() || client.ready().await.is_ok()
        })
        .await;
        let outcome = match (waited, ended) {
            (Ok(()), None) => return Ok(()),
            (Ok(()), Some(status)) => format!("{} ended with {status}", self.name()),
            (Err(error), _) => error.to_string(),
        };
        bail!("{outcome}; the end of its log:\n{}", self.log_tail(25))
    }

    /// Kills it at once, as a power cut would.
    ///
    /// # Errors
    /// When it does not run.
    pub fn sigkill(&mut self) -> Result<()> {
        self.heirs.clear();
        self.process.take().context("it does not run")?.kill()
    }

    /// Kills the process that upgrade number `index` has started, from 0.
    ///
    /// # Errors
    /// When there was no such upgrade, or the process has ended.
    pub fn sigkill_heir(&self, index: usize) -> Result<()> {
        self.heirs.get(index).context("there was no such upgrade")?.signal(Signal::KILL)
    }

    /// How the process that was started first has ended; none while it runs.
    pub fn first_ended(&mut self) -> Option<ExitStatus> {
        self.process.as_mut()?.ended()
    }

    /// Stops it where it stands, as a hung machine would.
    ///
    /// # Errors
    /// When it does not run.
    pub fn sigstop(&self) -> Result<()> {
        self.process.as_ref().context("it does not run")?.sigstop()
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn sigcont(&self) -> Result<()> {
        self.process.as_ref().context("it does not run")?.sigcont()
    }

    /// Cuts its power: every link is gone at once, and nothing is said to anybody.
    ///
    /// # Errors
    /// On loopback, or when it does not run.
    pub fn power_off(&mut self) -> Result<()> {
        self.host.unplug()?;
        self.sigkill()
    }

    /// Asks it to stop and waits until it has.
    ///
    /// # Errors
    /// When it does not run, or runs on after `limit`.
    pub async fn sigterm(&mut self, limit: Duration) -> Result<ExitStatus> {
        let mut process = self.process.take().context("it does not run")?;
        process.signal(Signal::TERM)?;
        process.wait(limit).await
    }

    /// Kills it, starts it and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn restart(&mut self, limit: Duration) -> Result<()> {
        if self.process.is_some() {
            self.sigkill()?;
        }
        self.start()?;
        self.wait_ready(limit).await
    }

    /// Puts another program where `ballastd` is.
    ///
    /// # Errors
    /// When the link can't be made.
    pub fn link_program(&self, program: &Path) -> Result<()> {
        let new = self.program.with_extension("new");
        std::os::unix::fs::symlink(program, &new)?;
        Ok(fs::rename(new, &self.program)?)
    }

    /// Asks it to hand over to a new process (SIGUSR2).
    ///
    /// # Errors
    /// When it does not run.
    pub fn sigusr2(&self) -> Result<()> {
        match self.heirs.last() {
            Some(heir) => heir.signal(Signal::USR2),
            None => self.process.as_ref().context("it does not run")?.signal(Signal::USR2),
        }
    }

    /// Has it open its access log again.
    ///
    /// # Errors
    /// When it does not run.
    pub fn sighup(&self) -> Result<()> {
        self.process.as_ref().context("it does not run")?.signal(Signal::HUP)
    }

    /// Asks it to hand over to a new process, and waits until that serves; the end of the old one is
    /// another matter. Returns the new process's number.
    ///
    /// # Errors
    /// When that does not happen; the end of the log is quoted.
    pub async fn upgrade(&mut self, limit: Duration) -> Result<u32> {
        let begun = self.upgrades("an upgrade begins").len();
        let served = self.upgrades("the new process serves").len();
        self.sigusr2()?;
        let waited = wait_for("an upgrade to begin", limit, async || {
            self.upgrades("an upgrade begins").len() > begun
        });
        waited.await.with_context(|| self.log_tail(25))?;
        let pid = self.upgrades("an upgrade begins").last().copied().context("it has begun")?;
        self.heirs.push(Heir::of(pid)?);
        let waited = wait_for("the new process to serve", limit, async || {
            self.upgrades("the new process serves").len() > served
        });
        waited.await.with_context(|| self.log_tail(25))?;
        Ok(pid)
    }

    /// The processes of which its log says this.
    fn upgrades(&self, what: &str) -> Vec<u32> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines = text.lines().filter(|line| line.contains(what));
        let number = |line: &str| {
            let (_, after) = line.split_once("pid=")?;
            after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        };
        lines.filter_map(number).collect()
    }

    /// Whether every process of it but the newest has ended.
    pub fn has_one_process(&mut self) -> bool {
        let Some((_, old)) = self.heirs.split_last() else { return true };
        let first_has_ended = self.process.as_mut().is_none_or(|it| it.ended().is_some());
        first_has_ended && old.iter().all(Heir::has_ended)
    }

    /// A client of this very node's API, from this process; nobody is signed in.
    ///
    /// # Errors
    /// When what is to be trusted is malformed.
    pub fn client(&self, trust: Trust) -> Result<Client> {
        Ok(Client::builder(format!("https://{}", self.reach.address())).trust(trust).build()?)
    }

    /// Where this process, and a browser on this machine, reach the node's API.
    pub fn console(&self) -> SocketAddr {
        self.reach.address()
    }

    /// Whether it was started and neither stopped nor killed since.
    pub fn is_started(&self) -> bool {
        self.process.is_some()
    }

    /// Whether its process runs.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.ended().is_none())
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.host.name()
    }

    /// Its role.
    pub fn role(&self) -> NodeRole {
        self.options.role
    }

    /// The host it is on.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Where its API listens.
    pub fn api(&self) -> SocketAddr {
        self.api
    }

    /// Where the other nodes reach it.
    pub fn cluster_address(&self) -> SocketAddr {
        self.cluster
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Its whole log.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    fn ballastd(&self, verb: &str) -> Result<Command> {
        let program = &self.program;
        let wrapper = if verb == "run" { self.options.wrapper.as_slice() } else { &[] };
        let mut command = self.host.command_with(wrapper, program);
        command.arg(verb).arg("--config").arg(&self.config);
        Ok(command)
    }
}

/// Where nodes talk to each other: on the network made for that, if there is one.
fn cluster_socket(host: &Host) -> Result<SocketAddr> {
    let port = host.port(7400)?;
    Ok(host.cluster_ip().map_or_else(|| host.socket(port), |ip| SocketAddr::new(ip.into(), port)))
}

/// How this process gets to a node's API.
#[derive(Debug)]
enum Reach {
    Direct(SocketAddr),
    Forwarded(Forward),
}

impl Reach {
    fn to(host: &Host, api: SocketAddr) -> Result<Self> {
        Ok(match host.lab().kind() {
            Kind::Loopback => Self::Direct(api),
            Kind::Namespaces => Self::Forwarded(Forward::start(host, api)?),
        })
    }

    fn address(&self) -> SocketAddr {
        match self {
            Self::Direct(address) => *address,
            Self::Forwarded(forward) => forward.address(),
        }
    }
}
