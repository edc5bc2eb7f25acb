//! A cluster of real nodes: formed through the real binaries, configured through the API.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ballast_client::{Client, Trust, WriteOptions};
use ballast_model::api::ApplyReport;
use ballast_model::status::{ClusterStatus, Health, MemberStatus};
use ballast_model::{NodeRole, PlanOptions};
use serde::Serialize;

use crate::ctl::Ctl;
use crate::lab::{Host, Lab};
use crate::node::{InitOutcome, Node, NodeOptions};
use crate::wait::wait_for_some;

/// Longest time for a node to become ready.
pub const READY_LIMIT: Duration = Duration::from_secs(30);

/// A running cluster and an administrator who is signed in.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes, in the order they joined.
    pub nodes: Vec<Node>,
    /// What `init` said.
    pub identity: InitOutcome,
    password_file: PathBuf,
    password: String,
    clients: Vec<Client>,
    operator: Host,
    ctl: Ctl,
}

impl Cluster {
    /// Two traffic nodes and a witness, at .11, .12 and .13.
    ///
    /// # Errors
    /// When a node does not come up.
    pub async fn three_nodes(lab: &Lab) -> Result<Self> {
        let traffic = NodeOptions::new(NodeRole::Traffic);
        let witness = NodeOptions::new(NodeRole::Witness);
        let plan = [("node-1", &traffic), ("node-2", &traffic), ("witness", &witness)];
        Self::form(lab, &plan.map(|(name, options)| (name, options.clone())), |_| ()).await
    }

