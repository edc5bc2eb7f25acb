//! What a real cluster shows of its traffic: the live tail across nodes, and every family of metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ballast_client::TailEvent;
use ballast_model::status::Health;
use ballast_model::tail::TailFilter;
use ballast_test_support::{Lab, Topology};
use ballast_tests_cluster::sign_in;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const HEALTH_LIMIT: Duration = Duration::from_secs(20);
const SHOWN_LIMIT: Duration = Duration::from_secs(20);
const GUIDE: &str = include_str!("../../../docs/operator.md");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_live_tail_of_one_node_shows_what_both_serve_and_metrics_are_as_the_guide_says()
-> Result<()> {
    let lab = Lab::loopback()?;
    let world = Topology::start(&lab, |_| ()).await?;
    let port = world.cluster.nodes[0].host().free_port()?;
    let origin = &world.origins[0];
    let (address, member_port) = (origin.http().ip(), origin.http().port());
    let declaration = json!({
        "pools": [{ "name": "blue", "spec": {
            "members": [{ "address": address, "port": member_port }],
            "circuit_breaker": { "request_max_count": 100, "retry_max_count": 10 },
            "adaptive_concurrency": {}, "outlier_ejection": {}, "member_metrics": true } }],
        "virtual_servers": [{ "name": "shop", "spec": {
            "addresses": ["0.0.0.0"], "ports": [port], "protocol": "http", "pool": "blue" } }],
    });
    world.cluster.apply(&declaration).await?;
    let name = origin.http().to_string();
    world.cluster.wait_for_health(&[name.as_str()], Health::Unmonitored, HEALTH_LIMIT).await?;
    let client = sign_in(&world.cluster).await?.remove(0);

    let filter = TailFilter { virtual_server: Some("shop".to_owned()), ..TailFilter::default() };
    let mut tail = client.tail(&filter, None).await?;
    let mut shown_by = BTreeMap::new();
    let nodes: Vec<_> = world.cluster.nodes[..2].iter().collect();
    let watch = async {
        while shown_by.len() < nodes.len() {
            // Again and again: the other node's records come once the asked one has asked it.
            for node in &nodes {
                ask((node.host().ip(), port).into()).await?;
            }
            let event = tail.next().await?.context("the tail ended")?;
            if let TailEvent::Record(record) = event {
                ensure!(record["uri"] == "/?token=***", "{record:?}");
                ensure!(record["pool"] == "blue" && record["status"] == 200, "{record:?}");
                shown_by.insert(record["node"].to_string(), record);
            }
        }
        anyhow::Ok(())
    };
    timeout(SHOWN_LIMIT, watch).await.context("not every node's requests were shown")??;

    let metrics = client.metrics().await?;
    for line in [
        "ballast_pool_requests_total{pool=\"blue\",class=\"2xx\"} ",
        "ballast_pool_concurrency_limit{pool=\"blue\"} ",
        "ballast_pool_circuit_open{pool=\"blue\",limit=\"requests\"} 0",
        "ballast_pool_ejections_total{pool=\"blue\",cause=\"latency\"} 0",
        "ballast_member_responses_total{pool=\"blue\",member=",
    ] {
        ensure!(metrics.contains(line), "{line} in\n{metrics}");
    }
    let there: BTreeMap<_, _> =
        metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let told: BTreeMap<_, _> = GUIDE.lines().filter_map(family).collect();
    ensure!(there == told, "in /metrics: {there:#?}\nin docs/operator.md: {told:#?}");
    Ok(())
}

/// Name and kind of a family, if the line is its row in the guide.
fn family(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
    let is_family = name.starts_with("ballast_") || name.starts_with("process_");
    let (kind, _) = rest.split_once(" | ")?;
    is_family.then_some((name, kind))
}

async fn ask(address: std::net::SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let request = "GET /?token=abc HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    stream.read_to_end(&mut Vec::new()).await?;
    Ok(())
}
