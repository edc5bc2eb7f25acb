//! What is measured: a proxy with a listener for each kind of work.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use ballast_model::NodeRole;
use ballast_test_support::{Cluster, Lab, NodeOptions, Process};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::certificate::Certificate;
use super::origin::Origin;
use super::peers;
use super::scenario::{HOST_RULE_COUNT, Listener, USER_FIELD, rule_host};
use super::{PROXY_CPU, listening};

/// A proxy under test.
pub(super) struct Subject {
    pub(super) name: &'static str,
    pub(super) pid: u32,
    pub(super) listeners: BTreeMap<Listener, SocketAddr>,
    /// What a client sends that has been there before.
    pub(super) cookie: String,
    pub(super) _running: Running,
}

/// Keeps a proxy running.
pub(super) enum Running {
    Cluster { _cluster: Box<Cluster> },
    Process { _process: Process },
}

impl Subject {
    pub(super) fn address(&self, listener: Listener) -> SocketAddr {
        self.listeners[&listener]
    }
}

/// One node with so many workers on these CPUs, configured through its API.
pub(super) async fn ballast(
    lab: &Lab,
    origin: &Origin,
    certificate: &Certificate,
    cpus: &'static [&'static str],
    workers: u16,
) -> Result<Subject> {
    let options = NodeOptions {
        wrapper: cpus.to_vec(),
        workers,
        access_log: lab.dir().join("access.log").display().to_string(),
        ..NodeOptions::new(NodeRole::Traffic)
    };
    let cluster = Cluster::form(lab, &[("node-1", options)], |_| ()).await?;
    let node = &cluster.nodes[0];
    let listeners = peers::listeners(node.host())?;
    cluster.apply(&declaration(&listeners, origin, certificate)).await?;
    for address in peers::streams(&listeners) {
        listening(address).await?;
    }
    let pid = node.pid().context("the node runs")?;
    let cookie = match listeners.get(&Listener::Cookie) {
        Some(address) => given_cookie(*address).await?,
        None => String::new(),
    };
    let running = Running::Cluster { _cluster: Box::new(cluster) };
    Ok(Subject { name: "ballast", pid, listeners, cookie, _running: running })
}

fn declaration(
    listeners: &BTreeMap<Listener, SocketAddr>,
    origin: &Origin,
    certificate: &Certificate,
) -> Value {
    let member = |name: &str, address: SocketAddr| json!({"name": name, "address": address.ip(), "port": address.port()});
    let members: Vec<Value> = (1..)
        .zip(&origin.addresses)
        .map(|(number, address)| member(&format!("o{number}"), *address))
        .collect();
    // As the peers: every client connection may have one.
    let pool = |members: &[Value]| json!({"members": members, "idle_connection_max_count": 128});
    let rules: Vec<Value> = (0..HOST_RULE_COUNT)
        .map(|number| {
            let host = rule_host(number);
            json!({"name": host, "when": {"host": [host]}, "action": {"pool": "origin"}})
        })
        .collect();
    let servers: Vec<Value> = listeners
        .iter()
        .map(|(listener, address)| {
            let protocol = match listener {
                Listener::Tcp => "tcp",
                Listener::Udp => "udp",
                Listener::Tls | Listener::Http2 => "https",
                _ => "http",
            };
            let mut spec = json!({
                "protocol": protocol,
                "addresses": [address.ip()],
                "ports": [address.port()],
                "pool": "origin",
            });
            if protocol.starts_with("http") {
                // The peers name requests to nobody.
                spec["http"] = json!({
                    "access_log": *listener == Listener::Logged,
                    "request_id": {"enabled": false},
                });
            }
            if listener.is_tls() {
                spec["certificates"] = json!(["bench"]);
            }
            match listener {
                Listener::HostRules => spec["policies"] = json!(["hosts"]),
                Listener::Cookie => {
                    spec["pool"] = json!("sticky");
                    spec["persistence"] = json!({"type": "cookie"});
                }
                Listener::ByHeader => {
                    spec["pool"] = json!("sticky");
                    spec["persistence"] = json!({"type": "header", "name": USER_FIELD});
                }
                Listener::BySource => {
                    spec["pool"] = json!("sticky");
                    spec["persistence"] = json!({"type": "source"});
                }
                Listener::Timed => spec["pool"] = json!("timed"),
                Listener::Udp => spec["pool"] = json!("datagrams"),
                _ => {}
            }
            json!({"name": listener.name(), "spec": spec})
        })
        .collect();
    json!({
        "certificates": [{"name": "bench", "spec": {
            "chain_pem": certificate.chain_pem, "private_key_pem": certificate.key_pem,
        }}],
        "pools": [
            {"name": "origin", "spec": pool(&members[..1])},
            {"name": "sticky", "spec": pool(&members)},
            {"name": "timed", "spec": pool(&[member("load", origin.timed)])},
            {"name": "datagrams", "spec": {"members": [member("echo", origin.datagrams.address)]}},
        ],
        "policies": [{"name": "hosts", "spec": {"rules": rules}}],
        "virtual_servers": servers,
    })
}

/// The cookie that a client is given with its first answer.
async fn given_cookie(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let line = answer.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("set-cookie").then_some(value)
    });
    let value = line.and_then(|value| value.split(';').next());
    Ok(value.with_context(|| format!("no cookie in:\n{answer}"))?.trim().to_owned())
}

/// Ballast and the peers, one thread each on the proxies' CPU.
pub(super) async fn all(
    lab: &Lab,
    origin: &Origin,
    certificate: &Certificate,
) -> Result<[Subject; 3]> {
    Ok([
        ballast(lab, origin, certificate, PROXY_CPU, 1).await?,
        peers::haproxy(lab, origin, certificate).await?,
        peers::nginx(lab, origin, certificate).await?,
    ])
}
