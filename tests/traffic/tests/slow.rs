//! Clients that are slow on purpose, in the ways that slowhttptest knows, cost the others nothing: each
//! way is ended by the deadline that is there for it, while it goes on.
//!
//! The attackers are more than the virtual server takes connections, and come more slowly than it lets
//! them go: without its deadlines it would be full, and the good clients, each of whose requests takes a
//! connection of its own, refused.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ballast_test_support::{Cluster, Host, Lab, Load, LoadOptions, Origin, Process, wait_for};
use serde_json::{Value, json};

/// Connections that one attack opens.
const ATTACKER_COUNT: u64 = 800;
/// How many of them in a second; it goes on for some time when all are there.
const ATTACKER_RATE_PER_S: &str = "100";
const ATTACK_S: &str = "12";
/// Most connections that a virtual server takes: fewer than the attackers, and more than those of them
/// that are there before their time is up.
const CONNECTION_LIMIT: u64 = 500;
/// Attackers that were let go while others still came.
const LET_GO_MIN_COUNT: u64 = 200;
const ATTACK_LIMIT: Duration = Duration::from_secs(60);

/// A way to be slow.
struct Attack {
    name: &'static str,
    /// For slowhttptest.
    arguments: &'static [&'static str],
    target: &'static str,
    /// What ends it; none where its requests are answered at once.
    reason: Option<&'static str>,
}

/// Slow heads (slowloris), slow bodies (R-U-Dead-Yet), bodies that never come, slow readers, overlapping
/// ranges.
const ATTACKS: [Attack; 5] = [
    Attack {
        name: "slow-headers",
        arguments: &["-H", "-i", "1"],
        target: "/",
        reason: Some("header_timeout"),
    },
    Attack {
        name: "slow-body",
        arguments: &["-B", "-i", "1", "-s", "8192", "-x", "16"],
        // Its answer comes when the body is there.
        target: "/length",
        reason: Some("body_too_slow"),
    },
    Attack {
        name: "no-body",
        arguments: &["-B", "-i", "30", "-s", "8192"],
        // Its answer comes when the body is there.
        target: "/length",
        reason: Some("body_timeout"),
    },
    Attack {
        name: "slow-read",
        arguments: &["-X", "-w", "16", "-y", "32", "-n", "1", "-z", "16", "-k", "1"],
        // More than the sockets between hold.
        target: "/?bytes=1000000",
        reason: Some("client_write_timeout"),
    },
    Attack {
        name: "ranges",
        arguments: &["-R", "-a", "5", "-b", "3000"],
        target: "/?bytes=1000000",
        reason: None,
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_cost_the_others_nothing() -> Result<()> {
    let lab = Lab::loopback()?;
    let origin = Origin::start(&lab.host("origin", 21)?).await?;
    let cluster = Cluster::one_node(&lab).await?;
    let host = cluster.nodes[0].host();
    let member = json!({"address": origin.http().ip(), "port": origin.http().port()});
    let mut fronts = Vec::new();
    let mut servers = Vec::new();
    for attack in &ATTACKS {
        let front = host.socket(host.free_port()?);
        fronts.push(front);
        servers.push(virtual_server(attack.name, front));
    }
    cluster
        .apply(&json!({
            "pools": [{"name": "origin", "spec": {"members": [member]}}],
            "virtual_servers": servers,
        }))
        .await?;
    let client = lab.host("client", 31)?;
    let attacker = lab.host("attacker", 32)?;
    for (attack, front) in ATTACKS.iter().zip(fronts) {
        withstand(&cluster, &client, &attacker, attack, front)
            .await
            .with_context(|| attack.name.to_owned())?;
    }
    // Those that were slow are gone: what they held is free again.
    cluster
        .wait_for_status("no connection to be left", ATTACK_LIMIT, |status| {
            status
                .nodes
                .iter()
                .filter_map(|node| node.status.as_ref())
                .all(|node| node.virtual_servers.iter().all(|server| server.connections == 0))
        })
        .await?;
    Ok(())
}

fn virtual_server(name: &str, front: SocketAddr) -> Value {
    json!({"name": name, "spec": {
        "protocol": "http", "addresses": [front.ip()], "ports": [front.port()],
        "pool": "origin", "connection_limit": CONNECTION_LIMIT,
        "http": {
            "header_timeout_ms": 2_000,
            "body_idle_timeout_ms": 2_000,
            "body_min_bytes_per_s": 2_000,
            "response_min_bytes_per_s": 2_000,
            "min_rate_grace_ms": 1_000,
        },
    }})
}

async fn withstand(
    cluster: &Cluster,
    client: &Host,
    attacker: &Host,
    attack: &Attack,
    front: SocketAddr,
) -> Result<()> {
    let mut good = LoadOptions::new(format!("http://{front}/"));
    good.requests_per_connection = Some(1);
    let mut load = Load::start(client, &good).await?;
    load.wait_for_requests(20).await?;
    let mut command = attacker.command("slowhttptest");
    command.args(["-c", &ATTACKER_COUNT.to_string(), "-r", ATTACKER_RATE_PER_S]);
    command.args(["-l", ATTACK_S, "-p", "3"]).args(attack.arguments);
    command.args(["-u", &format!("http://{front}{}", attack.target)]);
    let log = attacker.dir()?.join(format!("{}.log", attack.name));
    let mut process = Process::start(attack.name, command, &log)?;
    if let Some(reason) = attack.reason {
        wait_for(&format!("{reason} to be counted"), ATTACK_LIMIT, async || {
            failures(cluster, attack.name)
                .await
                .is_ok_and(|counts| counts.get(reason).copied().unwrap_or(0) >= LET_GO_MIN_COUNT)
        })
        .await?;
        ensure!(process.ended().is_none(), "the attack was over when its deadline was counted");
    }
    process.wait(ATTACK_LIMIT).await?;
    let text = std::fs::read(&log)?;
    let text = String::from_utf8_lossy(&text);
    // What it says last of a look at the service from outside.
    let verdict = text.rfind("service available:").context("slowhttptest says nothing")?;
    let verdict = text[verdict..].lines().next().unwrap_or_default();
    ensure!(verdict.contains("YES"), "{verdict}");
    load.wait_for_requests(100).await?;
    let report = load.stop().await?;
    ensure!(report.failed_count() == 0, "{report}");
    let counts = failures(cluster, attack.name).await?;
    ensure!(!counts.contains_key("connection_limit"), "it was full: {counts:?}");
    Ok(())
}

/// Failures of a virtual server, by reason.
async fn failures(cluster: &Cluster, name: &str) -> Result<BTreeMap<String, u64>> {
    let metrics = cluster.client().metrics().await?;
    let prefix =
        format!("ballast_virtual_server_failures_total{{virtual_server=\"{name}\",reason=\"");
    let counts = metrics.lines().filter_map(|line| {
        let (reason, count) = line.strip_prefix(&prefix)?.split_once("\"} ")?;
        Some((reason.to_owned(), count.parse().ok()?))
    });
    Ok(counts.collect())
}
