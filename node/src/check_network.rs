//! `ballastd check-network`: says what of this machine would keep a node from carrying traffic, and what
//! to do.
//!
//! Invariant: nothing is changed and nothing leaves the machine but attempts to connect to other nodes.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use ballast_ha::kernel::Netlink;
use ballast_model::NodeRole;
use clap::Args;
use serde::Serialize;

use crate::config::NodeConfig;

mod devices;
pub(crate) mod known;
mod peers;
mod process;

use known::Known;

/// What to check.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The node's file
    #[arg(long, default_value = "/etc/ballast/node.toml")]
    config: PathBuf,
    /// A floating address to come, checked as if a traffic group had it; may be given again
    #[arg(long)]
    address: Vec<IpAddr>,
    /// Prints a JSON array instead of a table
    #[arg(long)]
    json: bool,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    /// It works, with something that may be regretted.
    Warning,
    /// It would not work.
    Failed,
}

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Check {
    verdict: Verdict,
    /// What was looked at, such as `device eth0`.
    what: String,
    /// What was found, in a sentence.
    found: String,
    /// What to do; none where nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Check {
    fn ok(what: impl Into<String>, found: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, what: what.into(), found: found.into(), remedy: None }
    }

    fn warning(
        what: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let verdict = Verdict::Warning;
        Self { verdict, what: what.into(), found: found.into(), remedy: Some(remedy.into()) }
    }

    fn failed(
        what: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { verdict: Verdict::Failed, ..Self::warning(what, found, remedy) }
    }
}

/// Checks, prints, and fails where something would not work.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let config = NodeConfig::read(&arguments.config)?;
    let checks = check(&config, &arguments.address)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&checks)?);
    } else {
        for check in &checks {
            println!("{check}");
        }
    }
    let failed_count = checks.iter().filter(|check| check.verdict == Verdict::Failed).count();
    match failed_count {
        0 => Ok(()),
        1 => bail!("1 check failed"),
        count => bail!("{count} checks failed"),
    }
}

fn check(config: &NodeConfig, to_come: &[IpAddr]) -> Result<Vec<Check>> {
    let mut netlink = Netlink::open().context("no netlink socket")?;
    let devices = netlink.devices().context("devices can't be listed")?;
    let mut checks = Vec::new();
    let known = match known::read(&config.state_dir) {
        Ok(Some(known)) => known,
        Ok(None) => {
            checks.push(Check::warning(
                "configuration",
                "this node has not run yet, so its networks and traffic groups are not known here",
                "run this again once the node has joined, or name floating addresses with --address",
            ));
            Known::default()
        }
        Err(error) => {
            checks.push(Check::warning(
                "configuration",
                format!("{} can't be read: {error}", known::path(&config.state_dir).display()),
                "start the node, which writes it anew",
            ));
            Known::default()
        }
    };
    checks.extend(devices::listeners(config, &devices));
    if config.role == NodeRole::Traffic {
        checks.extend(process::check());
        checks.extend(devices::interfaces(config, &known, &devices));
        checks.extend(devices::groups(config, &known, &devices, &mut netlink));
        checks.extend(devices::addresses_to_come(to_come, &devices));
    }
    checks.extend(peers::check(config, &known));
    Ok(checks)
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Failed => "FAILED",
        };
        write!(f, "{verdict:<8} {:<24} {}", self.what, self.found)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n{:<8} {:<24} → {remedy}", "", ""),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
