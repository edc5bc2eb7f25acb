//! Suites over floating addresses: what they share.
//!
//! Who owns an address is read from the kernel of each host and from who answers clients, never from what a
//! node says of itself.

#![forbid(unsafe_code)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ballast_client::WriteOptions;
use ballast_model::status::Health;
use ballast_model::{
    AdminState, Draft, MemberSpec, NodeRole, PoolSpec, Protocol, TrafficGroupSpec,
    VirtualServerSpec,
};
use ballast_test_support::wait::wait_for_some;
use ballast_test_support::{Cluster, Host, Lab, NodeOptions, Origin, Probe, Segment, wait_for};

/// Longest time for a change that should take about a second, on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Longest time for a node to come back and take part.
pub const RETURN_LIMIT: Duration = Duration::from_secs(60);

/// Where virtual servers listen.
pub const PORT: u16 = 80;

/// The VRID of the first group.
pub const VRID: u8 = 51;

/// Two traffic nodes and a witness on two networks, an origin, a client and an observer.
#[derive(Debug)]
pub struct World {
    /// The nodes: `node-1`, `node-2`, `witness`.
    pub cluster: Cluster,
    /// Behind the nodes, in this order members of the pool `web`.
    pub origins: Vec<Origin>,
    /// In front of them.
    pub client: Host,
    /// Beside the client.
    pub observer: Host,
    /// Last: what runs in it ends first.
    pub lab: Lab,
}

impl World {
    /// Starts it with a pool of `origins` members and a virtual server at every address on [`PORT`].
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start(origins: u8) -> Result<Self> {
        let plan = [NodeRole::Traffic, NodeRole::Traffic, NodeRole::Witness].map(NodeOptions::new);
        let plan: Vec<_> = ["node-1", "node-2", "witness"].into_iter().zip(plan).collect();
        Self::with_nodes(&plan, origins).await
    }

