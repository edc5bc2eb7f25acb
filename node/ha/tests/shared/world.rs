//! Two nodes and a client on a bridge, each in a network namespace of its own.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ballast_ha::kernel::{Device, Netlink};
use ballast_ha::{Ha, HaOptions, TrafficView};
use ballast_model::ha::GroupState;
use ballast_model::{
    AnyDraft, Draft, Edit, NodeRole, NodeSpec, Snapshot, State, TrafficGroupSpec, testing,
};
use futures_util::future::BoxFuture;
use tokio::runtime::Runtime;

use super::namespace::{Namespace, ip};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const VRID: u8 = 51;
pub(crate) const VIRTUAL_V4: &str = "192.0.2.100";
pub(crate) const VIRTUAL_V6: &str = "2001:db8::100";

struct Ready;

impl TrafficView for Ready {
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn data_plane_alive(&self) -> Result<(), String> {
        Ok(())
    }

    fn pool_up_percent(&self, _: &str) -> Option<u8> {
        None
    }

    fn quiesce(&self, _: Vec<IpAddr>, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// A client at 192.0.2.9 and 2001:db8::9 with a bridge, and nodes at .1 and .2.
pub(crate) struct World {
    pub(crate) client: Namespace,
    pub(crate) nodes: [Namespace; 2],
    runtime: Runtime,
    pub(crate) directory: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let nodes = [Namespace::new(), Namespace::new()];
        let client = Namespace::new();
        ip("link add br0 type bridge mcast_snooping 0");
        ip("address add 192.0.2.9/24 dev br0");
        ip("address add 2001:db8::9/64 dev br0 nodad");
        ip("link set br0 up");
        for (host, node) in (1..).zip(&nodes) {
            client.enter();
            let there = format!("/proc/{}/fd/{}", std::process::id(), node.0.as_raw_fd());
            ip(&format!("link add port{host} type veth peer name eth0 netns {there}"));
            ip(&format!("link set port{host} master br0 up"));
            node.enter();
            ip(&format!("address add 192.0.2.{host}/24 dev eth0"));
            ip(&format!("address add 2001:db8::{host}/64 dev eth0 nodad"));
            // Its own link-local address needs no second to become usable.
            std::fs::write("/proc/sys/net/ipv6/conf/eth0/accept_dad", "0").unwrap();
            // As strict as distributions have it.
            std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "1").unwrap();
            ip("link set eth0 up");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { client, nodes, runtime, directory: tempfile::tempdir().unwrap() }
    }

    /// Starts a node: its thread is in its namespace.
    pub(crate) fn start(&self, number: usize, snapshot: Arc<Snapshot>) -> Ha {
        self.nodes[number].enter();
        let node_id = number as u64 + 1;
        let state_dir = self.directory.path().join(node_id.to_string());
        std::fs::create_dir_all(&state_dir).unwrap();
        let options = HaOptions {
            node_name: format!("node-{node_id}"),
            node_id,
            state_dir,
            advert_key: [7; 32],
            is_successor: false,
        };
        let _entered = self.runtime.enter();
        let ha = Ha::start(options, Arc::new(Ready)).unwrap();
        ha.apply(snapshot);
        ha
    }

    /// Lets the nodes run until `is_so`.
    pub(crate) fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut look = || {
            assert!(Instant::now() < deadline, "in time: {what}");
            is_so()
        };
        self.runtime.block_on(async {
            let mut looks = tokio::time::interval(Duration::from_millis(5));
            while !look() {
                looks.tick().await;
            }
        });
    }

    pub(crate) fn until_active(&self, ha: &Ha) {
        self.until("a node is Active", || state(ha) == Some(GroupState::Active));
    }

    pub(crate) fn device(&self, number: usize, name: &str) -> Option<Device> {
        self.nodes[number].enter();
        let devices = Netlink::open().unwrap().devices().unwrap();
        devices.into_iter().find(|device| device.name == name)
    }

    /// Which hardware address the client takes `address` for, after it has talked to it.
    pub(crate) fn mac_of(&self, address: &str) -> String {
        self.client.enter();
        ip("neighbour flush dev br0");
        let to = SocketAddr::new(address.parse().unwrap(), 9);
        // Refused: nobody listens. What counts is that the host was found.
        let _refused = TcpStream::connect_timeout(&to, PATIENCE);
        let shown = ip(&format!("neighbour show {address} dev br0"));
        let mut words = shown.split_whitespace().skip_while(|word| *word != "lladdr");
        words.nth(1).unwrap_or_default().to_owned()
    }

    pub(crate) fn stop(&self, ha: &Ha) {
        self.runtime.block_on(async {
            ha.release_all(Duration::ZERO).await;
            ha.shutdown().await;
        });
    }
}

pub(crate) fn state(ha: &Ha) -> Option<GroupState> {
    ha.status().groups.first().map(|group| group.state)
}

/// `node-1` and `node-2`.
pub(crate) fn nodes() -> Vec<NodeSpec> {
    let node = |id| NodeSpec::new(id, NodeRole::Traffic, format!("192.0.2.{id}:7400"), Vec::new());
    (1..=2).map(node).collect()
}

/// With both addresses.
pub(crate) fn group() -> TrafficGroupSpec {
    let addresses: [IpAddr; 2] = [VIRTUAL_V4.parse().unwrap(), VIRTUAL_V6.parse().unwrap()];
    let mut group = TrafficGroupSpec::new(VRID, addresses);
    group.advert_interval_ms = 100;
    group
}

/// Of these nodes, and of these groups by their names.
pub(crate) fn snapshot(
    index: u64,
    nodes: Vec<NodeSpec>,
    groups: &[(&str, TrafficGroupSpec)],
) -> Arc<Snapshot> {
    let nodes = nodes.into_iter().map(|node| {
        let id = node.node_id;
        Edit::put(AnyDraft::Node(Draft::new(format!("node-{id}"), node)), format!("n{id}"))
    });
    let groups = groups.iter().map(|(name, group)| {
        Edit::put(AnyDraft::TrafficGroup(Draft::new(*name, group.clone())), *name)
    });
    let config = testing::config(nodes.chain(groups));
    Arc::new(Snapshot { index, state: State { config, ..State::default() } })
}
