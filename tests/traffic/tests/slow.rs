//! Clients that are slow on purpose, in the four ways that slowhttptest knows, cost the others nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ballast_test_support::{Cluster, Lab, Load, LoadOptions, Origin, process};
use serde_json::json;

/// Connections that attack at the same time, and for how long.
const ATTACKER_COUNT: &str = "300";
const ATTACK_S: &str = "6";
const ATTACK_LIMIT: Duration = Duration::from_secs(60);

/// Slow heads (slowloris), slow bodies (R-U-Dead-Yet), overlapping ranges, slow readers.
const ATTACKS: [(&str, &[&str]); 4] = [
    ("slow-headers", &["-H", "-i", "1"]),
    ("slow-body", &["-B", "-i", "1", "-s", "8192"]),
    ("ranges", &["-R", "-a", "5", "-b", "3000"]),
    ("slow-read", &["-X", "-w", "16", "-y", "32", "-n", "1", "-z", "16", "-k", "3"]),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_cost_the_others_nothing() -> Result<()> {
    let lab = Lab::loopback()?;
    let origin = Origin::start(&lab.host("origin", 21)?).await?;
    let cluster = Cluster::one_node(&lab).await?;
    let host = cluster.nodes[0].host();
    let front = host.socket(host.free_port()?);
    let member = json!({"address": origin.http().ip(), "port": origin.http().port()});
    cluster
        .apply(&json!({
            "pools": [{"name": "origin", "spec": {"members": [member]}}],
            "virtual_servers": [{"name": "front", "spec": {
                "protocol": "http", "addresses": [front.ip()], "ports": [front.port()],
                "pool": "origin",
                "http": {"header_timeout_ms": 2_000, "body_idle_timeout_ms": 2_000},
            }}],
        }))
        .await?;
    let client = lab.host("client", 31)?;
    let attacker = lab.host("attacker", 32)?;
    for (name, arguments) in ATTACKS {
        let mut load = Load::start(&client, &LoadOptions::new(format!("http://{front}/"))).await?;
        let mut command = attacker.command("slowhttptest");
        command.args(["-c", ATTACKER_COUNT, "-r", ATTACKER_COUNT, "-l", ATTACK_S, "-p", "3"]);
        command.args(arguments);
        command.args(["-u", &format!("http://{front}/?bytes=1000000")]);
        let output = process::run(command, ATTACK_LIMIT).await?;
        let text = String::from_utf8_lossy(&output.stdout);
        // What it says last of a look at the service from outside.
        let verdict = text.rfind("service available:").context("slowhttptest says nothing")?;
        let verdict: String = text[verdict..].lines().next().unwrap_or_default().to_owned();
        ensure!(verdict.contains("YES"), "{name}: {verdict}");
        load.wait_for_requests(100).await?;
        let report = load.stop().await?;
        ensure!(report.failed_count() == 0, "{name}: {report}");
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