    /// Starts it with one traffic node.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn of_one_node() -> Result<Self> {
        Self::with_nodes(&[("node-1", NodeOptions::new(NodeRole::Traffic))], 1).await
    }

    /// Starts it with these nodes.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn with_nodes(plan: &[(&str, NodeOptions)], origins: u8) -> Result<Self> {
        Self::in_lab(Lab::with_cluster_network()?, plan, origins).await
    }

    /// Starts it in a lab that may have some of its hosts already.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn in_lab(lab: Lab, plan: &[(&str, NodeOptions)], origins: u8) -> Result<Self> {
        let mut running = Vec::new();
        for number in 1..=origins {
            running
                .push(Origin::start(&lab.host(&format!("origin-{number}"), 20 + number)?).await?);
        }
        let (client, observer) = (lab.host("client", 31)?, lab.host("observer", 32)?);
        let cluster = Cluster::form(&lab, plan, |_| ()).await?;
        let world = Self { cluster, origins: running, client, observer, lab };
        let wait = WriteOptions::new().wait_applied();
        let member = |origin: &Origin| MemberSpec {
            name: Some(origin.name().to_owned()),
            admin_state: AdminState::Enabled,
            ..MemberSpec::new(origin.http())
        };
        let members = world.origins.iter().map(member).collect();
        let pool = PoolSpec { members, ..PoolSpec::default() };
        world.cluster.client().put(&Draft::new("web", pool), &wait).await?;
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
        let mut server = VirtualServerSpec::new(Protocol::Http, any, "web");
        server.addresses.push(Ipv6Addr::UNSPECIFIED.into());
        world.cluster.client().put(&Draft::new("web", server), &wait).await?;
        let names: Vec<_> = world.origins.iter().map(Origin::name).collect();
        world.cluster.wait_for_health(&names, Health::Unmonitored, LIMIT).await?;
        Ok(world)
    }

    /// The virtual address that ends in `last`.
    pub fn address(&self, last: u8) -> Ipv4Addr {
        self.lab.address(last)
    }

    /// Its IPv6 sister.
    ///
    /// # Errors
    /// Never for the numbers that tests use.
    pub fn address6(&self, last: u8) -> Result<IpAddr> {
        Ok(format!("fd77:77::{last}").parse()?)
    }

    /// Writes a group, and waits until every node carries it out.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn put_group(&self, name: &str, spec: TrafficGroupSpec) -> Result<()> {
        let wait = WriteOptions::new().wait_applied();
        self.cluster.client().put(&Draft::new(name, spec), &wait).await?;
        Ok(())
    }

    /// The indices of the nodes whose kernel holds `address`.
    ///
    /// # Errors
    /// When a kernel cannot be asked.
    pub fn holders(&self, address: impl Into<IpAddr>) -> Result<Vec<usize>> {
        let address = address.into();
        let mut holders = Vec::new();
        for (index, node) in self.cluster.nodes.iter().enumerate() {
            if node.host().holds(address)? {
                holders.push(index);
            }
        }
        Ok(holders)
    }

    /// Waits until exactly one node holds `address`, and says which.
    ///
    /// # Errors
    /// When there is none, or more than one, at the end of the limit.
    pub async fn wait_for_one_holder(&self, address: impl Into<IpAddr>) -> Result<usize> {
        let address = address.into();
        let mut last = Vec::new();
        let waited = wait_for_some("exactly one holder", RETURN_LIMIT, async || {
            last = self.holders(address).unwrap_or_default();
            (last.len() == 1).then(|| last[0])
        })
        .await;
        waited.with_context(|| format!("{address} is held by nodes {last:?}"))
    }

    /// Waits until the node at `index`, and no other, holds `address`.
    ///
    /// # Errors
    /// When that does not come about.
    pub async fn wait_for_holder(&self, address: impl Into<IpAddr>, index: usize) -> Result<()> {
        let address = address.into();
        let mut last = Vec::new();
        let waited = wait_for("the right holder", RETURN_LIMIT, async || {
            last = self.holders(address).unwrap_or_default();
            last == [index]
        })
        .await;
        waited.with_context(|| format!("{address} is held by nodes {last:?}, not {index}"))
    }

    /// A probe of `address` that is answered.
    ///
    /// # Errors
    /// When it is not.
    pub async fn probe(&self, address: Ipv4Addr) -> Result<Probe> {
        let probe = Probe::start(&self.client, SocketAddr::from((address, PORT)))?;
        probe.wait_for_answers(20, RETURN_LIMIT).await?;
        Ok(probe)
    }

    /// Which node gave the last answer that `probe` got.
    ///
    /// # Errors
    /// When none was given.
    pub fn answering(&self, probe: &Probe) -> Result<usize> {
        let ip = probe.last_answer().context("nobody answered")?;
        let found = self.cluster.nodes.iter().position(|node| node.host().ip().to_string() == ip);
        found.with_context(|| format!("{ip} is no node"))
    }

    /// Waits until the node takes part in every group: what held it down after its start is over.
    ///
    /// # Errors
    /// When it does not.
    pub async fn wait_for_standby(&self, index: usize) -> Result<()> {
        let client = self.cluster.client_of(index);
        let mut last = String::new();
        let waited = wait_for("the node to take part", RETURN_LIMIT, async || {
            let Ok(status) = client.node_status().await else { return false };
            last = format!("{:?}", status.ha);
            status.ha.is_some_and(|ha| {
                !ha.groups.is_empty() && ha.groups.iter().all(|group| group.priority > 0)
            })
        })
        .await;
        waited.with_context(|| last)
    }

    /// Starts a node that was killed or stopped, and waits until it could take over.
    ///
    /// # Errors
    /// When it does not get there.
    pub async fn bring_back(&mut self, index: usize) -> Result<()> {
        self.cluster.nodes[index].start()?;
        self.cluster.nodes[index].wait_ready(RETURN_LIMIT).await?;
        self.wait_for_standby(index).await
    }
}

/// The link-local address of `host` on the clients' network that is its own: not one of a virtual router.
///
/// # Errors
/// When it has none.
pub fn link_local(host: &Host) -> Result<Ipv6Addr> {
    let is_own = |ip: &Ipv6Addr| {
        // RFC 9568 §7.3: the hardware address of a virtual router begins with 00-00-5E-00-02.
        ip.is_unicast_link_local() && ip.segments()[4..6] != [0x0200, 0x5eff]
    };
    let mut held = host.addresses()?.into_iter();
    let found = held.find_map(|(device, ip)| match ip {
        IpAddr::V6(ip) if device == Segment::Clients.interface() => Some(ip).filter(is_own),
        _ => None,
    });
    found.context("no link-local address")
}

/// One request from `client`, answered by an origin.
///
/// # Errors
/// When there is no good answer.
pub async fn fetch(client: &Host, address: IpAddr) -> Result<String> {
    let url = match address {
        IpAddr::V4(ip) => format!("http://{ip}:{PORT}/"),
        IpAddr::V6(ip) => format!("http://[{ip}]:{PORT}/"),
    };
    let mut curl = client.command("curl");
    curl.args(["--silent", "--show-error", "--fail", "--max-time", "5", &url]);
    let output = ballast_test_support::process::run(curl, LIMIT).await?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(text.starts_with("origin-"), "{text}");
    Ok(text)
}
