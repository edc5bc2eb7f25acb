//! The command line: one module for each command.

mod apply;
mod cluster;
mod completion;
mod delete;
mod events;
mod explain;
mod export;
mod get;
mod ha;
mod login;
mod logout;
mod member;
mod status;
mod tail;
mod token;
mod user;

use ballast_client::{Client, WriteOptions, Written};
use ballast_model::{Kind, Role};
use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::json;

use crate::connection;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::output::{self, Format, Output};
use crate::text::safe;

const AFTER_HELP: &str = "\
Environment:
  BALLAST_URL             the node to ask, such as https://10.0.0.1:7443
  BALLAST_TOKEN           an API token, instead of signing in
  BALLAST_CA_FINGERPRINT  SHA-256 of the cluster's authority, as `ballastd init` prints it
  NO_COLOR                no colours on a terminal either

Exit codes:
  0  done
  1  refused, not possible, or not carried out in time
  2  the command line, the environment or a file can't be used: nothing was sent";

/// Ballast on the command line. Any node of the cluster takes any command.
#[derive(Debug, Parser)]
#[command(name = "ballastctl", version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How answers are printed
    #[arg(short, long, global = true, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    Apply(apply::Apply),
    #[command(subcommand)]
    Cluster(cluster::Cluster),
    Completion(completion::Completion),
    Delete(delete::Delete),
    Events(events::Events),
    Explain(explain::Explain),
    Export(export::Export),
    Get(get::Get),
    #[command(subcommand)]
    Ha(ha::Ha),
    Login(login::Login),
    Logout(logout::Logout),
    #[command(subcommand)]
    Member(member::Member),
    Status(status::Status),
    Tail(tail::Tail),
    #[command(subcommand)]
    Token(token::Token),
    #[command(subcommand)]
    User(user::User),
}

/// What every command gets.
pub(crate) struct Context {
    pub(crate) output: Output,
    pub(crate) environment: Environment,
}

impl Context {
    /// The cluster, as whoever is signed in.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        connection::client(&self.environment)
    }
}

impl Cli {
    /// Does what is asked for.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let output = Output::new(self.output);
        let context = Context { output, environment: Environment::of_process() };
        match self.command {
            Command::Apply(command) => command.run(&context).await,
            Command::Cluster(command) => command.run(&context).await,
            Command::Completion(command) => command.run(&context),
            Command::Delete(command) => command.run(&context).await,
            Command::Events(command) => command.run(&context).await,
            Command::Explain(command) => command.run(&context).await,
            Command::Export(command) => command.run(&context).await,
            Command::Get(command) => command.run(&context).await,
            Command::Ha(command) => command.run(&context).await,
            Command::Login(command) => command.run(&context).await,
            Command::Logout(command) => command.run(&context).await,
            Command::Member(command) => command.run(&context).await,
            Command::Status(command) => command.run(&context).await,
            Command::Tail(command) => command.run(&context).await,
            Command::Token(command) => command.run(&context).await,
            Command::User(command) => command.run(&context).await,
        }
    }
}

/// The kind that people mean: plural, singular, declaration key, or a short form.
fn kind(noun: &str) -> Result<Kind, String> {
    let kind = match noun {
        "vs" => Some(Kind::VirtualServer),
        "cert" | "certs" => Some(Kind::Certificate),
        other => Kind::from_noun(&other.to_lowercase()),
    };
    kind.ok_or_else(|| {
        let nouns: Vec<_> = Kind::ALL.iter().map(|kind| kind.plural()).collect();
        format!("the kinds are {}", nouns.join(", "))
    })
}

/// `key=value`.
fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a label is KEY=VALUE".to_owned()),
    }
}

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RoleName {
    /// Reads everything but secrets
    Viewer,
    /// Also enables, disables and drains
    Operator,
    /// Also changes the configuration
    Editor,
    /// Everything
    Admin,
}

impl From<RoleName> for Role {
    fn from(role: RoleName) -> Self {
        match role {
            RoleName::Viewer => Self::Viewer,
            RoleName::Operator => Self::Operator,
            RoleName::Editor => Self::Editor,
            RoleName::Admin => Self::Admin,
        }
    }
}

fn write_options(wait: bool) -> WriteOptions {
    if wait { WriteOptions::new().wait_applied() } else { WriteOptions::new() }
}

/// Prints what was written: `sentence`, or the resource.
fn print_written<T: Serialize>(
    output: Output,
    written: &Written<T>,
    sentence: &str,
) -> Result<(), Failure> {
    if output.is_json() {
        output.json(&json!({
            "index": written.index,
            "not_applied": written.not_applied,
            "resource": written.value,
        }))?;
    } else {
        output.print(&format!("{} (index {})", safe(sentence), written.index))?;
    }
    carried_out(&written.not_applied)
}

/// Names the nodes that do not carry a change out yet. A node that does not answer catches up when
/// it is back and is a note; one that answers and has not applied it is a failure.
fn carried_out(not_applied: &[String]) -> Result<(), Failure> {
    let mut late = Vec::new();
    for entry in not_applied {
        match entry.split_once('=') {
            Some((node, "unreachable")) => output::note(&format!(
                "note: node {} does not answer; it catches up when it is back",
                safe(node)
            )),
            Some((node, _)) => late.push(node),
            None => late.push(entry),
        }
    }
    if late.is_empty() {
        return Ok(());
    }
    Err(Failure::Unfinished(format!(
        "the change is stored, but not carried out yet by {}; ballastctl status says why",
        late.join(", ")
    )))
}

#[cfg(test)]
mod tests;
