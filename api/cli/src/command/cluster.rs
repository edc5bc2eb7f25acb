//! `cluster`: the cluster itself, and who belongs to it.

use ballast_model::NodeRole;
use ballast_model::api::ClusterInfo;
use clap::{Args, Subcommand, ValueEnum};

use super::{Context, print_written};
use crate::failure::Failure;
use crate::output::{Field, Table, Tone};
use crate::prompt;
use crate::text::{safe, utc};

/// The cluster itself, and which nodes belong to it
#[derive(Debug, Subcommand)]
pub(crate) enum Cluster {
    /// Print what the cluster knows of itself
    Status,
    /// Make a token with which one more node can join
    JoinToken(JoinToken),
    /// Take a node out for good
    RemoveNode(RemoveNode),
}

#[derive(Debug, Args)]
pub(crate) struct JoinToken {
    /// What the node will do
    #[arg(long, value_enum)]
    role: NodeRoleName,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveNode {
    /// Its name
    name: String,
    /// Don't ask
    #[arg(short, long)]
    yes: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum NodeRoleName {
    /// Forwards traffic and votes
    Traffic,
    /// Votes only
    Witness,
}

impl Cluster {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Status => status(context).await,
            Self::JoinToken(command) => command.run(context).await,
            Self::RemoveNode(command) => command.run(context).await,
        }
    }
}

async fn status(context: &Context) -> Result<(), Failure> {
    let info = context.client()?.cluster().await?;
    if context.output.is_json() {
        context.output.json(&info)
    } else {
        context.output.print(&render(&info, context.output.colours()))
    }
}

pub(super) fn render(info: &ClusterInfo, colours: bool) -> String {
    let writable = match info.writable {
        true => Tone::Good.paint("yes", colours),
        false => Tone::Bad.paint("no: no quorum; traffic flows on", colours),
    };
    let mut nodes = Table::new(&["NODE", "ID", "ROLE", "VOTES", "CLUSTER ADDRESS", "API"]);
    for node in &info.nodes {
        nodes.row(vec![
            node.name.as_str().into(),
            node.node_id.into(),
            node.role.as_str().into(),
            match node.voter {
                true => Field::from("yes"),
                false => Field::toned("not yet", Tone::Between),
            },
            node.cluster_address.as_str().into(),
            node.api_addresses.join(" ").into(),
        ]);
    }
    format!(
        "cluster      {}\nleader       {}\nwritable     {writable}\nauthority    {} (SHA-256)\n\
         join tokens  {} waiting\nanswered by  {}\n\n{}",
        safe(&info.name),
        safe(info.leader.as_deref().unwrap_or("none")),
        safe(&info.ca_fingerprint_sha256),
        info.join_tokens,
        safe(&info.answered_by),
        nodes.render(colours),
    )
}

impl JoinToken {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let role = match self.role {
            NodeRoleName::Traffic => NodeRole::Traffic,
            NodeRoleName::Witness => NodeRole::Witness,
        };
        let info = context.client()?.create_join_token(role).await?;
        if context.output.is_json() {
            return context.output.json(&info);
        }
        let peer = info.peers.first().map_or("HOST:7400", String::as_str);
        context.output.print(&format!(
            "{}\n\nFor one {} node, until {}. On the new machine:\n  ballastd join --token {} \
             --peer {}\n  ballastd run",
            safe(&info.token),
            info.role.as_str(),
            utc(info.expires_at_ms),
            safe(&info.token),
            safe(peer),
        ))
    }
}

impl RemoveNode {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.client()?;
        let question = format!(
            "Take node {} out of the cluster for good? Its number is never used again.",
            safe(&self.name)
        );
        let is_agreed = self.yes || (prompt::is_interactive() && prompt::confirm(&question)?);
        if !is_agreed {
            let why = "nothing was changed: confirm at a terminal, or with --yes";
            return Err(Failure::Usage(why.to_owned()));
        }
        let written = client.remove_node(&self.name).await?;
        print_written(context.output, &written, &format!("removed nodes/{}", self.name))
    }
}
