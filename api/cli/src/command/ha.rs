//! `ha`: who owns which traffic group, what became of it, what would, and moving it.

mod render;

use ballast_client::HaEventsQuery;
use ballast_model::Availability;
use ballast_model::ha::FailoverReport;
use clap::{Args, Subcommand};

use super::{Context, print_written, write_options};
use crate::failure::Failure;

/// See who owns virtual addresses, and move them
#[derive(Debug, Subcommand)]
pub(crate) enum Ha {
    /// Print what is wrong, then each traffic group on each node
    Status,
    /// Print what became of traffic groups on all nodes, the newest first
    Events(Events),
    /// Print who would take what, and carry what, if nodes died
    Preview(Preview),
    /// Move a traffic group to another node; needs no quorum
    Failover(Failover),
    /// Move every traffic group of a node to others; needs no quorum
    Standby(Standby),
    /// Let a node own traffic groups only where nobody else can
    Maintenance(Target),
    /// Let a node own no traffic group
    Offline(Target),
    /// Let a node own traffic groups again
    Available(Target),
}

#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Most changes
    #[arg(long, value_name = "N", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Only this traffic group
    #[arg(long)]
    group: Option<String>,
    /// Only this node
    #[arg(long)]
    node: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Preview {
    /// A node to imagine dead; more than one separated by commas
    #[arg(long, value_name = "NODE", value_delimiter = ',')]
    down: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Failover {
    /// The traffic group
    group: String,
    /// The node that is to own it; the one that would take over by itself where it is left out
    #[arg(long, value_name = "NODE")]
    to: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Standby {
    /// The node
    node: String,
}

#[derive(Debug, Args)]
pub(crate) struct Target {
    /// The node
    node: String,
    /// Wait until every live node carries it out
    #[arg(long)]
    wait: bool,
}

impl Ha {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (client, output) = (context.client()?, context.output);
        match self {
            Self::Status => {
                let overview = client.ha().await?;
                if output.is_json() {
                    return output.json(&overview);
                }
                output.print(&render::status(&overview, output.colours()))
            }
            Self::Events(Events { limit, group, node }) => {
                let query = HaEventsQuery { limit: Some(limit), group, node };
                let timeline = client.ha_events(&query).await?;
                if output.is_json() {
                    return output.json(&timeline);
                }
                output.print(&render::events(&timeline, output.colours()))
            }
            Self::Preview(Preview { down }) => {
                let preview = client.ha_preview(&down).await?;
                if output.is_json() {
                    return output.json(&preview);
                }
                output.print(&render::preview(&preview, output.colours()))
            }
            Self::Failover(Failover { group, to }) => {
                print_report(context, &client.fail_over(&group, to.as_deref()).await?)
            }
            Self::Standby(Standby { node }) => print_report(context, &client.standby(&node).await?),
            Self::Maintenance(target) => set(context, target, Availability::Maintenance).await,
            Self::Offline(target) => set(context, target, Availability::Offline).await,
            Self::Available(target) => set(context, target, Availability::Available).await,
        }
    }
}

async fn set(context: &Context, target: Target, wanted: Availability) -> Result<(), Failure> {
    let Target { node, wait } = target;
    let written = context.client()?.set_availability(&node, wanted, &write_options(wait)).await?;
    print_written(context.output, &written, &format!("{node}: {}", wanted.as_str()))
}

/// Prints what was moved; a group that was to be moved and was not is a failure.
fn print_report(context: &Context, report: &FailoverReport) -> Result<(), Failure> {
    if context.output.is_json() {
        context.output.json(report)?;
    } else {
        context.output.print(&render::report(report, context.output.colours()))?;
    }
    match unmoved(report) {
        0 => Ok(()),
        count => Err(Failure::Unfinished(format!(
            "{count} of {} traffic groups were not moved",
            report.moves.len()
        ))),
    }
}

pub(super) fn unmoved(report: &FailoverReport) -> usize {
    report.moves.iter().filter(|moved| moved.error.is_some()).count()
}

#[cfg(test)]
mod tests;