    /// One traffic node, at .11.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn one_node(lab: &Lab) -> Result<Self> {
        Self::form(lab, &[("node-1", NodeOptions::new(NodeRole::Traffic))], |_| ()).await
    }

    /// Forms a cluster of these nodes, at .11 and up; `progress` is told each step.
    ///
    /// # Errors
    /// When a node does not come up or the administrator cannot sign in.
    pub async fn form(
        lab: &Lab,
        plan: &[(&str, NodeOptions)],
        mut progress: impl FnMut(&str),
    ) -> Result<Self> {
        let mut nodes = Vec::new();
        for ((name, options), last) in plan.iter().zip(11..) {
            nodes.push(Node::prepare(&lab.host(name, last)?, options.clone())?);
        }
        let operator = lab.host("operator", 10)?;
        let password_file = operator.dir()?.join("password");
        let password = one_time_password()?;
        fs::write(&password_file, &password)?;
        let (first, others) = nodes.split_first_mut().context("a cluster has a node")?;
        let identity = first.init("demo", Some(&password_file)).await?;
        first.start()?;
        first.wait_ready(READY_LIMIT).await?;
        progress(&format!("{} made the cluster", first.name()));
        let trust = || Trust::CaFingerprint(identity.ca_fingerprint_sha256.clone());
        let client = first.client(trust())?;
        client.log_in("admin", &password).await?;
        let mut clients = vec![client.clone()];
        for node in others {
            let ticket = client.create_join_token(node.role()).await?;
            node.join(&ticket.token, first.cluster_address()).await?;
            node.start()?;
            node.wait_ready(READY_LIMIT).await?;
            progress(&format!("{} joined as {}", node.name(), node.role().as_str()));
            let client = node.client(trust())?;
            client.log_in("admin", &password).await?;
            clients.push(client);
        }
        let ctl = Ctl::new(&operator)?;
        let cluster = Self { nodes, identity, password_file, password, clients, operator, ctl };
        let voters = cluster.nodes.len();
        cluster
            .wait_for_status("every node to vote", READY_LIMIT, |status| {
                let reports: Vec<_> =
                    status.nodes.iter().filter_map(|node| node.status.as_ref()).collect();
                reports.len() == voters
                    && reports.iter().all(|node| node.raft.voters.len() == voters)
            })
            .await?;
        Ok(cluster)
    }

    /// A client of the node at `index` in [`Cluster::nodes`]; the administrator is signed in.
    pub fn client_of(&self, index: usize) -> &Client {
        &self.clients[index]
    }

    /// A client of the first node that is started.
    pub fn client(&self) -> &Client {
        let index = self.nodes.iter().position(Node::is_started);
        self.client_of(index.unwrap_or(0))
    }

    /// `ballastctl` of the administrator; [`Cluster::use_node`] signs it in.
    pub fn ctl(&self) -> &Ctl {
        &self.ctl
    }

    /// The host of the administrator.
    pub fn operator(&self) -> &Host {
        &self.operator
    }

    /// The password of `admin`, made up for this cluster.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The same in a file.
    pub fn password_file(&self) -> &Path {
        &self.password_file
    }

    /// Signs `ballastctl` in at the node at `index` in [`Cluster::nodes`].
    ///
    /// # Errors
    /// When that fails.
    pub async fn use_node(&self, index: usize) -> Result<()> {
        let url = format!("https://{}", self.nodes[index].api());
        let ca = &self.identity.ca_fingerprint_sha256;
        self.ctl.login(&url, "admin", &self.password_file, ca).await
    }

    /// Applies a declaration, and waits until every node carries it out.
    ///
    /// # Errors
    /// When it is refused, or a node does not carry it out.
    pub async fn apply(&self, declaration: &impl Serialize) -> Result<ApplyReport> {
        let options = WriteOptions::new().wait_applied();
        let written = self.client().apply(declaration, &PlanOptions::default(), &options).await?;
        ensure!(written.not_applied.is_empty(), "not applied: {}", written.not_applied.join(", "));
        Ok(written.value)
    }

    /// The cluster's status as seen by the first node that is started.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn status(&self) -> Result<ClusterStatus> {
        Ok(self.client().status().await?)
    }

    /// Asks for the status until it is as wanted.
    ///
    /// # Errors
    /// When it is not in time; the last status is quoted.
    pub async fn wait_for_status(
        &self,
        what: &str,
        limit: Duration,
        mut wanted: impl FnMut(&ClusterStatus) -> bool,
    ) -> Result<ClusterStatus> {
        let mut last = String::from("no status yet");
        let waited = wait_for_some(what, limit, async || match self.status().await {
            Ok(status) if wanted(&status) => Some(status),
            Ok(status) => {
                last = serde_json::to_string(&status).unwrap_or_default();
                None
            }
            Err(error) => {
                last = format!("{error:#}");
                None
            }
        })
        .await;
        waited.with_context(|| format!("the last status: {last}"))
    }

    /// Waits until every running traffic node sees these members in this health.
    ///
    /// # Errors
    /// When they do not in time.
    pub async fn wait_for_health(
        &self,
        members: &[&str],
        health: Health,
        limit: Duration,
    ) -> Result<()> {
        let what = format!("{} to be {health:?}", members.join(", "));
        self.wait_for_status(&what, limit, |status| {
            let traffic = status.nodes.iter().filter(|node| node.role == NodeRole::Traffic);
            traffic.filter_map(|node| node.status.as_ref()).all(|node| {
                members.iter().all(|name| {
                    let mut seen = members_named(&node.members, name).peekable();
                    seen.peek().is_some() && seen.all(|member| member.health == health)
                })
            })
        })
        .await?;
        Ok(())
    }

    /// The index in [`Cluster::nodes`] of the leader.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn leader(&self) -> Result<usize> {
        let status =
            self.wait_for_status("a leader", READY_LIMIT, |status| status.leader.is_some()).await?;
        let index =
            self.nodes.iter().position(|node| Some(node.name()) == status.leader.as_deref());
        index.with_context(|| format!("the leader {:?} is none of the nodes", status.leader))
    }

    /// Kills every node that still runs, at once.
    ///
    /// # Errors
    /// When one cannot be killed.
    pub fn sigkill_all(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            if node.is_running() {
                node.sigkill()?;
            }
        }
        Ok(())
    }

    /// Starts every node that does not run, then waits until all are ready.
    ///
    /// # Errors
    /// When one does not become ready.
    pub async fn start_all(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            if !node.is_running() {
                node.start()?;
            }
        }
        for node in &mut self.nodes {
            node.wait_ready(READY_LIMIT).await?;
        }
        Ok(())
    }

    /// The node of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn node(&mut self, name: &str) -> Result<&mut Node> {
        match self.nodes.iter_mut().find(|node| node.name() == name) {
            Some(node) => Ok(node),
            None => bail!("no node {name}"),
        }
    }
}

fn members_named<'a>(
    members: &'a [MemberStatus],
    name: &'a str,
) -> impl Iterator<Item = &'a MemberStatus> {
    members.iter().filter(move |member| member.member == name)
}

/// Twelve characters that are hard to mistake for others: 60 bits.
fn one_time_password() -> Result<String> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0; 12];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let letters = bytes.map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]));
    let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
    Ok(groups.join("-"))
}
